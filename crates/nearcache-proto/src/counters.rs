//! What the pod counts. Hits are counted in stripes, since every thread writes them.
//!
//! Counters order nothing and are never part of a decision.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

pub(crate) const STRIPES: usize = 16;

#[repr(align(64))]
#[derive(Default)]
struct Stripe(AtomicU64);

/// A counter that many threads bump without sharing a cache line.
#[derive(Default)]
pub(crate) struct Striped([Stripe; STRIPES]);

impl Striped {
    /// Counts one more; returns the stripe, and its number in it.
    #[inline]
    pub(crate) fn bump(&self) -> (usize, u64) {
        let stripe = stripe();
        (stripe, self.0[stripe].0.fetch_add(1, Relaxed))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|s| s.0.load(Relaxed)).sum()
    }
}

/// This thread's stripe: handed out in turn.
#[inline]
pub(crate) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Relaxed) % STRIPES);
        }
        mine.get()
    })
}

/// A plain counter.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn bump(&self) {
        self.add(1);
    }

    /// Counts one more; returns its number.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn raise_to(&self, n: u64) {
        self.0.fetch_max(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// All counters of a pod.
        #[derive(Default)]
        pub(crate) struct Counters {
            pub(crate) hits: Striped,
            $(pub(crate) $name: Counter,)*
        }

        /// What a pod did since it started: totals, and the most a lease ever aged.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Totals {
            /// Reads served fresh from L1.
            pub hits_total: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Totals {
            /// All of them with their names.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![("hits_total", self.hits_total), $((stringify!($name), self.$name),)*]
            }
        }

        impl Counters {
            pub(crate) fn totals(&self) -> Totals {
                Totals { hits_total: self.hits.get(), $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Reads that found nothing fresh in L1.
    misses_total,
    /// Misses that joined a flight another caller had started.
    joined_total,
    /// Reads that waited for a heartbeat because the lease had run out.
    lapsed_total,
    /// Reads served stale because their policy allowed it.
    stale_total,
    /// Reads refused because their policy was `error`.
    unproven_total,
    /// Reads of keys sent to L2, those ahead of demand included.
    fills_total,
    /// Keys fetched by the warm start that were not kept because L1 had no free room for them.
    warm_no_room_total,
    /// Bytes of values read from L2.
    fill_bytes_total,
    /// Fills whose value was not kept because the key was invalidated meanwhile.
    fills_refused_total,
    /// Reads of L2 whose value was not kept because it is too large: for `max_inline`, `max_entry`, or what room there is.
    oversize_total,
    /// First reads not kept because of `admit_after`.
    not_admitted_total,
    /// Reads not kept because their key begins with a prefix in `bypass`.
    bypassed_total,
    /// Fills that L2 answered with an error or not at all.
    fill_errors_total,
    /// Keys invalidated by a push.
    invalidations_total,
    /// Pushes that invalidated everything.
    flushes_total,
    /// Times the lane was lost.
    disconnects_total,
    /// Times the lane came up.
    connects_total,
    /// Attempts to connect that failed.
    connect_failures_total,
    /// Times tracking was refused, lost or not proven.
    degraded_total,
    /// Heartbeats sent.
    heartbeats_total,
    /// Heartbeats answered by a server that is not a primary.
    demoted_total,
    /// Writes sent.
    writes_total,
    /// Writes that failed.
    write_errors_total,
    /// Loaders run.
    loads_total,
    /// Loaders that failed or panicked.
    load_errors_total,
    /// Loaded values that could not be written to L2.
    load_write_errors_total,
    /// Loaders run although L2 did not answer.
    loads_l2_down_total,
    /// Calls answered by what another caller's loader had returned before, while L2 could not have it.
    loads_lent_total,
    /// Values lent that there was no room to remember: they leave L1 by eviction.
    lent_not_remembered_total,
    /// Loads that waited for a place among `max_loads`.
    loads_queued_total,
    /// Calls that gave up waiting for a place or for another caller's loader: see `load_timeout`.
    load_waits_expired_total,
    /// Loaders ended by `load_timeout`.
    load_timeouts_total,
    /// Loads given up because their caller was stuck in its loader, or no longer polled its future.
    loads_abandoned_total,
    /// Values found in L2 of which a caller with a loader could make nothing.
    undecodable_total,
    /// Those of them that were replaced.
    values_replaced_total,
    /// Fences sent for callers.
    fences_total,
    /// Slots fetched ahead of demand: by the warm start, by topping up, and after somebody's change.
    ahead_total,
    /// Bytes of their values.
    ahead_bytes_total,
    /// Those of them that were read afterwards, as far as reads are sampled.
    ahead_used_total,
    /// Bytes of their values.
    ahead_used_bytes_total,
    /// Those of them that left L1 unread.
    ahead_wasted_total,
    /// Bytes of their values.
    ahead_wasted_bytes_total,
    /// Changed keys not fetched again for want of allowance.
    refetch_skipped_total,
    /// Changed keys forgotten because too many waited to be fetched again.
    refetch_dropped_total,
    /// Times this pod published what it reads.
    published_total,
    /// Bytes of that.
    published_bytes_total,
    /// Times this pod merged what the fleet published.
    merges_total,
    /// Bytes read for that.
    merge_bytes_total,
    /// Microseconds that took, waiting for L2 included.
    merge_us_total,
    /// Bytes of manifests read and written.
    manifest_bytes_total,
    /// Times this pod looked what the fleet reads.
    looks_total,
    /// Times it put off publishing or looking, since that would have cost L2 more than a small part of what the pod reads
    /// from it.
    exchange_deferred_total,
    /// Requests of the fleet's statistics that L2 did not answer or refused.
    exchange_errors_total,
    /// Blobs, manifests and snapshots that were of no use: corrupt, of a later version, or too large.
    ignored_total,
    /// 1 as soon as it is certain that others under this service's name read nothing that this pod reads.
    strangers_total,
    /// Requests refused because a queue was full.
    rejected_total,
    /// Requests that L2 did not answer in time.
    timeouts_total,
    /// Microseconds: the oldest lease a hit was ever served under.
    lease_age_max_us,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_add_up() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..1000).for_each(|_| {
                        counters.hits.bump();
                    })
                });
            }
        });
        assert_eq!(counters.totals().hits_total, 4000);
    }
}
