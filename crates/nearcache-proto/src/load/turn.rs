//! One caller's turn to load: the flight it leads, the place it holds, and until when it is believed to be at it.
//!
//! A future may be dropped, or just never be polled again. The first ends its turn at once; the second is found out by
//! the lane's clock, which gives the turn up: others may take over, and its place is free.

use std::cell::RefCell;
use std::sync::Arc;

use nearcache_l1::Timestamp;

use crate::coherence::FillToken;
use crate::error::{Error, ErrorKind};
use crate::pod::{Fetched, FillOutcome, Pod, PodFlight};
use crate::request::Guard;
use crate::shim::{AtomicBool, AtomicU64, Mutex, Ordering, lock};

/// What the lane's clock must see of a turn.
pub(super) struct Turn {
    pub(super) number: u64,
    guard: Mutex<Option<Guard>>,
    /// Microseconds.
    overdue_at: AtomicU64,
    /// Holds one of the pod's places.
    has_place: AtomicBool,
    /// Its loader is being polled: it runs, whatever the time.
    is_polled: AtomicBool,
    given_up: AtomicBool,
}

impl Turn {
    fn new(number: u64) -> Self {
        Self {
            number,
            guard: Mutex::new(None),
            overdue_at: AtomicU64::new(u64::MAX),
            has_place: AtomicBool::new(false),
            is_polled: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        }
    }

    pub(super) fn overdue_at(&self) -> Timestamp {
        Timestamp::from_micros(self.overdue_at.load(Ordering::Acquire))
    }

    pub(super) fn expect(&self, overdue_at: Timestamp) {
        self.overdue_at
            .store(overdue_at.as_micros(), Ordering::Release);
    }

    pub(super) fn take_place(&self) {
        self.has_place.store(true, Ordering::Release);
    }

    pub(super) fn has_place(&self) -> bool {
        self.has_place.load(Ordering::Acquire)
    }

    /// Whether it had one.
    pub(super) fn leave_place(&self) -> bool {
        self.has_place.swap(false, Ordering::AcqRel)
    }

    /// Its caller does nothing about it any more, or is stuck inside its loader: whoever waits may take over. A loader
    /// that is stuck keeps its place, since it runs.
    pub(super) fn give_up(&self, pod: &Pod) {
        self.given_up.store(true, Ordering::SeqCst);
        let runs = self.is_polled.load(Ordering::SeqCst);
        pod.loads.leave(self, !runs);
        pod.counters.loads_abandoned_total.bump();
        drop(lock(&self.guard).take());
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }
}

/// A caller's hold on its turn: dropped, the turn is over and a waiter may take over.
pub(super) struct Seat {
    pod: Arc<Pod>,
    pub(super) turn: Arc<Turn>,
}

impl Seat {
    pub(super) fn new(pod: &Arc<Pod>) -> Self {
        Self {
            pod: pod.clone(),
            turn: pod.loads.enter(Turn::new),
        }
    }

    /// Leads this flight, in place of an earlier one.
    pub(super) fn lead(&self, guard: Guard) -> Lead {
        let lead = Lead {
            token: guard.meta().token,
            flight: guard.flight().clone(),
        };
        let before = lock(&self.turn.guard).replace(guard);
        drop(before);
        if self.turn.is_given_up() {
            drop(self.take());
        }
        lead
    }

    /// The flight, unless the turn was given up.
    pub(super) fn take(&self) -> Option<Guard> {
        lock(&self.turn.guard).take()
    }

    /// Ends the flight with an outcome for all who wait.
    pub(super) fn land(&self, outcome: FillOutcome) {
        if let Some(guard) = self.take() {
            guard.complete(outcome);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // First out of the books: who is woken by the end of the flight may want the place.
        self.pod.loads.leave(&self.turn, true);
        if off!(Blame) && std::thread::panicking() {
            self.land(Err(Error::new(ErrorKind::Loader, "somebody panicked")));
        }
        drop(self.take());
    }
}

/// What a leader knows of its flight.
#[derive(Clone)]
pub(super) struct Lead {
    pub(super) token: FillToken,
    pub(super) flight: Arc<PodFlight>,
}

/// What those who wait for a load are given.
pub(super) fn fetched(value: Option<bytes::Bytes>, started: Timestamp) -> Fetched {
    Fetched {
        value,
        deadline: Timestamp::MAX,
        sent_at: started,
        tracked: false,
    }
}

thread_local! {
    /// The pods and flights whose loaders this thread is inside of.
    static INSIDE: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
}

/// A loader is being polled on this thread.
pub(super) struct Inside<'a>(&'a Turn);

impl<'a> Inside<'a> {
    /// `None`: the turn was given up, and another caller may be at it.
    pub(super) fn enter(seat: &'a Seat, flight: &Arc<PodFlight>) -> Option<Self> {
        seat.turn.is_polled.store(true, Ordering::SeqCst);
        // From here on it is popped again.
        let inside = Self(&seat.turn);
        INSIDE.with_borrow_mut(|all| all.push((address(&seat.pod), address(flight))));
        (!inside.0.is_given_up()).then_some(inside)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.is_polled.store(false, Ordering::SeqCst);
        INSIDE.with_borrow_mut(|all| {
            all.pop();
        });
    }
}

/// Whether this is called from inside the loader of that flight: it would wait for itself.
pub(super) fn is_inside(flight: &Arc<PodFlight>) -> bool {
    INSIDE.with_borrow(|all| all.iter().any(|(_, inside)| *inside == address(flight)))
}

/// Whether this is called from inside a loader of that pod: it runs on the place of that one, or loaders that need
/// each other could wait for places for ever.
pub(super) fn is_nested(pod: &Arc<Pod>) -> bool {
    INSIDE.with_borrow(|all| all.iter().any(|(inside, _)| *inside == address(pod)))
}

fn address<T>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of) as usize
}
