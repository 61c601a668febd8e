//! Flights: one fetch of one key in the air, who leads it, who waits for it, and how it ends.
//! A flight owns no entry; only [`Store::publish`](crate::Store::publish) turns one into an entry.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::key::KeyBuf;
use crate::promise::Cell;
use crate::shim::{AtomicBool, Ordering};
use crate::store::Inner;
use crate::{Hit, Key};

/// How [`Store::enter`](crate::Store::enter) let the caller in.
#[derive(Debug)]
#[must_use = "dropping a lead abandons its flight"]
pub enum Entrance<M, O> {
    /// An entry is resident and usable.
    Hit(Hit),
    /// Another caller's flight will answer.
    Join(Arc<Flight<M, O>>),
    /// The key has as many flights in the air as it may; wait for this one to land, then enter again.
    Crowded(Arc<Flight<M, O>>),
    /// The store has as many flights in the air as it may, or the key has and all of them are settled: there is
    /// nothing to wait for.
    Full,
    /// The caller might lead, and does not want to: of [`Store::enter_if`](crate::Store::enter_if) alone.
    Declined,
    /// The caller leads a new flight.
    Lead(FlightGuard<M, O>),
}

/// What a flight's waiters get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed<O> {
    /// The leader's outcome.
    Done(O),
    /// The leader went away without one; a waiter enters again and may lead.
    Abandoned,
}

/// One fetch of one key, shared by its leader and its waiters.
///
/// Concurrency: `orphaned` and `settled` change only under the write lock of the key's shard, and each only once, to
/// true; whoever holds that lock sees the truth, others a hint. The outcome has a lock of its own, taken after the
/// shard's is released.
pub struct Flight<M, O> {
    pub(crate) db: u32,
    pub(crate) key: KeyBuf,
    pub(crate) hash: u64,
    /// Orders the flights of one shard by their start.
    pub(crate) number: u64,
    meta: M,
    orphaned: AtomicBool,
    settled: AtomicBool,
    outcome: Cell<Landed<O>>,
}

impl<M, O> Flight<M, O> {
    pub(crate) fn new(key: Key<'_>, hash: u64, number: u64, meta: M) -> Self {
        Self {
            db: key.db,
            key: KeyBuf::new(key.bytes),
            hash,
            number,
            meta,
            orphaned: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            outcome: Cell::new(),
        }
    }

    /// Returns the key being fetched.
    pub fn key(&self) -> Key<'_> {
        Key::new(self.db, self.key.as_slice())
    }

    /// Returns what the leader said of the flight when it started.
    pub fn meta(&self) -> &M {
        &self.meta
    }

    /// Returns whether the key was invalidated, or the flight succeeded by another, since it started.
    pub fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Acquire)
    }

    /// Returns whether the waiters have their outcome, or are about to.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Whether newcomers may still be let in. Exact only under the shard's lock.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_orphaned() && !self.is_settled()
    }

    /// Marks the flight as orphaned, under the shard's write lock; returns whether it was open.
    pub(crate) fn orphan(&self) -> bool {
        let open = self.is_open();
        self.orphaned.store(true, Ordering::Release);
        open
    }

    /// Closes the flight to newcomers, under the shard's write lock.
    pub(crate) fn close(&self) {
        self.settled.store(true, Ordering::Release);
    }

    pub(crate) fn land(&self, landed: Landed<O>) {
        self.outcome.complete(landed);
    }
}

impl<M, O: Clone> Flight<M, O> {
    /// Returns the outcome, or registers the task to be woken when there is one.
    ///
    /// # Cost
    /// Linear in the number of waiters; [`Flight::wait_landed`] is not, and takes its waker back when dropped.
    pub fn poll_landed(&self, cx: &mut Context<'_>) -> Poll<Landed<O>> {
        self.outcome.poll_unseated(cx)
    }

    /// Returns the outcome if the flight has landed.
    pub fn landed(&self) -> Option<Landed<O>> {
        self.outcome.get()
    }

    /// Returns a future of the outcome.
    ///
    /// # Cancellation
    /// Dropping the future takes its waker back and affects nobody else.
    pub fn wait_landed(self: &Arc<Self>) -> Landing<M, O> {
        Landing {
            flight: Arc::clone(self),
            seat: None,
        }
    }
}

/// The future of a flight's outcome. It ends for every waiter: guards land their flight even when dropped.
#[must_use = "futures do nothing unless polled"]
pub struct Landing<M, O> {
    flight: Arc<Flight<M, O>>,
    seat: Option<usize>,
}

impl<M, O: Clone> Future for Landing<M, O> {
    type Output = Landed<O>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Landed<O>> {
        let this = self.get_mut();
        this.flight.outcome.poll_seated(&mut this.seat, cx)
    }
}

impl<M, O> Unpin for Landing<M, O> {}

impl<M, O> Drop for Landing<M, O> {
    fn drop(&mut self) {
        self.flight.outcome.leave(self.seat.take());
    }
}

/// The leader's hold on its flight: it counts against the bounds on flights until it ends.
///
/// Dropping it without an outcome abandons the flight: the waiters see [`Landed::Abandoned`].
#[must_use = "dropping the guard abandons the flight"]
pub struct FlightGuard<M, O> {
    pub(crate) store: Arc<Inner<M, O>>,
    flight: Arc<Flight<M, O>>,
    /// What the waiters get when the guard ends.
    last: Landed<O>,
    /// Set when the store has already taken the flight out of its books.
    ended: bool,
}

impl<M, O> FlightGuard<M, O> {
    pub(crate) fn new(store: Arc<Inner<M, O>>, flight: Arc<Flight<M, O>>) -> Self {
        Self {
            store,
            flight,
            last: Landed::Abandoned,
            ended: false,
        }
    }

    /// Returns the flight.
    pub fn flight(&self) -> &Arc<Flight<M, O>> {
        &self.flight
    }

    /// Returns what the leader said of the flight when it started.
    pub fn meta(&self) -> &M {
        self.flight.meta()
    }

    /// Returns the key being fetched.
    pub fn key(&self) -> Key<'_> {
        self.flight.key()
    }

    /// Ends the flight with an outcome for its waiters and stores nothing.
    pub fn complete(mut self, outcome: O) {
        self.last = Landed::Done(outcome);
    }

    /// Gives the waiters their outcome now, while the guard goes on counting until it is dropped; nobody joins any
    /// more. The first outcome is the one they get.
    pub fn settle(&self, outcome: O) {
        self.store.close_flight(&self.flight);
        self.flight.land(Landed::Done(outcome));
    }

    /// Ends the guard after the store took the flight out of its books.
    pub(crate) fn ended_with(mut self, outcome: O) {
        self.ended = true;
        self.last = Landed::Done(outcome);
    }
}

impl<M, O> Drop for FlightGuard<M, O> {
    fn drop(&mut self) {
        // Out of the books first: a waiter that is woken and enters again must not meet this flight.
        if !self.ended {
            self.store.end_flight(&self.flight);
        }
        let last = std::mem::replace(&mut self.last, Landed::Abandoned);
        self.flight.land(last);
    }
}

impl<M, O> fmt::Debug for Flight<M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("orphaned", &self.is_orphaned())
            .field("settled", &self.is_settled())
            .finish_non_exhaustive()
    }
}

impl<M, O> fmt::Debug for Landing<M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Landing").field(&self.flight).finish()
    }
}

impl<M, O> fmt::Debug for FlightGuard<M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlightGuard").field(&self.flight).finish()
    }
}
