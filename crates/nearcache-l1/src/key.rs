//! Keys: as callers name them, as slots store them, and how they hash.
//! Only the bytes are hashed, never the db, so that an invalidation finds the key in every db.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// A key as the caller names it: a db number and any bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key<'a> {
    /// The logical database the key lives in.
    pub db: u32,
    /// The key itself: any bytes, of any length.
    pub bytes: &'a [u8],
}

impl<'a> Key<'a> {
    /// Makes a key of a db number and its bytes.
    pub const fn new(db: u32, bytes: &'a [u8]) -> Self {
        Self { db, bytes }
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:\"{}\"", self.db, self.bytes.escape_ascii())
    }
}

/// Longest key that needs no allocation of its own.
pub(crate) const INLINE: usize = 22;

/// The bytes of a stored key: short ones lie in the slot, where a look-up reads them without a further cache miss.
pub(crate) enum KeyBuf {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl KeyBuf {
    pub(crate) const EMPTY: Self = Self::Inline {
        len: 0,
        bytes: [0; INLINE],
    };

    pub(crate) fn new(key: &[u8]) -> Self {
        if key.len() > INLINE {
            return Self::Heap(key.into());
        }
        let mut bytes = [0; INLINE];
        bytes[..key.len()].copy_from_slice(key);
        // The length is at most INLINE, so it fits.
        Self::Inline {
            len: key.len() as u8,
            bytes,
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

/// The seeded hash of a key's bytes, and which of its bits serve which purpose.
/// The table takes the lowest bits and the top seven; shards and fingerprints use those between.
#[derive(Clone)]
pub(crate) struct KeyHasher(FixedState);

impl KeyHasher {
    pub(crate) fn new(seed: u64) -> Self {
        Self(FixedState::with_seed(seed))
    }

    #[inline]
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

/// The ghost's fingerprint of a hash.
pub(crate) const fn fingerprint(hash: u64) -> u32 {
    (hash >> 16) as u32
}

/// The shard a hash belongs to; `mask` is the number of shards (a power of two, at most 256) less one.
pub(crate) const fn shard_of(hash: u64, mask: usize) -> usize {
    (hash >> 48) as usize & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_reads_back() {
        for len in 0..64 {
            let key: Vec<u8> = (0..len).collect();
            assert_eq!(KeyBuf::new(&key).as_slice(), &key[..]);
        }
        assert_eq!(KeyBuf::EMPTY.as_slice(), b"");
    }

    #[test]
    fn a_stored_key_is_three_words() {
        assert_eq!(size_of::<KeyBuf>(), 24);
    }

    #[test]
    fn the_seed_alone_decides_the_hash() {
        let (one, same, other) = (KeyHasher::new(1), KeyHasher::new(1), KeyHasher::new(2));
        assert_eq!(one.hash(b"k"), same.hash(b"k"));
        assert_ne!(one.hash(b"k"), other.hash(b"k"));
    }
}
