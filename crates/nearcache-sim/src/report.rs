//! What a simulation found, as plain data. Holds nothing that depends on the machine or the time of day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::exchange::{ExchangeKind, Sum};
use crate::join::Arm;

/// All findings. Shares and rates are from 0 to 1; figures of the steady state leave the first eighth of the trace's time
/// out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Requests of the trace.
    pub requests: u64,
    /// Different keys in it.
    pub keys: u64,
    /// Bytes of an L1 that holds all of them.
    pub data_bytes: u64,
    /// Seconds from its first request to its last.
    pub span_seconds: f64,
    /// Reads in the steady state.
    pub steady_reads: u64,
    /// Share of the reads in the steady state whose key anyone had read before: a cache that learns from what was read
    /// cannot do better.
    pub bound: f64,
    /// The same and other bounds.
    pub bounds: Bound,
    /// Hit rate of the fleet in the steady state.
    pub hit_rate: HitRate,
    /// Hit rates of its pods.
    pub pods: Spread,
    /// What L2 had to do in the steady state.
    pub l2: L2Load,
    /// Reads of L2 for each read of a pod in the steady state.
    pub l2_reads_per_read: PodRates,
    /// Restarts that were watched: those after which the pod had 400 reads left.
    pub restarts: u64,
    /// Restarts that were asked for.
    pub restarts_asked: u64,
    /// What restarted pods were served, by how they started.
    pub join: BTreeMap<Arm, Join>,
    /// What they could have been served at best.
    pub join_bound: JoinBound,
    /// What fetching ahead was good for.
    pub warm: Warm,
    /// Hit rate against reads of L2, by the reads that a pod must expect to make of a key before it fetches it ahead;
    /// first without.
    pub topup_frontier: Vec<FrontierRow>,
    /// Hit rates by capacity.
    pub sizing: Vec<SizingRow>,
    /// Reads that got no answer; anything but 0 is an error of the simulator.
    pub failed_reads: u64,
    /// Reads and writes that were simulated for all of this.
    pub simulated_requests: u64,
}

/// Limits of what can be hit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Reads of keys that anyone had read before.
    pub ever: f64,
    /// Reads of keys that anyone had read in the 12 hours before.
    pub last_12h: f64,
    /// Reads of keys that the same pod had read before.
    pub own: f64,
}

/// Hit rates of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitRate {
    /// Of pods that only keep what they were asked for.
    pub no_warm: f64,
    /// Of pods that top themselves up, as they do unless told otherwise.
    pub warm: f64,
}

/// The same figure for fleets that differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodRates {
    /// Pods that only keep what they were asked for.
    pub no_warm: f64,
    /// Pods that top themselves up, as they do unless told otherwise.
    pub warm: f64,
}

/// How far pods are apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The lowest hit rate of a pod.
    pub min: f64,
    /// That of the pod in the middle.
    pub median: f64,
    /// The highest.
    pub max: f64,
}

/// What L2 had to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2Load {
    /// Keys read, on average.
    pub reads_per_second: f64,
    /// Bytes of values read, on average.
    pub bytes_per_second: f64,
    /// Keys read, in the busiest minute; in all of the time, where that is shorter.
    pub peak_reads_per_second: f64,
    /// Bytes of values read, in the busiest minute.
    pub peak_bytes_per_second: f64,
}

/// What restarted pods were served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Hit rate over the first 100 requests.
    pub first_100: f64,
    /// Its standard error.
    pub first_100_error: f64,
    /// Hit rate over the first 400 requests.
    pub first_400: f64,
    /// How it developed.
    #[serde(flatten)]
    pub curve: Curve,
}

/// Of the first requests of restarted pods, those for keys that anyone had read in the 12 hours before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinBound {
    /// Of the first 100.
    pub first_100: f64,
    /// Of the first 400.
    pub first_400: f64,
}

/// Hit rate against requests and against time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// By number of the request since the restart.
    pub by_request: Vec<Point>,
    /// By seconds since the restart, of the first 400 requests.
    pub by_second: Vec<Point>,
}

/// The hit rate of one stretch of a curve, which begins where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Where it ends.
    pub until: f64,
    /// The hit rate in it.
    pub hit_rate: f64,
}

/// What fetching ahead was good for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warm {
    /// Of the keys that running pods fetched ahead in the steady state: those that were evicted, or were still there at the
    /// end, without having been read.
    pub wasted_share: f64,
    /// What warm starts did, on average; absent without one.
    pub starts: Option<WarmStarts>,
}

/// What warm starts did, on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmStarts {
    /// Keys fetched and kept.
    pub keys: f64,
    /// Bytes of their values.
    pub bytes: f64,
    /// How long it took.
    pub seconds: f64,
    /// The part of the fleet's reads that these keys get.
    pub share_of_reads: f64,
    /// Of the keys, those that were not read in the first 400 requests.
    pub unread_share: f64,
}

/// What topping up gives, and costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontierRow {
    /// Reads of a key within an hour that a pod must expect to make; `null`: it fetches nothing ahead.
    pub theta: Option<f64>,
    /// Hit rate of the fleet in the steady state.
    pub hit_rate: f64,
    /// All reads of L2 for each read of a pod: misses, and keys fetched ahead.
    pub l2_reads_per_read: f64,
    /// Keys fetched ahead for each read of a pod.
    pub ahead_per_read: f64,
    /// The part of them that was not read before it was evicted, or until the end.
    pub wasted_share: f64,
}

/// What a capacity gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizingRow {
    /// Of each pod, in the unit that was asked for.
    pub capacity: u64,
    /// About so many bytes.
    pub about_bytes: u64,
    /// Hit rate of the fleet in the steady state.
    pub hit_rate: f64,
    /// Reads of L2 for each read of a pod.
    pub l2_reads_per_read: f64,
    /// More room buys little.
    pub knee: bool,
}

/// What it costs L2 that the pods of a fleet tell each other what they read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Pods of the fleet.
    pub pods: u64,
    /// Simulated seconds that all figures are of: without the first third.
    pub seconds: f64,
    /// Reads of all pods.
    pub reads_per_second: f64,
    /// The part of them that L1 served.
    pub hit_rate: f64,
    /// Keys that the fleet read from L2, those fetched ahead included.
    pub l2_reads_per_second: f64,
    /// Bytes of their values.
    pub l2_bytes_per_second: f64,
    /// What the exchange cost, by kind.
    pub kinds: BTreeMap<ExchangeKind, ExchangeCost>,
    /// All kinds together.
    pub total: ExchangeCost,
    /// Bytes that a pod published at a time, on average.
    pub blob_bytes: f64,
    /// How often a pod published, on average.
    pub published_every_seconds: f64,
    /// How often a pod looked what the fleet reads, on average.
    pub looked_every_seconds: f64,
    /// Times that a pod put off publishing or looking, for what it would have cost.
    pub put_off: u64,
    /// How the blobs were merged.
    pub merges: Merges,
    /// Length of the manifest at the end.
    pub manifest_bytes: u64,
    /// Keys in it.
    pub manifest_keys: u64,
    /// Pods of the fleet, as it says.
    pub manifest_pods: u64,
    /// Reads that got no answer; anything but 0 is an error of the simulator.
    pub failed_reads: u64,
}

/// What a part of the exchange cost L2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExchangeCost {
    /// Commands.
    pub commands_per_second: f64,
    /// Bytes of their words and replies.
    pub bytes_per_second: f64,
    /// Commands, in per cent of the fleet's reads of L2.
    pub percent_of_reads: f64,
    /// Bytes, in per cent of those that the fleet read from L2.
    pub percent_of_bytes: f64,
}

impl ExchangeCost {
    pub(crate) fn of(sum: Sum, own: Sum, seconds: f64) -> Self {
        Self {
            commands_per_second: sum.commands as f64 / seconds,
            bytes_per_second: sum.bytes as f64 / seconds,
            percent_of_reads: 100.0 * sum.commands as f64 / own.commands.max(1) as f64,
            percent_of_bytes: 100.0 * sum.bytes as f64 / own.bytes.max(1) as f64,
        }
    }
}

/// How blobs were merged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merges {
    /// How often.
    pub number: u64,
    /// Seconds between two, on average.
    pub every_seconds: f64,
    /// Bytes of blobs that one read, on average.
    pub bytes: f64,
}
