//! What the exchange of statistics costs L2, by kind: commands, and the bytes of their words and replies.
//!
//! Told apart by the keys that they are about; what else passes is not looked at.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use nearcache_proto::resp::Reply;
use serde::{Deserialize, Serialize};

use crate::pod::fleet_key;

/// The beginning of all keys that pods exchange.
static PREFIX: LazyLock<Bytes> = LazyLock::new(|| fleet_key(""));

/// What a command of the exchange is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeKind {
    /// A pod publishes what it reads.
    BlobsPublished,
    /// One pod sums up what all have published, and writes the manifest.
    BlobsMerged,
    /// A pod tries for the lease that lets it do that, or keeps it.
    LeaseAttempts,
    /// A pod reads the manifest, or its best part.
    ManifestsRead,
    /// A pod asks for its turn in a warm start.
    Pace,
}

impl ExchangeKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::BlobsPublished,
        Self::BlobsMerged,
        Self::LeaseAttempts,
        Self::ManifestsRead,
        Self::Pace,
    ];

    fn of(argv: &[Bytes]) -> Option<Self> {
        let [name, key, ..] = argv else { return None };
        let what = key.strip_prefix(&PREFIX[..])?;
        Some(match (what, &name[..]) {
            (b"merge", _) => Self::LeaseAttempts,
            (b"pace", _) => Self::Pace,
            (b"pods", b"SADD" | b"PEXPIRE") => Self::BlobsPublished,
            (b"manifest" | b"brief", b"GETRANGE") => Self::ManifestsRead,
            (_, b"SET") if what.starts_with(b"blob:") => Self::BlobsPublished,
            _ => Self::BlobsMerged,
        })
    }
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(BTreeMap<ExchangeKind, Sum>);

/// Commands, and bytes both ways.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) commands: u64,
    pub(crate) bytes: u64,
}

impl Meter {
    /// Commands with their replies, in order.
    pub(crate) fn measure(&mut self, commands: &[Vec<Bytes>], replies: &[Reply]) {
        for (argv, reply) in commands.iter().zip(replies) {
            if let Some(kind) = ExchangeKind::of(argv) {
                let sum = self.0.entry(kind).or_default();
                sum.commands += 1;
                sum.bytes += argv.iter().map(|word| word.len() as u64).sum::<u64>() + size(reply);
            }
        }
    }

    /// What came to this kind.
    pub(crate) fn sum(&self, kind: ExchangeKind) -> Sum {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}

/// Bytes of a reply, without what frames them.
fn size(reply: &Reply) -> u64 {
    match reply {
        Reply::Bulk(bytes) => bytes.len() as u64,
        Reply::Array(items) | Reply::Set(items) => items.iter().map(size).sum(),
        // A status or a number.
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_keys() {
        let mut meter = Meter::default();
        let argv = |words: &str| -> Vec<Bytes> {
            let words = words.split(' ').map(str::to_owned);
            words.map(Bytes::from).collect()
        };
        let blob = "SET nearcache:{app}:fleet:blob:01 12345 PX 1000";
        let commands = [
            blob,
            "GETRANGE nearcache:{app}:fleet:blob:01 0 9",
            "SET nearcache:{app}:fleet:merge 01 PX 1 NX",
            "GETRANGE nearcache:{app}:fleet:brief 0 9",
            "SET nearcache:{app}:fleet:manifest x",
            "INCRBY nearcache:{app}:fleet:pace 5",
            "GET product:1",
            "PING",
        ];
        let commands = commands.map(argv);
        let replies = vec![Reply::Bulk(Bytes::from_static(b"1234567")); commands.len()];
        meter.measure(&commands, &replies);
        let counted = ExchangeKind::ALL.map(|kind| meter.sum(kind).commands);
        assert_eq!(counted, [1, 2, 1, 1, 1]);
        let published = meter.sum(ExchangeKind::BlobsPublished);
        assert_eq!(published.bytes, blob.replace(' ', "").len() as u64 + 7);
    }
}
