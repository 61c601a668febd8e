//! A value that is set once and awaited by many, on any executor or none. It never runs a waker under its own lock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::shim::Mutex;

/// A value to be completed once; clones are handles of the same promise.
///
/// A panic anywhere leaves it usable: there is nothing to poison.
pub struct Promise<T> {
    cell: Arc<Cell<T>>,
}

impl<T: Clone> Promise<T> {
    /// Makes an open promise.
    pub fn new() -> Self {
        Self {
            cell: Arc::new(Cell::new()),
        }
    }

    /// Completes the promise and wakes every waiter; returns whether this call was the first. A later value is dropped.
    pub fn complete(&self, value: T) -> bool {
        self.cell.complete(value)
    }

    /// Returns whether the promise was completed.
    pub fn is_complete(&self) -> bool {
        self.cell.is_complete()
    }

    /// Returns the value if the promise was completed.
    pub fn get(&self) -> Option<T> {
        self.cell.get()
    }

    /// Returns a future of the value; it owns its share of the promise, and dropping it takes its waker back.
    pub fn future(&self) -> PromiseFuture<T> {
        PromiseFuture {
            cell: Arc::clone(&self.cell),
            seat: None,
        }
    }
}

/// The future of a [`Promise`]'s value. It stays pending for good if the promise is never completed.
#[must_use = "futures do nothing unless polled"]
pub struct PromiseFuture<T> {
    cell: Arc<Cell<T>>,
    seat: Option<usize>,
}

impl<T: Clone> Future for PromiseFuture<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        this.cell.poll_seated(&mut this.seat, cx)
    }
}

impl<T> Unpin for PromiseFuture<T> {}

impl<T> Drop for PromiseFuture<T> {
    fn drop(&mut self) {
        self.cell.leave(self.seat.take());
    }
}

/// The shared state of a promise, for owners that have an `Arc` of their own.
///
/// Concurrency: one mutex, held for a few instructions and never while a waker or a value's destructor runs. The value
/// is set at most once, under the mutex; from then on there are no seats.
pub(crate) struct Cell<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Option<T>,
    /// One waker per waiter that was polled; a waiter keeps its seat and hands it back. Nearly all promises have one.
    seats: SmallVec<[Option<Waker>; 1]>,
    free: Vec<usize>,
}

impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                value: None,
                seats: SmallVec::new(),
                free: Vec::new(),
            }),
        }
    }

    pub(crate) fn complete(&self, value: T) -> bool {
        let mut state = self.state.lock();
        if state.value.is_some() {
            drop(state);
            return false;
        }
        state.value = Some(value);
        let seats = std::mem::take(&mut state.seats);
        state.free = Vec::new();
        drop(state);
        for waker in seats.into_iter().flatten() {
            waker.wake();
        }
        true
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.state.lock().value.is_some()
    }

    /// Takes back a waiter's waker.
    pub(crate) fn leave(&self, seat: Option<usize>) {
        let Some(seat) = seat else { return };
        let mut state = self.state.lock();
        let waker = state.seats.get_mut(seat).and_then(Option::take);
        if waker.is_some() {
            state.free.push(seat);
        }
        drop(state);
    }

    /// Wakers held now.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().seats.iter().flatten().count()
    }
}

impl<T: Clone> Cell<T> {
    pub(crate) fn get(&self) -> Option<T> {
        self.state.lock().value.clone()
    }

    /// Polls for a waiter that owns a seat.
    pub(crate) fn poll_seated(&self, seat: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.lock();
        if let Some(value) = &state.value {
            *seat = None;
            return Poll::Ready(value.clone());
        }
        let at = *seat.get_or_insert_with(|| state.sit());
        let old = state.seats[at].take();
        let (kept, dropped) = match old {
            Some(old) if old.will_wake(cx.waker()) => (old, None),
            old => (cx.waker().clone(), old),
        };
        state.seats[at] = Some(kept);
        drop(state);
        drop(dropped);
        Poll::Pending
    }

    /// Polls for a waiter without a seat: a task that polls again is recognised by its waker.
    pub(crate) fn poll_unseated(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.lock();
        if let Some(value) = &state.value {
            return Poll::Ready(value.clone());
        }
        if !state
            .seats
            .iter()
            .flatten()
            .any(|seated| seated.will_wake(cx.waker()))
        {
            let at = state.sit();
            state.seats[at] = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<T> State<T> {
    fn sit(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        })
    }
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self {
            cell: Arc::clone(&self.cell),
        }
    }
}

impl<T: Clone> Default for Promise<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let complete = self.cell.is_complete();
        f.debug_struct("Promise")
            .field("complete", &complete)
            .finish()
    }
}

impl<T> fmt::Debug for PromiseFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromiseFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
