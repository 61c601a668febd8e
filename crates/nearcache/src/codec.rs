//! How values of the typed path become bytes in L2 and back.
//!
//! Owns the trait and the codecs of the house. Never lets a part of a value into an error: what the parsers
//! say about their input is dropped, their sources are not kept.

#[cfg(feature = "json")]
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
#[cfg(any(feature = "json", feature = "msgpack"))]
mod refusal;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use nearcache_proto::Error;

#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "msgpack")]
pub use msgpack::MessagePack;

/// Turns values of type `T` into the bytes that L2 keeps, and back.
///
/// Every pod of a fleet must use the same codec for a key: the bytes carry no mark of it.
pub trait Codec<T>: Send + Sync + 'static {
    /// The bytes that stand for `value`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`](nearcache_proto::ErrorKind::Codec) if the value has no form in this codec. The error must not hold a part of the value.
    fn encode(&self, value: &T) -> Result<Bytes, Error>;

    /// The value that `bytes` stand for. Must not panic, whatever the bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`](nearcache_proto::ErrorKind::Codec) if the bytes do not stand for a `T`. The error must not hold a part of them.
    ///
    /// # Cost
    ///
    /// Called once per fill, not per read: readers share what it returns.
    fn decode(&self, bytes: &Bytes) -> Result<T, Error>;

    /// An estimate of the bytes that the decoded `value` holds in memory beside its `encoded` bytes, which L1
    /// keeps as well. The capacity of L1 is only as true as this estimate: override it for types that
    /// hold much more than their encoded form.
    fn decoded_bytes(&self, value: &T, encoded: usize) -> usize {
        let _ = value;
        size_of::<T>().saturating_add(encoded)
    }
}

/// Bytes as they are, without a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn encode(&self, value: &Bytes) -> Result<Bytes, Error> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: &Bytes) -> Result<Bytes, Error> {
        Ok(bytes.clone())
    }

    /// Only the handle: the bytes themselves are shared with the encoded form.
    fn decoded_bytes(&self, _: &Bytes, _: usize) -> usize {
        size_of::<Bytes>()
    }
}
