//! One caller's hold on its turn, and which turns the loaders that this thread is inside of have.

use std::cell::RefCell;
use std::sync::Arc;

use nearcache_l1::{PromiseFuture, Timestamp};

use super::table::Loads;
use super::turn::Turn;
use crate::epochs::FillToken;
use crate::error::{Error, ErrorKind};
use crate::fill::{Fetched, FillOutcome, Guard, PodFlight};
use crate::shim::{Ordering, lock};

/// A caller's hold on its turn: dropped, the turn is over and a waiter may take over.
pub(super) struct Seat {
    loads: Arc<Loads>,
    pub(super) turn: Arc<Turn>,
}

impl Seat {
    pub(super) fn new(loads: &Arc<Loads>) -> Self {
        let parent = innermost(loads);
        Self {
            loads: loads.clone(),
            turn: loads.enter(|number| Turn::new(number, parent)),
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

    /// Resolves when the turn is given up.
    pub(super) fn ended(&self) -> PromiseFuture<()> {
        self.turn.ended.future()
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
        self.loads.leave(&self.turn, true);
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
    /// The turns whose loaders this thread is inside of, with the loads of their pods and their flights.
    static INSIDE: RefCell<Vec<(Arc<Turn>, usize, usize)>> = const { RefCell::new(Vec::new()) };
}

/// A loader is being polled on this thread.
pub(super) struct Inside<'a>(&'a Turn);

impl<'a> Inside<'a> {
    /// `None`: the turn was given up, and another caller may be at it.
    pub(super) fn enter(seat: &'a Seat, flight: &Arc<PodFlight>) -> Option<Self> {
        seat.turn.is_polled.store(true, Ordering::SeqCst);
        // From here on it is popped again.
        let inside = Self(&seat.turn);
        let one = (seat.turn.clone(), address(&seat.loads), address(flight));
        INSIDE.with_borrow_mut(|all| all.push(one));
        (!inside.0.is_given_up()).then_some(inside)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.is_polled.store(false, Ordering::SeqCst);
        let last = INSIDE.with_borrow_mut(Vec::pop);
        drop(last);
    }
}

/// Whether this is called from inside the loader of that flight: it would wait for itself.
pub(super) fn is_inside(flight: &Arc<PodFlight>) -> bool {
    INSIDE.with_borrow(|all| all.iter().any(|(.., inside)| *inside == address(flight)))
}

/// The turn of that pod inside whose loader this is called.
fn innermost(loads: &Arc<Loads>) -> Option<Arc<Turn>> {
    INSIDE.with_borrow(|all| {
        let of_pod = |one: &&(Arc<Turn>, usize, usize)| one.1 == address(loads);
        all.iter().rfind(of_pod).map(|(turn, ..)| turn.clone())
    })
}

fn address<T>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of) as usize
}
