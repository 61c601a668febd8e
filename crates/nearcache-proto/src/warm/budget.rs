//! What the fleet's statistics may cost L2: a part of what is read from it, saved up and spent.
//!
//! Every pod keeps books of its own, so that all pods together stay within the part that each of them may take.
//! Asks L2 nothing, and never stops anything for good.

use std::time::Duration;

use nearcache_l1::Timestamp;

use super::WarmConfig;
use crate::counters::Totals;
use crate::working_set::Rates;

/// Of the commands and bytes that a pod reads from L2, those that it may spend on telling the fleet what it reads.
const TELLING: f64 = 0.0035;

/// Likewise, on looking what the fleet reads.
pub(super) const LOOKING: f64 = 0.002;

/// Of what the whole fleet reads, what one pod may spend on summing up.
pub(super) const MERGING: f64 = 0.0025;

/// What all pods together may spend on each of these in every [round](Rounds), if that is more.
const LEAST: Cost = Cost {
    commands: 16.0,
    bytes: (16 << 10) as f64,
};

/// What is owed at most. As much as two times of what there is to do is saved, and at least [`LEAST`]: a pod that was busy once
/// is not to be lavish for hours.
const MOST: Cost = Cost {
    commands: 64.0,
    bytes: (2 << 20) as f64,
};

/// Rounds whose allowance is left to a pod that finds that there are more of its kind.
const SAVED_ROUNDS: f64 = 60.0;

/// Nothing is put off for longer than this; telling and merging in a young pod or fleet, for half of its age.
pub(super) const LATEST: Duration = Duration::from_secs(600);

/// Bytes that may be published or looked at whatever was saved.
pub(super) const SMALL: usize = 4 << 10;

/// What something costs L2.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) commands: f64,
    pub(super) bytes: f64,
}

impl Cost {
    pub(super) fn of(commands: usize, bytes: usize) -> Self {
        Self {
            commands: commands as f64,
            bytes: bytes as f64,
        }
    }

    fn plus(self, other: Self, factor: f64) -> Self {
        Self {
            commands: self.commands + other.commands * factor,
            bytes: self.bytes + other.bytes * factor,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self::default().plus(self, factor)
    }

    fn max(self, other: Self) -> Self {
        Self {
            commands: self.commands.max(other.commands),
            bytes: self.bytes.max(other.bytes),
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            commands: self.commands.min(other.commands),
            bytes: self.bytes.min(other.bytes),
        }
    }
}

/// What may be spent on one thing.
pub(super) struct Savings {
    part: f64,
    saved: Cost,
    /// What doing it once takes, as far as is known.
    pub(super) once: Cost,
}

impl Savings {
    fn new(part: f64) -> Self {
        Self {
            part,
            saved: Cost::default(),
            once: Cost::default(),
        }
    }

    fn earn(&mut self, read: Cost, least: f64) {
        let earned = read.times(self.part).max(LEAST.times(least));
        let most = self.once.times(2.0).max(LEAST).min(MOST);
        self.saved = self.saved.plus(earned, 1.0).min(most);
    }

    /// Whether so much was saved.
    pub(super) fn affords(&self, cost: Cost) -> bool {
        self.saved.commands >= cost.commands && self.saved.bytes >= cost.bytes
    }

    /// Bytes that were saved, and at least a few.
    pub(super) fn bytes(&self) -> usize {
        (self.saved.bytes.max(0.0) as usize).max(SMALL)
    }

    /// Spends it, saved or not: what is owed is saved first.
    pub(super) fn spend(&mut self, cost: Cost) {
        self.saved = self.saved.plus(cost, -1.0).max(MOST.times(-1.0));
    }
}

/// Whether what was done last such a time ago was put off for long enough, by a pod of this age.
pub(super) fn is_overdue(since: Duration, age: Duration) -> bool {
    since >= LATEST.min(age / 2)
}

/// The books of one pod.
pub(super) struct Upkeep {
    pub(super) telling: Savings,
    pub(super) looking: Savings,
    at: Timestamp,
    reads: u64,
    bytes: u64,
    /// How many pods there are, as far as was known last.
    fleet: usize,
}

impl Upkeep {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            telling: Savings::new(TELLING),
            looking: Savings::new(LOOKING),
            at: now,
            reads: 0,
            bytes: 0,
            fleet: 1,
        }
    }

    /// Puts aside a part of what the pod has read from L2 since the last call, or of what every fleet may spend if that is more.
    pub(super) fn earn(
        &mut self,
        totals: &Totals,
        fleet: usize,
        config: &WarmConfig,
        now: Timestamp,
    ) {
        let (reads, bytes) = (totals.fills_total, totals.fill_bytes_total);
        let read = Cost {
            commands: reads.saturating_sub(self.reads) as f64,
            bytes: bytes.saturating_sub(self.bytes) as f64,
        };
        let elapsed = now.saturating_since(self.at).as_secs_f64();
        if fleet > self.fleet * 2 {
            // Saved as one of few, who was one of many.
            let due = LEAST.times(SAVED_ROUNDS / fleet as f64);
            for savings in [&mut self.telling, &mut self.looking] {
                savings.saved = savings.saved.min(due);
            }
        }
        self.fleet = fleet.max(1);
        let least = |round: Duration| elapsed / round.as_secs_f64() / self.fleet as f64;
        let rounds = Rounds::of(config);
        let (telling, looking) = (least(rounds.telling), least(rounds.looking));
        self.telling.earn(read, telling);
        self.looking.earn(read, looking);
        (self.at, self.reads, self.bytes) = (now, reads, bytes);
    }
}

/// What may be spent anyway is so much in each of these times: whoever sets short intervals wants them.
pub(super) struct Rounds {
    /// For telling, and for merging.
    pub(super) telling: Duration,
    /// For looking.
    pub(super) looking: Duration,
}

impl Rounds {
    pub(super) fn of(config: &WarmConfig) -> Self {
        let least = Duration::from_millis(1);
        Self {
            telling: config.publish_every.max(least),
            looking: (config.look_every / 6).max(least),
        }
    }
}

/// How long a fleet that reads so much from L2 has to save for this.
pub(super) fn pause(part: f64, cost: Cost, rates: Rates, round: Duration) -> Duration {
    let per_s = allowed(part, rates, round);
    let commands = cost.commands / per_s.commands;
    let seconds = commands.max(cost.bytes / per_s.bytes);
    Duration::from_secs_f64(seconds.min(LATEST.as_secs_f64()))
}

/// What a fleet that reads so much from L2 may spend on one thing in a second.
pub(super) fn allowed(part: f64, rates: Rates, round: Duration) -> Cost {
    let read = Cost {
        commands: f64::from(rates.l2_reads_per_s),
        bytes: f64::from(rates.l2_bytes_per_s),
    };
    read.times(part).max(LEAST.times(1.0 / round.as_secs_f64()))
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests;
