//! The entries of one shard: the table that finds them, the slab that holds them, the queues that order them.
//! No lock and no flight; it never drops a value itself but hands out what leaves.

use hashbrown::HashTable;

use crate::key::{KeyBuf, KeyHasher, fingerprint};
use crate::queues::{Queues, touch};
use crate::slab::{Decoded, Place, Slab, Slot};
use crate::{EntryId, EntryInfo, Filled, Hit, Key, RemovalCause};

/// Free slots a shard may keep beside an eighth of its entries.
const SLACK: usize = 16;

/// An entry that left, to be told and dropped after the lock is released.
pub(crate) struct Gone {
    pub(crate) slot: Slot,
    pub(crate) cause: RemovalCause,
}

/// How an entry comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Somebody asked for it: it has to prove itself.
    Newcomer,
    /// Others ask for it, for those that came in so before it more: it is the next to be evicted.
    Ranked,
}

/// The entries of one shard.
pub(crate) struct Entries {
    table: HashTable<u32>,
    slab: Slab,
    queues: Queues,
    hasher: KeyHasher,
    /// Publishes so far.
    published: u64,
    /// This shard's share of the identity space: identities are `published * step + offset`.
    step: u64,
    offset: u64,
}

impl Entries {
    pub(crate) fn new(hasher: KeyHasher, shards: usize, shard: usize) -> Self {
        Self {
            table: HashTable::new(),
            slab: Slab::new(),
            queues: Queues::new(),
            hasher,
            published: 0,
            step: shards as u64,
            offset: shard as u64,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.queues.weight()
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, key: Key<'_>) -> Option<u32> {
        let same = |&at: &u32| {
            let slot = self.slab.slot(at);
            slot.db == key.db && slot.key.as_slice() == key.bytes
        };
        self.table.find(hash, same).copied()
    }

    /// Finds the entry only if it is the one of this identity.
    pub(crate) fn find_id(&self, hash: u64, key: Key<'_>, id: EntryId) -> Option<u32> {
        self.find(hash, key)
            .filter(|&at| self.id(self.slab.slot(at)) == id)
    }

    /// Tells the policy of a look-up.
    #[inline]
    pub(crate) fn touch(&self, at: u32) {
        touch(&self.slab, at);
    }

    #[inline]
    pub(crate) fn hit(&self, at: u32) -> Hit {
        let slot = self.slab.slot(at);
        Hit {
            value: slot.value.clone(),
            stamp: slot.stamp,
            filled_at: slot.filled_at,
            deadline: slot.deadline,
            id: self.id(slot),
        }
    }

    pub(crate) fn slot(&self, at: u32) -> &Slot {
        self.slab.slot(at)
    }

    /// Stores a value under a key that may be resident; returns the identity, what it replaced, and whether the key was
    /// remembered. `None` when there is no slot left.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        key: Key<'_>,
        filled: Filled,
        weight: u32,
        standing: Standing,
    ) -> Option<(EntryId, Option<Gone>, bool)> {
        let number = self.published;
        let mut slot = Slot {
            key: KeyBuf::new(key.bytes),
            value: filled.value,
            filled_at: filled.filled_at,
            deadline: filled.deadline,
            stamp: filled.stamp,
            db: key.db,
            weight,
            ..Slot::free()
        };
        slot.set_number(number);
        let id = self.id(&slot);
        let (gone, known) = match self.find(hash, key) {
            Some(at) => (Some(self.replace(at, slot)), false),
            None => {
                let at = self.slab.put(slot)?;
                let (slab, print) = (&mut self.slab, fingerprint(hash));
                let known = match standing {
                    Standing::Newcomer => self.queues.admit(slab, at, print),
                    Standing::Ranked => self.queues.admit_behind(slab, at, print),
                };
                let (slab, hasher) = (&self.slab, &self.hasher);
                let rehash = |&at: &u32| hasher.hash(slab.slot(at).key.as_slice());
                self.table.insert_unique(hash, at, rehash);
                (None, known)
            }
        };
        self.published += 1;
        Some((id, gone, known))
    }

    /// Attaches a decoded form to the entry at `at` and sets its weight; returns the form it had.
    pub(crate) fn attach(
        &mut self,
        at: u32,
        decoded: Decoded,
        weight: u32,
    ) -> Option<Box<Decoded>> {
        self.queues.reweigh(&mut self.slab, at, weight);
        self.slab.slot_mut(at).decoded.replace(Box::new(decoded))
    }

    /// Removes the entry at `at`.
    pub(crate) fn remove(&mut self, hash: u64, at: u32, cause: RemovalCause) -> Gone {
        let proven = self.slab.slot(at).place == Place::Main;
        self.queues.unlink(&mut self.slab, at);
        let gone = self.release(hash, at, cause);
        if proven {
            self.queues.remember(fingerprint(hash));
        }
        gone
    }

    /// Removes the key's entries of every db into `gone`.
    pub(crate) fn remove_everywhere(&mut self, hash: u64, bytes: &[u8], gone: &mut Vec<Gone>) {
        loop {
            let same = |&at: &u32| self.slab.slot(at).key.as_slice() == bytes;
            let Some(&at) = self.table.find(hash, same) else {
                return;
            };
            gone.push(self.remove(hash, at, RemovalCause::Invalidated));
        }
    }

    /// Removes the entry that the policy gives up.
    pub(crate) fn evict(&mut self) -> Option<Gone> {
        let (at, remember) = self.queues.victim(&mut self.slab)?;
        let hash = self.hasher.hash(self.slab.slot(at).key.as_slice());
        let gone = self.release(hash, at, RemovalCause::Evicted);
        if remember {
            self.queues.remember(fingerprint(hash));
        }
        Some(gone)
    }

    /// Removes everything into `gone`.
    pub(crate) fn clear(&mut self, gone: &mut Vec<Gone>) {
        for &at in &self.table {
            let slot = self.slab.take(at);
            let cause = RemovalCause::Cleared;
            gone.push(Gone { slot, cause });
        }
        self.table = HashTable::new();
        self.slab = Slab::new();
        self.queues.clear();
    }

    /// Calls `see` for every entry, in no order.
    pub(crate) fn for_each(&self, see: &mut impl FnMut(Key<'_>, &EntryInfo)) {
        for &at in &self.table {
            let slot = self.slab.slot(at);
            let info = EntryInfo {
                id: self.id(slot),
                weight: slot.weight as usize,
                value_bytes: slot.value.as_ref().map(bytes::Bytes::len),
                decoded_bytes: slot.decoded.as_ref().map(|decoded| decoded.bytes),
                stamp: slot.stamp,
                filled_at: slot.filled_at,
                deadline: slot.deadline,
                frequency: slot.frequency.load(std::sync::atomic::Ordering::Relaxed),
            };
            see(Key::new(slot.db, slot.key.as_slice()), &info);
        }
    }

    /// Checks table, slab and queues against each other; panics with what is wrong.
    pub(crate) fn validate(&self) {
        self.slab.validate();
        let linked = self.queues.validate(&self.slab);
        assert_eq!(linked, self.slab.len(), "slots in use but not in a queue");
        assert_eq!(
            self.table.len(),
            self.slab.len(),
            "slots in use but not in the table"
        );
        for &at in &self.table {
            let slot = self.slab.slot(at);
            assert!(
                slot.place != Place::Free,
                "the table names the free slot {at}"
            );
            let key = Key::new(slot.db, slot.key.as_slice());
            let found = self.find(self.hasher.hash(key.bytes), key);
            assert_eq!(
                found,
                Some(at),
                "the table does not find slot {at} by its key"
            );
            assert!(
                slot.number() < self.published,
                "slot {at} has a number of the future"
            );
        }
    }

    #[inline]
    fn id(&self, slot: &Slot) -> EntryId {
        EntryId(slot.number() * self.step + self.offset)
    }

    /// Puts a new value into a slot; its place in the order and its frequency stay.
    fn replace(&mut self, at: u32, mut slot: Slot) -> Gone {
        let weight = self.slab.slot(at).weight;
        self.queues.reweigh(&mut self.slab, at, slot.weight);
        let old = self.slab.slot_mut(at);
        (slot.prev, slot.next, slot.place) = (old.prev, old.next, old.place);
        *slot.frequency.get_mut() = *old.frequency.get_mut();
        let mut gone = std::mem::replace(old, slot);
        gone.weight = weight;
        let cause = RemovalCause::Replaced;
        Gone { slot: gone, cause }
    }

    /// Takes an unlinked slot out of the table and the slab.
    fn release(&mut self, hash: u64, at: u32, cause: RemovalCause) -> Gone {
        if let Ok(found) = self.table.find_entry(hash, |&other| other == at) {
            found.remove();
        }
        let slot = self.slab.take(at);
        self.compact();
        Gone { slot, cause }
    }

    /// Gives memory back, a little with each removal, when far fewer entries are left than there were: what an entry
    /// is charged for its bookkeeping must stay true.
    fn compact(&mut self) {
        let len = self.slab.len();
        if self.slab.free_len() > len / 8 + SLACK {
            for _ in 0..2 {
                self.slab.trim();
                if let Some((from, to)) = self.slab.lower_top() {
                    self.moved(from, to);
                }
            }
        }
        if self.table.capacity() > 4 * (len + SLACK) {
            let (slab, hasher) = (&self.slab, &self.hasher);
            let rehash = |&at: &u32| hasher.hash(slab.slot(at).key.as_slice());
            self.table.shrink_to(2 * len, rehash);
        }
    }

    /// Makes table and queues follow a slot from one place to another.
    fn moved(&mut self, from: u32, to: u32) {
        self.queues.moved(&mut self.slab, to);
        let hash = self.hasher.hash(self.slab.slot(to).key.as_slice());
        if let Some(at) = self.table.find_mut(hash, |&at| at == from) {
            *at = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Stamp, Timestamp};

    fn filled() -> Filled {
        Filled {
            value: None,
            stamp: Stamp::default(),
            filled_at: Timestamp::ZERO,
            deadline: Timestamp::MAX,
        }
    }

    #[test]
    fn shrinking_moves_entries_together_and_loses_none() {
        let hasher = KeyHasher::new(7);
        let mut entries = Entries::new(hasher.clone(), 1, 0);
        let name = |n: u64| n.to_be_bytes();
        for n in 0..2000 {
            let inserted = entries.insert(
                hasher.hash(&name(n)),
                Key::new(0, &name(n)),
                filled(),
                1,
                Standing::Newcomer,
            );
            assert!(inserted.is_some_and(|(id, gone, _)| id == EntryId(n) && gone.is_none()));
        }
        let room = entries.table.capacity();
        // In an order that leaves holes everywhere.
        for n in (0..2000).map(|n| n * 7 % 2000).filter(|n| n % 50 != 0) {
            let hash = hasher.hash(&name(n));
            let at = entries
                .find(hash, Key::new(0, &name(n)))
                .expect("still there");
            entries.touch(at);
            let gone = entries.remove(hash, at, RemovalCause::Forgotten);
            assert_eq!(gone.slot.key.as_slice(), name(n));
            if n % 10 == 1 {
                entries.validate();
            }
        }
        entries.validate();
        assert_eq!(entries.len(), 40);
        assert!(entries.slab.free_len() <= 40 / 8 + SLACK + 1);
        assert!(entries.table.capacity() < room / 4);
        for n in (0..2000).step_by(50) {
            let found = entries.find(hasher.hash(&name(n)), Key::new(0, &name(n)));
            assert_eq!(found.map(|at| entries.hit(at).id), Some(EntryId(n)));
        }
    }
}
