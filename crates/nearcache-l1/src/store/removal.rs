//! Everything that takes entries out of the store on purpose, and orphans the flights that would bring them back.

use std::sync::atomic::Ordering::Relaxed;

use crate::entries::Gone;
use crate::{EntryId, Key, RemovalCause};

use super::{Shard, Store};

impl<M, O> Store<M, O> {
    /// Drops the key's entries in every db and orphans its flights; returns how many entries that were.
    ///
    /// When it returns, no flight that was in the air for the key when it was called can publish any more.
    ///
    /// # Cost
    /// One write lock, whatever the number of keys or dbs.
    pub fn invalidate(&self, bytes: &[u8]) -> usize {
        self.invalidate_each(bytes, |_| {})
    }

    /// The same; tells `see` the db of each entry that it dropped.
    ///
    /// # Cost
    /// That of [`Store::invalidate`].
    pub fn invalidate_each(&self, bytes: &[u8], see: impl FnMut(u32)) -> usize {
        let hash = self.inner.hasher.hash(bytes);
        let mut gone = Vec::new();
        let mut shard = self.inner.shard(hash).write();
        shard.entries.remove_everywhere(hash, bytes, &mut gone);
        shard.counts.invalidated += gone.len() as u64;
        shard.orphan(hash, |key| key.bytes == bytes);
        drop(shard);
        let count = gone.len();
        gone.iter().map(|gone| gone.slot.db).for_each(see);
        self.inner.let_go(gone);
        count
    }

    /// Drops the key's entry from this store and orphans its flights; returns whether there was an entry.
    pub fn forget(&self, key: Key<'_>) -> bool {
        let hash = self.inner.hasher.hash(key.bytes);
        let mut shard = self.inner.shard(hash).write();
        let found = shard.entries.find(hash, key);
        let gone = found.map(|at| shard.entries.remove(hash, at, RemovalCause::Forgotten));
        shard.counts.forgotten += u64::from(gone.is_some());
        shard.orphan(hash, |other| other == key);
        drop(shard);
        self.tell(gone)
    }

    /// Drops the key's entry if it still is the one of this identity; returns whether it was. Flights are left alone.
    pub fn remove_entry(&self, key: Key<'_>, id: EntryId, cause: RemovalCause) -> bool {
        let hash = self.inner.hasher.hash(key.bytes);
        let mut shard = self.inner.shard(hash).write();
        let found = shard.entries.find_id(hash, key, id);
        let gone = found.map(|at| shard.entries.remove(hash, at, cause));
        if gone.is_some() {
            shard.count(cause);
        }
        drop(shard);
        self.tell(gone)
    }

    /// Drops every entry and orphans every flight.
    ///
    /// # Cost
    /// Linear in the number of entries, one write lock per shard; what is published meanwhile may stay.
    pub fn clear(&self) {
        for shard in &self.inner.shards {
            let mut gone = Vec::new();
            let mut shard = shard.0.write();
            shard.entries.clear(&mut gone);
            shard.counts.cleared += gone.len() as u64;
            let orphaned = shard
                .flights
                .iter()
                .filter(|flight| flight.orphan())
                .count();
            shard.counts.orphaned += orphaned as u64;
            drop(shard);
            self.inner.let_go(gone);
        }
    }

    /// Returns the number of flights in the air, orphaned and settled ones included.
    pub fn flights_open(&self) -> usize {
        self.inner.flights_open.load(Relaxed)
    }

    /// Lets go of an entry, if there is one; returns whether there was.
    fn tell(&self, gone: Option<Gone>) -> bool {
        let was = gone.is_some();
        if was {
            self.inner.let_go(gone.into_iter().collect());
        }
        was
    }
}

impl<M, O> Shard<M, O> {
    /// Orphans the flights of one hash whose key is meant.
    pub(super) fn orphan(&mut self, hash: u64, meant: impl Fn(Key<'_>) -> bool) {
        let flights = self
            .flights
            .iter_hash(hash)
            .filter(|flight| meant(flight.key()));
        let orphaned = flights.filter(|flight| flight.orphan()).count();
        self.counts.orphaned += orphaned as u64;
    }

    fn count(&mut self, cause: RemovalCause) {
        let counts = &mut self.counts;
        let counter = match cause {
            RemovalCause::Invalidated => &mut counts.invalidated,
            RemovalCause::Evicted => &mut counts.evictions,
            RemovalCause::Expired => &mut counts.expired,
            RemovalCause::Replaced => &mut counts.replaced,
            RemovalCause::Forgotten => &mut counts.forgotten,
            RemovalCause::Cleared => &mut counts.cleared,
        };
        *counter += 1;
    }
}
