//! How ready the pod is, what its background has to tell, and what callers tell it.

use std::sync::Arc;

use nearcache_l1::PromiseFuture;

use super::Pod;
use crate::readiness::{Phase, Readiness, WarmReport};
use crate::shim::lock;
use crate::working_set::ReadTrace;

impl Pod {
    /// Whether this pod should be sent requests, and why.
    pub fn readiness(&self) -> Readiness {
        self.warmth.readiness()
    }

    /// Resolves once it should.
    pub fn until_ready(&self) -> PromiseFuture<()> {
        self.warmth.ready.future()
    }

    /// One read in so many is counted, for as many: the busier the pod, the rarer.
    pub fn sampling_period(&self) -> u32 {
        self.sampler.period()
    }

    /// Adds to a trace what is read from now on, until nobody else holds it; false while another is being made.
    pub fn begin_trace(&self, trace: &Arc<ReadTrace>) -> bool {
        let mut current = lock(&self.warmth.trace);
        let free = current.strong_count() == 0;
        if free {
            *current = Arc::downgrade(trace);
        }
        free
    }

    /// What the warm start did; `None` until it has ended.
    pub fn warm_report(&self) -> Option<WarmReport> {
        self.warmth.report()
    }

    /// Lets the [background](crate::warm::Background) publish once more and end.
    pub fn end_background(&self) {
        self.warmth.close();
    }

    /// What the background has to tell the operator since this was called last.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warmth.take_warnings()
    }

    /// This pod has no background: it is ready, for this reason.
    pub fn ready_without_background(&self, reason: &str) {
        self.warmth.set(|readiness| {
            readiness.ready = true;
            readiness.phase = Phase::Ready;
            readiness.reason = reason.to_owned();
        });
    }
}
