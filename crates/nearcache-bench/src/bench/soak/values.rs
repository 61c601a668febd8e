//! What the keys of `bench soak` are called, how they are read, and what their values are: all of it follows from the
//! number of the key, so that every value that comes back can be judged.

use nearcache::{Bytes, Codec, Error};
use nearcache_sim::Sizes;
use serde::Serialize;

use crate::zipf::Rng;

/// The largest value.
pub(super) const LARGEST: usize = 8_000_000;
/// Most values are small, and most bytes are in large ones.
const SIZES: Sizes = Sizes::LogNormal {
    median: 2_000,
    p99: 260_000,
};
/// Values begin at one of so many places of the same bytes.
const PLACES: usize = 1 << 16;
/// Fields of a hash, each with its part of the value.
pub(super) const FIELDS: usize = 4;

/// How a key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// As bytes, alone or with others.
    Plain,
    /// As a value that is decoded once.
    Typed,
    /// As a hash, through the drop-in.
    Hash,
}

/// All values.
pub(super) struct Values {
    seed: u64,
    bytes: Bytes,
}

/// What sizes the values have.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Distribution {
    pub(super) min: u64,
    pub(super) median: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
    pub(super) mean: u64,
    /// Of all keys together.
    pub(super) total: u64,
}

impl Values {
    /// Prepares the bytes that values are cut from.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let words = (LARGEST + PLACES).div_ceil(8);
        let bytes: Vec<u8> = (0..words).flat_map(|_| rng.next().to_le_bytes()).collect();
        Self {
            seed,
            bytes: bytes.into(),
        }
    }

    /// What a key is called.
    pub(super) fn name(key: u32) -> String {
        format!("nearcache-soak:{key:08}")
    }

    /// How a key is read.
    pub(super) fn kind(key: u32) -> KeyKind {
        match key % 16 {
            5 => KeyKind::Typed,
            11 => KeyKind::Hash,
            _ => KeyKind::Plain,
        }
    }

    /// How long its value is.
    pub(super) fn size(&self, key: u32) -> usize {
        (SIZES.of(key, self.seed) as usize).clamp(1, LARGEST)
    }

    /// Its value. Nothing is copied.
    pub(super) fn value(&self, key: u32) -> Bytes {
        let place = key.wrapping_mul(2_654_435_761) as usize % PLACES;
        self.bytes.slice(place..place + self.size(key))
    }

    /// The parts of its value that are the fields of a hash.
    pub(super) fn fields(&self, key: u32) -> [Bytes; FIELDS] {
        let value = self.value(key);
        let cut = |part: usize| value.len() * part / FIELDS;
        std::array::from_fn(|part| value.slice(cut(part)..cut(part + 1)))
    }

    /// The sizes of the first `keys` values.
    pub(super) fn distribution(&self, keys: u32) -> Distribution {
        let mut sizes: Vec<u64> = (0..keys).map(|key| self.size(key) as u64).collect();
        sizes.sort_unstable();
        let total: u64 = sizes.iter().sum();
        let at = |share: f64| sizes[((sizes.len() - 1) as f64 * share) as usize];
        Distribution {
            min: at(0.0),
            median: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            mean: total / sizes.len() as u64,
            total,
        }
    }
}

/// Whether two values are the same, as far as a few bytes at their ends tell.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let ends = |bytes: &[u8]| {
        let few = bytes.len().min(16);
        (bytes[..few].to_vec(), bytes[bytes.len() - few..].to_vec())
    };
    one.len() == other.len() && ends(one) == ends(other)
}

/// A decoded form that shares nothing with the bytes it came from, as that of an ordinary type.
pub(super) struct Decoded(pub(super) Box<[u8]>);

/// Decodes by copying.
pub(super) struct Copying;

impl Codec<Decoded> for Copying {
    fn encode(&self, value: &Decoded) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(&value.0))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Decoded, Error> {
        Ok(Decoded(bytes[..].into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_from_their_key_and_are_told_apart() {
        let (values, again) = (Values::new(1), Values::new(1));
        for key in 0..1000 {
            let value = values.value(key);
            assert_eq!(value, again.value(key));
            assert_eq!(values.fields(key).concat(), value);
            assert!(same(&value, &again.value(key)));
            let next = values.value(key + 1);
            assert!(value.len() < 16 || !same(&value, &next));
        }
    }

    #[test]
    fn sizes_have_a_heavy_tail() {
        let found = Values::new(1).distribution(1_000_000);
        assert_eq!((found.min, found.max), (1, LARGEST as u64));
        assert!((1_900..2_100).contains(&found.median), "{found:?}");
        assert!((10_000..30_000).contains(&found.mean), "{found:?}");
    }
}
