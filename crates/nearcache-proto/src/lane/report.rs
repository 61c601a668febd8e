//! What an operator should hear about the lane. Never names a key or shows a value.

use std::fmt;

use super::TooLargeFor;
use crate::error::Error;

/// What an operator should hear about the lane.
#[derive(Clone, Debug)]
pub enum Report {
    /// It is up and invalidations are proven to arrive.
    Connected,
    /// It is up but invalidations cannot be relied upon: entries live for a bounded time only.
    Degraded(String),
    /// It is down; what was resident follows the read policy.
    Disconnected(String),
    /// An attempt to open it failed.
    ConnectFailed(Error),
    /// Values were too large to be kept. Told once for each reason.
    TooLarge {
        /// What for.
        what: TooLargeFor,
        /// Keys with such values, or replies about them.
        keys: usize,
        /// Whether there may be more.
        more: bool,
        /// Of all of them.
        largest_bytes: usize,
    },
}

impl Report {
    /// Whether somebody may have to act.
    pub fn is_problem(&self) -> bool {
        !matches!(self, Self::Connected)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("lane up, invalidations proven"),
            Self::Degraded(why) => write!(
                f,
                "lane up without invalidations, entries are short-lived: {why}"
            ),
            Self::Disconnected(why) => write!(f, "lane lost: {why}"),
            Self::ConnectFailed(error) => write!(f, "lane cannot connect: {error}"),
            Self::TooLarge {
                what,
                keys,
                more,
                largest_bytes,
            } => {
                let largest = Size(*largest_bytes);
                let keys = match (keys, more) {
                    (1, _) => "1 key".to_owned(),
                    (keys, false) => format!("{keys} keys"),
                    (keys, true) => format!("at least {keys} keys"),
                };
                write!(
                    f,
                    "values of {keys}, of up to {largest}, are too large to be kept: every read of them goes to L2; "
                )?;
                match what {
                    TooLargeFor::Inline { limit } => {
                        write!(f, "raise max_inline ({}) to keep them", Size(*limit))
                    }
                    TooLargeFor::Entry => f.write_str(
                        "raise max_entry (an eighth of capacity, unless set) or capacity to keep them",
                    ),
                }
            }
        }
    }
}

/// Bytes, as people say them.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            1024..0x10_0000 => write!(f, "{:.1} KiB", bytes / 1024.0),
            _ => write!(f, "{:.1} MiB", bytes / 1_048_576.0),
        }
    }
}
