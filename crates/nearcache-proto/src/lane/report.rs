//! What an operator should hear about the lane. Never names a key or shows a value.

use std::fmt;

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
        }
    }
}
