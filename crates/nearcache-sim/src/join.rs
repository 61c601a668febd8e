//! What a restarted pod would be served, by how it starts: each restart forks pods that see the same requests.
//!
//! The fleet itself goes on unaffected, so that the pod that did not restart is the comparison.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use nearcache_proto::warm::{WarmConfig, WarmReport};
use nearcache_proto::working_set::Manifest;
use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, Tally};
use crate::io::Clock;
use crate::pod::{Running, Served, SimPod, fleet_key};
use crate::report::{Curve, Join, JoinBound, Point, WarmStarts};
use crate::restarts::WATCHED;
use crate::simulate::{Capacity, Error};
use crate::trace::Key;
use crate::working_set::WorkingSet;

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
    /// With what the fleet reads, by the warm start.
    Warm,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Cold,
        Self::NeverRestarted,
        Self::PeerCopy,
        Self::KeysFile,
        Self::Warm,
    ];
}

/// How many stretches of time a curve has.
const STRETCHES: usize = 24;

/// All restarts of a replay: those under way, and what the finished ones came to.
pub(crate) struct Joins {
    capacity: Capacity,
    seed: u64,
    config: WarmConfig,
    /// Numbers of keys, the most read first.
    keys_file: Vec<u32>,
    under_way: Vec<UnderWay>,
    sums: Vec<(Arm, Sum)>,
    stretch_us: u64,
    finished: u64,
    warm: WarmSums,
    /// By number of the request: those for keys that were known to the fleet.
    known: Vec<u64>,
    /// Reads of forked pods, those for their start included.
    pub(crate) reads: u64,
}

/// What warm starts came to, in all.
#[derive(Default)]
struct WarmSums {
    starts: u64,
    keys: u64,
    bytes: u64,
    seconds: f64,
    share_of_reads: f64,
    unread: u64,
}

struct UnderWay {
    pod: usize,
    /// The pods that start warm are not ready yet: no request goes to any fork.
    warming: Option<Running>,
    /// What the warm start brought and nobody has read yet.
    unread: HashSet<Vec<u8>>,
    since_us: u64,
    reads: usize,
    forks: Vec<(Arm, SimPod)>,
    /// What it came to so far; added up with others when it is complete.
    sums: Vec<Sum>,
    known: Vec<bool>,
    started: Option<WarmReport>,
}

#[derive(Clone)]
struct Sum {
    by_request: Vec<Tally>,
    by_time: Vec<Tally>,
    /// Of the hit rate over the first 100 requests, for its standard error.
    squares: f64,
}

impl Sum {
    fn new() -> Self {
        Self {
            by_request: vec![Tally::default(); WATCHED],
            by_time: vec![Tally::default(); STRETCHES],
            squares: 0.0,
        }
    }

    /// Adds what one restart came to.
    fn add(&mut self, one: &Self) {
        for (sum, one) in self.by_request.iter_mut().zip(&one.by_request) {
            sum.add(one);
        }
        for (sum, one) in self.by_time.iter_mut().zip(&one.by_time) {
            sum.add(one);
        }
        let hits: u64 = one.by_request[..100].iter().map(|tally| tally.hits).sum();
        self.squares += (hits as f64 / 100.0).powi(2);
    }
}

impl Joins {
    pub(crate) fn new(
        arms: &[Arm],
        capacity: Capacity,
        seed: u64,
        keys_file: Vec<u32>,
        stretch_us: u64,
    ) -> Self {
        Self {
            capacity,
            seed,
            config: WarmConfig::default(),
            keys_file,
            under_way: Vec::new(),
            sums: arms.iter().map(|arm| (*arm, Sum::new())).collect(),
            stretch_us: stretch_us.max(1),
            finished: 0,
            warm: WarmSums::default(),
            known: vec![0; WATCHED],
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
        working_set: &mut WorkingSet,
    ) -> Result<(), Error> {
        let mut warming = None;
        let arms: Vec<Arm> = self.sums.iter().map(|(arm, _)| *arm).collect();
        let mut forks = Vec::with_capacity(arms.len());
        for arm in arms {
            if arm == Arm::NeverRestarted {
                continue;
            }
            let mut fork = SimPod::start(self.capacity, &fleet.clock, self.seed, &mut fleet.l2)?;
            match arm {
                Arm::Cold | Arm::NeverRestarted => {}
                Arm::Warm => {
                    let now = fleet.clock.now();
                    let manifest = working_set.manifest(now, self.config.most_slots);
                    let bytes = manifest.encode(Manifest::LIMIT_BYTES);
                    fleet.l2.put(fleet_key("manifest"), bytes, now);
                    warming = Some(fork.run(self.config.clone(), self.seed));
                }
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
            warming,
            unread: HashSet::new(),
            since_us: now_us,
            reads: 0,
            forks,
            sums: vec![Sum::new(); self.sums.len()],
            known: Vec::with_capacity(WATCHED),
            started: None,
        });
        self.go_on(now_us, fleet);
        Ok(())
    }

    /// Lets warm starts do what they have to do until now.
    pub(crate) fn go_on(&mut self, now_us: u64, fleet: &mut Fleet) {
        let now = Clock::at(now_us);
        for join in &mut self.under_way {
            let Some(start) = &mut join.warming else {
                continue;
            };
            let fork = join.forks.iter_mut().find(|(of, _)| *of == Arm::Warm);
            let Some((_, fork)) = fork else { continue };
            while start.due <= now {
                fleet.clock.go_on(start.due);
                if let Some(report) = fork.go_on(&mut fleet.l2, start) {
                    join.started = Some(report);
                    fork.for_each_resident(|key, _| {
                        join.unread.insert(key.to_vec());
                    });
                    // As pods do that serve.
                    fork.top_up(self.config.clone(), self.seed);
                    join.since_us = now_us;
                    join.warming = None;
                    break;
                }
            }
        }
        fleet.clock.go_on(now);
    }

    /// Tops the pods up that started warm.
    pub(crate) fn tend(&mut self, manifest: &Arc<Manifest>, fleet: &mut Fleet) {
        for join in &mut self.under_way {
            for (_, fork) in join.forks.iter_mut().filter(|(arm, _)| *arm == Arm::Warm) {
                fork.tend(&mut fleet.l2, manifest);
            }
        }
    }

    /// A pod of the fleet was asked for a key, and served it so; `known` is whether anyone had read it of late. The forks of that pod are asked for it too.
    #[inline]
    pub(crate) fn read(
        &mut self,
        pod: usize,
        key: &Key,
        served: Served,
        known: bool,
        now_us: u64,
        fleet: &mut Fleet,
    ) {
        if self.under_way.iter().any(|join| join.pod == pod) {
            self.read_forks(pod, key, served, known, now_us, fleet);
        }
    }

    fn read_forks(
        &mut self,
        pod: usize,
        key: &Key,
        served: Served,
        known: bool,
        now_us: u64,
        fleet: &mut Fleet,
    ) {
        let ready = |join: &&mut UnderWay| join.pod == pod && join.warming.is_none();
        for join in self.under_way.iter_mut().filter(ready) {
            join.unread.remove(&key.name[..]);
            let stretch = ((now_us - join.since_us) / self.stretch_us) as usize;
            for ((arm, _), sum) in self.sums.iter().zip(&mut join.sums) {
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
            }
            join.known.push(known);
            join.reads += 1;
        }
        // Only what is complete counts: all figures are of the same requests of the same restarts.
        for join in self.under_way.extract_if(.., |join| join.reads == WATCHED) {
            for ((_, sum), one) in self.sums.iter_mut().zip(&join.sums) {
                sum.add(one);
            }
            for (sum, known) in self.known.iter_mut().zip(&join.known) {
                *sum += u64::from(*known);
            }
            if let Some(report) = &join.started {
                self.warm.add(report);
            }
            self.warm.unread += join.unread.len() as u64;
            for (_, fork) in join.forks {
                fork.stop(&mut fleet.l2);
            }
            self.finished += 1;
        }
    }

    /// Whether there are warm starts to come.
    pub(crate) fn want_working_set(&self) -> bool {
        self.sums.iter().any(|(arm, _)| *arm == Arm::Warm)
    }

    /// Whether there are pods that started warm and would top themselves up.
    pub(crate) fn want_tending(&self) -> bool {
        self.want_working_set() && !self.under_way.is_empty()
    }

    /// How many restarts were watched to their end.
    pub(crate) fn finished(&self) -> u64 {
        self.finished
    }

    /// What the warm starts did, if there were any.
    pub(crate) fn warm_starts(&self) -> Option<WarmStarts> {
        let (sums, starts) = (&self.warm, self.warm.starts as f64);
        (sums.starts > 0).then(|| WarmStarts {
            keys: sums.keys as f64 / starts,
            bytes: sums.bytes as f64 / starts,
            seconds: sums.seconds / starts,
            share_of_reads: sums.share_of_reads / starts,
            unread_share: sums.unread as f64 / sums.keys.max(1) as f64,
        })
    }

    /// What a pod could have been served that knows all that the fleet has read in the last 12 hours.
    pub(crate) fn bound(&self) -> JoinBound {
        let share = |requests: usize| {
            let known: u64 = self.known[..requests].iter().sum();
            known as f64 / (self.finished.max(1) * requests as u64) as f64
        };
        JoinBound {
            first_100: share(100),
            first_400: share(WATCHED),
        }
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

impl WarmSums {
    fn add(&mut self, report: &WarmReport) {
        self.starts += 1;
        self.keys += report.keys as u64;
        self.bytes += report.bytes;
        self.seconds += report.duration.as_secs_f64();
        self.share_of_reads += report.share_of_reads;
    }
}

/// What a pod holds, the most often seen last: what enters last is evicted last.
fn resident(pod: &SimPod) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    pod.for_each_resident(|key, frequency| keys.push((frequency, key.to_vec())));
    keys.sort_unstable();
    keys.into_iter().map(|(_, key)| key).collect()
}
