//! A pod's clock, timer and inbox: the virtual time that all pods share, and what waits for this pod's lane.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use nearcache_l1::Timestamp;
use nearcache_proto::warm::Timer;
use nearcache_proto::{BoxFuture, Io, Request};

/// The virtual clock, in microseconds; clones show the same time, but for their skews.
#[derive(Clone)]
pub(crate) struct Clock {
    world: Arc<AtomicU64>,
    skew: Skew,
}

/// How far the clock of a pod is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skew {
    /// Microseconds that it shows too much when the simulation begins.
    pub(crate) ahead_us: i64,
    /// Microseconds that it gains in a second.
    pub(crate) gains_us: i64,
}

/// When every simulation begins: late enough that time 0 is long ago.
const BEGINNING_US: u64 = 10_000_000;

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            world: Arc::new(AtomicU64::new(BEGINNING_US)),
            skew: Skew::default(),
        }
    }

    /// The clock of a pod that is off by so much.
    #[cfg(test)]
    pub(crate) fn skewed(&self, skew: Skew) -> Self {
        let world = self.world.clone();
        Self { world, skew }
    }

    /// The time so long after the beginning.
    pub(crate) fn at(since_beginning_us: u64) -> Timestamp {
        Timestamp::from_micros(BEGINNING_US.saturating_add(since_beginning_us))
    }

    /// Goes on to `at`, if that is later.
    pub(crate) fn go_on(&self, at: Timestamp) {
        self.world.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    /// What this clock shows.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.shown(self.world.load(Ordering::Relaxed)))
    }

    /// What a clock without a skew shows.
    #[inline]
    pub(crate) fn world(&self) -> Timestamp {
        Timestamp::from_micros(self.world.load(Ordering::Relaxed))
    }

    #[inline]
    fn shown(&self, world_us: u64) -> u64 {
        let Skew { ahead_us, gains_us } = self.skew;
        if (ahead_us, gains_us) == (0, 0) {
            return world_us;
        }
        let elapsed_us = world_us.saturating_sub(BEGINNING_US) as i64;
        let gained = elapsed_us.saturating_mul(gains_us) / 1_000_000;
        world_us.saturating_add_signed(ahead_us + gained)
    }

    /// When this clock shows `at`, or a little later.
    pub(crate) fn when(&self, at: Timestamp) -> Timestamp {
        let at = at.as_micros();
        let Skew { ahead_us, gains_us } = self.skew;
        let shown = at.saturating_add_signed(-ahead_us);
        let elapsed = shown.saturating_sub(BEGINNING_US) as f64;
        let since = elapsed / (1.0 + gains_us as f64 / 1e6);
        let mut world = BEGINNING_US + since as u64;
        while self.shown(world) < at {
            world += 1;
        }
        Timestamp::from_micros(world)
    }
}

pub(crate) struct SimIo {
    clock: Clock,
    inbox: Mutex<Vec<Request>>,
}

impl SimIo {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            inbox: Mutex::default(),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What was asked since the last call, appended to `requests`.
    pub(crate) fn take(&self, requests: &mut Vec<Request>) {
        requests.append(&mut self.inbox());
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<Request>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Io for SimIo {
    #[inline]
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn submit(&self, request: Request) {
        self.inbox().push(request);
    }
}

/// Wakes nobody: whoever polls a task asks it afterwards when to come back.
pub(crate) struct SimTimer {
    clock: Clock,
    due: Arc<AtomicU64>,
}

impl SimTimer {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            due: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// When the task that was polled since the last call wants to go on.
    pub(crate) fn take_due(&self) -> Option<Timestamp> {
        match self.due.swap(u64::MAX, Ordering::Relaxed) {
            u64::MAX => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }
}

impl Timer for SimTimer {
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()> {
        let (clock, due) = (self.clock.clone(), self.due.clone());
        Box::pin(std::future::poll_fn(move |_| {
            if clock.now() >= at {
                return Poll::Ready(());
            }
            due.fetch_min(at.as_micros(), Ordering::Relaxed);
            Poll::Pending
        }))
    }
}
