//! One replay of a trace through fleets that differ, side by side, and what is counted meanwhile.

use std::sync::Arc;

use nearcache_proto::warm::WarmConfig;

use crate::bound::HALF_A_DAY_US;
use crate::fleet::{Fetched, Fleet, Tally};
use crate::io::Clock;
use crate::join::Joins;
use crate::pod::Served;
use crate::random::Random;
use crate::report::{L2Load, Spread};
use crate::restarts::Restart;
use crate::simulate::{Capacity, Error};
use crate::trace::{Key, Kind, Trace, home};
use crate::working_set::WorkingSet;

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;

/// From how many of the latest requests the key of a write is drawn.
const RECENT: u64 = 10_000;

/// What a replay is given.
pub(crate) struct Plan<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) pods: usize,
    /// Writes beside those of the trace, in per cent of the reads.
    pub(crate) writes_percent: f64,
    pub(crate) seed: u64,
    /// The request with which the steady state begins.
    pub(crate) steady_from: usize,
}

/// One of the fleets that a trace is replayed through, side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kin {
    pub(crate) capacity: Capacity,
    /// Reads that a pod must expect to make of a key within an hour before it fetches it ahead.
    pub(crate) top_up: Option<f64>,
}

/// What a replay found about one fleet.
pub(crate) struct Replayed {
    /// In the steady state, as all but the last two.
    pub(crate) total: Tally,
    pub(crate) pods: Spread,
    pub(crate) l2: L2Load,
    pub(crate) fetched: Fetched,
    /// Failed reads of the whole replay.
    pub(crate) failed: u64,
    /// Reads and writes of the whole replay.
    pub(crate) requests: u64,
}

/// A fleet on its way through the trace.
struct Run {
    fleet: Fleet,
    load: Load,
    fetched_before: Fetched,
    failed: u64,
    requests: u64,
}

/// Replays a trace through `kin`; `restarts` of the first fleet happen on the way, and `joins` watches them.
pub(crate) fn replay(
    plan: &Plan<'_>,
    kin: &[Kin],
    restarts: &[Restart],
    joins: &mut Joins,
) -> Result<Vec<Replayed>, Error> {
    let trace = plan.trace;
    let clock = Clock::new();
    let start = |kin: &Kin| {
        let (pods, clock) = (plan.pods, clock.clone());
        let fleet = Fleet::start(trace, pods, kin.capacity, kin.top_up, clock, plan.seed)?;
        Ok(Run {
            fleet,
            load: Load::new(0),
            fetched_before: Fetched::default(),
            failed: 0,
            requests: 0,
        })
    };
    let mut runs = kin.iter().map(start).collect::<Result<Vec<Run>, Error>>()?;
    let thetas = kin.iter().filter_map(|kin| kin.top_up);
    let topped = kin.iter().any(|kin| kin.top_up.is_some());
    let default = WarmConfig::default()
        .top_up
        .filter(|_| joins.want_working_set());
    // The lowest of all: it needs the most keys.
    let theta = thetas.chain(default).min_by(f64::total_cmp);
    let mut working_set = WorkingSet::new(WarmConfig::default().half_life, plan.pods);
    let mut writes = Writes::new(plan);
    let mut restarts = restarts.iter().peekable();
    let (mut minute, mut steady_since_us) = (0, 0);
    let mut last_read: Vec<Option<u64>> = vec![None; trace.keys.len()];
    for (number, (request, at)) in trace.requests.iter().zip(trace.times()).enumerate() {
        if let Some(run) = runs.first_mut() {
            joins.go_on(at, &mut run.fleet);
        }
        clock.go_on(Clock::at(at));
        if number == plan.steady_from {
            runs.iter_mut().for_each(|run| run.count_anew(at));
            steady_since_us = at;
        }
        let tended = topped || joins.want_tending();
        if let Some(theta) = theta.filter(|_| tended && at / MINUTE_US != minute) {
            minute = at / MINUTE_US;
            let manifest = Arc::new(working_set.brief(clock.now(), theta));
            runs.iter_mut().for_each(|run| run.fleet.tend(&manifest));
            if let Some(run) = runs.first_mut() {
                joins.tend(&manifest, &mut run.fleet);
            }
        }
        while let Some(restart) = restarts.next_if(|restart| restart.at == number) {
            if let Some(run) = runs.first_mut() {
                let (pod, keys) = (restart.pod, &trace.keys);
                joins.begin(pod, at, &mut run.fleet, keys, &mut working_set)?;
            }
        }
        let key = &trace.keys[request.key as usize];
        if request.kind == Kind::Write {
            runs.iter_mut().for_each(|run| run.write(key));
            continue;
        }
        if theta.is_some() {
            working_set.read(clock.now(), &key.name, key.value_bytes);
        }
        let before = last_read[request.key as usize].replace(at);
        let known = before.is_some_and(|before| at - before <= HALF_A_DAY_US);
        let pod = home(request.client, plan.pods);
        for (place, run) in runs.iter_mut().enumerate() {
            let served = run.fleet.read(pod, key);
            if served == Served::Miss {
                run.load.count(at, key.value_bytes);
            }
            if place == 0 {
                joins.read(pod, key, served, known, at, &mut run.fleet);
            }
        }
        if let Some(of) = writes.after(number) {
            let key = &trace.keys[trace.requests[of].key as usize];
            runs.iter_mut().for_each(|run| run.write(key));
        }
    }
    let seconds = ((trace.span_us() - steady_since_us) as f64 / 1e6).max(1e-6);
    Ok(runs.iter().map(|run| run.found(seconds)).collect())
}

impl Run {
    fn write(&mut self, key: &Key) {
        self.fleet.write(key);
        self.requests += 1;
    }

    /// The steady state begins.
    fn count_anew(&mut self, now_us: u64) {
        let total = self.fleet.total();
        self.failed += total.failed;
        self.requests += total.reads;
        self.fetched_before = self.fleet.fetched();
        self.fleet.count_anew();
        self.load = Load::new(now_us);
    }

    fn found(&self, seconds: f64) -> Replayed {
        let total = self.fleet.total();
        let fetched = self.fleet.fetched().since(&self.fetched_before);
        let (reads_per_second, bytes_per_second) = (
            fetched.keys as f64 / seconds,
            fetched.bytes as f64 / seconds,
        );
        let (peak_reads, peak_bytes) = self.load.peak(seconds);
        Replayed {
            total,
            pods: spread(&self.fleet.tallies),
            l2: L2Load {
                reads_per_second,
                bytes_per_second,
                // What is fetched ahead is in the mean only.
                peak_reads_per_second: peak_reads.max(reads_per_second),
                peak_bytes_per_second: peak_bytes.max(bytes_per_second),
            },
            fetched,
            failed: self.failed + total.failed,
            requests: self.requests + total.reads,
        }
    }
}

/// The busiest minute of L2, wherever it begins; in less than a minute, all of it.
struct Load {
    /// The last minute, by second.
    seconds: [(u64, u64); 60],
    second: u64,
    now: (u64, u64),
    peak: (u64, u64),
}

impl Load {
    fn new(since_us: u64) -> Self {
        Self {
            seconds: [(0, 0); 60],
            second: since_us / SECOND_US,
            now: (0, 0),
            peak: (0, 0),
        }
    }

    fn count(&mut self, at_us: u64, bytes: u32) {
        let second = at_us / SECOND_US;
        for gone in (self.second + 1..=second).take(60) {
            let gone = &mut self.seconds[gone as usize % 60];
            self.now = (self.now.0 - gone.0, self.now.1 - gone.1);
            *gone = (0, 0);
        }
        self.second = second;
        let bytes = u64::from(bytes);
        let here = &mut self.seconds[second as usize % 60];
        *here = (here.0 + 1, here.1 + bytes);
        self.now = (self.now.0 + 1, self.now.1 + bytes);
        self.peak = (self.peak.0.max(self.now.0), self.peak.1.max(self.now.1));
    }

    /// Reads and bytes a second of the busiest minute in a time of so many seconds.
    fn peak(&self, seconds: f64) -> (f64, f64) {
        let minute = seconds.min(60.0);
        let (reads, bytes) = self.peak;
        (reads as f64 / minute, bytes as f64 / minute)
    }
}

/// Writes that the trace does not have: after a read, of a key drawn from the latest requests, so that what is read often
/// is written often.
struct Writes {
    random: Random,
    share: f64,
}

impl Writes {
    fn new(plan: &Plan<'_>) -> Self {
        Self {
            random: Random::new(plan.seed, 3),
            share: plan.writes_percent / 100.0,
        }
    }

    /// The request whose key is written after request `number`.
    #[inline]
    fn after(&mut self, number: usize) -> Option<usize> {
        if self.share <= 0.0 || self.random.unit() >= self.share {
            return None;
        }
        let back = self.random.below(RECENT.min(number as u64 + 1)) as usize;
        Some(number - back)
    }
}

fn spread(tallies: &[Tally]) -> Spread {
    let asked = tallies.iter().filter(|tally| tally.reads > 0);
    let mut rates: Vec<f64> = asked.map(Tally::hit_rate).collect();
    rates.sort_by(f64::total_cmp);
    let at = |place: usize| rates.get(place).copied().unwrap_or(0.0);
    Spread {
        min: at(0),
        median: at(rates.len() / 2),
        max: at(rates.len().saturating_sub(1)),
    }
}
