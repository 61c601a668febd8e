//! A pod's clock and inbox: the virtual time that all pods share, and what waits for this pod's lane.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearcache_l1::Timestamp;
use nearcache_proto::{Io, Request};

/// The virtual clock, in microseconds; clones show the same time.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

/// When every simulation begins: late enough that time 0 is long ago.
const BEGINNING_US: u64 = 10_000_000;

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(BEGINNING_US)))
    }

    /// Sets it to so long after the beginning.
    pub(crate) fn set(&self, since_beginning_us: u64) {
        let now = BEGINNING_US.saturating_add(since_beginning_us);
        self.0.store(now, Ordering::Relaxed);
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
