//! The JSON codec. Of what the parser says only the place and the class of a mistake go into an error.

use bytes::Bytes;
use nearcache_proto::Error;

use super::Codec;
use super::refusal::{does_not_decode, does_not_encode};

/// JSON, through serde. Refuses text behind the value and nesting deeper than 127.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Bytes, Error> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|_| does_not_encode::<T>("JSON"))
    }

    fn decode(&self, bytes: &Bytes) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|cause| {
            use serde_json::error::Category;
            let what = match cause.classify() {
                Category::Syntax | Category::Io => "is not JSON",
                Category::Eof => "is JSON that ends early",
                Category::Data => "is JSON of another shape",
            };
            let (line, column) = (cause.line(), cause.column());
            does_not_decode::<T>(&format!("{what} (line {line} column {column})"))
        })
    }
}
