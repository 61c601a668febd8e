//! One caller's turn to load: the flight it leads, the place it holds, and until when it is believed to be at it.
//!
//! A future may be dropped, or just never be polled again. The first ends its turn at once; the second is found out by
//! the lane's clock, which gives the turn up: others may take over, and its place is free.

use std::cell::RefCell;
use std::sync::Arc;

use nearcache_l1::{Promise, PromiseFuture, Timestamp};

use crate::coherence::FillToken;
use crate::error::{Error, ErrorKind};
use crate::pod::{Fetched, FillOutcome, Pod, PodFlight};
use crate::request::Guard;
use crate::shim::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use std::sync::atomic::AtomicU8;

/// What the lane's clock must see of a turn.
pub(super) struct Turn {
    pub(super) number: u64,
    guard: Mutex<Option<Guard>>,
    /// Inside whose loader it is taken.
    pub(super) parent: Option<Arc<Turn>>,
    /// Microseconds.
    overdue_at: AtomicU64,
    /// Of [`Place`]; changes only under the lock of the pod's loads, as does the next.
    place: AtomicU8,
    /// A load inside its loader runs on its place.
    lends: AtomicBool,
    /// Its loader is being polled: it runs, whatever the time.
    is_polled: AtomicBool,
    given_up: AtomicBool,
    /// Wakes its caller when it was given up.
    ended: Promise<()>,
}

/// On whose place a turn runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    None,
    Own,
    /// That of the turn inside whose loader it is.
    Parents,
}

impl Turn {
    fn new(number: u64, parent: Option<Arc<Self>>) -> Self {
        Self {
            number,
            guard: Mutex::new(None),
            parent,
            overdue_at: AtomicU64::new(u64::MAX),
            place: AtomicU8::new(Place::None as u8),
            lends: AtomicBool::new(false),
            is_polled: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            ended: Promise::new(),
        }
    }

    pub(super) fn overdue_at(&self) -> Timestamp {
        Timestamp::from_micros(self.overdue_at.load(Ordering::Acquire))
    }

    pub(super) fn expect(&self, overdue_at: Timestamp) {
        self.overdue_at
            .store(overdue_at.as_micros(), Ordering::Release);
    }

    pub(super) fn take_place(&self, place: Place) {
        self.place.store(place as u8, Ordering::Release);
    }

    pub(super) fn has_place(&self) -> bool {
        self.place.load(Ordering::Acquire) != Place::None as u8
    }

    /// The one it had.
    pub(super) fn leave_place(&self) -> Place {
        match self.place.swap(Place::None as u8, Ordering::AcqRel) {
            1 => Place::Own,
            2 => Place::Parents,
            _ => Place::None,
        }
    }

    /// Lends its place to a load inside its loader; whether it was not lent yet.
    pub(super) fn lend(&self) -> bool {
        !self.lends.swap(true, Ordering::AcqRel)
    }

    pub(super) fn take_back(&self) {
        self.lends.store(false, Ordering::Release);
    }

    /// Its caller does nothing about it any more, or is stuck inside its loader: whoever waits may take over. A loader
    /// that is stuck keeps its place, since it runs.
    pub(super) fn give_up(&self, pod: &Pod) {
        self.given_up.store(true, Ordering::SeqCst);
        let runs = self.is_polled.load(Ordering::SeqCst);
        pod.loads.leave(self, !runs);
        pod.counters.loads_abandoned_total.bump();
        // Not under the lock: whoever is woken may drop the leader's future at once.
        let guard = lock(&self.guard).take();
        drop(guard);
        self.ended.complete(());
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
        let parent = innermost(pod);
        Self {
            pod: pod.clone(),
            turn: pod.loads.enter(|number| Turn::new(number, parent)),
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
    /// The turns whose loaders this thread is inside of, with their pods and flights.
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
        let one = (seat.turn.clone(), address(&seat.pod), address(flight));
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
fn innermost(pod: &Arc<Pod>) -> Option<Arc<Turn>> {
    INSIDE.with_borrow(|all| {
        let of_pod = |one: &&(Arc<Turn>, usize, usize)| one.1 == address(pod);
        all.iter().rfind(of_pod).map(|(turn, ..)| turn.clone())
    })
}

fn address<T>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of) as usize
}
