//! Runs a loader: polls it in its caller's task, until it ends, panics, or its time is up.
//!
//! A panic of the loader's is told from one of whatever else its caller's task does.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::seat::{Inside, Lead, Seat};
use super::table::Wait;
use crate::error::{Error, ErrorKind};

/// Why a loader came to no end of its own.
pub(super) enum Ended {
    /// `load_timeout` is over: its future was dropped.
    TimedOut,
    Closed(Error),
    Panicked(Box<dyn Any + Send>),
}

pub(super) async fn run<F: Future>(
    seat: &Seat,
    lead: &Lead,
    mut until: impl FnMut() -> Wait,
    loader: F,
) -> Result<F::Output, Ended> {
    let mut loader = pin!(loader);
    let mut given_up = seat.ended();
    let mut over = until();
    poll_fn(|cx| {
        let Some(inside) = Inside::enter(seat, &lead.flight) else {
            return Poll::Ready(Err(Ended::TimedOut));
        };
        let polled = catch_unwind(AssertUnwindSafe(|| loader.as_mut().poll(cx)));
        drop(inside);
        match polled {
            Ok(Poll::Ready(loaded)) => return Poll::Ready(Ok(loaded)),
            Err(panic) => return Poll::Ready(Err(Ended::Panicked(panic))),
            Ok(Poll::Pending) => {}
        }
        if pin!(&mut given_up).poll(cx).is_ready() {
            return Poll::Ready(Err(Ended::TimedOut));
        }
        // The thread that told the time may have ended by a panic: then the next tells it. Where none can be had, nobody
        // does until the next poll.
        for _ in 0..2 {
            match pin!(&mut over.over).poll(cx) {
                Poll::Ready(Ok(())) if !off!(LoadTimeout) => {
                    return Poll::Ready(Err(Ended::TimedOut));
                }
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Closed => {
                    return Poll::Ready(Err(Ended::Closed(error)));
                }
                Poll::Ready(Err(_)) => over = until(),
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    })
    .await
}
