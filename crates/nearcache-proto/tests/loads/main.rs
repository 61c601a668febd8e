//! Calls with a loader: what they do without L2, that none waits without an end, and how many run at a time.

mod faults;
#[path = "../harness/mod.rs"]
mod harness;
mod values;
mod waits;
mod without_l2;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use harness::{Harness, TestIo, lane};
use nearcache_proto::*;

type Answer = Result<Read, Error>;

/// A call that some task makes, polled when it is woken or not: here, whenever time passes.
struct Task {
    future: Option<Pin<Box<dyn Future<Output = Answer>>>>,
    answer: Option<Answer>,
    /// Its task does something else, and does not come back to it.
    parked: bool,
}

impl Task {
    fn new(future: impl Future<Output = Answer> + 'static) -> Self {
        Self {
            future: Some(Box::pin(future)),
            answer: None,
            parked: false,
        }
    }

    fn poll(&mut self) {
        let Some(future) = self.future.as_mut().filter(|_| !self.parked) else {
            return;
        };
        if let Poll::Ready(answer) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            self.answer = Some(answer);
            self.future = None;
        }
    }

    fn is_done(&self) -> bool {
        self.answer.is_some()
    }

    #[track_caller]
    fn value(&self) -> Option<Bytes> {
        let answer = self.answer.as_ref().expect("it has ended");
        answer.as_ref().expect("it went well").value.clone()
    }

    #[track_caller]
    fn error(&self) -> &Error {
        let answer = self.answer.as_ref().expect("it has ended");
        answer.as_ref().expect_err("it failed")
    }
}

/// Lets time pass, and everything happen that is due.
fn drive(h: &mut Harness, tasks: &mut [Task], ms: u64) {
    for step in 0..=ms {
        tasks.iter_mut().for_each(Task::poll);
        h.settle();
        tasks.iter_mut().for_each(Task::poll);
        if step < ms {
            h.pass(1);
        }
    }
}

fn lose_l2(h: &mut Harness) {
    h.down = true;
    if let Some((connection, ..)) = h.link.clone() {
        h.lane.handle_disconnected(connection, h.io.now());
    }
    // Until the first attempt to connect has failed, calls wait for it.
    drive(h, &mut [], 60);
}

fn call(key: &'static str) -> Call<'static> {
    Call {
        db: 0,
        key: key.as_bytes(),
        policy: LoadPolicy::default(),
        optional: false,
    }
}

fn loaded(value: &str) -> Result<Option<Loaded>, Infallible> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Ok(Some(Loaded { value, ttl: None }))
}

fn bytes(value: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(value.as_bytes()))
}

/// A call whose loader is that future.
fn load<Fut>(
    cache: &Cache<TestIo>,
    call: Call<'static>,
    loader: impl FnOnce() -> Fut + 'static,
) -> Task
where
    Fut: Future<Output = Result<Option<Loaded>, Infallible>> + 'static,
{
    let cache = cache.clone();
    Task::new(async move { cache.get_or_load(call, |_| true, loader).await })
}

/// What the origin holds, how often it was asked, and how many ask at a time.
#[derive(Clone, Default)]
struct Origin {
    value: Rc<Cell<u64>>,
    asked: Rc<Cell<u64>>,
    at_work: Rc<Cell<u64>>,
    most: Rc<Cell<u64>>,
    open: Rc<Cell<bool>>,
}

impl Origin {
    /// Answers at once.
    fn now(&self) -> impl Future<Output = Result<Option<Loaded>, Infallible>> + use<> {
        self.asked.set(self.asked.get() + 1);
        ready(loaded(&self.value.get().to_string()))
    }

    /// Answers with what it holds now, once it is open.
    fn later(&self) -> impl Future<Output = Result<Option<Loaded>, Infallible>> + use<> {
        let origin = self.clone();
        async move {
            origin.asked.set(origin.asked.get() + 1);
            origin.at_work.set(origin.at_work.get() + 1);
            origin.most.set(origin.most.get().max(origin.at_work.get()));
            let value = origin.value.get();
            std::future::poll_fn(|_| match origin.open.get() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            origin.at_work.set(origin.at_work.get() - 1);
            loaded(&value.to_string())
        }
    }
}

/// A call that gets what the origin holds now, once that is open.
fn slow(cache: &Cache<TestIo>, origin: &Origin, key: &'static str) -> Task {
    let origin = origin.clone();
    load(cache, call(key), move || origin.later())
}

/// A call that gets what the origin holds.
fn at_once(cache: &Cache<TestIo>, origin: &Origin, key: &'static str) -> Task {
    let origin = origin.clone();
    load(cache, call(key), move || origin.now())
}

fn up() -> Harness {
    with(PodConfig::default())
}

fn with(config: PodConfig) -> Harness {
    let mut h = Harness::new(config);
    h.settle();
    h
}
