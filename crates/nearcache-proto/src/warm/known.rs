//! What a background knows: what this pod reads, as counted, and what the fleet reads, as summed up.

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::{Key, Timestamp};

use super::WarmConfig;
use super::rate::Rate;
use crate::working_set::{Counts, Item, Manifest, Name};

/// Manifests of a fleet by which all of its pods have been heard.
const YOUNG: u64 = 6;

/// Ids that one merge looks at.
pub(super) const MOST_PODS: usize = 100_000;

/// Over this time reads of a key are expected when the fleet's are weighed.
pub(super) const HORIZON: Duration = Duration::from_secs(3600);

/// It is fetched ahead if it is expected to be read so often before it ends or changes again.
const READS_SOON: f64 = 0.5;

/// Reads of late that make a rate: one or two are none.
pub(super) const EVIDENCE: f64 = 2.5;

/// No pod takes itself for more than so many ordinary ones.
pub(super) const MOST_UNEVEN: f64 = 4.0;

pub(super) struct Known {
    pub(super) counts: Counts,
    pub(super) manifest: Option<Arc<Manifest>>,
    /// How fast the fleet may fetch ahead.
    pub(super) rate: Rate,
    /// When counting began.
    began: Timestamp,
    half_life: Duration,
}

impl Known {
    pub(super) fn new(config: &WarmConfig, now: Timestamp, seed: u64) -> Self {
        let counts = Counts::new(config.most_slots, config.most_bytes, config.half_life);
        Self {
            counts: counts.seeded(seed),
            manifest: None,
            rate: Rate::new(config),
            began: now,
            half_life: config.half_life,
        }
    }

    /// The fleet was summed up.
    pub(super) fn learn(&mut self, config: &WarmConfig, manifest: Arc<Manifest>) {
        self.rate.observe(config, &manifest);
        self.manifest = Some(manifest);
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.began)
    }

    /// Whether the fleet has so far been summed up a few times at most: by then not even how many they are is known well.
    pub(super) fn is_young(&self) -> bool {
        self.manifest.as_ref().is_none_or(|m| m.version < YOUNG)
    }

    /// How many pods there are, as far as is known.
    pub(super) fn fleet(&self) -> usize {
        let told = self.manifest.as_ref().map_or(1, |m| m.fleet as usize);
        told.clamp(1, MOST_PODS)
    }

    /// The part of the fleet's reads that this pod makes: as counted, but a pod that has just started is taken for
    /// an ordinary one.
    pub(super) fn share(&self, fleet_mass: f64, fleet: usize, now: Timestamp) -> f64 {
        let even = 1.0 / fleet.max(1) as f64;
        let own = self.counts.mass(now);
        match fleet_mass > 0.0 {
            true => (own / fleet_mass).clamp(even / 2.0, even * MOST_UNEVEN),
            false => even,
        }
    }

    /// The time over which a steady rate of reads makes a score: a half-life by ln 2 for a pod that has counted long, and less
    /// for one that has just begun, whose scores would pass for low rates.
    fn window(&self, now: Timestamp) -> Duration {
        const LEAST: Duration = Duration::from_secs(10);
        let half_life = self.half_life.as_secs_f64();
        let age = now.saturating_since(self.began).as_secs_f64();
        let full = half_life / std::f64::consts::LN_2;
        Duration::from_secs_f64(full * (1.0 - (-age / half_life).exp2())).max(LEAST)
    }

    /// An entry that is expected to be read again within this time, by what was counted of it, and how often in a second.
    pub(super) fn worth_again(
        &self,
        filed: Key<'_>,
        within: Duration,
        now: Timestamp,
    ) -> Option<(Item, f64)> {
        let score = self.counts.score(now, filed).unwrap_or(0.0);
        let per_s = score / self.window(now).as_secs_f64();
        let item = || Item {
            name: Name::plain(filed),
            score,
            bytes: self.counts.bytes_of(filed),
        };
        (score >= EVIDENCE && per_s * within.as_secs_f64() >= READS_SOON).then(|| (item(), per_s))
    }
}
