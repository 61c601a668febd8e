//! Makes the manifest of a fleet from the blobs of its pods.
//!
//! Uses no clock of another pod: a blob is as old as the merger has known it. Bounded, whatever the blobs
//! hold.

use std::collections::BTreeSet;
use std::time::Duration;

use nearcache_l1::Key;

use super::blob::{Blob, Rates};
use super::frame::MOST_READS;
use super::item::{Item, by_density};
use super::manifest::Manifest;
use super::name::Name;
use super::tally::{Entry, Tally};

/// Distinct items kept while merging; the least read are dropped.
const MOST_ITEMS: usize = 1 << 16;

/// Memory for them.
const MOST_BYTES: usize = 32 << 20;

/// In place of a db, for a hash; no entry has it.
const HASHED: u32 = u32::MAX;

/// The half-life of a manifest made of nothing.
const NO_HALF_LIFE: Duration = Duration::from_secs(1800);

/// Merges blobs, each with its age: how long ago the merger first saw a blob of that pod with that sequence
/// number. `fleet` is the number of pods in the fleet, `previous` the version of the manifest that this one follows.
pub fn merge(
    blobs: impl IntoIterator<Item = (Blob, Duration)>,
    fleet: usize,
    previous: u64,
) -> Manifest {
    let mut merger = Merger::new(0);
    for (blob, age) in blobs {
        merger.add(&blob, age);
    }
    merger.finish(fleet, previous)
}

/// [`merge`], blob by blob.
pub struct Merger {
    tally: Tally,
    pods: BTreeSet<u64>,
    half_life: Option<Duration>,
    mass: f64,
    /// Wide enough for sums of any rates.
    rates: [f64; 3],
    refused: u64,
}

impl Merger {
    /// The most blobs that one merge takes.
    pub const MOST_BLOBS: usize = 4096;

    /// An empty one. The seed is for its hashes; give it another each time where keys come from strangers.
    pub fn new(seed: u64) -> Self {
        Self {
            tally: Tally::new(MOST_ITEMS, MOST_BYTES, seed),
            pods: BTreeSet::new(),
            half_life: None,
            mass: 0.0,
            rates: [0.0; 3],
            refused: 0,
        }
    }

    /// Adds a blob of this age; `false` when it is not merged, being the second of its pod or one too many.
    ///
    /// Scores with another half-life than those of the first blob are brought to that one as those of entries
    /// read at a steady rate.
    pub fn add(&mut self, blob: &Blob, age: Duration) -> bool {
        if self.pods.len() >= Self::MOST_BLOBS || !self.pods.insert(blob.pod) {
            self.refused += 1;
            return false;
        }
        let half_life = self.half_life.get_or_insert(blob.half_life).as_secs_f64();
        let own = blob.half_life.as_secs_f64();
        let factor = (-age.as_secs_f64() / own).exp2() * half_life / own;
        self.mass += blob.mass * factor;
        let Rates {
            reads_per_s,
            l2_reads_per_s,
            l2_bytes_per_s,
        } = blob.rates;
        for (sum, rate) in self
            .rates
            .iter_mut()
            .zip([reads_per_s, l2_reads_per_s, l2_bytes_per_s])
        {
            *sum += f64::from(rate);
        }
        for item in &blob.items {
            let score = item.score * factor;
            let hash;
            let key = match &item.name {
                Name::Plain { db, bytes } => Key::new(*db, bytes),
                Name::Hashed(number) => {
                    hash = number.to_le_bytes();
                    Key::new(HASHED, &hash)
                }
            };
            if let Some(entry) = self.tally.add(key, score) {
                entry.bytes = entry.bytes.max(item.bytes);
            }
        }
        true
    }

    /// Blobs that were not merged.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The manifest. What only some pods of the fleet told is scaled to all of it. The size of an item is
    /// the largest that any pod told; where none did, the mean of the others.
    pub fn finish(self, fleet: usize, previous: u64) -> Manifest {
        let merged = self.pods.len();
        let fleet = fleet.max(merged);
        let factor = fleet as f64 / merged.max(1) as f64;
        let known = self.tally.entries().iter().filter(|entry| entry.bytes > 0);
        let (count, sum) = known.fold((0_u64, 0_u64), |(count, sum), entry| {
            (count + 1, sum + u64::from(entry.bytes))
        });
        // A mean of numbers of 32 bits is one.
        let mean = (sum / count.max(1)) as u32;
        let item = |entry: Entry| Item {
            score: (entry.weight * factor).min(MOST_READS),
            bytes: if entry.bytes == 0 { mean } else { entry.bytes },
            name: name(entry),
        };
        let mut items: Vec<_> = self.tally.into_entries().into_iter().map(item).collect();
        items.sort_by(by_density);
        let [reads_per_s, l2_reads_per_s, l2_bytes_per_s] = self
            .rates
            .map(|sum| (sum * factor).min(f64::from(f32::MAX)) as f32);
        Manifest {
            version: previous.saturating_add(1),
            half_life: self.half_life.unwrap_or(NO_HALF_LIFE),
            mass: (self.mass * factor).min(MOST_READS),
            fleet: u32::try_from(fleet).unwrap_or(u32::MAX),
            // At most MOST_BLOBS.
            merged: merged as u32,
            rates: Rates {
                reads_per_s,
                l2_reads_per_s,
                l2_bytes_per_s,
            },
            items,
            skipped: 0,
        }
    }
}

fn name(entry: Entry) -> Name {
    match (entry.db, entry.name.first_chunk()) {
        (HASHED, Some(hash)) => Name::Hashed(u64::from_le_bytes(*hash)),
        _ => Name::Plain {
            db: entry.db,
            bytes: entry.name,
        },
    }
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests;
