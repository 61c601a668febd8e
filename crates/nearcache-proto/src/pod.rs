//! One process's copy of the truth: the store, the primaries whose values it holds, and the hit path.
//!
//! Shared by all callers and the lanes. Sends nothing and waits for nothing.

mod fetch;
mod heads;
mod news;
mod rate;
mod readiness;
mod reads;

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::{EntryInfo, Hit, Key, Stamp, Store, StoreConfig, Timestamp};

use crate::admission::Admission;
use crate::config::PodConfig;
use crate::counters::{Counters, Totals};
use crate::entry_key::{EntryKey, Kind};
use crate::epochs::{Epochs, FillToken, MOST_EPOCHS};
use crate::error::{Error, ErrorKind};
use crate::fill::{FillMeta, FillOutcome};
use crate::load::table::Loads;
use crate::op::{ConnectionId, Endpoint, PrimaryId};
use crate::primary::{Histories, LaneLease, LaneState, LaneStats, Primary, Route, Verdict};
use crate::readiness::Warmth;
use crate::shim::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::working_set::Sampler;

pub(crate) use rate::cut;

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

/// One pod: its L1 and what it knows about L2.
pub struct Pod {
    pub(crate) store: Store<FillMeta, FillOutcome>,
    pub(crate) route: Route,
    epochs: Epochs,
    pub(crate) config: PodConfig,
    pub(crate) counters: Counters,
    /// L less one per cent for the error of the clock's rate.
    lease_time: Duration,
    /// Which entries were read, of late.
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
        let lease_time = cut(config.max_staleness);
        let histories = Arc::new(Histories::new());
        let primary = Primary::new(PrimaryId::FIRST, Endpoint::Given, histories, lease_time);
        Ok(Self {
            store,
            route: Route::One(Arc::new(primary)),
            epochs: Epochs::new(table),
            lease_time,
            loads: Loads::new(config.max_loads, loads),
            admission: Admission::new(config.queue_requests),
            config,
            counters: Counters::default(),
            sampler: Sampler::new(samples),
            counting: AtomicBool::new(false),
            warmth: Warmth::default(),
            sessions: AtomicU64::new(0),
            seen: (0..seen).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// The hit path: the entry and, under the same lock, the lease; then the flush count, then the clock. The order is
    /// what makes it right, see `primary::coherence`.
    #[inline]
    pub(crate) fn resident(
        &self,
        entry: EntryKey<'_>,
        clock: impl FnOnce() -> Timestamp,
    ) -> Option<Found> {
        if off!(LeaseAfterUnlock) {
            return self.resident_lease_after_unlock(entry, clock);
        }
        let (hit, lease) = self
            .store
            .get_with(entry.filed(), |stamp| self.lease_of(stamp))?;
        Some(self.found(hit, lease, clock))
    }

    /// The hit path in an order that serves values of any age; the first reading of the clock is where the
    /// caller may be stopped.
    #[cold]
    fn resident_lease_after_unlock(
        &self,
        entry: EntryKey<'_>,
        clock: impl FnOnce() -> Timestamp,
    ) -> Option<Found> {
        let hit = self.store.get(entry.filed())?;
        let now = clock();
        let lease = self.lease_of(hit.stamp);
        Some(self.found(hit, lease, || now))
    }

    /// The lease of the lane that an entry came over; to be loaded under the lock of the entry, or of its head.
    #[inline]
    pub(crate) fn lease_of(&self, stamp: Stamp) -> LaneLease {
        self.route.by_stamp(stamp).coherence.lease()
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

    /// As [`Primary::judge`], by the primary of the stamp.
    pub(crate) fn judge(
        &self,
        lease: LaneLease,
        stamp: Stamp,
        deadline: Timestamp,
        clock: impl FnOnce() -> Timestamp,
    ) -> (Verdict, Timestamp) {
        let primary = self.route.by_stamp(stamp);
        primary.judge(lease, stamp, deadline, clock)
    }

    /// L less what the clock may be wrong.
    pub(crate) fn lease_time(&self) -> Duration {
        self.lease_time
    }

    /// What a fill of this key takes before it is queued.
    pub(crate) fn fill_token(&self, key: &[u8]) -> FillToken {
        FillToken {
            epoch: self.epochs.get(key),
            stamp: self.route.stamp(key),
        }
    }

    /// Whether no invalidation of the key, no flush and no loss of history was received since the token was taken.
    pub(crate) fn unchanged(&self, key: &[u8], token: &FillToken) -> bool {
        off!(Token) || self.fill_token(key) == *token
    }

    /// What the token of a fetch of this key would be now: it changes with each invalidation of the key, each flush and
    /// each loss of history.
    pub fn token(&self, key: &[u8]) -> [u32; 3] {
        let token = self.fill_token(key);
        [token.epoch, token.stamp.history, token.stamp.flush]
    }

    /// An invalidation of `key` was received, or the key is being written by this pod.
    pub(crate) fn bump_epoch(&self, key: &[u8]) {
        self.epochs.bump(key);
    }

    /// Nothing filled so far may be served, under any policy.
    pub(crate) fn flush_all(&self) {
        for primary in self.route.all() {
            primary.coherence.bump_flush();
        }
    }

    /// A connection has ended, whoever notices first.
    pub(crate) fn connection_lost(&self, connection: ConnectionId) {
        let primary = self.route.get(connection.primary);
        if primary.is_some_and(|primary| primary.connection_ended(connection)) {
            self.counters.disconnects_total.bump();
        }
    }

    /// The primaries whose values this pod holds: each has a lane.
    pub fn primaries(&self) -> Vec<PrimaryId> {
        let all = self.route.all().iter();
        all.map(|primary| primary.id()).collect()
    }

    /// Where a primary is.
    pub fn endpoint(&self, primary: PrimaryId) -> Option<Endpoint> {
        let primary = self.route.get(primary)?;
        Some(primary.endpoint().clone())
    }

    /// How each lane is.
    pub fn lanes(&self, now: Timestamp) -> Vec<LaneStats> {
        let all = self.route.all().iter();
        all.map(|primary| primary.stats(now)).collect()
    }

    /// How the lane is that is worst off.
    pub fn state(&self) -> LaneState {
        let rank = |state: &LaneState| match state {
            LaneState::Up => 0,
            LaneState::Degraded(_) => 1,
            LaneState::Down(_) => 2,
            LaneState::Closed => 3,
        };
        let states = self.route.all().iter().map(|primary| primary.state());
        states.max_by_key(rank).unwrap_or(LaneState::Closed)
    }

    /// Whether all connections report changes; without it entries live for a bounded time.
    pub fn is_tracked(&self) -> bool {
        self.route.all().iter().all(|primary| primary.is_tracked())
    }

    /// Whether all leases hold now, so that the freshness of any copy can be proven.
    pub(crate) fn leases_hold(&self, now: Timestamp) -> bool {
        self.route
            .all()
            .iter()
            .all(|primary| primary.lease_holds(now))
    }

    /// The cache was shut down: nothing is served any more, not even stale.
    pub fn close(&self) {
        for primary in self.route.all() {
            primary.set_state(LaneState::Closed);
        }
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
        self.store.for_each(|filed, info| {
            if EntryKey::of(filed).kind == Kind::Value {
                see(filed, info);
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
