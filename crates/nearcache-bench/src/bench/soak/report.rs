//! What a run of `bench soak` found, as JSON (`docs/benchmarks.md` documents it), and what of it was to be so. Plain data.

use std::collections::BTreeMap;

use nearcache_cli::show;
use serde::Serialize;

use super::options::Options;
use super::samples::{Sample, Tenth};
use super::values::Distribution;
use crate::goal::Goal;

/// By how much the memory of the last tenth may differ from that of the third: by then L1 is full.
const FLAT: f64 = 0.05;

/// What was asked for, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    /// What was asked for.
    pub(super) options: Options,
    /// Sizes of the values, in bytes.
    pub(super) value_bytes: Distribution,
    /// Values asked for.
    pub(super) reads: u64,
    /// Reads that L1 answered, by its own count: kept replies and reads of several keys included.
    pub(super) hits: u64,
    /// Values written because a read found none.
    pub(super) fills: u64,
    /// Changes and deletions by the writer.
    pub(super) writes: u64,
    /// Values that were not those of their key.
    pub(super) wrong_values: u64,
    /// Calls that failed, by why.
    pub(super) errors: BTreeMap<String, u64>,
    /// Entries that L1 evicted, that expired in it, and that were invalidated.
    pub(super) evictions: u64,
    /// As said.
    pub(super) expired: u64,
    /// As said.
    pub(super) invalidated: u64,
    /// The most that L1 counted, looked at a hundred times a second.
    pub(super) l1_bytes_max: u64,
    /// Memory of the process before anything was read.
    pub(super) resident_bytes_start: u64,
    /// The most memory of the process.
    pub(super) resident_bytes_max: u64,
    /// Its median in the last tenth, over the capacity.
    pub(super) resident_over_capacity: f64,
    /// By how many bytes a minute it grew in the second half.
    pub(super) resident_bytes_per_minute: Option<f64>,
    /// The tenths of the run.
    pub(super) tenths: Vec<Tenth>,
    /// Every look.
    pub(super) samples: Vec<Sample>,
}

impl Run {
    /// Whether L1 never counted more than it may.
    pub(super) fn within_capacity(&self) -> bool {
        self.l1_bytes_max <= self.options.capacity_bytes as u64
    }

    /// By how much the memory of the last tenth differs from that of the third, as a share; `None` in a very short run.
    pub(super) fn drift(&self) -> Option<f64> {
        let [_, _, third, .., last] = &self.tenths[..] else {
            return None;
        };
        let median = third.resident_bytes_median as f64;
        Some(last.resident_bytes_median as f64 / median - 1.0)
    }

    fn flat(&self) -> bool {
        self.drift().is_some_and(|drift| drift.abs() <= FLAT)
    }

    /// What was to be so.
    pub(super) fn goals(&self) -> Vec<Goal> {
        let drift = self.drift();
        vec![
            Goal {
                name: "within capacity: the most that L1 counted".to_owned(),
                wanted: format!("at most {}", bytes(self.options.capacity_bytes as u64)),
                found: bytes(self.l1_bytes_max),
                reached: self.within_capacity(),
            },
            Goal {
                name: "flat: median memory of the last tenth beside the third's".to_owned(),
                wanted: format!("within {:.0} %", FLAT * 100.0),
                found: drift.map_or("-".to_owned(), |drift| format!("{:+.1} %", drift * 100.0)),
                reached: self.flat(),
            },
        ]
    }

    /// The finding, and whether it is a good one.
    pub(super) fn verdict(&self) -> (String, bool) {
        let good = self.within_capacity() && self.reads > 0 && self.wrong_values == 0;
        let text = if !self.within_capacity() {
            "L1 counted more than its capacity: that must not happen.".to_owned()
        } else if self.wrong_values > 0 {
            format!(
                "{} values were not those of their key: that must not happen.",
                self.wrong_values
            )
        } else if self.reads == 0 {
            "Nothing was tried: no read was answered.".to_owned()
        } else {
            let growth = match self.flat() {
                true => "and the memory of the process did not grow with time",
                false => "but the memory of the process did not stay the same",
            };
            format!(
                "L1 stayed within its capacity through {} evictions, {growth}.",
                show::count(self.evictions as f64)
            )
        };
        (text, good)
    }
}

/// Bytes in the unit in which capacities are given.
pub(super) fn bytes(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    match mib {
        mib if mib >= 10.0 => format!("{mib:.0} MiB"),
        mib => format!("{mib:.2} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Values;
    use super::*;

    /// A run whose tenths took this much, and whose L1 of a thousand bytes counted that much.
    fn judged(resident: [u64; 10], l1_bytes_max: u64, reads: u64, wrong_values: u64) -> Run {
        let tenth = |resident_bytes| Tenth {
            until_seconds: 0.0,
            l1_bytes_max,
            resident_bytes_median: resident_bytes,
            resident_bytes_max: resident_bytes,
            entries: 0,
            evictions: 0,
            reads: 0,
        };
        let options = Options {
            duration_ms: 0,
            sample_ms: 0,
            capacity_bytes: 1000,
            keys: 0,
            zipf: 0.0,
            threads: 0,
            writes_per_s: 0.0,
            server_memory_bytes: 0,
            allocator: BTreeMap::new(),
            seed: 0,
        };
        Run {
            options,
            value_bytes: Values::new(1).distribution(1),
            reads,
            hits: 0,
            fills: 0,
            writes: 0,
            wrong_values,
            errors: BTreeMap::new(),
            evictions: 0,
            expired: 0,
            invalidated: 0,
            l1_bytes_max,
            resident_bytes_start: 0,
            resident_bytes_max: 0,
            resident_over_capacity: 0.0,
            resident_bytes_per_minute: None,
            tenths: resident.map(tenth).into(),
            samples: Vec::new(),
        }
    }

    #[test]
    fn only_what_must_not_happen_is_bad() {
        let resident = [10, 50, 100, 0, 0, 0, 0, 0, 0, 104];
        let run = judged(resident, 1000, 1, 0);
        assert!(run.verdict().1 && run.goals().iter().all(|goal| goal.reached));
        let grown = judged([100, 100, 100, 0, 0, 0, 0, 0, 0, 106], 1000, 1, 0);
        let (verdict, good) = grown.verdict();
        assert!(good && !grown.goals()[1].reached, "{verdict}");
        for (l1_bytes_max, reads, wrong, said) in [
            (1001, 1, 0, "more than its capacity"),
            (1000, 1, 1, "not those of their key"),
            (1000, 0, 0, "Nothing was tried"),
        ] {
            let run = judged(resident, l1_bytes_max, reads, wrong);
            let (verdict, good) = run.verdict();
            assert!(!good && verdict.contains(said), "{verdict}");
        }
    }
}
