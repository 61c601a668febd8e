//! The limits and bounds of one pod, as plain data. Validation of what users write is the facade's.

use std::time::Duration;

use crate::op::Tracking;

/// How a pod reads, keeps and gives up.
#[derive(Clone, Debug)]
pub struct PodConfig {
    /// L of the contract: no hit is older than this.
    pub max_staleness: Duration,
    /// How long an entry lives when the store cannot invalidate it.
    pub untracked_life: Duration,
    /// Whether the absence of a key is cached.
    pub cache_absent: bool,
    /// At which read of a key its value is kept: 1 or 2.
    pub admit_after: u32,
    /// Bytes: larger values are not kept, and read on a side connection once known.
    pub max_inline: usize,
    /// How long a call may wait for L2.
    pub operation_timeout: Duration,
    /// How long a loader may run; a caller waits an eighth longer for a place, and for another's load also two
    /// `operation_timeout`s.
    pub load_timeout: Duration,
    /// Loaders that may run at a time.
    pub max_loads: usize,
    /// Keys that begin with one of these are never kept.
    pub bypass: Vec<Vec<u8>>,
    /// Whether fields of hashes may have expiries of their own: then replies about hashes are kept for
    /// `max_staleness` at most, on servers that know such expiries.
    pub hash_field_expiry: bool,
    /// What the service is called, in the names of the [keys](crate::fleet_key) that nearcache itself writes.
    pub service: String,
    /// Bytes of the budget that the counts of reads may take.
    pub statistics_bytes: usize,
}

impl Default for PodConfig {
    fn default() -> Self {
        Self {
            max_staleness: Duration::from_secs(1),
            untracked_life: Duration::from_secs(1),
            cache_absent: true,
            admit_after: 1,
            max_inline: 1 << 20,
            operation_timeout: Duration::from_secs(2),
            load_timeout: Duration::from_secs(10),
            max_loads: 64,
            bypass: Vec::new(),
            hash_field_expiry: true,
            service: "app".to_owned(),
            statistics_bytes: 0,
        }
    }
}

/// How the lane connects, paces and gives up.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// Whether the store reports changes.
    pub tracking: Tracking,
    /// The db that the connection rests in (of the URL).
    pub resting_db: u32,
    /// The db of the keys that nearcache itself writes; `None`: the resting one.
    pub fleet_db: Option<u32>,
    /// How long an attempt to connect may take.
    pub connect_timeout: Duration,
    /// A lane that owes an answer for this long is closed and opened again.
    pub dead_after: Duration,
    /// First pause between attempts to connect; doubles, with jitter.
    pub backoff_min: Duration,
    /// Longest pause between attempts to connect.
    pub backoff_max: Duration,
    /// Requests that may wait for the lane.
    pub queue_requests: usize,
    /// Estimated bytes of values that fills may have in flight.
    pub inflight_bytes: usize,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            tracking: Tracking::Pushes,
            resting_db: 0,
            fleet_db: None,
            connect_timeout: Duration::from_secs(2),
            dead_after: Duration::from_secs(10),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            queue_requests: 4096,
            inflight_bytes: 4 << 20,
        }
    }
}
