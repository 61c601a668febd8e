//! What a restarted pod would be served, by how it starts: each restart forks pods that see the same requests.
//!
//! The fleet itself goes on unaffected, so that the pod that did not restart is the comparison.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, Tally};
use crate::pod::{Served, SimPod};
use crate::report::{Curve, Join, Point};
use crate::restarts::WATCHED;
use crate::simulate::{Capacity, Error};
use crate::trace::Key;

/// How a pod starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// Empty.
    Cold,
    /// Not at all: it never went down.
    NeverRestarted,
    /// With the keys that one other pod holds.
    PeerCopy,
    /// With a fixed list: the keys that were read most in the first eighth of the trace.
    KeysFile,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Cold,
        Self::NeverRestarted,
        Self::PeerCopy,
        Self::KeysFile,
    ];
}

/// How many stretches of time a curve has.
const STRETCHES: usize = 24;

/// All restarts of a replay: those under way, and what the finished ones came to.
pub(crate) struct Joins {
    capacity: Capacity,
    seed: u64,
    /// Numbers of keys, the most read first.
    keys_file: Vec<u32>,
    under_way: Vec<UnderWay>,
    sums: Vec<(Arm, Sum)>,
    stretch_us: u64,
    finished: u64,
    /// Reads of forked pods, those for their start included.
    pub(crate) reads: u64,
}

struct UnderWay {
    pod: usize,
    since_us: u64,
    reads: usize,
    forks: Vec<(Arm, SimPod)>,
    hits: Vec<u32>,
}

#[derive(Clone)]
struct Sum {
    by_request: Vec<Tally>,
    by_time: Vec<Tally>,
    /// Of the hit rate over the first 100 requests, for its standard error.
    squares: f64,
}

impl Joins {
    pub(crate) fn new(
        arms: &[Arm],
        capacity: Capacity,
        seed: u64,
        keys_file: Vec<u32>,
        stretch_us: u64,
    ) -> Self {
        let sum = Sum {
            by_request: vec![Tally::default(); WATCHED],
            by_time: vec![Tally::default(); STRETCHES],
            squares: 0.0,
        };
        Self {
            capacity,
            seed,
            keys_file,
            under_way: Vec::new(),
            sums: arms.iter().map(|arm| (*arm, sum.clone())).collect(),
            stretch_us: stretch_us.max(1),
            finished: 0,
            reads: 0,
        }
    }

    /// For replays without restarts.
    pub(crate) fn none(capacity: Capacity) -> Self {
        Self::new(&[], capacity, 0, Vec::new(), 1)
    }

    /// A pod of `fleet` restarts.
    pub(crate) fn begin(
        &mut self,
        pod: usize,
        now_us: u64,
        fleet: &mut Fleet,
        keys: &[Key],
    ) -> Result<(), Error> {
        let arms: Vec<Arm> = self.sums.iter().map(|(arm, _)| *arm).collect();
        let mut forks = Vec::with_capacity(arms.len());
        for arm in arms {
            if arm == Arm::NeverRestarted {
                continue;
            }
            let mut fork = SimPod::start(self.capacity, &fleet.clock, self.seed, &mut fleet.l2)?;
            match arm {
                Arm::Cold | Arm::NeverRestarted => {}
                Arm::PeerCopy => {
                    let peer = (pod + 1) % fleet.pods.len();
                    for name in resident(&fleet.pods[peer]) {
                        fork.read(&mut fleet.l2, &name);
                        self.reads += 1;
                    }
                }
                Arm::KeysFile => {
                    let list = self.capacity.fitting(keys, &self.keys_file);
                    // The most read last: what enters last is evicted last.
                    for number in list.iter().rev() {
                        fork.read(&mut fleet.l2, &keys[*number as usize].name);
                        self.reads += 1;
                    }
                }
            }
            forks.push((arm, fork));
        }
        self.under_way.push(UnderWay {
            pod,
            since_us: now_us,
            reads: 0,
            forks,
            hits: vec![0; self.sums.len()],
        });
        Ok(())
    }

    /// A pod of the fleet was asked for a key, and served it so: the forks of that pod are asked for it too.
    #[inline]
    pub(crate) fn read(
        &mut self,
        pod: usize,
        key: &Key,
        served: Served,
        now_us: u64,
        fleet: &mut Fleet,
    ) {
        if self.under_way.iter().any(|join| join.pod == pod) {
            self.read_forks(pod, key, served, now_us, fleet);
        }
    }

    fn read_forks(
        &mut self,
        pod: usize,
        key: &Key,
        served: Served,
        now_us: u64,
        fleet: &mut Fleet,
    ) {
        for join in self.under_way.iter_mut().filter(|join| join.pod == pod) {
            let stretch = ((now_us - join.since_us) / self.stretch_us) as usize;
            for (number, (arm, sum)) in self.sums.iter_mut().enumerate() {
                let fork = join.forks.iter_mut().find(|(of, _)| of == arm);
                let served = match fork {
                    Some((_, fork)) => {
                        self.reads += 1;
                        fork.read(&mut fleet.l2, &key.name)
                    }
                    None => served,
                };
                sum.by_request[join.reads].count(served);
                if let Some(tally) = sum.by_time.get_mut(stretch) {
                    tally.count(served);
                }
                if join.reads < 100 {
                    join.hits[number] += u32::from(served == Served::Hit);
                }
            }
            join.reads += 1;
        }
        let sums = &mut self.sums;
        for join in self.under_way.extract_if(.., |join| join.reads == WATCHED) {
            for ((_, sum), hits) in sums.iter_mut().zip(&join.hits) {
                sum.squares += (f64::from(*hits) / 100.0).powi(2);
            }
            for (_, fork) in join.forks {
                fork.stop(&mut fleet.l2);
            }
            self.finished += 1;
        }
    }

    /// How many restarts were watched to their end.
    pub(crate) fn finished(&self) -> u64 {
        self.finished
    }

    /// What came of each arm.
    pub(crate) fn report(&self) -> BTreeMap<Arm, Join> {
        self.sums
            .iter()
            .map(|(arm, sum)| (*arm, self.join(sum)))
            .collect()
    }

    fn join(&self, sum: &Sum) -> Join {
        let rate = |tallies: &[Tally]| {
            let mut total = Tally::default();
            for tally in tallies {
                total.add(tally);
            }
            total.hit_rate()
        };
        let first_100 = rate(&sum.by_request[..100]);
        let restarts = self.finished.max(1) as f64;
        let variance = (sum.squares / restarts - first_100 * first_100).max(0.0);
        // Narrow where most changes.
        let edges = [
            0, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 250, 300, 350, 400,
        ];
        let by_request = edges
            .windows(2)
            .map(|edge| Point {
                until: edge[1] as f64,
                hit_rate: rate(&sum.by_request[edge[0]..edge[1]]),
            })
            .collect();
        let stretch = self.stretch_us as f64 / 1e6;
        let by_second = (1..)
            .zip(&sum.by_time)
            .filter(|(_, tally)| tally.reads > 0)
            .map(|(number, tally)| Point {
                until: f64::from(number) * stretch,
                hit_rate: tally.hit_rate(),
            })
            .collect();
        Join {
            first_100,
            first_100_error: (variance / restarts).sqrt(),
            first_400: rate(&sum.by_request),
            curve: Curve {
                by_request,
                by_second,
            },
        }
    }
}

/// What a pod holds, the most often seen last: what enters last is evicted last.
fn resident(pod: &SimPod) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    pod.for_each_resident(|key, frequency| keys.push((frequency, key.to_vec())));
    keys.sort_unstable();
    keys.into_iter().map(|(_, key)| key).collect()
}
