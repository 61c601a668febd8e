//! Who may put requests in line for L2: so many at a time, everybody else waits, first come, first served.
//!
//! What waits is a caller's own future and takes no memory of ours but its place; each wait has an end, which the lane's
//! clock sees to.
//!
//! Concurrency: `inner` is held for a few instructions. [`Permit::try_take`] is called under the lock of a shard of the
//! store, so nothing is woken and no store is asked while `inner` is held.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nearcache_l1::{Promise, PromiseFuture, Timestamp};

use crate::error::Error;
use crate::shim::{Mutex, lock};

/// The permits of a pod: one for each request that waits to be sent, or for each key of one that reads.
pub(crate) struct Admission {
    inner: Mutex<Inner>,
}

struct Inner {
    free: usize,
    numbers: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    /// Given to callers that have not taken them yet, until when they may.
    given: BTreeMap<u64, Timestamp>,
    /// Why nothing is sent at present: whoever is not patient need not wait for a permit.
    away: Option<Error>,
}

struct Waiting {
    until: Timestamp,
    patient: bool,
    turn: Promise<Result<(), Error>>,
}

/// A caller's share of what may wait to be sent; dropped, it is free for others.
pub(crate) struct Permit {
    of: Arc<Admission>,
    count: usize,
}

impl Admission {
    pub(crate) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                free: permits.max(1),
                numbers: 0,
                waiting: BTreeMap::new(),
                given: BTreeMap::new(),
                away: None,
            }),
        })
    }

    /// A permit for nothing yet, and for requests that take no room.
    pub(crate) fn permit(self: &Arc<Self>) -> Permit {
        Permit {
            of: self.clone(),
            count: 0,
        }
    }

    /// Whether anybody waits, or was given what he has not taken: then the lane's clock must go on.
    pub(crate) fn is_contended(&self) -> bool {
        let inner = lock(&self.inner);
        !(inner.waiting.is_empty() && inner.given.is_empty())
    }

    /// Nothing is sent for this reason, or again: who waits and is not patient is told.
    pub(crate) fn set_away(&self, away: Option<Error>) {
        let told = {
            let mut inner = lock(&self.inner);
            let told = match &away {
                Some(_) => inner.take(|waiting| !waiting.patient),
                None => Vec::new(),
            };
            inner.away.clone_from(&away);
            told
        };
        if let Some(error) = away {
            tell(told, &error);
        }
    }

    /// Nothing will be sent any more.
    pub(crate) fn end(&self, error: &Error) {
        let told = lock(&self.inner).take(|_| true);
        tell(told, error);
    }

    /// Time has passed: ends waits that are over; what was given and not taken goes to others. Returns how many waits.
    pub(crate) fn expire(&self, now: Timestamp, error: impl FnOnce() -> Error) -> usize {
        let (over, given) = {
            let mut inner = lock(&self.inner);
            let over = inner.take(|waiting| waiting.until <= now);
            let before = inner.given.len();
            inner.given.retain(|_, until| *until > now);
            inner.free += before - inner.given.len();
            (over, inner.give())
        };
        complete(given);
        let count = over.len();
        if count > 0 {
            tell(over, &error());
        }
        count
    }

    fn release(&self, count: usize) {
        let given = {
            let mut inner = lock(&self.inner);
            inner.free += count;
            inner.give()
        };
        complete(given);
    }
}

impl Inner {
    /// Hands out what is free.
    fn give(&mut self) -> Vec<Promise<Result<(), Error>>> {
        let mut given = Vec::new();
        while self.free > 0
            && let Some((number, next)) = self.waiting.pop_first()
        {
            self.free -= 1;
            self.given.insert(number, next.until);
            given.push(next.turn);
        }
        given
    }

    fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let all = std::mem::take(&mut self.waiting);
        let (taken, kept): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, waiting)| which(waiting));
        self.waiting = kept.into_iter().collect();
        taken.into_iter().map(|(_, waiting)| waiting).collect()
    }
}

fn tell(waiting: Vec<Waiting>, error: &Error) {
    for waiting in waiting {
        waiting.turn.complete(Err(error.clone()));
    }
}

fn complete(given: Vec<Promise<Result<(), Error>>>) {
    for turn in given {
        turn.complete(Ok(()));
    }
}

impl Permit {
    /// One more, if there is one and nobody waits for it.
    pub(crate) fn try_take(&mut self) -> bool {
        let mut inner = lock(&self.of.inner);
        let free = inner.free > 0 && inner.waiting.is_empty();
        if free {
            inner.free -= 1;
            self.count += 1;
        }
        free
    }

    /// Gets in line for one more.
    ///
    /// # Errors
    /// Nothing is sent at present, and this caller is not patient.
    pub(crate) fn get_in_line(&self, until: Timestamp, patient: bool) -> Result<InLine, Error> {
        let mut inner = lock(&self.of.inner);
        if let Some(error) = inner.away.as_ref().filter(|_| !patient) {
            return Err(error.clone());
        }
        inner.numbers += 1;
        let number = inner.numbers;
        let turn = Promise::new();
        let future = turn.future();
        inner.waiting.insert(
            number,
            Waiting {
                until,
                patient,
                turn,
            },
        );
        // What came free since the last look goes to the first in line.
        let given = inner.give();
        drop(inner);
        complete(given);
        Ok(InLine {
            of: self.of.clone(),
            number,
            turn: future,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Takes over what another has.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.count += std::mem::take(&mut other.count);
    }

    /// Takes so many over from another, which has at least as many.
    pub(crate) fn split(&mut self, count: usize) -> Self {
        let count = count.min(self.count);
        self.count -= count;
        Self {
            of: self.of.clone(),
            count,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.count > 0 {
            self.of.release(self.count);
        }
    }
}

/// A caller in line for a permit; dropped, it leaves, and what it was given goes on to the next.
pub(crate) struct InLine {
    of: Arc<Admission>,
    number: u64,
    turn: PromiseFuture<Result<(), Error>>,
}

impl InLine {
    /// What it was given; `None`: it came too late to take it.
    fn claim(&self) -> Option<Permit> {
        let claimed = lock(&self.of.inner).given.remove(&self.number);
        claimed.map(|_| Permit {
            of: self.of.clone(),
            count: 1,
        })
    }
}

impl Future for InLine {
    /// `None`: it was this caller's turn, and it did not look in time.
    type Output = Result<Option<Permit>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.turn).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(self.claim())),
        }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        lock(&self.of.inner).waiting.remove(&self.number);
        // Goes to the next, by its own drop.
        drop(self.claim());
    }
}
