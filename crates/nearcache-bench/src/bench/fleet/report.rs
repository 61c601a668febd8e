//! What a run of `bench fleet` found, as JSON (`docs/benchmarks.md` documents it): enough for any report made of it.
//! Plain data.

use serde::Serialize;

use super::options::Options;
use crate::fleet::plan::{Arm, Plan};
use crate::fleet::side::Side;

/// What was asked for, and what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Always; as in the demo's figures.
    pub(crate) pods_are_processes: bool,
    /// Bytes L1 may hold, per pod.
    pub(crate) capacity_bytes: usize,
    /// Bytes of all values.
    pub(crate) data_bytes: u64,
    /// What every pod was told.
    pub(crate) plan: Plan,
    /// What else was asked for.
    pub(crate) options: Options,
    /// Reads a second of the whole fleet that `100 %` means.
    pub(crate) base_rate_per_s: f64,
    /// An ordinary pool, at the 100 % rate.
    pub(crate) before: Figures,
    /// nearcache, at the 100 % rate and the default capacity.
    pub(crate) after: Figures,
    /// A server in each pod, at the 100 % rate.
    pub(crate) sidecar: Option<Figures>,
    /// Every phase of the run, in its order.
    pub(crate) rows: Vec<Row>,
}

impl Run {
    /// The arms that were measured, with their figures at the 100 % rate.
    pub(crate) fn arms(&self) -> impl Iterator<Item = (Arm, &Figures)> {
        let sidecar = self.sidecar.as_ref();
        [
            Some((Arm::Before, &self.before)),
            Some((Arm::After, &self.after)),
            sidecar.map(|figures| (Arm::Sidecar, figures)),
        ]
        .into_iter()
        .flatten()
    }
}

impl Run {
    /// An arm at 80 % of the rate, where nothing queues yet and a fleet is run; at all of it, where that was not timed.
    pub(crate) fn usual(&self, arm: Arm) -> Option<&Figures> {
        let rate = self.base_rate_per_s * USUAL;
        let rows = self.rows.iter();
        let row = rows
            .filter(|row| row.arm == arm && row.kind == PhaseKind::Rate)
            .find(|row| {
                let asked = row.figures.asked_reads_per_s.unwrap_or(0.0);
                (asked - rate).abs() < rate * 1e-6
            });
        let full = || self.arms().find(|full| full.0 == arm).map(|full| full.1);
        row.map(|row| &row.figures).or_else(full)
    }
}

/// The share of the highest rate that the finding is about.
const USUAL: f64 = 0.8;

/// Which kind of phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PhaseKind {
    /// So that what follows is not the beginning: only its checks count.
    Prepare,
    /// From empty pods: each key once that there is room for.
    Fill,
    /// As fast as reads are answered.
    Max,
    /// At a set rate.
    Rate,
    /// At the 100 % rate with something else than the defaults.
    Sensitivity,
}

/// One phase of one arm.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Whose.
    #[serde(serialize_with = "arm_name")]
    pub(crate) arm: Arm,
    /// Which kind.
    pub(crate) kind: PhaseKind,
    /// What was done, in words.
    pub(crate) name: String,
    /// Bytes L1 could hold, per pod.
    pub(crate) capacity_bytes: usize,
    /// What came of it.
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// The figures of an arm or of one phase of it: the demo's, and more.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    pub(crate) side: Side,
    /// Since reads were due, and only where they were due at some time.
    pub(crate) intended_mean_us: Option<f64>,
    pub(crate) intended_p50_us: Option<f64>,
    pub(crate) intended_p99_us: Option<f64>,
    pub(crate) intended_p999_us: Option<f64>,
    pub(crate) intended_max_us: Option<f64>,
    /// Reads a second the fleet was asked for; `None`: as many as it could.
    pub(crate) asked_reads_per_s: Option<f64>,
    /// Updates a second that were asked for.
    pub(crate) updates_per_s: f64,
    /// Writes a second that were made, those of the watched key included.
    pub(crate) writes_per_s: f64,
    /// Whether they were as uneven as the reads.
    pub(crate) updates_skewed: bool,
    /// What the hit rate would become if the phase went on.
    pub(crate) steady_hit_rate: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) l2_commands_per_s: f64,
    pub(crate) l2_memory_bytes: u64,
    /// Reads at L2 that the measuring of the lag cost; in no other figure but bytes, commands and processor.
    pub(crate) probe_reads_per_s: f64,
    pub(crate) rss_bytes_fleet: Option<u64>,
    /// From the acknowledgement of a write until no pod returned what was before it.
    pub(crate) everywhere_samples: u64,
    pub(crate) everywhere_unseen: u64,
    pub(crate) everywhere_p50_us: Option<f64>,
    pub(crate) everywhere_max_us: Option<f64>,
    /// The pods' own servers together.
    pub(crate) sidecars: Option<Sidecars>,
    /// Distributions: upper ends in microseconds, and how many.
    pub(crate) latency_buckets: Vec<(f64, u64)>,
    pub(crate) intended_buckets: Vec<(f64, u64)>,
    /// By how much checked reads of this phase were behind a write; most are not, by nothing.
    pub(crate) age_samples: u64,
    pub(crate) age_p50_us: Option<f64>,
    pub(crate) age_p99_us: Option<f64>,
    pub(crate) age_p999_us: Option<f64>,
    /// Of the reads that were behind a write, by how much; all others were current.
    pub(crate) age_buckets: Vec<(f64, u64)>,
    /// Second by second.
    pub(crate) series: Vec<Second>,
}

/// The servers of the pods, all together.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sidecars {
    pub(crate) reads_per_s: f64,
    pub(crate) commands_per_s: f64,
    pub(crate) bytes_per_s: f64,
    pub(crate) cpu_percent: f64,
    pub(crate) connections: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) rss_bytes: u64,
}

/// One second of a phase.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Second {
    pub(crate) second: u64,
    pub(crate) reads_per_s: f64,
    pub(crate) hit_rate: f64,
    pub(crate) l2_reads_per_s: f64,
    pub(crate) l2_bytes_per_s: f64,
    pub(crate) l2_cpu_percent: f64,
}

fn arm_name<S: serde::Serializer>(arm: &Arm, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(arm.name())
}
