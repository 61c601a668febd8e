//! What an entry is to its callers: what a publish stores, what a hit returns. Values never reach a `Debug` output.

use std::fmt;

use bytes::Bytes;

use crate::Timestamp;

/// From whom an entry was read, and under which life of the lane; the store keeps it and never compares it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Who was believed to own the key.
    pub claim: u32,
    /// The hash slot of the key, where several primaries share them; else 0.
    pub slot: u16,
    /// The unbroken life of the lane.
    pub history: u32,
    /// The count of flush pushes.
    pub flush: u32,
}

/// The identity of one publish: no two publishes of a store share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// What a publish stores under a key.
#[derive(Clone)]
pub struct Filled {
    /// The value; `None` caches that the key is absent.
    pub value: Option<Bytes>,
    /// Under which life of the lane it was read.
    pub stamp: Stamp,
    /// When the request that read it was sent.
    pub filled_at: Timestamp,
    /// When it expires; [`Timestamp::MAX`] for never.
    pub deadline: Timestamp,
}

/// A resident entry as a look-up returns it: a shared view of the value, never a copy.
#[derive(Clone)]
pub struct Hit {
    /// The value; `None` for a cached absence.
    pub value: Option<Bytes>,
    /// Under which life of the lane it was filled.
    pub stamp: Stamp,
    /// When the request that read it was sent.
    pub filled_at: Timestamp,
    /// When it expires.
    pub deadline: Timestamp,
    /// Which publish stored it.
    pub id: EntryId,
}

/// One entry as an iteration sees it: everything but the value.
#[derive(Clone, Copy, Debug)]
pub struct EntryInfo {
    /// Which publish stored it.
    pub id: EntryId,
    /// What it counts against the capacity.
    pub weight: usize,
    /// Length of the value in bytes; `None` for a cached absence.
    pub value_bytes: Option<usize>,
    /// What the attached decoded form was said to take, in bytes; `None` when there is none.
    pub decoded_bytes: Option<usize>,
    /// Under which life of the lane it was filled.
    pub stamp: Stamp,
    /// When the request that read it was sent.
    pub filled_at: Timestamp,
    /// When it expires.
    pub deadline: Timestamp,
    /// How often the policy saw it lately, 0 to 3.
    pub frequency: u8,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The entry is resident under this identity.
    Stored(EntryId),
    /// Nothing was stored; the flight's waiters got the outcome all the same.
    Refused(Refusal),
}

/// Why a publish stored nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key was invalidated, forgotten or cleared while the flight was in the air.
    Orphaned,
    /// The caller's check said that the value may be older than an invalidation.
    Invalid,
    /// The entry weighs more than one entry may, or no room could be made for it.
    TooLarge,
}

impl fmt::Debug for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filled")
            .field("value_bytes", &self.value.as_ref().map(Bytes::len))
            .field("stamp", &self.stamp)
            .field("filled_at", &self.filled_at)
            .field("deadline", &self.deadline)
            .finish()
    }
}

impl fmt::Debug for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hit")
            .field("value_bytes", &self.value.as_ref().map(Bytes::len))
            .field("stamp", &self.stamp)
            .field("filled_at", &self.filled_at)
            .field("deadline", &self.deadline)
            .field("id", &self.id)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_debug_shows_no_value() {
        let filled = Filled {
            value: Some(Bytes::from_static(b"secret")),
            stamp: Stamp::default(),
            filled_at: Timestamp::ZERO,
            deadline: Timestamp::MAX,
        };
        let hit = Hit {
            value: filled.value.clone(),
            stamp: filled.stamp,
            filled_at: filled.filled_at,
            deadline: filled.deadline,
            id: EntryId(1),
        };
        for shown in [format!("{filled:?}"), format!("{hit:?}")] {
            assert!(
                !shown.contains("secret") && shown.contains("Some(6)"),
                "{shown}"
            );
        }
    }
}
