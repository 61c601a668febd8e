//! One process's copy of the truth: the store, its coherence, and the rule by which a copy may be served.
//!
//! Shared by all callers and the lane. Sends nothing and waits for nothing.
//!
//! Concurrency: see [`Coherence`] for the order of loads. `renewal` is held for a few instructions
//! and never together with a lock of the store.

mod fetch;
mod heads;
mod news;
mod rate;
mod readiness;
mod reads;

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::{EntryInfo, Hit, Key, Promise, Stamp, Store, StoreConfig, Timestamp};

use crate::admission::Admission;
use crate::coherence::{Coherence, LaneLease, MOST_EPOCHS};
use crate::config::PodConfig;
use crate::counters::{Counters, Totals};
use crate::error::{Error, ErrorKind};
use crate::fill::{FillMeta, FillOutcome};
use crate::load::table::Loads;
use crate::op::Traits;
use crate::readiness::Warmth;
use crate::resp::DoubleText;
use crate::shim::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::slots;
use crate::working_set::Sampler;

pub(crate) use rate::cut;

/// How a resident entry may be used.
pub(crate) enum Verdict {
    /// Reflects every write before `now - L`.
    Fresh,
    /// Would be fresh if the lease had not run out: one heartbeat decides.
    Lapsed,
    /// Of a history that is over: only for callers that accept stale values.
    Old,
    /// Flushed or expired: for nobody.
    Dead,
}

/// How the lane is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneState {
    /// Up, and invalidations are proven to arrive.
    Up,
    /// Up, but invalidations cannot be relied upon, for this reason: entries live for a bounded time, or nothing is kept.
    Degraded(String),
    /// Down, for this reason: resident entries follow the read policy.
    Down(String),
    /// Shut down.
    Closed,
}

/// A resident entry, and what it is worth.
pub(crate) struct Found {
    pub(crate) hit: Hit,
    pub(crate) verdict: Verdict,
    /// By which it was judged.
    pub(crate) lease: LaneLease,
    /// When.
    pub(crate) now: Timestamp,
}

impl Found {
    /// Whether it is of a lease whose heartbeat was sent after `since`.
    pub(crate) fn is_of_lease_since(&self, since: Timestamp) -> bool {
        self.lease.history() == self.hit.stamp.history
            && self.lease.age(self.now) <= self.now.saturating_since(since)
    }
}

pub(crate) struct Renewal {
    /// Ends with the next heartbeat's answer.
    promise: Promise<Result<(), Error>>,
    requested: bool,
}

/// One pod: its L1 and what it knows about L2.
pub struct Pod {
    pub(crate) store: Store<FillMeta, FillOutcome>,
    pub(crate) coherence: Coherence,
    pub(crate) config: PodConfig,
    pub(crate) counters: Counters,
    /// L less one per cent for the error of the clock's rate.
    lease_time: Duration,
    /// Number of the connection whose history is current; 0: none.
    connection: AtomicU64,
    /// Whether the current connection reports changes.
    tracked: AtomicBool,
    /// Whether the server knows expiries of single hash fields.
    field_expiry: AtomicBool,
    /// How the server prints doubles.
    doubles: Mutex<DoubleText>,
    renewal: Mutex<Renewal>,
    state: Mutex<LaneState>,
    /// Which slots were read, of late.
    pub(crate) sampler: Sampler,
    /// Whether that is kept.
    pub(crate) counting: AtomicBool,
    pub(crate) warmth: Warmth,
    pub(crate) loads: Arc<Loads>,
    pub(crate) admission: Arc<Admission>,
    /// Last number given to a session; 0 is the side connection for large values.
    sessions: AtomicU64,
    /// Recently missed keys, for `admit_after = 2`.
    seen: Box<[AtomicU32]>,
}

impl Pod {
    /// A pod with an empty store.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the store cannot be built, as with a capacity of zero.
    pub fn new(mut store: StoreConfig, config: PodConfig) -> Result<Self, Error> {
        // Tables of four bytes an item, a sixteenth of the budget each at most, and counted in it.
        let table = (store.capacity / 64).clamp(1, MOST_EPOCHS);
        let seen = if config.admit_after > 1 { table } else { 0 };
        let samples = match store.weigher {
            None => (store.capacity / 512).clamp(4 << 10, 512 << 10),
            // Units that are not bytes say nothing about how much is read.
            Some(_) => 64 << 10,
        };
        let loads = (store.capacity / 256).clamp(1 << 10, 128 << 10);
        if store.weigher.is_none() {
            let tables = (table + seen) * 4 + samples + config.statistics_bytes + loads * 2;
            store.capacity -= tables.min(store.capacity / 4);
        }
        let store = Store::new(store)
            .map_err(|e| Error::with_source(ErrorKind::Configuration, e.to_string(), e))?;
        Ok(Self {
            store,
            coherence: Coherence::new(table),
            lease_time: cut(config.max_staleness),
            loads: Loads::new(config.max_loads, loads),
            admission: Admission::new(config.queue_requests),
            config,
            counters: Counters::default(),
            connection: AtomicU64::new(0),
            tracked: AtomicBool::new(false),
            field_expiry: AtomicBool::new(true),
            doubles: Mutex::new(DoubleText::default()),
            renewal: Mutex::new(Renewal {
                promise: Promise::new(),
                requested: false,
            }),
            state: Mutex::new(LaneState::Down("not connected yet".to_owned())),
            sampler: Sampler::new(samples),
            counting: AtomicBool::new(false),
            warmth: Warmth::default(),
            sessions: AtomicU64::new(0),
            seen: (0..seen).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// The hit path: the entry and, under the same lock, the lease; then the flush count, then the clock. The order is
    /// what makes it right, see [`Coherence`].
    #[inline]
    pub(crate) fn resident(
        &self,
        key: Key<'_>,
        clock: impl FnOnce() -> Timestamp,
    ) -> Option<Found> {
        if off!(LeaseAfterUnlock) {
            return self.resident_lease_after_unlock(key, clock);
        }
        let (hit, lease) = self.store.get_with(key, |stamp| self.lease_of(stamp))?;
        Some(self.found(hit, lease, clock))
    }

    /// The hit path in an order that serves values of any age; the first reading of the clock is where the
    /// caller may be stopped.
    #[cold]
    fn resident_lease_after_unlock(
        &self,
        key: Key<'_>,
        clock: impl FnOnce() -> Timestamp,
    ) -> Option<Found> {
        let hit = self.store.get(key)?;
        let now = clock();
        let lease = self.lease_of(hit.stamp);
        Some(self.found(hit, lease, || now))
    }

    /// The lease of the lane that an entry came over; to be loaded under the lock of the entry, or of its head.
    #[inline]
    pub(crate) fn lease_of(&self, _stamp: Stamp) -> LaneLease {
        self.coherence.lease()
    }

    /// Judges an entry whose lease was loaded while it was there.
    #[inline]
    pub(crate) fn found(
        &self,
        hit: Hit,
        lease: LaneLease,
        clock: impl FnOnce() -> Timestamp,
    ) -> Found {
        let (verdict, now) = self.judge(lease, hit.stamp, hit.deadline, clock);
        Found {
            hit,
            verdict,
            lease,
            now,
        }
    }

    /// Judges an entry by a lease that was loaded while it was there; loads the flush count, then the clock.
    #[inline]
    pub(crate) fn judge(
        &self,
        lease: LaneLease,
        stamp: Stamp,
        deadline: Timestamp,
        clock: impl FnOnce() -> Timestamp,
    ) -> (Verdict, Timestamp) {
        let flush = self.coherence.flush();
        let now = clock();
        if off!(Lease) {
            return (Verdict::Fresh, now);
        }
        let of_lease = stamp.history == lease.history() || off!(SharedLease);
        let verdict = if stamp.flush != flush || now >= deadline {
            Verdict::Dead
        } else if of_lease && lease.age(now) < self.lease_time {
            Verdict::Fresh
        } else if stamp.history == self.coherence.history() {
            match off!(Lapsed) {
                true => Verdict::Fresh,
                false => Verdict::Lapsed,
            }
        } else if off!(OldHistory) {
            Verdict::Fresh
        } else {
            Verdict::Old
        };
        (verdict, now)
    }

    /// L less what the clock may be wrong.
    pub(crate) fn lease_time(&self) -> Duration {
        self.lease_time
    }

    /// Whether the lease holds now, so that freshness can be proven at all.
    pub(crate) fn lease_holds(&self, now: Timestamp) -> bool {
        let lease = self.coherence.lease();
        lease.history() == self.coherence.history() && lease.age(now) < self.lease_time
    }

    /// How long ago the current lease's heartbeat was sent.
    pub fn lease_age(&self, now: Timestamp) -> Option<Duration> {
        let lease = self.coherence.lease();
        (lease.history() == self.coherence.history()).then(|| lease.age(now))
    }

    /// What the token of a fetch of this key would be now: it changes with each invalidation of the key, each flush and
    /// each loss of history.
    pub fn token(&self, key: &[u8]) -> [u32; 3] {
        let token = self.coherence.token(key);
        [token.epoch, token.stamp.history, token.stamp.flush]
    }

    /// The promise of the next heartbeat's answer, and whether the caller must ask for one.
    pub(crate) fn want_renewal(&self) -> (Promise<Result<(), Error>>, bool) {
        let mut renewal = lock(&self.renewal);
        let first = !renewal.requested;
        renewal.requested = true;
        (renewal.promise.clone(), first)
    }

    /// Ends the wait of everyone who wanted a renewal.
    pub(crate) fn end_renewal(&self, result: Result<(), Error>) {
        let done = {
            let mut renewal = lock(&self.renewal);
            renewal.requested = false;
            std::mem::replace(&mut renewal.promise, Promise::new())
        };
        done.complete(result);
    }

    /// The lane is about to open connection number `connection`: its events count from now on.
    pub(crate) fn connection_opened(&self, connection: u64) {
        self.connection.store(connection, Ordering::Release);
    }

    /// Whether `connection` is the one whose history is current.
    pub(crate) fn is_current(&self, connection: u64) -> bool {
        self.connection.load(Ordering::Acquire) == connection
    }

    /// Ends the current history, once per connection, whoever notices first.
    pub(crate) fn connection_lost(&self, connection: u64) {
        if self.connection_closed(connection) {
            self.counters.disconnects_total.bump();
        }
    }

    /// The same for a connection that the pod gives up itself: it counts as no loss. Whether it was the current one.
    pub(crate) fn connection_closed(&self, connection: u64) -> bool {
        let was_current = self.connection_failed(connection);
        if was_current {
            self.tracked.store(false, Ordering::Release);
            if !off!(History) {
                self.coherence.bump_history();
            }
        }
        was_current
    }

    /// The attempt to open `connection` failed: nothing was filled through it.
    pub(crate) fn connection_failed(&self, connection: u64) -> bool {
        self.connection
            .compare_exchange(connection, 0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// A heartbeat was answered: keeps the longest time that hits were served under one lease.
    pub(crate) fn note_lease_age(&self, now: Timestamp) {
        let lease = self.coherence.lease();
        if lease.history() == self.coherence.history() {
            let served = lease.age(now).min(self.lease_time);
            self.counters
                .lease_age_max_us
                .raise_to(served.as_micros() as u64);
        }
    }

    pub(crate) fn set_state(&self, state: LaneState) {
        *lock(&self.state) = state;
    }

    /// The cache was shut down: nothing is served any more, not even stale.
    pub fn close(&self) {
        self.set_state(LaneState::Closed);
    }

    /// How the lane is.
    pub fn state(&self) -> LaneState {
        lock(&self.state).clone()
    }

    pub(crate) fn set_tracked(&self, tracked: bool) {
        self.tracked.store(tracked, Ordering::Release);
    }

    /// Whether the current connection reports changes; without it entries live for a bounded time.
    pub fn is_tracked(&self) -> bool {
        self.tracked.load(Ordering::Acquire)
    }

    /// A handshake told what kind of server this is.
    pub(crate) fn note_traits(&self, traits: &Traits) {
        *lock(&self.doubles) = traits.doubles;
        self.field_expiry
            .store(traits.field_expiry, Ordering::Release);
    }

    /// Whether fields of a hash may have expired without a word.
    pub(crate) fn field_expiry(&self) -> bool {
        self.config.hash_field_expiry && self.field_expiry.load(Ordering::Acquire)
    }

    /// How the server prints doubles.
    pub(crate) fn doubles(&self) -> DoubleText {
        *lock(&self.doubles)
    }

    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The counters.
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Checks the invariants of the store; panics with what is wrong.
    pub fn validate(&self) {
        self.store.validate();
    }

    /// Calls `see` for every key with a copy of its own in L1, fresh or not, in no order; kept replies are left out.
    pub fn for_each_resident(&self, mut see: impl FnMut(Key<'_>, &EntryInfo)) {
        self.store.for_each(|slot, info| {
            if slot.db < slots::DBS {
                see(slot, info);
            }
        });
    }

    /// Whether L1 has a copy of the key, fresh or not. Counts as no look-up.
    pub fn holds(&self, key: Key<'_>) -> bool {
        self.store.contains(key)
    }

    /// The store's own figures.
    pub fn store_stats(&self) -> nearcache_l1::StoreStats {
        self.store.stats()
    }
}
