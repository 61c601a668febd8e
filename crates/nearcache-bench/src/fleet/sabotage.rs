//! Which mechanism of nearcache the pods of a test build switch off. Only with `--cfg nearcache_break`.

use nearcache_proto::sabotage::{Mechanism, switch_off};
use serde::{Deserialize, Serialize};

/// What to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sabotage {
    /// Nothing: the same run must find nothing then
    None,
    /// Fills are kept although their key was invalidated meanwhile
    Token,
    /// Copies are served however long nothing was heard of L2
    Lease,
    /// Validated reads do not wait for what was written before them
    Fence,
    /// The word that everything was flushed is not heeded
    Null,
}

impl Sabotage {
    /// Breaks it in this process.
    pub(crate) fn apply(self) {
        switch_off(match self {
            Self::None => return,
            Self::Token => Mechanism::Token,
            Self::Lease => Mechanism::Lease,
            Self::Fence => Mechanism::Fence,
            Self::Null => Mechanism::Null,
        });
    }
}
