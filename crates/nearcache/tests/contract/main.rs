//! The promises of the contract and the traps around them, each as a named test that is run twice: on the
//! embedded store and on a real server.
//!
//! `c4_...` tests promise C4; `trap_...` tests a way in which other clients fail. Nothing here waits for a
//! fixed time: a test awaits a counter or an event, with a bound that only a hang reaches.

mod address;
mod connect;
mod dbs;
mod degraded;
mod discretion;
mod expiry;
mod failure;
mod fills;
mod flights;
mod history;
mod hits;
mod input;
mod isolation;
mod loads;
mod memory;
mod order;
mod outage;
mod outcome;
mod own_writes;
mod rights;
mod shutdown;
mod slow;
mod stage;
mod staleness;
mod table;
mod validated;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use nearcache::{Bytes, Error, ReadPolicy};

pub(crate) use nearcache_testkit::eventually;
pub(crate) use stage::{Net, Stage, on_both, on_server};

/// Serves whatever was fresh within the last hour.
pub(crate) const STALE: ReadPolicy = ReadPolicy::ServeStale {
    max: Duration::from_secs(3600),
};

/// A value as a read returns it.
pub(crate) fn val(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// The values of all keys, or the first error.
pub(crate) fn all<V>(each: Vec<Result<V, Error>>) -> Result<Vec<V>, Error> {
    each.into_iter().collect()
}

/// A call that is made by another thread.
pub(crate) fn spawn<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(call)
}

/// What a call on another thread came to.
#[track_caller]
pub(crate) fn joined<T>(call: JoinHandle<T>) -> T {
    match call.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Polls once, for nobody.
pub(crate) fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Fails unless the message of `error` contains each of `words`.
#[track_caller]
pub(crate) fn says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}
