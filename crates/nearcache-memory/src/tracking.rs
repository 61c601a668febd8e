//! Who is to be told about the next change of which key.
//!
//! A registration is good for one change and knows no database number, as on the real servers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use bytes::Bytes;

use super::session::ConnId;

/// The registrations.
pub(super) struct TrackingTable {
    /// Hashed without a seed of the process, so that what is done replays.
    slots: HashMap<Bytes, Slot, BuildHasherDefault<DefaultHasher>>,
    /// The same keys without order, so that a random one can be picked.
    keys: Vec<Bytes>,
    limit: usize,
    random: u64,
}

struct Slot {
    at: usize,
    readers: Vec<ConnId>,
}

impl TrackingTable {
    /// As many keys as Redis and Valkey allow by default.
    const LIMIT: usize = 1_000_000;

    pub(super) fn new() -> Self {
        Self {
            slots: HashMap::default(),
            keys: Vec::new(),
            limit: Self::LIMIT,
            random: 1,
        }
    }

    pub(super) fn set_limit(&mut self, keys: usize, seed: u64) {
        self.limit = keys;
        self.random = seed | 1;
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Registers `reader` for the next change of `key`.
    pub(super) fn register(&mut self, key: &[u8], reader: ConnId) {
        if let Some(slot) = self.slots.get_mut(key) {
            if !slot.readers.contains(&reader) {
                slot.readers.push(reader);
            }
            return;
        }
        let key = Bytes::copy_from_slice(key);
        let slot = Slot {
            at: self.keys.len(),
            readers: vec![reader],
        };
        self.keys.push(key.clone());
        self.slots.insert(key, slot);
    }

    /// Ends the registrations of `key` and says whose they were.
    pub(super) fn take(&mut self, key: &[u8]) -> Vec<ConnId> {
        let Some(slot) = self.slots.remove(key) else {
            return Vec::new();
        };
        self.keys.swap_remove(slot.at);
        if let Some(moved) = self.keys.get(slot.at)
            && let Some(other) = self.slots.get_mut(moved)
        {
            other.at = slot.at;
        }
        slot.readers
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.keys.clear();
    }

    /// Forgets a connection.
    pub(super) fn remove_reader(&mut self, reader: ConnId) {
        let mut unread = Vec::new();
        for (key, slot) in &mut self.slots {
            slot.readers.retain(|r| *r != reader);
            if slot.readers.is_empty() {
                unread.push(key.clone());
            }
        }
        for key in unread {
            self.take(&key);
        }
    }

    /// A key to give up because the table is over its limit.
    pub(super) fn surplus(&mut self) -> Option<Bytes> {
        if self.keys.len() <= self.limit {
            return None;
        }
        // Xorshift: spreads well enough to pick a victim.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let at = self.random % self.keys.len() as u64;
        self.keys.get(usize::try_from(at).unwrap_or(0)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_taken_once_and_slots_stay_in_step() {
        let mut table = TrackingTable::new();
        for key in [b"a", b"b", b"c"] {
            table.register(key, ConnId(1));
            table.register(key, ConnId(2));
            table.register(key, ConnId(2));
        }
        assert_eq!(table.take(b"a"), [ConnId(1), ConnId(2)]);
        assert_eq!(table.take(b"a"), []);
        assert_eq!(table.take(b"c"), [ConnId(1), ConnId(2)]);
        table.remove_reader(ConnId(1));
        assert_eq!(table.take(b"b"), [ConnId(2)]);
        table.register(b"d", ConnId(1));
        table.remove_reader(ConnId(1));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_limit_picks_victims_until_it_is_kept() {
        let mut table = TrackingTable::new();
        table.set_limit(10, 7);
        for n in 0..100_u8 {
            table.register(&[n], ConnId(1));
        }
        while let Some(key) = table.surplus() {
            assert_eq!(table.take(&key).len(), 1);
        }
        assert_eq!(table.len(), 10);
    }
}
