//! One replay of a trace through a fleet, and what is counted meanwhile.

use crate::fleet::{Fleet, Tally};
use crate::join::Joins;
use crate::pod::Served;
use crate::random::Random;
use crate::report::{L2Load, Spread};
use crate::restarts::Restart;
use crate::simulate::{Capacity, Error};
use crate::trace::{Kind, Trace, home};

const MINUTE_US: u64 = 60_000_000;

/// From how many of the latest requests the key of a write is drawn.
const RECENT: u64 = 10_000;

/// What a replay is given.
pub(crate) struct Plan<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) pods: usize,
    pub(crate) capacity: Capacity,
    /// Writes beside those of the trace, in per cent of the reads.
    pub(crate) writes_percent: f64,
    pub(crate) seed: u64,
    /// The request with which the steady state begins.
    pub(crate) steady_from: usize,
}

/// What a replay found.
pub(crate) struct Replayed {
    pub(crate) total: Tally,
    pub(crate) pods: Spread,
    pub(crate) l2: L2Load,
    /// Keys that were read from L2 in the steady state.
    pub(crate) fetched: u64,
    /// Failed reads of the whole replay.
    pub(crate) failed: u64,
    /// Reads and writes of the whole replay.
    pub(crate) requests: u64,
}

/// Replays a trace; `restarts` happen on the way, and `joins` watches them.
pub(crate) fn replay(
    plan: &Plan<'_>,
    restarts: &[Restart],
    joins: &mut Joins,
) -> Result<Replayed, Error> {
    let trace = plan.trace;
    let mut fleet = Fleet::start(trace, plan.pods, plan.capacity, plan.seed)?;
    let mut writes = Writes::new(plan);
    let mut restarts = restarts.iter().peekable();
    let mut load = Load::default();
    let (mut before, mut failed, mut requests) = ((0, 0), 0, 0);
    let mut steady_since_us = 0;
    for (number, (request, at)) in trace.requests.iter().zip(trace.times()).enumerate() {
        fleet.clock.set(at);
        if number == plan.steady_from {
            failed = fleet.total().failed;
            requests += fleet.total().reads;
            before = fleet.fetched();
            fleet.count_anew();
            load = Load::default();
            steady_since_us = at;
        }
        while let Some(restart) = restarts.next_if(|restart| restart.at == number) {
            joins.begin(restart.pod, at, &mut fleet, &trace.keys)?;
        }
        let key = &trace.keys[request.key as usize];
        match request.kind {
            Kind::Read => {
                let pod = home(request.client, plan.pods);
                let served = fleet.read(pod, key);
                if served == Served::Miss {
                    load.count(at, key.value_bytes);
                }
                joins.read(pod, key, served, at, &mut fleet);
                if let Some(of) = writes.after(number) {
                    fleet.write(&trace.keys[trace.requests[of].key as usize]);
                    requests += 1;
                }
            }
            Kind::Write => {
                fleet.write(key);
                requests += 1;
            }
        }
    }
    let total = fleet.total();
    let (keys, bytes) = fleet.fetched();
    let seconds = ((trace.span_us() - steady_since_us) as f64 / 1e6).max(1e-6);
    Ok(Replayed {
        pods: spread(&fleet.tallies),
        l2: L2Load {
            reads_per_second: (keys - before.0) as f64 / seconds,
            bytes_per_second: (bytes - before.1) as f64 / seconds,
            peak_reads_per_second: load.peak_reads as f64 / 60.0,
            peak_bytes_per_second: load.peak_bytes as f64 / 60.0,
        },
        fetched: keys - before.0,
        failed: failed + total.failed,
        requests: requests + total.reads,
        total,
    })
}

/// The busiest minute of L2.
#[derive(Default)]
struct Load {
    minute: u64,
    reads: u64,
    bytes: u64,
    peak_reads: u64,
    peak_bytes: u64,
}

impl Load {
    fn count(&mut self, at_us: u64, bytes: u32) {
        let minute = at_us / MINUTE_US;
        if minute != self.minute {
            (self.minute, self.reads, self.bytes) = (minute, 0, 0);
        }
        self.reads += 1;
        self.bytes += u64::from(bytes);
        self.peak_reads = self.peak_reads.max(self.reads);
        self.peak_bytes = self.peak_bytes.max(self.bytes);
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
