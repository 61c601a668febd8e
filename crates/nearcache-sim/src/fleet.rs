//! The pods that never restart, on one L2, and what each of them was served.

use std::sync::Arc;

use nearcache_proto::warm::WarmConfig;
use nearcache_proto::working_set::Manifest;

use crate::io::Clock;
use crate::l2::L2;
use crate::pod::{Served, SimPod};
use crate::simulate::{Capacity, Error};
use crate::trace::{Key, Trace};

pub(crate) struct Fleet {
    pub(crate) clock: Clock,
    pub(crate) l2: L2,
    pub(crate) pods: Vec<SimPod>,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) top_up: Option<f64>,
}

/// What one pod was served since counting began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) reads: u64,
    pub(crate) hits: u64,
    pub(crate) failed: u64,
}

/// What a fleet has read from L2.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    /// Those keys that nobody had asked for.
    pub(crate) ahead: u64,
    /// Those of them that somebody then did.
    pub(crate) ahead_used: u64,
}

impl Fetched {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            keys: self.keys - before.keys,
            bytes: self.bytes - before.bytes,
            ahead: self.ahead - before.ahead,
            ahead_used: self.ahead_used - before.ahead_used,
        }
    }
}

impl Tally {
    #[inline]
    pub(crate) fn count(&mut self, served: Served) {
        self.reads += 1;
        self.hits += u64::from(served == Served::Hit);
        self.failed += u64::from(served == Served::Failed);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.hits += other.hits;
        self.failed += other.failed;
    }

    pub(crate) fn hit_rate(&self) -> f64 {
        self.hits as f64 / self.reads.max(1) as f64
    }
}

impl Fleet {
    /// A fleet of empty pods; with `top_up` they fetch ahead what they expect to read so often in an hour.
    pub(crate) fn start(
        trace: &Trace,
        pods: usize,
        capacity: Capacity,
        top_up: Option<f64>,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, Error> {
        let mut l2 = L2::new(&trace.keys, clock.now());
        let pods: Result<Vec<_>, _> = (0..pods as u64)
            .map(|number| SimPod::start(capacity, &clock, seed.wrapping_add(number), &mut l2))
            .collect();
        let mut pods = pods?;
        if top_up.is_some() {
            let config = WarmConfig {
                top_up,
                ..WarmConfig::default()
            };
            for (number, pod) in (0..).zip(&mut pods) {
                pod.top_up(config.clone(), seed.wrapping_add(number));
            }
        }
        Ok(Self {
            tallies: vec![Tally::default(); pods.len()],
            clock,
            l2,
            pods,
            top_up,
        })
    }

    /// Tops all pods up.
    pub(crate) fn tend(&mut self, manifest: &Arc<Manifest>) {
        if self.top_up.is_some() {
            for pod in &mut self.pods {
                pod.tend(&mut self.l2, manifest);
            }
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, pod: usize, key: &Key) -> Served {
        let served = self.pods[pod].read(&mut self.l2, &key.name);
        self.tallies[pod].count(served);
        served
    }

    pub(crate) fn write(&mut self, key: &Key) {
        self.l2.write(key, self.clock.now());
    }

    /// Forgets what was counted so far, not what is resident.
    pub(crate) fn count_anew(&mut self) {
        self.tallies.fill(Tally::default());
    }

    /// All tallies together.
    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in &self.tallies {
            total.add(tally);
        }
        total
    }

    /// What the fleet has read from L2 since it started.
    pub(crate) fn fetched(&self) -> Fetched {
        let mut fetched = Fetched::default();
        for pod in &self.pods {
            let totals = pod.totals();
            fetched.keys += totals.fills_total;
            fetched.bytes += totals.fill_bytes_total;
            fetched.ahead += totals.ahead_total;
            fetched.ahead_used += totals.ahead_used_total;
        }
        fetched
    }
}
