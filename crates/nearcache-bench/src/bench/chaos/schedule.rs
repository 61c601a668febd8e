//! Which fault comes when, and for how long: all from one seed, before anything is started. Breaks nothing itself.

use serde::Serialize;

use crate::zipf::Rng;

/// Stream of the random choices made here.
const STREAM: u64 = 1 << 50;
/// Milliseconds before the first fault, and after the last one, at least: a fleet must come up, and must be seen well.
const CALM_MS: u64 = 1_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// The server stands still (`SIGSTOP`), with all connections open.
    ServerStop,
    /// The server is killed and started again: all data is gone.
    ServerRestart,
    /// Nothing the server says reaches some of the pods; what was held comes afterwards, in one lump.
    Partition,
    /// `FLUSHALL`.
    Flush,
    /// Pods are killed (`SIGKILL`) and replaced.
    PodKill,
    /// Pods stand still (`SIGSTOP`).
    PodStop,
    /// The server has no room and evicts (`maxmemory`, `allkeys-lru`).
    Pressure,
    /// The server closes half of all connections (`CLIENT KILL`).
    Disconnect,
}

impl Fault {
    /// Each kind.
    pub(super) const ALL: [Self; 8] = [
        Self::ServerStop,
        Self::ServerRestart,
        Self::Partition,
        Self::Flush,
        Self::PodKill,
        Self::PodStop,
        Self::Pressure,
        Self::Disconnect,
    ];

    /// As it is called in the output.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ServerStop => "server stopped",
            Self::ServerRestart => "server killed, restarted",
            Self::Partition => "pods cut off",
            Self::Flush => "FLUSHALL",
            Self::PodKill => "pods killed, replaced",
            Self::PodStop => "pods stopped",
            Self::Pressure => "memory pressure",
            Self::Disconnect => "connections closed",
        }
    }

    /// From how many milliseconds to how many it lasts.
    fn lengths(self) -> (u32, u32) {
        match self {
            Self::ServerStop => (1_000, 4_000),
            Self::ServerRestart => (0, 1_000),
            Self::Partition | Self::PodStop => (1_500, 4_000),
            Self::Pressure => (1_000, 3_000),
            Self::Flush | Self::PodKill | Self::Disconnect => (0, 0),
        }
    }
}

/// A fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// What.
    pub(super) fault: Fault,
    /// Milliseconds from the beginning of the run.
    pub(super) at_ms: u64,
    /// Milliseconds that it lasts.
    pub(super) length_ms: u64,
    /// What the choice of its victims follows from.
    pub(super) seed: u64,
}

/// The faults of a run, one after the other: each kind once, in random order, before any comes again. From the end of
/// one to the beginning of the next it takes `every_ms`, or up to half of that more or less.
pub(super) fn schedule(seed: u64, duration_ms: u64, every_ms: u64) -> Vec<Planned> {
    let mut rng = Rng::new(seed, STREAM);
    let mut planned = Vec::new();
    let mut round: Vec<Fault> = Vec::new();
    let mut at_ms = CALM_MS;
    loop {
        if round.is_empty() {
            round = Fault::ALL.to_vec();
        }
        let fault = round.swap_remove(rng.below(round.len() as u32) as usize);
        let (least, most) = fault.lengths();
        let length_ms = u64::from(least + rng.below(most - least + 1));
        if at_ms + length_ms + CALM_MS > duration_ms {
            return planned;
        }
        planned.push(Planned {
            fault,
            at_ms,
            length_ms,
            seed: rng.next(),
        });
        at_ms += length_ms + every_ms / 2 + u64::from(rng.below(every_ms as u32 + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_schedule() {
        assert_eq!(schedule(7, 60_000, 2_000), schedule(7, 60_000, 2_000));
        assert_ne!(schedule(7, 60_000, 2_000), schedule(8, 60_000, 2_000));
    }

    #[test]
    fn faults_come_one_after_the_other_and_each_kind_in_turn() {
        for seed in 0..50 {
            let planned = schedule(seed, 120_000, 1_000);
            for pair in planned.windows(2) {
                assert!(pair[1].at_ms >= pair[0].at_ms + pair[0].length_ms + 500);
            }
            let last = planned.last().expect("there are faults");
            assert!(last.at_ms + last.length_ms + CALM_MS <= 120_000);
            let mut first: Vec<Fault> = planned[..8].iter().map(|planned| planned.fault).collect();
            first.sort_unstable();
            assert_eq!(first, Fault::ALL);
        }
    }
}
