//! Look-ups, and the decoded forms attached to what they find. Nothing here judges freshness.

use std::any::Any;
use std::sync::Arc;

use crate::slab::Decoded;
use crate::{EntryId, Hit, Key, Stamp};

use super::Store;

impl<M, O> Store<M, O> {
    /// Returns the key's entry and tells the policy that it was read.
    ///
    /// # Cost
    /// One read lock, one count of shared ownership; no allocation and no copy.
    #[inline]
    pub fn get(&self, key: Key<'_>) -> Option<Hit> {
        let (hit, ()) = self.get_with(key, |_| ())?;
        Some(hit)
    }

    /// Returns the key's entry and what `see` makes of its stamp, and tells the policy that it was read. While `see` runs
    /// nobody can remove the entry: what it loads was true while the entry was there.
    ///
    /// # Cost
    /// That of [`Store::get`].
    #[inline]
    pub fn get_with<R>(&self, key: Key<'_>, see: impl FnOnce(Stamp) -> R) -> Option<(Hit, R)> {
        let hash = self.inner.hasher.hash(key.bytes);
        let shard = self.inner.shard(hash).read();
        let at = shard.entries.find(hash, key)?;
        shard.entries.touch(at);
        let hit = shard.entries.hit(at);
        let seen = see(hit.stamp);
        Some((hit, seen))
    }

    /// Returns the key's entry without telling the policy.
    ///
    /// # Cost
    /// That of [`Store::get`].
    pub fn peek(&self, key: Key<'_>) -> Option<Hit> {
        let hash = self.inner.hasher.hash(key.bytes);
        let shard = self.inner.shard(hash).read();
        let at = shard.entries.find(hash, key)?;
        Some(shard.entries.hit(at))
    }

    /// Returns whether the key has an entry, without telling the policy.
    pub fn contains(&self, key: Key<'_>) -> bool {
        let hash = self.inner.hasher.hash(key.bytes);
        self.inner
            .shard(hash)
            .read()
            .entries
            .find(hash, key)
            .is_some()
    }

    /// Returns the key's entry and, if one of type `T` is attached to it, its decoded form; tells the policy.
    ///
    /// # Cost
    /// That of [`Store::get`] and one more count of shared ownership.
    pub fn get_decoded<T: Any + Send + Sync>(&self, key: Key<'_>) -> Option<(Hit, Option<Arc<T>>)> {
        let (hit, form, ()) = self.get_decoded_with(key, |_| ())?;
        Some((hit, form))
    }

    /// As [`Store::get_with`], and the entry's decoded form, if one of type `T` is attached to it.
    ///
    /// # Cost
    /// That of [`Store::get`] and one more count of shared ownership.
    #[inline]
    pub fn get_decoded_with<T: Any + Send + Sync, R>(
        &self,
        key: Key<'_>,
        see: impl FnOnce(Stamp) -> R,
    ) -> Option<(Hit, Option<Arc<T>>, R)> {
        let hash = self.inner.hasher.hash(key.bytes);
        let shard = self.inner.shard(hash).read();
        let at = shard.entries.find(hash, key)?;
        shard.entries.touch(at);
        let decoded = shard.entries.slot(at).decoded.as_ref();
        let form = decoded.and_then(|decoded| Arc::clone(&decoded.form).downcast().ok());
        let hit = shard.entries.hit(at);
        let seen = see(hit.stamp);
        Some((hit, form, seen))
    }

    /// Attaches a decoded form to the entry it was decoded from, if that very entry is still resident and has room for
    /// `decoded_bytes` more; returns whether the entry now carries a form of this type.
    ///
    /// A form of the same type that is already there stays; one of another type is replaced.
    ///
    /// # Cost
    /// A read and a write lock, one allocation; evicts others for the added weight.
    pub fn attach(
        &self,
        key: Key<'_>,
        id: EntryId,
        decoded: Arc<dyn Any + Send + Sync>,
        decoded_bytes: usize,
    ) -> bool {
        let inner = &*self.inner;
        let hash = inner.hasher.hash(key.bytes);
        let (value_bytes, old_weight) = {
            let shard = inner.shard(hash).read();
            let Some(at) = shard.entries.find_id(hash, key, id) else {
                return false;
            };
            let slot = shard.entries.slot(at);
            let there = slot
                .decoded
                .as_ref()
                .map(|decoded| (*decoded.form).type_id());
            if there == Some((*decoded).type_id()) {
                return true;
            }
            (
                slot.value.as_ref().map_or(0, bytes::Bytes::len),
                slot.weight,
            )
        };
        let weight = inner.weigh(key, value_bytes, decoded_bytes);
        let Some(weight) = inner.fits(weight) else {
            return false;
        };
        let Some(room) = inner.reserve(hash, weight.saturating_sub(old_weight) as usize) else {
            return false;
        };
        let mut shard = inner.shard(hash).write();
        let Some(at) = shard.entries.find_id(hash, key, id) else {
            return false;
        };
        if shard.entries.slot(at).weight != old_weight {
            // Someone else attached meanwhile; the room was reserved for another sum.
            return false;
        }
        let form = Decoded {
            form: decoded,
            bytes: decoded_bytes,
        };
        let old_form = shard.entries.attach(at, form, weight);
        shard.counts.attached += 1;
        drop(shard);
        room.keep();
        drop(old_form);
        drop(
            inner
                .budget
                .returning(old_weight.saturating_sub(weight) as usize),
        );
        true
    }
}

impl<M, O> super::Inner<M, O> {
    /// Returns the weight as it is stored, unless a single entry may not weigh that much.
    pub(crate) fn fits(&self, weight: usize) -> Option<u32> {
        u32::try_from(weight)
            .ok()
            .filter(|&weight| weight <= self.max_entry_weight)
    }
}
