//! Why something published was not used. Never carries a key.

use std::error::Error;
use std::fmt;

/// Why a blob, manifest or snapshot was ignored. Its text is short and fit for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ignored {
    /// Not written by nearcache.
    NotOurs,
    /// Ours, but something else than was asked for.
    OtherKind,
    /// Written by a later version, in this version of the format.
    FutureVersion(u16),
    /// Its end is missing.
    Truncated,
    /// Some byte is not what was written.
    BadChecksum,
    /// Longer than this kind may be.
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// Well-formed, but says what cannot be.
    Hostile(&'static str),
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("not written by nearcache"),
            Self::OtherKind => f.write_str("of another kind than was asked for"),
            Self::FutureVersion(version) => {
                write!(f, "of a later version of the format, {version}")
            }
            Self::Truncated => f.write_str("truncated"),
            Self::BadChecksum => f.write_str("corrupt: its checksum does not match"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "too large: {bytes} bytes, at most {limit} are read")
            }
            Self::Hostile(what) => write!(f, "cannot be: {what}"),
        }
    }
}

impl Error for Ignored {}
