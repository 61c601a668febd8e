//! Entering, publishing and ending flights: the single-flight protocol, all of it under the lock of the key's shard.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::entries::{Gone, Standing};
use crate::packed::pack;
use crate::{Entrance, Filled, Flight, FlightGuard, Hit, Key, Published, Refusal, RemovalCause};

use super::{Inner, Shard, Store};

impl<M, O> Store<M, O> {
    /// Looks a key up and, in the same step, joins its flight or starts one.
    ///
    /// In this order: a resident entry that is `usable` is a hit; an open flight that is `joinable` is joined; if the
    /// key or the store has too many flights in the air, the caller is turned away; otherwise it leads a new flight
    /// and older ones are orphaned. A resident entry stays until a publish replaces it.
    ///
    /// # Cost
    /// One write lock, under which the closures run: they must be short and must not call the store. A lead allocates.
    pub fn enter(
        &self,
        key: Key<'_>,
        usable: impl FnOnce(&Hit) -> bool,
        joinable: impl FnOnce(&M) -> bool,
        meta: impl FnOnce() -> M,
    ) -> Entrance<M, O> {
        self.enter_if(key, usable, joinable, || Some(meta()))
    }

    /// The same for a caller that leads only if `meta` gives something.
    pub fn enter_if(
        &self,
        key: Key<'_>,
        usable: impl FnOnce(&Hit) -> bool,
        joinable: impl FnOnce(&M) -> bool,
        meta: impl FnOnce() -> Option<M>,
    ) -> Entrance<M, O> {
        let inner = &self.inner;
        let hash = inner.hasher.hash(key.bytes);
        let mut shard = inner.shard(hash).write();
        if let Some(at) = shard.entries.find(hash, key) {
            let hit = shard.entries.hit(at);
            if usable(&hit) {
                shard.entries.touch(at);
                drop(shard);
                return Entrance::Hit(hit);
            }
        }
        let air = shard.air(hash, key);
        if let Some(flight) = &air.open
            && joinable(flight.meta())
        {
            shard.counts.joins += 1;
            return Entrance::Join(Arc::clone(flight));
        }
        if air.count >= inner.max_flights_per_key
            && let Some(pending) = air.pending
        {
            shard.counts.crowded += 1;
            return Entrance::Crowded(pending);
        }
        if air.count >= inner.max_flights_per_key || !inner.take_off() {
            shard.counts.full += 1;
            return Entrance::Full;
        }
        let Some(meta) = meta() else {
            inner.flights_open.fetch_sub(1, Relaxed);
            return Entrance::Declined;
        };
        let number = shard.counts.flights_total;
        let flight = Arc::new(Flight::new(key, hash, number, meta));
        shard.counts.flights_total += 1;
        // Settled ones too: what they bring is older than what this one will.
        shard.orphan(hash, |other| other == key);
        shard
            .flights
            .insert_unique(hash, Arc::clone(&flight), |flight| flight.hash);
        drop(shard);
        Entrance::Lead(FlightGuard::new(Arc::clone(inner), flight))
    }

    /// Ends a flight by storing what it brought, if it still may: refused when the flight is orphaned, when `valid`
    /// says no, or when the entry is too heavy, in which case the key's older entry goes too. The waiters get `outcome`
    /// in every case.
    ///
    /// `valid` runs under the lock an invalidation takes. A caller that bumps a counter *before* it calls
    /// [`Store::invalidate`] and compares that counter in `valid` loses no invalidation: either `valid` sees the bump,
    /// or the invalidation sees the entry.
    ///
    /// # Cost
    /// One write lock, and one more for each shard that others are evicted from. Values up to 255 bytes are copied
    /// into an allocation of their own, larger ones are kept as they are: give no slice of a much larger buffer.
    pub fn publish(
        &self,
        guard: FlightGuard<M, O>,
        filled: Filled,
        valid: impl FnOnce(&M) -> bool,
        outcome: O,
    ) -> Published {
        Self::settle(guard, filled, valid, outcome, Standing::Newcomer)
    }

    /// The same for what nobody here has asked for yet, best first: stored only where room is free, so that nothing is
    /// evicted for it, and itself evicted before what was stored so before it.
    ///
    /// # Cost
    /// That of [`Store::publish`].
    pub fn publish_in_free_room(
        &self,
        guard: FlightGuard<M, O>,
        filled: Filled,
        valid: impl FnOnce(&M) -> bool,
        outcome: O,
    ) -> Published {
        Self::settle(guard, filled, valid, outcome, Standing::Ranked)
    }

    fn settle(
        guard: FlightGuard<M, O>,
        filled: Filled,
        valid: impl FnOnce(&M) -> bool,
        outcome: O,
        standing: Standing,
    ) -> Published {
        // The flight's own store: a guard of another one cannot corrupt this one's books.
        let inner = Arc::clone(&guard.store);
        let flight = Arc::clone(guard.flight());
        let (published, gone) = inner.settle_entry(&flight, filled, valid, standing);
        guard.ended_with(outcome);
        inner.let_go(gone);
        published
    }
}

impl<M, O> Inner<M, O> {
    fn settle_entry(
        &self,
        flight: &Arc<Flight<M, O>>,
        mut filled: Filled,
        valid: impl FnOnce(&M) -> bool,
        standing: Standing,
    ) -> (Published, Vec<Gone>) {
        let (hash, key) = (flight.hash, flight.key());
        let value_bytes = filled.value.as_ref().map_or(0, bytes::Bytes::len);
        filled.value = filled.value.map(pack);
        // Room first, outside every lock; not for a flight that cannot publish any more.
        let weight = match flight.is_orphaned() {
            true => None,
            false => self.fits(self.weigh(key, value_bytes, 0)),
        };
        let reserve = |weight: usize| match standing {
            Standing::Newcomer => self.reserve(hash, weight),
            Standing::Ranked => self.budget.take(weight).ok(),
        };
        let room = weight.and_then(|weight| Some((weight, reserve(weight as usize)?)));
        let mut shard = self.shard(hash).write();
        let refusal = if flight.is_orphaned() {
            Some(Refusal::Orphaned)
        } else if !valid(flight.meta()) {
            Some(Refusal::Invalid)
        } else {
            None
        };
        let mut gone = Vec::new();
        let published = match (refusal, room) {
            (Some(refusal), _) => Published::Refused(refusal),
            (None, None) => shard.refuse_weight(hash, key, &mut gone),
            (None, Some((weight, room))) => {
                match shard.entries.insert(hash, key, filled, weight, standing) {
                    Some((id, old, known)) => {
                        room.keep();
                        shard.counts.inserts += 1;
                        shard.counts.ghost_hits += u64::from(known);
                        shard.counts.replaced += u64::from(old.is_some());
                        gone.extend(old);
                        Published::Stored(id)
                    }
                    None => shard.refuse_weight(hash, key, &mut gone),
                }
            }
        };
        shard.count_refusal(published);
        self.end_under(&mut shard, flight);
        drop(shard);
        (published, gone)
    }

    /// Takes a flight out of the books.
    pub(crate) fn end_flight(&self, flight: &Arc<Flight<M, O>>) {
        let mut shard = self.shard(flight.hash).write();
        self.end_under(&mut shard, flight);
    }

    /// Closes a flight to newcomers.
    pub(crate) fn close_flight(&self, flight: &Arc<Flight<M, O>>) {
        let _shard = self.shard(flight.hash).write();
        flight.close();
    }

    fn end_under(&self, shard: &mut Shard<M, O>, flight: &Arc<Flight<M, O>>) {
        flight.close();
        if let Ok(found) = shard
            .flights
            .find_entry(flight.hash, |other| Arc::ptr_eq(other, flight))
        {
            found.remove();
            self.flights_open.fetch_sub(1, Relaxed);
        }
    }

    /// Counts one more flight in the air, if there may be one more.
    fn take_off(&self) -> bool {
        let room = |open| (open < self.max_flights).then_some(open + 1);
        self.flights_open
            .fetch_update(Relaxed, Relaxed, room)
            .is_ok()
    }
}

/// The flights of one key.
struct Air<M, O> {
    count: usize,
    /// The one newcomers may join.
    open: Option<Arc<Flight<M, O>>>,
    /// The newest whose waiters are still waiting.
    pending: Option<Arc<Flight<M, O>>>,
}

impl<M, O> Shard<M, O> {
    fn air(&self, hash: u64, key: Key<'_>) -> Air<M, O> {
        let flights = || {
            self.flights
                .iter_hash(hash)
                .filter(|flight| flight.key() == key)
        };
        let pending = flights().filter(|flight| !flight.is_settled());
        Air {
            count: flights().count(),
            open: flights().find(|flight| flight.is_open()).cloned(),
            pending: pending.max_by_key(|flight| flight.number).cloned(),
        }
    }

    /// Refuses an entry for its weight: the one it would have replaced is out of date and goes.
    fn refuse_weight(&mut self, hash: u64, key: Key<'_>, gone: &mut Vec<Gone>) -> Published {
        if let Some(at) = self.entries.find(hash, key) {
            gone.push(self.entries.remove(hash, at, RemovalCause::Replaced));
            self.counts.replaced += 1;
        }
        Published::Refused(Refusal::TooLarge)
    }

    fn count_refusal(&mut self, published: Published) {
        match published {
            Published::Stored(_) => {}
            Published::Refused(Refusal::Orphaned) => self.counts.refused_orphaned += 1,
            Published::Refused(Refusal::Invalid) => self.counts.refused_invalid += 1,
            Published::Refused(Refusal::TooLarge) => self.counts.refused_too_large += 1,
        }
    }
}
