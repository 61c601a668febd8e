//! What a run of a fleet does: its parameters and its keys. Plain data, the same in every process of the run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::header::{HEADER, Header};
use super::traffic::Traffic;

/// Number of the key whose way from the writer to the pods is timed; no ordinary read asks for it.
pub(crate) const WATCHED: u32 = u32::MAX;

/// The parameters of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How many pods share L2.
    pub(crate) pods: usize,
    /// How many keys there are.
    pub(crate) keys: u32,
    /// Length of each value; with a trace, their mean.
    pub(crate) value_bytes: usize,
    /// Exponent of the distribution of reads over keys; 0 is uniform.
    pub(crate) zipf: f64,
    /// Reads each pod is asked for, per second.
    pub(crate) reads_per_pod: f64,
    /// Writes per second, spread evenly over the keys unless a phase says otherwise.
    pub(crate) writes: f64,
    /// Writes per second of the watched key, besides.
    pub(crate) watched_writes: f64,
    /// Tasks per pod that read one after the other while throughput is measured.
    pub(crate) tasks: usize,
    /// Connections in the ordinary pool of each pod.
    pub(crate) pool: usize,
    /// Bytes L1 may hold in each pod.
    pub(crate) capacity_bytes: usize,
    /// How long a sidecar keeps a value.
    pub(crate) sidecar_ttl_ms: u64,
    /// Seconds from a cold start, per side, at the set rate.
    pub(crate) cold_seconds: u64,
    /// Seconds at full throughput, after that.
    pub(crate) flat_out_seconds: u64,
    /// Seconds that are timed, after that, at the set rate.
    pub(crate) seconds: u64,
    /// The staleness bound in milliseconds.
    pub(crate) max_staleness_ms: u64,
    /// Whether nearcache is asked for validated reads.
    pub(crate) validated: bool,
    /// What of nearcache is switched off.
    #[cfg(nearcache_break)]
    pub(crate) sabotage: super::sabotage::Sabotage,
    /// What all choices follow from.
    pub(crate) seed: u64,
    /// What the names of the keys begin with.
    pub(crate) prefix: String,
    /// Reads and writes of a trace instead of random ones. Only in the controller: a pod is told its part.
    #[serde(skip)]
    pub(crate) traffic: Option<Arc<Traffic>>,
}

/// What every command decides of its plan.
pub(crate) struct Asked {
    pub(crate) pods: usize,
    pub(crate) keys: u32,
    pub(crate) value_bytes: usize,
    pub(crate) zipf: f64,
    pub(crate) reads_per_pod: f64,
    pub(crate) writes: f64,
    pub(crate) capacity_bytes: usize,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) prefix: String,
}

impl Plan {
    /// A plan that is the usual one in all else.
    pub(crate) fn new(asked: Asked) -> Self {
        Self {
            pods: asked.pods,
            keys: asked.keys,
            value_bytes: asked.value_bytes,
            zipf: asked.zipf,
            reads_per_pod: asked.reads_per_pod,
            writes: asked.writes,
            watched_writes: 0.5,
            tasks: 1,
            pool: 1,
            capacity_bytes: asked.capacity_bytes,
            sidecar_ttl_ms: 0,
            cold_seconds: 0,
            flat_out_seconds: 0,
            seconds: asked.seconds,
            max_staleness_ms: 1000,
            validated: false,
            #[cfg(nearcache_break)]
            sabotage: super::sabotage::Sabotage::None,
            seed: asked.seed,
            prefix: asked.prefix,
            traffic: None,
        }
    }

    /// The name of a key.
    pub(crate) fn name(&self, key: u32) -> String {
        match key {
            WATCHED => format!("{}watched", self.prefix),
            key => format!("{}product:{key}", self.prefix),
        }
    }

    /// What nearcache takes pods that read for the benchmark to be.
    pub(crate) fn service(&self) -> String {
        format!("{}pods", self.prefix)
    }

    /// The value of a write.
    pub(crate) fn value(&self, header: Header) -> Vec<u8> {
        let bytes = match &self.traffic {
            _ if header.key == WATCHED => HEADER,
            Some(traffic) => traffic.sizes[header.key as usize],
            None => self.value_bytes,
        };
        header.encode(bytes)
    }

    /// Seconds that a value lives in L2: longer than any run of this plan, and not for good, so that an interrupted one
    /// leaves nothing on a server of the user's.
    pub(crate) fn life_seconds(&self) -> u64 {
        let phases = self.seconds + self.cold_seconds + self.flat_out_seconds;
        3600 + 60 * phases
    }

    /// Bytes of all values together.
    pub(crate) fn data_bytes(&self) -> u64 {
        match &self.traffic {
            Some(traffic) => traffic.data_bytes(),
            None => u64::from(self.keys) * self.value_bytes as u64,
        }
    }
}

/// Which side of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Arm {
    /// An ordinary connection pool: every read goes to L2.
    Before,
    /// nearcache in front of the same L2.
    After,
    /// A server of the pod's own, filled from the same L2 by the application.
    Sidecar,
}

impl Arm {
    /// Its name in the output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Sidecar => "sidecar",
        }
    }
}
