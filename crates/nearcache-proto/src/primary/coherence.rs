//! What every thread reads to judge a copy of one primary's: lease, history and flush count.
//!
//! Written by its lane, read by every hit. Knows no entry and no clock; never waits.
//!
//! Concurrency: all fields are independent atomics. The two orders that the proofs need:
//! a *reader* finds the entry and, under the same lock of its shard, loads the lease, then the flush count, then the
//! clock, each an acquire; a *writer* applies every push it has received before it stores a lease, and stores a
//! new history before a lease of it. To apply a push takes the lock of the entry: a lease that proves a later push to
//! have been applied cannot be there while a reader holds that lock and the entry still lies under it. (For a kept
//! reply it is the lock of its head.) Writers of lease and history hold `writer`; readers never do.
//! An epoch of a key is bumped before the entry's lock is taken.

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::Timestamp;

use crate::shim::{AtomicU32, AtomicU64, Mutex, Ordering, lock};

/// How many past histories are remembered for `serve_stale`.
#[cfg(not(nearcache_loom))]
const PAST: usize = 64;
#[cfg(nearcache_loom)]
const PAST: usize = 1;

/// The lease packs a history (20 bits) and a time (44 bits of microseconds, 203 days) into one word,
/// so that a reader can never combine the history of one lease with the time of another.
const TIME_BITS: u32 = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const HISTORY_MASK: u32 = (1 << (64 - TIME_BITS)) - 1;

/// Of history 0, which is never current: matches no entry.
const NO_LEASE: u64 = 0;

/// The permission to serve hits: on which history, and when the heartbeat that proved it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneLease(u64);

impl LaneLease {
    fn new(history: u32, sent_at: Timestamp) -> Self {
        Self((u64::from(history & HISTORY_MASK) << TIME_BITS) | (sent_at.as_micros() & TIME_MASK))
    }

    /// The history it holds for.
    pub(crate) fn history(self) -> u32 {
        (self.0 >> TIME_BITS) as u32
    }

    /// How long ago its heartbeat was sent.
    pub(crate) fn age(self, now: Timestamp) -> Duration {
        Duration::from_micros(now.as_micros().wrapping_sub(self.0) & TIME_MASK)
    }
}

/// The numbers of histories, one counter for all primaries of a pod: no stamp of one primary matches another's lease.
pub(crate) struct Histories(AtomicU32);

impl Histories {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(1))
    }

    /// Another one; 0 stays unused when the number wraps.
    fn next(&self) -> u32 {
        match self.0.fetch_add(1, Ordering::Relaxed) & HISTORY_MASK {
            0 => self.0.fetch_add(1, Ordering::Relaxed) & HISTORY_MASK,
            next => next,
        }
    }
}

/// The shared state of coherence of one pod with one primary.
pub(crate) struct Coherence {
    histories: Arc<Histories>,
    lease: AtomicU64,
    history: AtomicU32,
    flush: AtomicU32,
    /// Highest number of a lane batch that was answered.
    answered: AtomicU64,
    /// The last lease of past histories, by history modulo their number.
    past: Box<[AtomicU64]>,
    writer: Mutex<Written>,
}

/// What was last stored into the atomics of the same names. Their writers do not load them: what a schedule explorer sees of
/// a store is then only whom it may be in the way of.
struct Written {
    history: u32,
    lease: LaneLease,
}

impl Coherence {
    pub(crate) fn new(histories: Arc<Histories>) -> Self {
        let history = histories.next();
        Self {
            histories,
            lease: AtomicU64::new(NO_LEASE),
            history: AtomicU32::new(history),
            flush: AtomicU32::new(0),
            answered: AtomicU64::new(0),
            past: (0..PAST).map(|_| AtomicU64::new(0)).collect(),
            writer: Mutex::new(Written {
                history,
                lease: LaneLease(NO_LEASE),
            }),
        }
    }

    /// The lease; to be loaded under the lock of the entry that it is to judge.
    #[inline]
    pub(crate) fn lease(&self) -> LaneLease {
        LaneLease(self.lease.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn flush(&self) -> u32 {
        self.flush.load(Ordering::Acquire)
    }

    pub(crate) fn history(&self) -> u32 {
        self.history.load(Ordering::Acquire)
    }

    /// Everything filled so far is dead, under every policy.
    pub(crate) fn bump_flush(&self) {
        self.flush.fetch_add(1, Ordering::AcqRel);
    }

    /// The lane's life ended: nothing filled so far is fresh any more, from now on.
    pub(crate) fn bump_history(&self) {
        let mut written = lock(&self.writer);
        let Written {
            history: old,
            lease,
        } = *written;
        if lease.history() == old {
            self.past[old as usize % self.past.len()].store(lease.0, Ordering::Release);
        }
        let next = self.histories.next();
        self.history.store(next, Ordering::Release);
        // The old lease may have time left: it must not serve what this end made unsure.
        self.lease.store(NO_LEASE, Ordering::Release);
        *written = Written {
            history: next,
            lease: LaneLease(NO_LEASE),
        };
    }

    /// A heartbeat sent at `sent_at` on `history` was answered by a primary. Renews nothing when that
    /// history is over.
    pub(crate) fn renew(&self, history: u32, sent_at: Timestamp) {
        let mut written = lock(&self.writer);
        if history != written.history {
            return;
        }
        let current = written.lease;
        let newer = current.history() != history
            || sent_at.as_micros().wrapping_sub(current.0) & TIME_MASK < TIME_MASK / 2;
        if newer {
            written.lease = LaneLease::new(history, sent_at);
            self.lease.store(written.lease.0, Ordering::Release);
        }
    }

    /// The last lease under which entries of `history` were fresh, if it is still known.
    pub(crate) fn last_lease_of(&self, history: u32) -> Option<LaneLease> {
        let current = self.lease();
        if current.history() == history {
            return Some(current);
        }
        let past = LaneLease(self.past[history as usize % self.past.len()].load(Ordering::Acquire));
        (past.history() == history).then_some(past)
    }

    /// Batch `seq` was answered; stored before its caller resumes.
    pub(crate) fn note_answered(&self, seq: u64) {
        self.answered.fetch_max(seq, Ordering::AcqRel);
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn coherence() -> Coherence {
        Coherence::new(Arc::new(Histories::new()))
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(ms * MS)
    }

    #[test]
    fn c2_a_lease_is_counted_from_when_its_heartbeat_was_sent() {
        let coherence = coherence();
        coherence.renew(1, at(100));
        assert_eq!(coherence.lease().history(), 1);
        assert_eq!(coherence.lease().age(at(350)), Duration::from_millis(250));
    }

    #[test]
    fn c2_a_heartbeat_of_an_old_history_renews_nothing() {
        let coherence = coherence();
        coherence.renew(1, at(100));
        coherence.bump_history();
        assert_eq!(coherence.lease().history(), 0, "no lease at once");
        coherence.renew(1, at(200));
        assert_eq!(coherence.lease().history(), 0);
        assert_eq!(coherence.history(), 2);
    }

    #[test]
    fn c2_a_late_heartbeat_does_not_shorten_the_lease() {
        let coherence = coherence();
        coherence.renew(1, at(300));
        coherence.renew(1, at(200));
        assert_eq!(coherence.lease().age(at(300)), Duration::ZERO);
    }

    #[test]
    fn the_clock_may_pass_the_width_of_a_lease() {
        let coherence = coherence();
        let late = Timestamp::from_micros((1 << TIME_BITS) - 5);
        coherence.renew(1, late);
        let now = Timestamp::from_micros((1 << TIME_BITS) + 7);
        assert_eq!(coherence.lease().age(now), Duration::from_micros(12));
        coherence.renew(1, now);
        assert_eq!(coherence.lease().age(now), Duration::ZERO);
    }

    #[test]
    fn c6_history_zero_is_never_current() {
        let histories = Histories(AtomicU32::new(HISTORY_MASK));
        let coherence = Coherence::new(Arc::new(histories));
        assert_eq!(coherence.history(), HISTORY_MASK);
        coherence.bump_history();
        assert_eq!(coherence.history(), 1);
    }

    #[test]
    fn the_last_lease_of_a_past_history_is_remembered_for_a_while() {
        let coherence = coherence();
        coherence.renew(1, at(100));
        coherence.bump_history();
        coherence.renew(2, at(900));
        let past = coherence.last_lease_of(1).expect("one history back");
        assert_eq!(past.age(at(150)), Duration::from_millis(50));
        for _ in 0..PAST {
            coherence.renew(coherence.history(), at(1000));
            coherence.bump_history();
        }
        assert_eq!(coherence.last_lease_of(1), None);
    }

    #[test]
    fn c2_no_two_primaries_share_a_history() {
        let histories = Arc::new(Histories::new());
        let (one, other) = (Coherence::new(histories.clone()), Coherence::new(histories));
        assert_ne!(one.history(), other.history());
        one.bump_history();
        other.bump_history();
        assert_ne!(one.history(), other.history());
    }
}
