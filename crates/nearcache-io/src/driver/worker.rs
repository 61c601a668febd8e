//! The body of the IO thread: a runtime around the loop, and an orderly end whatever happened in it.
//!
//! Never ends with a request unanswered.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nearcache_proto::{Error, ErrorKind, Reason, Request};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::lanes::Lanes;
use super::{Seat, closed, drive};
use crate::clock;

pub(super) fn run(seat: &Seat, seed: u64, mut queue: mpsc::UnboundedReceiver<Request>) {
    let error = match Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
    {
        Ok(runtime) => {
            let mut lanes = Lanes::new(seat, seed);
            let looped = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(drive::run(seat, &mut lanes, &mut queue));
            }));
            let panicked = looped.is_err();
            let error = if panicked {
                tracing::error!("the IO thread panicked; it starts again with the next request");
                failed()
            } else {
                closed()
            };
            // Ends what a panic left in flight. A second one must not keep what is queued from being
            // answered.
            if panicked {
                let _ = catch_unwind(AssertUnwindSafe(|| lanes.abandon(&error, clock::now())));
            }
            let _ = catch_unwind(AssertUnwindSafe(|| drop(lanes)));
            // Without waiting for a look-up of a name that may still be on its way. The connections go
            // before the queue is closed: none of them may report into the life of the next thread.
            runtime.shutdown_background();
            error
        }
        Err(error) => Error::with_source(
            ErrorKind::Retry,
            format!("the IO thread cannot start ({error}): raise the limit of open files"),
            error,
        ),
    };
    queue.close();
    while let Some(request) = queue.blocking_recv() {
        request.reject(&error);
    }
}

#[cold]
pub(super) fn failed() -> Error {
    Error::retry(
        Reason::Interrupted,
        "the IO thread ended by a panic, which is a bug; it starts again with the next request",
    )
}
