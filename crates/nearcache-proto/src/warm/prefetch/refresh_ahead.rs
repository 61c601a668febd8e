//! Copies that end by a bound of this pod's: fetched anew before that, for as long as they are read.
//!
//! What ends with its key is left alone: read again a moment before, it would have the same end.

use std::collections::HashMap;
use std::time::Duration;

use nearcache_l1::{Hit, Key, Timestamp};

use super::Prefetcher;
use super::queue::{Why, Wish};
use crate::cache::Io;
use crate::pod::Pod;
use crate::warm::ground::Ground;
use crate::warm::known::Known;
use crate::working_set::Item;

/// Copies that are followed at a time; others are missed when they end.
const MOST: usize = 4096;

/// A copy is renewed when this part of its life is left.
const LEFT: u32 = 4;

/// Renewals wait for each other for so long, so that they go together.
const TOGETHER: Duration = Duration::from_millis(20);

/// A db and a name in it.
type Slot = (u32, Box<[u8]>);

/// One copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Followed {
    life: Duration,
    deadline: Timestamp,
    /// Whether a read of it was counted.
    read: bool,
}

impl Followed {
    fn renew_at(&self) -> Timestamp {
        let micros = (self.life / LEFT).as_micros() as u64;
        Timestamp::from_micros(self.deadline.as_micros().saturating_sub(micros))
    }
}

/// The copies that are followed, by entry.
pub(super) struct Renewals {
    copies: HashMap<Slot, Followed>,
    /// When the first of them is to be renewed, or before.
    next: Timestamp,
}

impl Default for Renewals {
    fn default() -> Self {
        Self {
            copies: HashMap::new(),
            next: Timestamp::MAX,
        }
    }
}

impl Renewals {
    /// A read of a copy that lives for so long was counted.
    pub(super) fn read(&mut self, filed: Key<'_>, hit: &Hit, life: Duration) {
        self.follow(filed, hit, life, true);
    }

    fn follow(&mut self, filed: Key<'_>, hit: &Hit, life: Duration, read: bool) {
        let copy = Followed {
            life,
            deadline: hit.deadline,
            read,
        };
        let filed = (filed.db, filed.bytes.into());
        if self.copies.len() < MOST || self.copies.contains_key(&filed) {
            self.copies.insert(filed, copy);
            self.next = self.next.min(copy.renew_at());
        }
    }

    /// Follows what was renewed without its being read, so that it is looked at before it ends whatever is counted until then.
    pub(super) fn follow_on(&mut self, renewed: &[Item], pod: &Pod, now: Timestamp) {
        for filed in renewed.iter().filter_map(Item::key) {
            if let Some(hit) = pod.store.peek(filed)
                && let Some(life) = pod.bounded_life(&hit)
                && hit.deadline > now.saturating_add(life / LEFT)
            {
                self.follow(filed, &hit, life, false);
            }
        }
    }

    /// When to renew next.
    pub(super) fn next(&self) -> Timestamp {
        self.next
    }

    /// Takes out what is to be renewed by now, or soon after.
    fn take_due(&mut self, now: Timestamp) -> Vec<(Slot, Followed)> {
        let by = now.saturating_add(TOGETHER);
        let due: Vec<_> = self
            .copies
            .extract_if(|_, copy| copy.renew_at() <= by)
            .collect();
        let times = self.copies.values().map(Followed::renew_at);
        self.next = times.min().unwrap_or(Timestamp::MAX);
        due
    }
}

impl Prefetcher {
    /// Wants what ends soon, was read in this life of its copy, and is expected to be read in the next.
    pub(super) fn want_ending<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        if ground.now() < self.renewals.next() {
            return;
        }
        // What was read since the last look counts.
        self.fold(ground, known);
        let now = ground.now();
        let mut wanted = Vec::new();
        for ((db, bytes), copy) in self.renewals.take_due(now) {
            let filed = Key::new(db, &bytes);
            let resident = ground.cache.pod.store.peek(filed);
            // Somebody may have read it anew meanwhile, or it is gone.
            let the_same = resident.is_some_and(|hit| hit.deadline == copy.deadline);
            if the_same
                && copy.read
                && let Some((item, reads_per_s)) = known.worth_again(filed, copy.life, now)
            {
                wanted.push(Wish {
                    item,
                    why: Why::Ending,
                    reads_per_s,
                    until: copy.deadline,
                });
            }
        }
        self.want_again(ground, known, wanted);
    }
}

#[cfg(test)]
mod tests {
    use nearcache_l1::{EntryId, Stamp};

    use super::*;

    const LIFE: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(ms * 1000)
    }

    fn hit(deadline_ms: u64) -> Hit {
        Hit {
            value: None,
            stamp: Stamp::default(),
            filled_at: Timestamp::ZERO,
            deadline: at(deadline_ms),
            id: EntryId(1),
        }
    }

    #[test]
    fn a_copy_is_due_once_in_the_last_quarter_of_its_life_however_often_it_is_read() {
        let mut renewals = Renewals::default();
        assert_eq!(renewals.next(), Timestamp::MAX);
        for _ in 0..20 {
            for n in 0..1000_u32 {
                let name = n.to_string();
                renewals.read(Key::new(0, name.as_bytes()), &hit(5000), LIFE);
            }
        }
        assert_eq!(renewals.next(), at(4750));
        assert_eq!(renewals.take_due(at(4700)).len(), 0);
        assert_eq!(renewals.take_due(at(4750)).len(), 1000);
        assert_eq!(renewals.take_due(at(4990)).len(), 0);
        assert_eq!(renewals.next(), Timestamp::MAX);
    }

    #[test]
    fn a_newer_copy_takes_the_place_of_the_one_before() {
        let mut renewals = Renewals::default();
        let filed = Key::new(0, b"k");
        renewals.read(filed, &hit(5000), LIFE);
        renewals.follow(filed, &hit(6000), LIFE, false);
        assert_eq!(renewals.take_due(at(5000)).len(), 0);
        renewals.read(filed, &hit(6000), LIFE);
        let due = renewals.take_due(at(5750));
        assert_eq!(due.len(), 1);
        assert!(due[0].1.read);
    }

    #[test]
    fn c9_what_is_followed_is_bounded() {
        let mut renewals = Renewals::default();
        for n in 0..10_000_u32 {
            let name = n.to_string();
            renewals.read(Key::new(0, name.as_bytes()), &hit(5000), LIFE);
        }
        assert_eq!(renewals.take_due(at(5000)).len(), MOST);
    }
}
