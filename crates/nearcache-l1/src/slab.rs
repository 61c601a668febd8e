//! The slots of a shard, in pages of fixed size: growing never copies, shrinking gives pages back.
//! It knows nothing of keys' hashes, of order or of weight sums.

use std::sync::atomic::AtomicU8;

use bytes::Bytes;

use crate::key::KeyBuf;
use crate::{Stamp, Timestamp};

/// No slot.
pub(crate) const NIL: u32 = u32::MAX;

/// Slots a page holds, about 7 KiB.
const PAGE: usize = 64;

/// Bytes of a page: what a shard has allocated beyond what its entries need, give or take.
pub(crate) const PAGE_BYTES: usize = PAGE * size_of::<Slot>();

/// Where a slot is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    Free,
    Small,
    Main,
}

/// A decoded form attached to an entry.
pub(crate) struct Decoded {
    pub(crate) form: std::sync::Arc<dyn std::any::Any + Send + Sync>,
    pub(crate) bytes: usize,
}

/// One entry, or a free place for one. Times are kept whole, the identity in 48 bits, the weight in 32.
pub(crate) struct Slot {
    pub(crate) key: KeyBuf,
    pub(crate) value: Option<Bytes>,
    pub(crate) decoded: Option<Box<Decoded>>,
    pub(crate) filled_at: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) stamp: Stamp,
    pub(crate) db: u32,
    pub(crate) weight: u32,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    pub(crate) number_low: u32,
    pub(crate) number_high: u16,
    /// Recent look-ups, 0 to 3. A statistic: readers bump it under the shard's read lock, and a lost bump is harmless.
    pub(crate) frequency: AtomicU8,
    pub(crate) place: Place,
}

impl Slot {
    pub(crate) fn free() -> Self {
        Self {
            key: KeyBuf::EMPTY,
            value: None,
            decoded: None,
            filled_at: Timestamp::ZERO,
            deadline: Timestamp::ZERO,
            stamp: Stamp::default(),
            db: 0,
            weight: 0,
            prev: NIL,
            next: NIL,
            number_low: 0,
            number_high: 0,
            frequency: AtomicU8::new(0),
            place: Place::Free,
        }
    }

    /// Which publish of the shard stored the entry.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        u64::from(self.number_high) << 32 | u64::from(self.number_low)
    }

    /// Numbers the entry; 48 bits outlast any process.
    pub(crate) fn set_number(&mut self, number: u64) {
        self.number_low = number as u32;
        self.number_high = (number >> 32) as u16;
    }
}

/// The slots of one shard. Free slots are linked through `prev` and `next`, so that any of them can be taken.
pub(crate) struct Slab {
    pages: Vec<Box<[Slot; PAGE]>>,
    /// Slots in use or on the free list; those above were never used, or were trimmed.
    top: u32,
    free_head: u32,
    free_len: u32,
}

impl Slab {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            top: 0,
            free_head: NIL,
            free_len: 0,
        }
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> usize {
        (self.top - self.free_len) as usize
    }

    pub(crate) fn free_len(&self) -> usize {
        self.free_len as usize
    }

    #[cfg(test)]
    pub(crate) fn top(&self) -> u32 {
        self.top
    }

    #[inline]
    pub(crate) fn slot(&self, at: u32) -> &Slot {
        &self.pages[at as usize / PAGE][at as usize % PAGE]
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.pages[at as usize / PAGE][at as usize % PAGE]
    }

    /// Puts an entry into a free slot; `None` when the index space is used up.
    pub(crate) fn put(&mut self, slot: Slot) -> Option<u32> {
        let at = if self.free_head != NIL {
            let at = self.free_head;
            self.unlink_free(at);
            at
        } else if self.top < NIL - 1 {
            if self.top as usize == self.pages.len() * PAGE {
                self.pages
                    .push(Box::new(std::array::from_fn(|_| Slot::free())));
            }
            self.top += 1;
            self.top - 1
        } else {
            return None;
        };
        *self.slot_mut(at) = slot;
        Some(at)
    }

    /// Takes the entry out of a slot and frees the slot.
    pub(crate) fn take(&mut self, at: u32) -> Slot {
        let head = self.free_head;
        let slot = std::mem::replace(self.slot_mut(at), Slot::free());
        self.slot_mut(at).next = head;
        if head != NIL {
            self.slot_mut(head).prev = at;
        }
        self.free_head = at;
        self.free_len += 1;
        slot
    }

    /// Forgets free slots at the top and gives whole unused pages back, all but one.
    pub(crate) fn trim(&mut self) {
        while self.top > 0 && self.slot(self.top - 1).place == Place::Free {
            self.unlink_free(self.top - 1);
            self.top -= 1;
        }
        self.pages.truncate((self.top as usize).div_ceil(PAGE) + 1);
    }

    /// Moves the topmost entry into a free slot; returns where it was and where it is. To be called when trimmed.
    pub(crate) fn lower_top(&mut self) -> Option<(u32, u32)> {
        let to = self.free_head;
        if to == NIL {
            return None;
        }
        self.unlink_free(to);
        let from = self.top - 1;
        let slot = std::mem::replace(self.slot_mut(from), Slot::free());
        *self.slot_mut(to) = slot;
        self.top = from;
        Some((from, to))
    }

    /// Checks the free list; panics with what is wrong.
    pub(crate) fn validate(&self) {
        let (mut at, mut prev, mut seen) = (self.free_head, NIL, 0);
        while at != NIL {
            let slot = self.slot(at);
            assert!(
                slot.place == Place::Free,
                "slot {at} is on the free list but in use"
            );
            assert_eq!(slot.prev, prev, "free slot {at} has a wrong back link");
            assert!(slot.value.is_none(), "free slot {at} holds a value");
            seen += 1;
            assert!(
                seen <= self.free_len,
                "the free list is longer than its count"
            );
            (prev, at) = (at, slot.next);
        }
        assert_eq!(
            seen, self.free_len,
            "the free list is shorter than its count"
        );
        assert!(
            self.top as usize <= self.pages.len() * PAGE,
            "slots without a page"
        );
    }

    fn unlink_free(&mut self, at: u32) {
        let (prev, next) = (self.slot(at).prev, self.slot(at).next);
        if prev == NIL {
            self.free_head = next;
        } else {
            self.slot_mut(prev).next = next;
        }
        if next != NIL {
            self.slot_mut(next).prev = prev;
        }
        let slot = self.slot_mut(at);
        (slot.prev, slot.next) = (NIL, NIL);
        self.free_len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used() -> Slot {
        Slot {
            place: Place::Main,
            ..Slot::free()
        }
    }

    #[test]
    fn a_slot_is_seven_words_pairs() {
        assert_eq!(size_of::<Slot>(), 120);
    }

    #[test]
    fn numbers_keep_48_bits() {
        let mut slot = used();
        slot.set_number((1 << 48) - 2);
        assert_eq!(slot.number(), (1 << 48) - 2);
    }

    #[test]
    fn freed_slots_are_used_again_and_trimmed_pages_go_back() {
        let mut slab = Slab::new();
        let all: Vec<u32> = (0..1000).filter_map(|_| slab.put(used())).collect();
        assert_eq!((all.len(), slab.len()), (1000, 1000));
        for &at in &all[10..] {
            slab.take(at);
            slab.validate();
        }
        slab.trim();
        slab.validate();
        assert_eq!((slab.top(), slab.len(), slab.pages.len()), (10, 10, 2));
        slab.take(3);
        assert_eq!(slab.put(used()), Some(3));
        slab.validate();
    }
}
