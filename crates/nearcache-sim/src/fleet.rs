//! The pods that never restart, on one L2, and what each of them was served.

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
}

/// What one pod was served since counting began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) reads: u64,
    pub(crate) hits: u64,
    pub(crate) failed: u64,
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
    pub(crate) fn start(
        trace: &Trace,
        pods: usize,
        capacity: Capacity,
        seed: u64,
    ) -> Result<Self, Error> {
        let clock = Clock::new();
        let mut l2 = L2::new(&trace.keys, clock.now());
        let pods: Result<Vec<_>, _> = (0..pods as u64)
            .map(|number| SimPod::start(capacity, &clock, seed.wrapping_add(number), &mut l2))
            .collect();
        let pods = pods?;
        Ok(Self {
            tallies: vec![Tally::default(); pods.len()],
            clock,
            l2,
            pods,
        })
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

    /// Keys and bytes that the fleet has read from L2 since it started.
    pub(crate) fn fetched(&self) -> (u64, u64) {
        self.pods.iter().fold((0, 0), |(keys, bytes), pod| {
            let totals = pod.totals();
            (keys + totals.fills_total, bytes + totals.fill_bytes_total)
        })
    }
}
