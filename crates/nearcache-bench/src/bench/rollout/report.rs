//! What a run of `bench rollout` found, as JSON (`docs/benchmarks.md` documents it). Plain data.

use serde::Serialize;

use super::options::Options;
use crate::fleet::plan::Plan;

/// What was asked for, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    /// Bytes L1 may hold, per pod.
    pub(super) capacity_bytes: usize,
    /// Bytes of all values.
    pub(super) data_bytes: u64,
    /// What every pod was told.
    pub(super) plan: Plan,
    /// What else was asked for.
    pub(super) options: Options,
    /// With the warm start.
    pub(super) warm: Option<Stages>,
    /// Without it.
    pub(super) cold: Option<Stages>,
}

impl Run {
    /// The sides that were measured, by name.
    pub(super) fn sides(&self) -> impl Iterator<Item = (&'static str, &Stages)> {
        let all = [("warm", &self.warm), ("cold", &self.cold)];
        all.into_iter()
            .filter_map(|(name, side)| Some((name, side.as_ref()?)))
    }
}

/// One side of the comparison.
#[derive(Debug, Serialize)]
pub(super) struct Stages {
    /// Pods replaced one after the other.
    pub(super) rolling: Option<Stage>,
    /// Many that joined at the same moment.
    pub(super) join: Option<Stage>,
}

/// A fleet, and a change in it.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    /// Pods before the change.
    pub(super) pods: usize,
    /// Whether the hit rate had become steady before it.
    pub(super) settled: bool,
    /// Whether the fleet had published what it reads before it.
    pub(super) published: bool,
    /// Before the change.
    pub(super) steady: Span,
    /// From the beginning of the change until the end of the stage.
    pub(super) change: Span,
    /// The part of that until the last new pod was ready, a second at least.
    pub(super) getting_ready: Span,
    /// The most reads a second that L2 had in any quarter of a second of the whole stage before the change: filling.
    pub(super) l2_peak_before_per_s: f64,
    /// What was to be the most during a join: twice the steady state and what may be fetched ahead.
    pub(super) l2_allowed_per_s: f64,
    /// The same if only the share of the peak before might be fetched ahead, and no fixed number of keys.
    pub(super) l2_share_allowed_per_s: f64,
    /// The first 100 reads of each new pod.
    pub(super) first_100: First,
    /// The first 400.
    pub(super) first_400: First,
    /// From the start of the process until ready, in seconds.
    pub(super) ready_p50_seconds: f64,
    /// The longest.
    pub(super) ready_max_seconds: f64,
    /// The pods that were started.
    pub(super) newcomers: Vec<Newcomer>,
    /// Reads that failed, filling included.
    pub(super) errors: u64,
    /// One of the errors.
    pub(super) error: Option<String>,
    /// Reads that gave no value, or one that was never written to their key.
    pub(super) wrong_values: u64,
    /// Reads that were checked against the writer's log.
    pub(super) checked_reads: u64,
    /// Of those, older than the bound.
    pub(super) stale_reads: u64,
    /// Reads that began more than 10 ms after they were due.
    pub(super) reads_late: u64,
    /// Reads that were due and not begun.
    pub(super) reads_shed: u64,
    /// How long the machine gave nothing here a processor, together, in seconds: no look at L2 came about.
    pub(super) stalled_seconds: f64,
    /// When the change began, in seconds since the load was spread.
    pub(super) change_at_seconds: f64,
    /// Second by second.
    pub(super) seconds: Vec<Second>,
    /// L2, four times a second: seconds since the load was spread, reads a second, bytes a second.
    pub(super) l2: Vec<(f64, f64, f64)>,
}

/// A part of a stage.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Span {
    /// How long it was.
    pub(super) seconds: f64,
    /// Reads of the fleet.
    pub(super) reads: u64,
    /// Per second.
    pub(super) reads_per_s: f64,
    /// The share of them that L1 had.
    pub(super) hit_rate: f64,
    /// Reads at L2, what is fetched ahead included, by the server's count.
    pub(super) l2_reads_per_s: f64,
    /// The most in a quarter of a second, as a rate.
    pub(super) l2_peak_per_s: f64,
    /// The most in a second.
    pub(super) l2_peak_second_per_s: f64,
    /// Bytes out of L2, of everything, likewise: mean and the most in a quarter of a second.
    pub(super) l2_bytes_per_s: f64,
    pub(super) l2_bytes_peak_per_s: f64,
    /// Since reads were due: all of them, and the second in which that was worst.
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p99_worst_us: f64,
    /// The same of the pods that were there before.
    pub(super) p99_old_us: Option<f64>,
    pub(super) p99_old_worst_us: Option<f64>,
}

/// The first reads of new pods, together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct First {
    /// Pods that had so many.
    pub(super) pods: usize,
    /// The share of them that L1 had.
    pub(super) hit_rate: f64,
    /// By how much that is uncertain: the standard error of the mean of the pods.
    pub(super) standard_error: f64,
    /// The worst pod's.
    pub(super) worst: f64,
    /// The hit rate of the pods that were there before, at the same times; `None`: there were none.
    pub(super) fleet_hit_rate: Option<f64>,
}

/// A pod that was started into a running fleet.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Newcomer {
    /// When, in seconds since the load was spread.
    pub(super) at_seconds: f64,
    /// From the start of its process until ready.
    pub(super) ready_seconds: f64,
    /// What its warm start did, by its own word.
    pub(super) warm_end: String,
    pub(super) warm_seconds: f64,
    pub(super) warm_keys: usize,
    pub(super) warm_keys_planned: usize,
    pub(super) warm_bytes: u64,
    pub(super) warm_share_of_reads: f64,
    /// The share of its first 100 and 400 reads that L1 had; `None`: it did not have so many.
    pub(super) first_100: Option<f64>,
    pub(super) first_400: Option<f64>,
    /// The hit rate of the pods that were there before, during its first 100 and 400 reads.
    pub(super) fleet_100: Option<f64>,
    pub(super) fleet_400: Option<f64>,
}

/// One second of a stage.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Second {
    /// Its number, from when the load was spread.
    pub(super) second: u64,
    pub(super) reads: u64,
    pub(super) hit_rate: f64,
    /// Since reads were due.
    pub(super) p99_us: f64,
    /// Of the pods that were there before the change.
    pub(super) p99_old_us: Option<f64>,
}
