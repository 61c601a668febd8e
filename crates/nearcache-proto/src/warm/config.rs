//! What the background of a pod may do and how much of it, as plain data.

use std::time::Duration;

use crate::working_set::KeyNames;

/// Limits and intervals of the background. Validation of what users write is the facade's.
#[derive(Clone, Debug)]
pub struct WarmConfig {
    /// Whether reads are counted and what was counted is exchanged with the fleet.
    pub statistics: bool,
    /// Whether a new pod fetches the fleet's working set before it is ready.
    pub start: bool,
    /// The db that what is exchanged lies in.
    pub db: u32,
    /// How keys are named in what is published; `None`: nothing is published.
    pub names: Option<KeyNames>,
    /// After this long a pod is ready, however warm it is.
    pub deadline: Duration,
    /// Reads a second that all pods together may fetch ahead of demand, whatever L2 has been seen to do.
    pub reads_per_s: u64,
    /// Bytes a second, likewise.
    pub bytes_per_s: u64,
    /// The share of the highest rate at which the fleet has been reading from L2 that may be fetched ahead,
    /// when that is more.
    pub share: f64,
    /// Reads that this pod must be expected to make of a key within the next hour before it is fetched because
    /// the fleet reads it; `None`: never.
    pub top_up: Option<f64>,
    /// Whether a key that will be read again soon is fetched when somebody has changed it.
    pub refetch: bool,
    /// After this long a read counts half.
    pub half_life: Duration,
    /// Slots that are counted at most.
    pub most_slots: usize,
    /// Bytes that the counts may take at most.
    pub most_bytes: usize,
    /// How often what was sampled is counted while there is much of it; less often while there is little.
    pub fold_every: Duration,
    /// How often a pod of a fleet of up to 64 publishes; in a larger one less often, in proportion.
    pub publish_every: Duration,
    /// How often a running pod looks what the fleet reads.
    pub look_every: Duration,
}

impl Default for WarmConfig {
    fn default() -> Self {
        Self {
            statistics: true,
            start: true,
            db: 0,
            names: Some(KeyNames::Plain),
            deadline: Duration::from_secs(4),
            reads_per_s: 5_000,
            bytes_per_s: 128 << 20,
            share: 0.2,
            top_up: Some(0.25),
            refetch: true,
            half_life: Duration::from_secs(30 * 60),
            most_slots: 16_384,
            most_bytes: 4 << 20,
            fold_every: Duration::from_secs(1),
            publish_every: Duration::from_secs(10),
            look_every: Duration::from_secs(60),
        }
    }
}
