//! What the pod's clock may count: the contract allows it to be wrong by one per cent, and nothing is to live longer for that.

use std::time::Duration;

use nearcache_l1::{Hit, Timestamp};

use super::Pod;

/// What a clock that is slow by one part in a hundred leaves out of a time.
fn slack(time: Duration, parts: u32) -> Duration {
    if off!(Rate) {
        return Duration::ZERO;
    }
    time / parts
}

/// A time of the server's or the contract's, as a clock may count it that is slow.
pub(crate) fn cut(time: Duration) -> Duration {
    time - slack(time, 100)
}

/// A time that this clock has measured as it may be at most: a slow one showed 99 of a hundred parts.
fn stretched(time: Duration) -> Duration {
    time.saturating_add(slack(time, 99))
}

impl Pod {
    /// How stale an entry may be at most: the time since it was last known to be fresh, by a clock that may be slow.
    pub(crate) fn staleness(&self, hit: &Hit, now: Timestamp) -> Duration {
        stretched(self.since_fresh(hit, now))
    }

    fn since_fresh(&self, hit: &Hit, now: Timestamp) -> Duration {
        let since_fill = now.saturating_since(hit.filled_at);
        // What may have been read untracked is proven fresh by no heartbeat.
        let untracked_end = hit
            .filled_at
            .saturating_add(cut(self.config.untracked_life));
        if hit.deadline <= untracked_end {
            return since_fill;
        }
        match self
            .route
            .by_stamp(hit.stamp)
            .coherence
            .last_lease_of(hit.stamp.history)
        {
            Some(lease) => since_fill.min(lease.age(now)),
            None => since_fill,
        }
    }
}
