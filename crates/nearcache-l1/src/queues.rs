//! The order of a shard's entries: S3-FIFO (Yang et al., SOSP 2023), by weight instead of by count.
//! Newcomers enter a small queue and reach the main one if they are read twice more or were here lately.
//! It links and unlinks slots; it never frees one.

use std::sync::atomic::Ordering::Relaxed;

use crate::ghost::Ghost;
use crate::slab::{NIL, Place, Slab};

/// Highest frequency kept.
pub(crate) const FREQUENCY_MAX: u8 = 3;

/// Look-ups that take an entry from the small queue to the main one.
const PROMOTED_AT: u8 = 2;

/// The small queue's share of the weight is one part in this many. Half of what the paper takes: on skewed traffic that
/// hits more often, and the ghost catches what a short stay misjudges.
const SMALL_PART: u64 = 20;

/// Entries a single search for a victim may pass over, so that no writer holds the lock for long.
const PATIENCE: usize = 128;

/// A queue of slots, newest at the head.
struct List {
    head: u32,
    tail: u32,
    len: usize,
    weight: u64,
}

/// Both queues of a shard and the ghost of what left it.
pub(crate) struct Queues {
    small: List,
    main: List,
    ghost: Ghost,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            small: List::new(),
            main: List::new(),
            ghost: Ghost::new(),
        }
    }

    pub(crate) fn weight(&self) -> u64 {
        self.small.weight + self.main.weight
    }

    /// Links a new entry; returns whether its key was remembered.
    pub(crate) fn admit(&mut self, slab: &mut Slab, at: u32, fingerprint: u32) -> bool {
        let known = self.ghost.take(fingerprint);
        let (place, list) = match known {
            true => (Place::Main, &mut self.main),
            false => (Place::Small, &mut self.small),
        };
        list.push(slab, at, place);
        known
    }

    /// Links an entry that nobody has read yet, but others are known to: in main, where it is the next to be evicted.
    pub(crate) fn admit_behind(&mut self, slab: &mut Slab, at: u32, fingerprint: u32) -> bool {
        let known = self.ghost.take(fingerprint);
        self.main.push_behind(slab, at, Place::Main);
        known
    }

    /// Unlinks an entry that leaves.
    pub(crate) fn unlink(&mut self, slab: &mut Slab, at: u32) {
        self.list(slab.slot(at).place).unlink(slab, at);
    }

    /// Remembers a proven entry that left for another reason than want of room: its next value goes straight to main.
    pub(crate) fn remember(&mut self, fingerprint: u32) {
        self.ghost
            .insert(fingerprint, self.small.len + self.main.len);
    }

    /// Notes that an entry's weight changed.
    pub(crate) fn reweigh(&mut self, slab: &mut Slab, at: u32, weight: u32) {
        let slot = slab.slot_mut(at);
        let list = self.list(slot.place);
        list.weight = list.weight - u64::from(slot.weight) + u64::from(weight);
        slot.weight = weight;
    }

    /// Notes that a linked slot was moved to `to`.
    pub(crate) fn moved(&mut self, slab: &mut Slab, to: u32) {
        let slot = slab.slot(to);
        let (place, prev, next) = (slot.place, slot.prev, slot.next);
        let list = self.list(place);
        match prev {
            NIL => list.head = to,
            prev => slab.slot_mut(prev).next = to,
        }
        match next {
            NIL => list.tail = to,
            next => slab.slot_mut(next).prev = to,
        }
    }

    /// Picks the entry to evict and unlinks it; the caller frees its slot. The second part says whether the ghost
    /// should remember it, see [`Queues::remember`].
    pub(crate) fn victim(&mut self, slab: &mut Slab) -> Option<(u32, bool)> {
        for patience in (0..PATIENCE).rev() {
            let from_small = self.main.len == 0 || self.small.weight * SMALL_PART > self.weight();
            let list = if from_small {
                &mut self.small
            } else {
                &mut self.main
            };
            let at = list.tail;
            if at == NIL {
                return None;
            }
            let slot = slab.slot_mut(at);
            let frequency = slot.frequency.get_mut();
            let spared = match from_small {
                true => *frequency >= PROMOTED_AT,
                false => *frequency > 0,
            };
            if !spared || patience == 0 {
                list.unlink(slab, at);
                return Some((at, from_small));
            }
            // A promoted entry starts again; one that goes round in main pays for it.
            *frequency = if from_small { 0 } else { *frequency - 1 };
            list.unlink(slab, at);
            self.main.push(slab, at, Place::Main);
        }
        None
    }

    /// Forgets everything, links included; the caller empties the slab.
    pub(crate) fn clear(&mut self) {
        self.small = List::new();
        self.main = List::new();
        self.ghost.clear();
    }

    /// Checks both queues; panics with what is wrong. Returns how many entries they hold.
    pub(crate) fn validate(&self, slab: &Slab) -> usize {
        self.small.validate(slab, Place::Small);
        self.main.validate(slab, Place::Main);
        self.small.len + self.main.len
    }

    fn list(&mut self, place: Place) -> &mut List {
        match place {
            Place::Main => &mut self.main,
            _ => &mut self.small,
        }
    }
}

/// Bumps a slot's frequency; under a read lock, where a lost bump is harmless.
#[inline]
pub(crate) fn touch(slab: &Slab, at: u32) {
    let frequency = &slab.slot(at).frequency;
    let now = frequency.load(Relaxed);
    // Hot entries are at the maximum: they are only read, so their cache line stays shared.
    if now < FREQUENCY_MAX {
        frequency.store(now + 1, Relaxed);
    }
}

impl List {
    fn new() -> Self {
        Self {
            head: NIL,
            tail: NIL,
            len: 0,
            weight: 0,
        }
    }

    fn push(&mut self, slab: &mut Slab, at: u32, place: Place) {
        let slot = slab.slot_mut(at);
        slot.place = place;
        (slot.prev, slot.next) = (NIL, self.head);
        self.weight += u64::from(slot.weight);
        self.len += 1;
        match self.head {
            NIL => self.tail = at,
            head => slab.slot_mut(head).prev = at,
        }
        self.head = at;
    }

    /// Links a slot as the oldest.
    fn push_behind(&mut self, slab: &mut Slab, at: u32, place: Place) {
        let slot = slab.slot_mut(at);
        slot.place = place;
        (slot.prev, slot.next) = (self.tail, NIL);
        self.weight += u64::from(slot.weight);
        self.len += 1;
        match self.tail {
            NIL => self.head = at,
            tail => slab.slot_mut(tail).next = at,
        }
        self.tail = at;
    }

    fn unlink(&mut self, slab: &mut Slab, at: u32) {
        let slot = slab.slot(at);
        let (prev, next) = (slot.prev, slot.next);
        self.weight -= u64::from(slot.weight);
        self.len -= 1;
        match prev {
            NIL => self.head = next,
            prev => slab.slot_mut(prev).next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => slab.slot_mut(next).prev = prev,
        }
    }

    fn validate(&self, slab: &Slab, place: Place) {
        let (mut at, mut prev, mut len, mut weight) = (self.head, NIL, 0, 0);
        while at != NIL {
            let slot = slab.slot(at);
            assert_eq!(slot.place, place, "slot {at} is linked in the wrong queue");
            assert_eq!(slot.prev, prev, "slot {at} has a wrong back link");
            assert!(slot.weight > 0, "slot {at} weighs nothing");
            assert!(
                slot.frequency.load(Relaxed) <= FREQUENCY_MAX,
                "frequency of {at}"
            );
            weight += u64::from(slot.weight);
            len += 1;
            assert!(
                len <= self.len,
                "the {place:?} queue is longer than its count"
            );
            (prev, at) = (at, slot.next);
        }
        assert_eq!(self.tail, prev, "the {place:?} queue has a wrong tail");
        assert_eq!(
            self.len, len,
            "the {place:?} queue is shorter than its count"
        );
        assert_eq!(self.weight, weight, "the {place:?} queue's weight is wrong");
    }
}
