//! Decoded forms: attached to the resident entry they came from, served while that entry may be served.
//!
//! Never decodes anything itself, and never attaches to an entry that holds another value.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use nearcache_l1::Hit;

use crate::cache::{Cache, Io};
use crate::entry_key::EntryKey;
use crate::pod::Found;
use crate::primary::Verdict;

impl<I: Io> Cache<I> {
    /// The fresh copy in this pod with its decoded form, if one of type `T` is attached. Sends nothing.
    ///
    /// # Cost
    /// That of [`get_resident`](Self::get_resident) and one more reference count; no allocation.
    #[inline]
    pub fn get_resident_decoded<T: Any + Send + Sync>(
        &self,
        db: u32,
        key: &[u8],
    ) -> Option<(Hit, Option<Arc<T>>)> {
        let (found, form) = self.resident_decoded(EntryKey::value(db, key))?;
        matches!(found.verdict, Verdict::Fresh).then(|| {
            self.pod.count_hit(EntryKey::value(db, key));
            (found.hit, form)
        })
    }

    /// As `Pod::resident`, in the same order.
    #[inline]
    fn resident_decoded<T: Any + Send + Sync>(
        &self,
        entry: EntryKey<'_>,
    ) -> Option<(Found, Option<Arc<T>>)> {
        let lease = |stamp| self.pod.lease_of(stamp);
        let (hit, form, lease) = self.pod.store.get_decoded_with(entry.filed(), lease)?;
        Some((self.pod.found(hit, lease, || self.io.now()), form))
    }

    /// The decoded form of type `T` of the fresh copy in this pod, if there is one. Sends nothing, and counts only what it
    /// finds.
    ///
    /// # Cost
    /// As [`get_resident_decoded`](Self::get_resident_decoded).
    #[inline]
    pub fn get_resident_form<T: Any + Send + Sync>(&self, db: u32, key: &[u8]) -> Option<Arc<T>> {
        let (found, form) = self.resident_decoded(EntryKey::value(db, key))?;
        let form = form.filter(|_| matches!(found.verdict, Verdict::Fresh))?;
        self.pod.count_hit(EntryKey::value(db, key));
        Some(form)
    }

    /// The form of type `T` that was decoded from `bytes`, if the resident entry holds them and has one.
    /// Says nothing about freshness: that is known of `bytes` or it is not.
    ///
    /// # Cost
    /// One shared lock, and a comparison of the bytes unless they are the same allocation.
    pub fn decoded_from<T: Any + Send + Sync>(
        &self,
        db: u32,
        key: &[u8],
        bytes: &Bytes,
    ) -> Option<Arc<T>> {
        let (hit, form) = self
            .pod
            .store
            .get_decoded(EntryKey::value(db, key).filed())?;
        form.filter(|_| holds(&hit, bytes))
    }

    /// Attaches `decoded`, which was decoded from `bytes` and takes about `decoded_bytes` of memory, to
    /// the resident entry if that holds them; returns whether the entry now has such a form.
    ///
    /// # Cost
    /// As [`decoded_from`](Self::decoded_from), two more short locks and an allocation; may evict other entries for the added weight.
    pub fn attach(
        &self,
        db: u32,
        key: &[u8],
        bytes: &Bytes,
        decoded: Arc<dyn Any + Send + Sync>,
        decoded_bytes: usize,
    ) -> bool {
        let entry = EntryKey::value(db, key);
        let Some(hit) = self
            .pod
            .store
            .peek(entry.filed())
            .filter(|hit| holds(hit, bytes))
        else {
            return false;
        };
        self.pod
            .store
            .attach(entry.filed(), hit.id, decoded, decoded_bytes)
    }
}

/// Whether an entry holds these bytes. The store may keep a small value as a copy of what was read, so it
/// is their content that counts, and equal bytes have equal forms.
fn holds(hit: &Hit, bytes: &Bytes) -> bool {
    let same = |value: &Bytes| {
        value.len() == bytes.len() && (value.as_ptr() == bytes.as_ptr() || value == bytes)
    };
    hit.value.as_ref().is_some_and(same)
}
