//! The MessagePack codec, and a look over the bytes before they are decoded.
//!
//! The look exists because the decoder counts nesting only in arrays and maps that it decodes as such: a
//! recursive enum could be sent deep enough to overflow the stack. It also refuses bytes behind the value.

use bytes::Bytes;
use nearcache_proto::Error;

use super::Codec;
use super::refusal::{does_not_decode, does_not_encode};

/// MessagePack, through serde, with the names of fields, so that types may gain fields.
/// Refuses bytes behind the value and nesting deeper than 127.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagePack;

impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for MessagePack {
    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        rmp_serde::to_vec_named(value)
            .map(Bytes::from)
            .map_err(|_| does_not_encode::<T>("MessagePack"))
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        scan(bytes).map_err(|(what, at)| does_not_decode::<T>(&format!("{what} (byte {at})")))?;
        rmp_serde::from_slice(bytes)
            .map_err(|_| does_not_decode::<T>("is MessagePack of another shape"))
    }
}

/// Deepest nesting of arrays and maps that is decoded: what JSON allows, so that a value that one codec takes has a form in
/// the other.
pub(super) const DEEPEST: usize = 127;

/// What is wrong, and at which byte.
pub(super) type Problem = (&'static str, usize);

/// Walks over one value without decoding it: that it is whole, alone, and not nested too deep.
///
/// # Cost
///
/// One step per element, none per byte of a string; no allocation.
pub(super) fn scan(bytes: &[u8]) -> Result<(), Problem> {
    // Elements still to come at each level; the lowest is the value itself.
    let mut left = [0u64; DEEPEST + 1];
    left[0] = 1;
    let mut depth = 0;
    let mut at = 0usize;
    loop {
        while left[depth] == 0 {
            if depth == 0 {
                return match at == bytes.len() {
                    true => Ok(()),
                    false => Err(("is MessagePack with bytes behind it", at)),
                };
            }
            depth -= 1;
        }
        left[depth] -= 1;
        let (payload, elements) = head(bytes, &mut at)?;
        at = at
            .checked_add(payload)
            .filter(|end| *end <= bytes.len())
            .ok_or(("is MessagePack that ends early", bytes.len()))?;
        if elements > 0 {
            depth += 1;
            if depth == left.len() {
                return Err(("is MessagePack nested too deep", at));
            }
            left[depth] = elements;
        }
    }
}

/// Reads a marker and its length, and moves `at` behind them: bytes of payload and elements that follow.
fn head(bytes: &[u8], at: &mut usize) -> Result<(usize, u64), Problem> {
    let marker = uint(bytes, at, 1)?;
    let low = |mask: u32| (marker & mask) as usize;
    Ok(match marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0.. => (0, 0),
        0x80..=0x8f => (0, 2 * low(0x0f) as u64),
        0x90..=0x9f => (0, low(0x0f) as u64),
        0xa0..=0xbf => (low(0x1f), 0),
        0xc1 => return Err(("is not MessagePack", *at - 1)),
        0xc4..=0xc6 => (uint(bytes, at, 1 << (marker - 0xc4))? as usize, 0),
        // An extension has a byte of type before its payload.
        0xc7..=0xc9 => (1 + uint(bytes, at, 1 << (marker - 0xc7))? as usize, 0),
        0xca => (4, 0),
        0xcb => (8, 0),
        0xcc..=0xcf => (1 << (marker - 0xcc), 0),
        0xd0..=0xd3 => (1 << (marker - 0xd0), 0),
        0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0),
        0xd9..=0xdb => (uint(bytes, at, 1 << (marker - 0xd9))? as usize, 0),
        0xdc..=0xdd => (0, u64::from(uint(bytes, at, 2 << (marker - 0xdc))?)),
        0xde..=0xdf => (0, 2 * u64::from(uint(bytes, at, 2 << (marker - 0xde))?)),
    })
}

/// A big-endian number of `width` bytes (1, 2 or 4).
fn uint(bytes: &[u8], at: &mut usize, width: usize) -> Result<u32, Problem> {
    let digits = bytes
        .get(*at..*at + width)
        .ok_or(("is MessagePack that ends early", bytes.len()))?;
    *at += width;
    Ok(digits
        .iter()
        .fold(0, |number, digit| number << 8 | u32::from(*digit)))
}
