//! What the exchange of statistics costs L2: the pods of a fleet publish, merge and look as they do in production, while a
//! trace is replayed.
//!
//! Never reads a clock: whoever wants to know how long merges took hands in a stopwatch, and gets its times apart.

mod live;
mod load;
mod meter;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use nearcache_proto::Totals;
use nearcache_proto::warm::WarmConfig;
use nearcache_proto::working_set::Manifest;

use crate::fleet::{Fetched, Tally};
use crate::io::Clock;
use crate::pod::fleet_key;
use crate::random::Random;
use crate::report::{Exchange, ExchangeCost, Merges};
use crate::simulate::{Capacity, Error, check_fleet, check_trace};
use crate::trace::{Kind, Trace};

use live::{Live, Turn};
use load::Load;
pub use meter::ExchangeKind;
pub(crate) use meter::{Meter, Sum};

/// What is simulated of the exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeOptions {
    /// Pods of the fleet, which all start at the beginning.
    pub pods: usize,
    /// Capacity of each.
    pub capacity: Capacity,
    /// Time that is simulated; of that, the first third is not counted.
    pub time: Duration,
    /// What all random choices follow from.
    pub seed: u64,
}

/// How long merges kept the stopwatch running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeTimes {
    /// Merges that were timed.
    pub merges: u64,
    /// The longest.
    pub longest: Duration,
    /// All together.
    pub total: Duration,
}

/// Simulates the exchange of a fleet that is asked what the trace says, from its steady state on and again and again;
/// `stopwatch` says how much time has passed, by whatever clock.
///
/// # Errors
/// When the options or the trace cannot be simulated.
pub fn exchange(
    trace: &Trace,
    options: &ExchangeOptions,
    stopwatch: impl Fn() -> Duration,
) -> Result<(Exchange, MergeTimes), Error> {
    check_fleet(options.pods, options.capacity)?;
    check_trace(trace)?;
    if !TIMES.contains(&options.time) {
        return Err(Error::new(
            "the exchange is simulated for a minute at least, and a week at most".to_owned(),
        ));
    }
    let mut fleet = start(trace, options)?;
    let mut watch = Watch::new(stopwatch);
    let end_us = options.time.as_micros() as u64;
    let from_us = end_us / 3;
    let mut load = Load::new(trace, options.pods);
    let mut tally = Tally::default();
    let mut before = None;
    while let Some((at_us, pod, request)) = load.next().filter(|next| next.0 < end_us) {
        if before.is_none() && at_us >= from_us {
            fleet.go_on(Clock::at(from_us), &mut |turn| watch.see(turn));
            before = Some(Before::now(&fleet));
            tally = Tally::default();
        }
        fleet.go_on(Clock::at(at_us), &mut |turn| watch.see(turn));
        let key = &trace.keys[request.key as usize];
        match request.kind {
            Kind::Read => tally.count(fleet.read(pod, key)),
            Kind::Write => fleet.write(key),
        }
    }
    fleet.go_on(Clock::at(end_us), &mut |turn| watch.see(turn));
    let before = before.unwrap_or_else(|| Before::now(&fleet));
    let seconds = (end_us - from_us) as f64 / 1e6;
    Ok((found(&mut fleet, &before, &tally, seconds), watch.times))
}

/// Times that are worth it, and can be waited for.
const TIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3600);

fn start(trace: &Trace, options: &ExchangeOptions) -> Result<Live, Error> {
    let mut config = WarmConfig::default();
    if let Capacity::Bytes(bytes) = options.capacity {
        config.most_bytes = config.most_bytes.min(bytes / 16);
    }
    let mut fleet = Live::new(&trace.keys);
    fleet.l2.meter = Some(Meter::default());
    let mut seeds = Random::new(options.seed, 4);
    let clock = fleet.clock.clone();
    for _ in 0..options.pods {
        fleet.join(options.capacity, config.clone(), &clock, seeds.next())?;
    }
    Ok(fleet)
}

/// What had been counted when the counted time began.
struct Before {
    meter: Meter,
    totals: Sums,
}

/// What all pods have counted, together.
#[derive(Clone, Copy, Default)]
struct Sums {
    fetched: Fetched,
    published: u64,
    published_bytes: u64,
    looks: u64,
    merges: u64,
    merge_bytes: u64,
    put_off: u64,
}

impl Before {
    fn now(fleet: &Live) -> Self {
        Self {
            meter: fleet.l2.meter.clone().unwrap_or_default(),
            totals: Sums::of(fleet),
        }
    }
}

impl Sums {
    fn of(fleet: &Live) -> Self {
        let mut sums = Self::default();
        for member in &fleet.members {
            let totals: Totals = member.pod.totals();
            sums.fetched.keys += totals.fills_total;
            sums.fetched.bytes += totals.fill_bytes_total;
            sums.published += totals.published_total;
            sums.published_bytes += totals.published_bytes_total;
            sums.looks += totals.looks_total;
            sums.merges += totals.merges_total;
            sums.merge_bytes += totals.merge_bytes_total;
            sums.put_off += totals.exchange_deferred_total;
        }
        sums
    }
}

fn found(fleet: &mut Live, before: &Before, tally: &Tally, seconds: f64) -> Exchange {
    let (then, now) = (before.totals, Sums::of(fleet));
    let meter = fleet.l2.meter.clone().unwrap_or_default();
    let fetched = now.fetched.since(&then.fetched);
    let own = Sum {
        commands: fetched.keys,
        bytes: fetched.bytes,
    };
    let cost = |sum: Sum| ExchangeCost::of(sum, own, seconds);
    let mut all = Sum::default();
    let mut kinds = BTreeMap::new();
    for kind in ExchangeKind::ALL {
        let (then, now) = (before.meter.sum(kind), meter.sum(kind));
        let sum = Sum {
            commands: now.commands - then.commands,
            bytes: now.bytes - then.bytes,
        };
        all.commands += sum.commands;
        all.bytes += sum.bytes;
        kinds.insert(kind, cost(sum));
    }
    let merges = now.merges - then.merges;
    let pods = fleet.members.len();
    let every = |times: u64| seconds * pods as f64 / times.max(1) as f64;
    let bytes = fleet
        .l2
        .get(fleet_key("manifest"), fleet.clock.world())
        .unwrap_or_default();
    let manifest = Manifest::decode(&bytes).ok();
    Exchange {
        pods: pods as u64,
        seconds,
        reads_per_second: tally.reads as f64 / seconds,
        hit_rate: tally.hit_rate(),
        l2_reads_per_second: own.commands as f64 / seconds,
        l2_bytes_per_second: own.bytes as f64 / seconds,
        kinds,
        total: cost(all),
        blob_bytes: (now.published_bytes - then.published_bytes) as f64
            / (now.published - then.published).max(1) as f64,
        published_every_seconds: every(now.published - then.published),
        looked_every_seconds: every(now.looks - then.looks),
        put_off: now.put_off - then.put_off,
        merges: Merges {
            number: merges,
            every_seconds: seconds / merges.max(1) as f64,
            bytes: (now.merge_bytes - then.merge_bytes) as f64 / merges.max(1) as f64,
        },
        manifest_bytes: bytes.len() as u64,
        manifest_keys: manifest.as_ref().map_or(0, |m| m.items.len() as u64),
        manifest_pods: manifest.as_ref().map_or(0, |m| m.fleet.into()),
        failed_reads: tally.failed,
    }
}

/// Times the turns in which a pod merged.
struct Watch<S> {
    stopwatch: S,
    began: Duration,
    merges: u64,
    times: MergeTimes,
}

impl<S: Fn() -> Duration> Watch<S> {
    fn new(stopwatch: S) -> Self {
        Self {
            stopwatch,
            began: Duration::ZERO,
            merges: 0,
            times: MergeTimes::default(),
        }
    }

    fn see(&mut self, turn: Turn<'_>) {
        match turn {
            Turn::Begins(pod) => {
                self.merges = pod.totals().merges_total;
                self.began = (self.stopwatch)();
            }
            Turn::Ends(pod) => {
                let took = (self.stopwatch)().saturating_sub(self.began);
                let merged = pod.totals().merges_total - self.merges;
                if merged > 0 {
                    self.times.merges += merged;
                    self.times.longest = self.times.longest.max(took);
                    self.times.total += took;
                }
            }
        }
    }
}
