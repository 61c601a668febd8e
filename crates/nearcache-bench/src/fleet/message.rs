//! What the controller and its pods say to each other: one JSON document a line over standard input and output, or the same
//! values over channels where the pods are threads.

use serde::{Deserialize, Serialize};

use super::plan::{Arm, Plan};

/// What a pod is told first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The whole run.
    pub(crate) plan: Plan,
    /// Which pod it is, from 0.
    pub(crate) pod: usize,
    /// Which side it plays.
    pub(crate) arm: Arm,
    /// Address of the server; `None` for the embedded L2, which comes by another way.
    pub(crate) url: Option<String>,
    /// Address of this pod's own server, where it has one.
    pub(crate) sidecar: Option<String>,
    /// What it reads, in order, where that comes from a trace.
    pub(crate) reads: Vec<u32>,
    /// Whether it serves from when it is ready until it is stopped, and how; `None`: it does phases only.
    pub(crate) service: Option<Service>,
    /// Whether it only reads, through faults too, and tells of every read, and how; `None`: it does not.
    pub(crate) probe: Option<Probe>,
}

/// How a pod reads through faults.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// Reads a second.
    pub(crate) reads_per_s: f64,
    /// What nearcache takes the service to be called.
    pub(crate) name: String,
    /// Distinguishes the random choices of a pod from those of the one it replaces.
    pub(crate) stream: u64,
}

/// How a pod serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    /// What nearcache takes the service to be called: what one fleet learned is not to warm the next.
    pub(crate) name: String,
    /// Whether it starts warm.
    pub(crate) warm: bool,
    /// Keys a second that all pods together may fetch ahead; `None`: as nearcache has it.
    pub(crate) warm_reads: Option<usize>,
    /// Milliseconds between two publications; `None`: as nearcache has it.
    pub(crate) publish_ms: Option<u64>,
    /// Reads a second from the moment it is ready; `None`: it waits to be told.
    pub(crate) reads_per_s: Option<f64>,
}

/// What a pod is told afterwards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Instruction {
    /// Does a stretch of work and reports it.
    Run(Phase),
    /// Serves this many reads a second from now on.
    Serve(f64),
    /// Ends.
    Stop,
}

/// A stretch of work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// How the reads come.
    pub(crate) load: Load,
    /// When it begins, on the host's monotonic clock.
    pub(crate) start_ns: u64,
    /// How long reads are started for.
    pub(crate) duration_ns: u64,
    /// Distinguishes the random choices of one phase from those of another.
    pub(crate) stream: u64,
    /// Reads a second of each pod, where the load is paced.
    pub(crate) reads_per_pod: f64,
    /// Reads after which a pod whose load is paced is done, where it is not the time that ends it.
    pub(crate) reads: Option<u64>,
}

/// How reads come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Load {
    /// At random moments with a set mean rate, whether earlier reads have ended or not.
    Paced,
    /// As fast as they are answered, from a set number of tasks.
    FlatOut,
    /// Each key once that a cache of the plan's capacity has room for, as fast as it is answered.
    Fill,
}

/// What a pod says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It is connected and waits for work.
    Ready,
    /// It serves, or could.
    Serving(Box<Start>),
    /// How many reads of the current phase have ended.
    Progress(u64),
    /// The phase is over.
    Done(Box<Report>),
    /// What it read since it last said so.
    Probed(Box<Probed>),
    /// It cannot go on.
    Failed(String),
}

/// How a pod became ready.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Start {
    /// When, on the host's monotonic clock.
    pub(crate) ready_ns: u64,
    /// Keys its warm start fetched and kept.
    pub(crate) keys: usize,
    /// Keys that it had set out to fetch.
    pub(crate) keys_planned: usize,
    /// Bytes of values that were fetched.
    pub(crate) bytes: u64,
    /// The part of the fleet's reads that these keys get.
    pub(crate) share_of_reads: f64,
    /// How long the warm start took.
    pub(crate) warm_ns: u64,
    /// What ended it.
    pub(crate) end: String,
}

/// What a pod saw in a phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Reads that ended with a value.
    pub(crate) reads: u64,
    /// Reads that ended with an error.
    pub(crate) errors: u64,
    /// One of those errors.
    pub(crate) error: Option<String>,
    /// Reads that gave no value, or one that was never written to their key.
    pub(crate) wrong: u64,
    /// Reads that began more than 10 ms after they were due.
    pub(crate) late: u64,
    /// Reads that were due and not begun, since too many were under way.
    pub(crate) shed: u64,
    /// When the last read had ended.
    pub(crate) ended_ns: u64,
    /// How long reads took: nanoseconds and how many.
    pub(crate) latencies: Vec<(u64, u64)>,
    /// How long after they were due paced reads ended, in the same form.
    pub(crate) intended: Vec<(u64, u64)>,
    /// Reads that ended in each second of the phase.
    pub(crate) seconds: Vec<u64>,
    /// Reads for the checker.
    pub(crate) samples: Vec<Sample>,
    /// Every read of a pod that serves, in the order in which they ended.
    pub(crate) served: Vec<Served>,
    /// Writes of the watched key as this pod first saw them.
    pub(crate) sightings: Vec<Sighting>,
    /// Reads of the watched key.
    pub(crate) watch_reads: u64,
    /// Reads nearcache sent to L2 by its own count.
    pub(crate) fills: Option<u64>,
    /// Memory of the process at the end.
    pub(crate) resident_bytes: Option<u64>,
}

/// One read, for the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u64, u64)", into = "(u32, u64, u64)")]
pub(crate) struct Sample {
    /// What was read.
    pub(crate) key: u32,
    /// Which write of it came back.
    pub(crate) sequence: u64,
    /// When the read began.
    pub(crate) started_ns: u64,
}

/// One read of a pod that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Sample, u64, u64, bool)", into = "(Sample, u64, u64, bool)")]
pub(crate) struct Served {
    /// What was read, for the checker.
    pub(crate) sample: Sample,
    /// When it was due.
    pub(crate) due_ns: u64,
    /// When it ended.
    pub(crate) ended_ns: u64,
    /// Whether L1 had it.
    pub(crate) hit: bool,
}

/// What a pod read for a short while, faults or not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Probed {
    /// Reads that were answered, in the order in which they ended.
    pub(crate) seen: Vec<Seen>,
    /// Reads that failed: when they ended, and why.
    pub(crate) failed: Vec<(u64, String)>,
    /// Reads that were due and not begun, since too many were under way.
    pub(crate) shed: u64,
    /// Memory of the process.
    pub(crate) resident_bytes: Option<u64>,
    /// Bytes that L1 holds by nearcache's own count.
    pub(crate) l1_bytes: u64,
}

/// How a read was made, which says how new its answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// One key, under the default policy.
    Default,
    /// Several keys at once.
    Many,
    /// Validated.
    Validated,
    /// Under `serve_stale`, and not marked stale.
    Fresh,
    /// Under `serve_stale`, and marked stale.
    Stale,
    /// By the one who writes the key, through the handle it is written with.
    Own,
}

/// One answered read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "(u32, Option<u64>, u64, u64, How, bool)",
    into = "(u32, Option<u64>, u64, u64, How, bool)"
)]
pub(crate) struct Seen {
    /// What was read.
    pub(crate) key: u32,
    /// Which write of it came back; `None`: no value.
    pub(crate) sequence: Option<u64>,
    /// When the read began.
    pub(crate) started_ns: u64,
    /// When it ended.
    pub(crate) ended_ns: u64,
    /// How it was made.
    pub(crate) how: How,
    /// Whether L1 had it, as far as that is told.
    pub(crate) hit: bool,
}

impl From<(u32, Option<u64>, u64, u64, How, bool)> for Seen {
    fn from(
        (key, sequence, started_ns, ended_ns, how, hit): (u32, Option<u64>, u64, u64, How, bool),
    ) -> Self {
        Self {
            key,
            sequence,
            started_ns,
            ended_ns,
            how,
            hit,
        }
    }
}

impl From<Seen> for (u32, Option<u64>, u64, u64, How, bool) {
    fn from(seen: Seen) -> Self {
        (
            seen.key,
            seen.sequence,
            seen.started_ns,
            seen.ended_ns,
            seen.how,
            seen.hit,
        )
    }
}

/// The first read that saw a write of the watched key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub(crate) struct Sighting {
    /// Which write.
    pub(crate) sequence: u64,
    /// When that read ended.
    pub(crate) seen_ns: u64,
}

impl From<(u32, u64, u64)> for Sample {
    fn from((key, sequence, started_ns): (u32, u64, u64)) -> Self {
        Self {
            key,
            sequence,
            started_ns,
        }
    }
}

impl From<Sample> for (u32, u64, u64) {
    fn from(sample: Sample) -> Self {
        (sample.key, sample.sequence, sample.started_ns)
    }
}

impl From<(Sample, u64, u64, bool)> for Served {
    fn from((sample, due_ns, ended_ns, hit): (Sample, u64, u64, bool)) -> Self {
        Self {
            sample,
            due_ns,
            ended_ns,
            hit,
        }
    }
}

impl From<Served> for (Sample, u64, u64, bool) {
    fn from(served: Served) -> Self {
        (served.sample, served.due_ns, served.ended_ns, served.hit)
    }
}

impl From<(u64, u64)> for Sighting {
    fn from((sequence, seen_ns): (u64, u64)) -> Self {
        Self { sequence, seen_ns }
    }
}

impl From<Sighting> for (u64, u64) {
    fn from(sighting: Sighting) -> Self {
        (sighting.sequence, sighting.seen_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_short_on_the_wire_and_come_back() {
        let sample = Sample {
            key: 1,
            sequence: 2,
            started_ns: 3,
        };
        let text = serde_json::to_string(&sample).unwrap();
        assert_eq!(text, "[1,2,3]");
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
    }
}
