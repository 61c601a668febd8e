//! The errors of the codecs: they name the type and what to do, never a part of the value.

use std::any::type_name;

use nearcache_proto::{Error, ErrorKind};

#[cold]
pub(super) fn does_not_encode<T>(format: &str) -> Error {
    Error::new(
        ErrorKind::Codec,
        format!(
            "a value of type {} has no form in {format}: see what its Serialize and the keys of its maps allow",
            type_name::<T>()
        ),
    )
}

#[cold]
pub(super) fn does_not_decode<T>(what: &str) -> Error {
    Error::new(
        ErrorKind::Codec,
        format!(
            "the stored value {what}, not a {}: use the type and codec it was written with, or delete the key",
            type_name::<T>()
        ),
    )
}
