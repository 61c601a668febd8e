//! What a caller says of its load, and what a loader says of its value. Plain data.

use std::time::Duration;

use bytes::Bytes;

use crate::cache::ReadPolicy;

/// What a loader returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The value.
    pub value: Bytes,
    /// How long L2 is to keep it, at least a millisecond; `None`: until it is deleted.
    pub ttl: Option<Duration>,
}

/// What a call with a loader does when L2 does not answer and no copy may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnL2Down {
    /// Runs the loader all the same. Its value is shared with callers of this pod that come within `max_staleness` of
    /// its start, and kept nowhere.
    #[default]
    Load,
    /// Fails, which protects an origin that could not bear the load of all pods.
    Error,
}

/// How a call with a loader reads, and when its loader runs.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LoadPolicy {
    /// How it reads; [`ReadPolicy::Error`] counts as [`ReadPolicy::PassThrough`], since there is better than to fail.
    pub on_unproven: ReadPolicy,
    /// What it does when L2 does not answer.
    pub on_l2_down: OnL2Down,
    /// How long this pod believes a loader that there is no value; `None`: it asks again at once.
    pub negative_ttl: Option<Duration>,
}

impl LoadPolicy {
    /// The same with another way to read.
    #[must_use]
    pub fn on_unproven(self, on_unproven: ReadPolicy) -> Self {
        Self {
            on_unproven,
            ..self
        }
    }

    /// The same with another answer to L2's absence.
    #[must_use]
    pub fn on_l2_down(self, on_l2_down: OnL2Down) -> Self {
        Self { on_l2_down, ..self }
    }

    /// The same with another time for which an absence is believed.
    #[must_use]
    pub fn negative_ttl(self, negative_ttl: Option<Duration>) -> Self {
        Self {
            negative_ttl,
            ..self
        }
    }
}

/// One call with a loader, less its loader.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Database number.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// How it reads and loads.
    pub policy: LoadPolicy,
    /// Whether "there is none" is an answer, or only a value is.
    pub optional: bool,
}
