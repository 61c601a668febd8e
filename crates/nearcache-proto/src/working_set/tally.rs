//! A bounded table of weights by entry, which keeps the heaviest.
//!
//! Knows nothing of time. Never holds more keys or bytes than it was given.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use nearcache_l1::Key;

/// First capacity, in entries.
const FEWEST: usize = 64;

/// Weights are told apart by their exponent and the top four bits behind it: to a sixteenth of an octave.
const STEP_BITS: u32 = 52 - 4;

/// Steps below the heaviest that are told apart: 64 octaves.
const STEPS: usize = 1024;

/// One entry and what it weighs.
pub(super) struct Entry {
    pub(super) db: u32,
    /// Length of its value, at least 1; 0: not known.
    pub(super) bytes: u32,
    pub(super) weight: f64,
    pub(super) name: Box<[u8]>,
}

impl Entry {
    fn is(&self, filed: Key<'_>) -> bool {
        self.db == filed.db && *self.name == *filed.bytes
    }
}

/// The table.
pub(super) struct Tally {
    entries: Vec<Entry>,
    /// Places in `entries`. Nothing is ever removed from it alone, so that it holds no tombstones and
    /// grows only when it is full.
    places: HashTable<u32>,
    hasher: FixedState,
    limit_keys: usize,
    limit_bytes: usize,
    names_bytes: usize,
    heaviest_pruned: f64,
    pruned: u64,
}

impl Tally {
    pub(super) fn new(limit_keys: usize, limit_bytes: usize, seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            places: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            // Places are 32 bits wide.
            limit_keys: limit_keys.clamp(1, u32::MAX as usize),
            limit_bytes,
            names_bytes: 0,
            heaviest_pruned: 0.0,
            pruned: 0,
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Keys dropped for want of room.
    pub(super) fn pruned(&self) -> u64 {
        self.pruned
    }

    /// The most that any dropped key weighed.
    pub(super) fn heaviest_pruned(&self) -> f64 {
        self.heaviest_pruned
    }

    /// Bytes held: what was allocated, and about what an allocator adds.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.places.allocation_size()
            + self.names_bytes
    }

    pub(super) fn get(&self, filed: Key<'_>) -> Option<&Entry> {
        let entries = &self.entries;
        let place = self.places.find(hash(&self.hasher, filed), |place| {
            entries[*place as usize].is(filed)
        })?;
        entries.get(*place as usize)
    }

    pub(super) fn get_mut(&mut self, filed: Key<'_>) -> Option<&mut Entry> {
        let entries = &self.entries;
        let place = self.places.find(hash(&self.hasher, filed), |place| {
            entries[*place as usize].is(filed)
        })?;
        self.entries.get_mut(*place as usize)
    }

    /// Adds to the weight of an entry and returns its entry; `None` when there is no room even for it alone.
    pub(super) fn add(&mut self, filed: Key<'_>, weight: f64) -> Option<&mut Entry> {
        let hash = hash(&self.hasher, filed);
        let entries = &self.entries;
        let found = self
            .places
            .find(hash, |place| entries[*place as usize].is(filed))
            .copied();
        let place = match found {
            Some(place) => place,
            None => {
                if !self.make_room(filed.bytes.len()) {
                    return None;
                }
                let place = self.entries.len() as u32;
                self.entries.push(Entry {
                    db: filed.db,
                    bytes: 0,
                    weight: 0.0,
                    name: filed.bytes.into(),
                });
                self.names_bytes += allocated(filed.bytes.len());
                let (entries, hasher) = (&self.entries, &self.hasher);
                self.places.insert_unique(hash, place, |place| {
                    rehash(hasher, &entries[*place as usize])
                });
                place
            }
        };
        let entry = self.entries.get_mut(place as usize)?;
        entry.weight += weight;
        Some(entry)
    }

    /// Multiplies all weights, and drops the entries that weigh less than `least` then.
    pub(super) fn scale(&mut self, factor: f64, least: f64) {
        self.entries
            .iter_mut()
            .for_each(|entry| entry.weight *= factor);
        self.heaviest_pruned *= factor;
        self.retain(|entry| entry.weight >= least);
    }

    /// Makes room for one more name of this length, at the cost of the lightest if need be.
    fn make_room(&mut self, name: usize) -> bool {
        loop {
            let len = self.entries.len();
            if len < self.limit_keys && self.grow(allocated(name)) {
                return true;
            }
            if len == 0 {
                return false;
            }
            // A quarter at a time: each pass is paid for by as many additions as it looked at thrice.
            self.prune(len - len.div_ceil(4));
        }
    }

    /// Grows both parts if they are full; whether that and `more` bytes are within the limit. While a part
    /// grows, its old and its new allocation exist side by side, and both count.
    fn grow(&mut self, more: usize) -> bool {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            let capacity = (len + len / 2).max(FEWEST).min(self.limit_keys);
            if self.bytes() + capacity * size_of::<Entry>() + more > self.limit_bytes {
                return false;
            }
            self.entries.reserve_exact(capacity - len);
        }
        if len == self.places.capacity() {
            let next = (2 * self.places.allocation_size()).max(FEWEST);
            if self.bytes() + next + more > self.limit_bytes {
                return false;
            }
            let (entries, hasher) = (&self.entries, &self.hasher);
            self.places
                .reserve(1, |place| rehash(hasher, &entries[*place as usize]));
        }
        self.bytes() + more <= self.limit_bytes
    }

    /// Drops all but about the `keep` heaviest, in three passes and without allocating. Among those within
    /// a sixteenth of an octave of the lightest that stays, the longest known stay.
    fn prune(&mut self, keep: usize) {
        let top = self
            .entries
            .iter()
            .map(|entry| step(entry.weight))
            .max()
            .unwrap_or(0);
        let below = |weight: f64| ((top - step(weight)) as usize).min(STEPS - 1);
        let mut histogram = [0_u32; STEPS];
        for entry in &self.entries {
            histogram[below(entry.weight)] += 1;
        }
        let (mut cut, mut left) = (0, keep);
        while cut < STEPS && histogram[cut] as usize <= left {
            left -= histogram[cut] as usize;
            cut += 1;
        }
        let mut heaviest = self.heaviest_pruned;
        let before = self.entries.len();
        self.retain(|entry| {
            let at = below(entry.weight);
            let stays = at < cut || (at == cut && left > 0);
            if at == cut && stays {
                left -= 1;
            }
            if !stays {
                heaviest = heaviest.max(entry.weight);
            }
            stays
        });
        self.heaviest_pruned = heaviest;
        self.pruned += (before - self.entries.len()) as u64;
    }

    fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        let before = self.entries.len();
        self.entries.retain(keep);
        if self.entries.len() == before {
            return;
        }
        self.places.clear();
        self.names_bytes = 0;
        let (entries, hasher) = (&self.entries, &self.hasher);
        for (place, entry) in entries.iter().enumerate() {
            self.names_bytes += allocated(entry.name.len());
            let again = |place: &u32| rehash(hasher, &entries[*place as usize]);
            self.places
                .insert_unique(rehash(hasher, entry), place as u32, again);
        }
    }
}

fn hash(hasher: &FixedState, filed: Key<'_>) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(filed.bytes);
    hasher.write_u32(filed.db);
    hasher.finish()
}

fn rehash(hasher: &FixedState, entry: &Entry) -> u64 {
    hash(hasher, Key::new(entry.db, &entry.name))
}

/// Weights are finite and not negative, so that their bits are in their order.
fn step(weight: f64) -> u64 {
    weight.to_bits() >> STEP_BITS
}

/// What a name takes: its bytes, and what allocators round up and add.
fn allocated(name: usize) -> usize {
    match name {
        0 => 0,
        _ => (name + 8).next_multiple_of(16).max(32),
    }
}
