//! How often this pod reads each entry, of late: counts that decay with a half-life.
//!
//! Forward decay (Cormode, Shkapenyuk, Srivastava, Xu, "Forward decay", ICDE 2009): what is added weighs
//! more the later it comes, instead of what is there less and less; so a count is one number, written only
//! when its entry is read. Never looks at a clock.

use std::time::Duration;

use nearcache_l1::{Key, Timestamp};

use super::frame::HALF_LIVES;
use super::item::{Item, by_score};
use super::name::{LONGEST, Name};
use super::tally::{Entry, Tally};

/// Half-lives after which weights are brought back to the scale of their time; far from where they overflow.
const RESCALE_AFTER: f64 = 32.0;

/// What has decayed to less than this part of a read is forgotten when weights are rescaled.
const FORGOTTEN: f64 = 1e-6;

/// Decayed counts of reads per entry, of the entries read most.
///
/// The *score* of an entry is the number of its reads, each halved once per half-life since. A entry read at a
/// steady rate has a score of rate x half-life / ln 2.
///
/// # Error
/// When a limit is reached, the lightest quarter is dropped in one pass and starts at 0 if it comes back. So a
/// score never says too much, and too little by at most the sum of what the entry had whenever it was
/// dropped, each part at most [`floor`](Self::floor) at that time and decayed since. To start at the floor
/// instead, as Space-Saving does, lifts every newcomer above the entries that were rightly kept, and was
/// found to keep fewer of the most read.
pub struct Counts {
    tally: Tally,
    half_life: Duration,
    /// Where a read weighs 1.
    landmark: Timestamp,
    mass: f64,
    limits: (usize, usize),
    too_long: u64,
}

impl Counts {
    /// Counts for at most `limit_keys` entries in at most `limit_bytes` of memory. A half-life that makes no sense
    /// (under 100 ms, over a year) is brought to the nearest that does.
    pub fn new(limit_keys: usize, limit_bytes: usize, half_life: Duration) -> Self {
        Self {
            tally: Tally::new(limit_keys, limit_bytes, 0),
            half_life: half_life.clamp(*HALF_LIVES.start(), *HALF_LIVES.end()),
            landmark: Timestamp::ZERO,
            mass: 0.0,
            limits: (limit_keys, limit_bytes),
            too_long: 0,
        }
    }

    /// The same, empty, with a seed for its hashes: give each process its own where keys come from strangers.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        let (keys, bytes) = self.limits;
        let tally = Tally::new(keys, bytes, seed);
        Self {
            tally,
            mass: 0.0,
            ..self
        }
    }

    /// Counts `weight` reads of an entry. Those of names longer than 1 KiB count only in [`mass`](Self::mass).
    ///
    /// # Cost
    /// A look-up and a power of two; every so often, a pass over all entries, amortised over the additions
    /// between.
    pub fn add(&mut self, now: Timestamp, filed: Key<'_>, weight: u32) {
        let mut growth = self.halvings(now);
        if growth > RESCALE_AFTER {
            self.rescale(now, growth);
            growth = 0.0;
        }
        let weight = f64::from(weight) * growth.exp2();
        self.mass += weight;
        if filed.bytes.len() > LONGEST || self.tally.add(filed, weight).is_none() {
            self.too_long += 1;
        }
    }

    /// Keeps how long the value of an entry is, if the entry is counted.
    pub fn note_bytes(&mut self, filed: Key<'_>, value_bytes: usize) {
        if let Some(entry) = self.tally.get_mut(filed) {
            entry.bytes = u32::try_from(value_bytes).unwrap_or(u32::MAX).max(1);
        }
    }

    /// How long the value of an entry is; 0 when that is not known.
    pub fn bytes_of(&self, filed: Key<'_>) -> u32 {
        self.tally.get(filed).map_or(0, |entry| entry.bytes)
    }

    /// The decayed reads of an entry; `None` when it is not counted.
    pub fn score(&self, now: Timestamp, filed: Key<'_>) -> Option<f64> {
        let entry = self.tally.get(filed)?;
        Some(entry.weight * self.decay(now))
    }

    /// The decayed reads of all entries, those no longer counted included.
    pub fn mass(&self, now: Timestamp) -> f64 {
        self.mass * self.decay(now)
    }

    /// The highest score that was ever dropped for want of room, decayed since; 0 when none was.
    pub fn floor(&self, now: Timestamp) -> f64 {
        self.tally.heaviest_pruned() * self.decay(now)
    }

    /// The half-life.
    pub fn half_life(&self) -> Duration {
        self.half_life
    }

    /// Slots counted.
    pub fn len(&self) -> usize {
        self.tally.entries().len()
    }

    /// Whether no entry is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held, never more than the limit: all that was allocated, and about what an allocator
    /// rounds up.
    pub fn bytes(&self) -> usize {
        self.tally.bytes()
    }

    /// Slots dropped for want of room.
    pub fn pruned_total(&self) -> u64 {
        self.tally.pruned()
    }

    /// Additions not counted because their entry's name is too long.
    pub fn too_long_total(&self) -> u64 {
        self.too_long
    }

    /// The `n` entries read most, most read first; equals in the order of their names.
    ///
    /// # Cost
    /// Linear in the entries counted, and a copy of the names returned.
    pub fn ranked(&self, now: Timestamp, n: usize) -> Vec<Item> {
        let mut heaviest: Vec<&Entry> = self.tally.entries().iter().collect();
        let order = |a: &&Entry, b: &&Entry| {
            let names = || (a.db, &a.name).cmp(&(b.db, &b.name));
            b.weight.total_cmp(&a.weight).then_with(names)
        };
        if n < heaviest.len() {
            heaviest.select_nth_unstable_by(n, order);
            heaviest.truncate(n);
        }
        let decay = self.decay(now);
        let item = |entry: &Entry| Item {
            name: Name::plain(Key::new(entry.db, &entry.name)),
            score: entry.weight * decay,
            bytes: entry.bytes,
        };
        let mut items: Vec<_> = heaviest.into_iter().map(item).collect();
        items.sort_unstable_by(by_score);
        items
    }

    /// Half-lives since the landmark.
    fn halvings(&self, now: Timestamp) -> f64 {
        now.saturating_since(self.landmark).as_secs_f64() / self.half_life.as_secs_f64()
    }

    fn decay(&self, now: Timestamp) -> f64 {
        (-self.halvings(now)).exp2()
    }

    fn rescale(&mut self, now: Timestamp, growth: f64) {
        let factor = (-growth).exp2();
        self.tally.scale(factor, FORGOTTEN);
        self.mass *= factor;
        self.landmark = now;
    }
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests;
