//! A pod's clock, timer and inbox: the virtual time that all pods share, and what waits for this pod's lane.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use nearcache_l1::Timestamp;
use nearcache_proto::warm::Timer;
use nearcache_proto::{BoxFuture, Io, Request};

/// The virtual clock, in microseconds; clones show the same time.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

/// When every simulation begins: late enough that time 0 is long ago.
const BEGINNING_US: u64 = 10_000_000;

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(BEGINNING_US)))
    }

    /// The time so long after the beginning.
    pub(crate) fn at(since_beginning_us: u64) -> Timestamp {
        Timestamp::from_micros(BEGINNING_US.saturating_add(since_beginning_us))
    }

    /// Goes on to `at`, if that is later.
    pub(crate) fn go_on(&self, at: Timestamp) {
        self.0.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
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
