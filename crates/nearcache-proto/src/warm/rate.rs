//! How fast the fleet may fetch ahead of demand: one allowance for all pods.

use std::time::Duration;

use super::WarmConfig;
use crate::working_set::Manifest;

/// Life of the counter.
pub(super) const WINDOW: Duration = Duration::from_millis(250);

/// The allowed rate, in reads and bytes a second of the whole fleet.
pub(super) struct Rate {
    reads_per_s: f64,
    bytes_per_s: f64,
    /// Whether to wait for one's turn within a window. Not where no time passes between two steps.
    pub(super) in_turn: bool,
}

impl Rate {
    pub(super) fn new(config: &WarmConfig) -> Self {
        Self {
            reads_per_s: (config.reads_per_s as f64).max(1.0),
            bytes_per_s: (config.bytes_per_s as f64).max(1.0),
            in_turn: true,
        }
    }

    /// The share of what the fleet has been seen to read from L2, where that is more than what is configured.
    pub(super) fn observe(&mut self, config: &WarmConfig, manifest: &Manifest) {
        let peak = manifest.rates;
        let of = |rate: f32| f64::from(rate.max(0.0)) * config.share;
        self.reads_per_s = of(peak.l2_reads_per_s)
            .max(config.reads_per_s as f64)
            .max(1.0);
        self.bytes_per_s = of(peak.l2_bytes_per_s)
            .max(config.bytes_per_s as f64)
            .max(1.0);
    }

    /// Keys that a window's allowance is good for.
    pub(super) fn most_keys(&self) -> usize {
        (self.reads_per_s * WINDOW.as_secs_f64()).max(1.0) as usize
    }

    /// What a fetch takes of the fleet's time.
    pub(super) fn cost(&self, keys: usize, bytes: u64) -> Duration {
        let reads = keys as f64 / self.reads_per_s;
        Duration::from_secs_f64(reads.max(bytes as f64 / self.bytes_per_s).min(3600.0))
    }
}
