//! One caller's turn to load: the flight it leads, the place it holds, and until when it is believed to be at it.
//!
//! A future may be dropped, or just never be polled again. The first ends its turn at once; the second is found out by
//! the lane's clock, which gives the turn up: others may take over, and its place is free.

use std::sync::Arc;

use nearcache_l1::{Promise, Timestamp};

use crate::fill::Guard;
use crate::shim::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use std::sync::atomic::AtomicU8;

/// What the lane's clock must see of a turn.
pub(super) struct Turn {
    pub(super) number: u64,
    pub(super) guard: Mutex<Option<Guard>>,
    /// Inside whose loader it is taken.
    pub(super) parent: Option<Arc<Turn>>,
    /// Microseconds.
    overdue_at: AtomicU64,
    /// Of [`Place`]; changes only under the lock of the pod's loads, as does the next.
    place: AtomicU8,
    /// A load inside its loader runs on its place.
    lends: AtomicBool,
    /// Its loader is being polled: it runs, whatever the time.
    pub(super) is_polled: AtomicBool,
    given_up: AtomicBool,
    /// Wakes its caller when it was given up.
    pub(super) ended: Promise<()>,
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
    pub(super) fn new(number: u64, parent: Option<Arc<Self>>) -> Self {
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
    /// that is stuck keeps its place, since it runs: `leave` is told whether the place is free.
    pub(super) fn give_up(&self, leave: impl FnOnce(&Self, bool)) {
        self.given_up.store(true, Ordering::SeqCst);
        let runs = self.is_polled.load(Ordering::SeqCst);
        leave(self, !runs);
        // Not under the lock: whoever is woken may drop the leader's future at once.
        let guard = lock(&self.guard).take();
        drop(guard);
        self.ended.complete(());
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }
}
