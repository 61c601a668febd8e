//! What an operator should hear about the lane. Never names a key or shows a value.

use std::fmt;
use std::time::Duration;

use super::TooLargeFor;
use crate::error::Error;

/// What an operator should hear about the lane.
#[derive(Clone, Debug)]
pub enum Report {
    /// It is up and invalidations are proven to arrive.
    Connected {
        /// How long it was not, if it had been up before.
        after: Option<Duration>,
    },
    /// It is up but invalidations cannot be relied upon: entries live for a bounded time only.
    Degraded(String),
    /// It is down; what was resident follows the read policy.
    Disconnected(String),
    /// An attempt to open it failed.
    ConnectFailed {
        /// Why.
        error: Error,
        /// How long ago it was lost; `None`: it was never up.
        lost: Option<Duration>,
    },
    /// What has happened since the last one, once a minute while the lane is in trouble.
    Summary {
        /// How it is; `None`: it is up.
        condition: Option<Condition>,
        /// How long it has been so; `None`: it was never up.
        lost: Option<Duration>,
        /// Attempts to connect that failed.
        attempts: u32,
        /// How often it was lost.
        losses: u32,
        /// The time that this is about.
        over: Duration,
        /// The last reason.
        last: String,
    },
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

/// How a lane is that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Up without invalidations.
    Degraded,
    /// Down.
    Down,
}

impl Report {
    /// Whether somebody may have to act.
    pub fn is_problem(&self) -> bool {
        !matches!(self, Self::Connected { .. })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { after: None } => f.write_str("lane up, invalidations proven"),
            Self::Connected { after: Some(after) } => {
                write!(
                    f,
                    "lane up again after {}, invalidations proven",
                    Time(*after)
                )
            }
            Self::Degraded(why) => write!(
                f,
                "lane up without invalidations, entries are short-lived: {why}"
            ),
            Self::Disconnected(why) => write!(f, "lane lost: {why}"),
            Self::ConnectFailed { error, lost: None } => {
                write!(f, "lane not up yet, it never was: {error}")
            }
            Self::ConnectFailed {
                error,
                lost: Some(lost),
            } => {
                write!(
                    f,
                    "lane down for {}, it was up before: {error}",
                    Time(*lost)
                )
            }
            Self::Summary {
                condition,
                lost,
                attempts,
                losses,
                over,
                last,
            } => {
                match (condition, lost) {
                    (Some(Condition::Down), None) => {
                        f.write_str("lane still down, it never was up")?
                    }
                    (Some(Condition::Down), Some(lost)) => {
                        write!(f, "lane still down, for {}", Time(*lost))?;
                    }
                    (Some(Condition::Degraded), _) => {
                        f.write_str("lane still up without invalidations")?;
                    }
                    (None, _) => f.write_str("lane up, but not steadily")?,
                }
                write!(f, ": {attempts} attempts failed")?;
                if *losses > 0 {
                    write!(f, ", it was lost {losses} times")?;
                }
                write!(f, " in {}, last: {last}", Time(*over))
            }
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

/// A time, as people say it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs_f64() {
            seconds if seconds < 0.1 => f.write_str("less than 0.1 s"),
            seconds if seconds < 10.0 => write!(f, "{seconds:.1} s"),
            seconds => write!(f, "{seconds:.0} s"),
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
