//! A whole simulation: one replay with restarts, one for each capacity of the sizing table.

use std::fmt;

use nearcache_l1::ENTRY_OVERHEAD;

use crate::bound::bound;
use crate::join::{Arm, Joins};
use crate::replay::{Plan, Replayed, replay};
use crate::report::{HitRate, PodRates, Report, SizingRow};
use crate::restarts::{self, WATCHED};
use crate::sizing::mark_knee;
use crate::trace::{Key, Kind, Trace};

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Pods of the fleet.
    pub pods: usize,
    /// Capacity of each.
    pub capacity: Capacity,
    /// How many restarts are watched.
    pub restarts: usize,
    /// How restarted pods start.
    pub arms: Vec<Arm>,
    /// Writes beside those of the trace, in per cent of the reads.
    pub writes_percent: f64,
    /// Whether the trace is replayed with other capacities too.
    pub sizing: bool,
    /// What all random choices follow from.
    pub seed: u64,
}

/// How much a pod holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// So many entries, whatever their sizes.
    Entries(usize),
    /// So many bytes, bookkeeping included.
    Bytes(usize),
}

/// The sizing table goes from the capacity shifted right by this to the one shifted left by it.
const SIZING: i32 = 3;

/// Most pods of a fleet: one thread has to hold them all.
const PODS_MAX: usize = 4096;

impl Capacity {
    /// As many keys from the front of `list` as fit beside the room that a store keeps for itself.
    pub(crate) fn fitting<'a>(&self, keys: &[Key], list: &'a [u32]) -> &'a [u32] {
        let fit = match *self {
            Self::Entries(entries) => entries.min(list.len()),
            Self::Bytes(bytes) => {
                let mut room = bytes - bytes / 8;
                let fits = |number: &&u32| match room.checked_sub(weight(&keys[**number as usize]))
                {
                    Some(left) => {
                        room = left;
                        true
                    }
                    None => false,
                };
                list.iter().take_while(fits).count()
            }
        };
        &list[..fit]
    }

    fn amount(self) -> usize {
        match self {
            Self::Entries(amount) | Self::Bytes(amount) => amount,
        }
    }

    /// Shifted by so many powers of two.
    fn scaled(self, power: i32) -> Self {
        let scale = |amount: usize| {
            let scaled = amount as f64 * f64::from(power).exp2();
            (scaled.round() as usize).max(1)
        };
        match self {
            Self::Entries(entries) => Self::Entries(scale(entries)),
            Self::Bytes(bytes) => Self::Bytes(scale(bytes)),
        }
    }
}

/// What an entry of a key weighs in bytes.
fn weight(key: &Key) -> usize {
    key.name.len() + key.value_bytes as usize + ENTRY_OVERHEAD
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Simulates a fleet; `progress` hears what is about to be done.
///
/// # Errors
/// When the options or the trace cannot be simulated.
pub fn simulate(
    trace: &Trace,
    options: &Options,
    mut progress: impl FnMut(&str),
) -> Result<Report, Error> {
    check(trace, options)?;
    let span = trace.span_us();
    let first_after = |share: u64| trace.times().position(|at| at >= span / share).unwrap_or(0);
    let plan = Plan {
        trace,
        pods: options.pods,
        capacity: options.capacity,
        writes_percent: options.writes_percent,
        seed: options.seed,
        steady_from: first_after(8),
    };
    progress("the fleet, and restarted pods");
    let wanted = options.restarts;
    let restarts = restarts::draw(trace, options.pods, wanted, first_after(4), options.seed);
    // So long that a curve shows about as many requests as are watched.
    let watched_us = span as f64 / trace.requests.len() as f64 * (options.pods * WATCHED) as f64;
    let mut joins = Joins::new(
        &options.arms,
        options.capacity,
        options.seed,
        most_read(trace, plan.steady_from),
        round((watched_us / 1e6 / 20.0).max(1e-3)) as u64,
    );
    let main = replay(&plan, &restarts, &mut joins)?;
    let mut report = Report {
        requests: trace.requests.len() as u64,
        keys: trace.keys.len() as u64,
        span_seconds: span as f64 / 1e6,
        bounds: bound(trace, options.pods, plan.steady_from),
        bound: 0.0,
        hit_rate: HitRate {
            no_warm: main.total.hit_rate(),
        },
        pods: main.pods,
        l2: main.l2,
        l2_reads_per_read: PodRates {
            no_warm: per_read(&main),
        },
        restarts: joins.finished(),
        join: joins.report(),
        sizing: Vec::new(),
        failed_reads: main.failed,
        simulated_requests: main.requests + joins.reads,
    };
    report.bound = report.bounds.ever;
    if options.sizing {
        for power in -SIZING..=SIZING {
            let capacity = options.capacity.scaled(power);
            progress(&format!("a capacity of {}", capacity.amount()));
            let other = Plan { capacity, ..plan };
            let found = replay(&other, &[], &mut Joins::none(capacity))?;
            report.simulated_requests += found.requests;
            report.failed_reads += found.failed;
            report.sizing.push(SizingRow {
                capacity: capacity.amount() as u64,
                about_bytes: about_bytes(trace, capacity),
                hit_rate: found.total.hit_rate(),
                l2_reads_per_read: per_read(&found),
                knee: false,
            });
        }
        mark_knee(&mut report.sizing);
    }
    Ok(report)
}

fn check(trace: &Trace, options: &Options) -> Result<(), Error> {
    let refuse = |why: String| Err(Error(why));
    if !(1..=PODS_MAX).contains(&options.pods) {
        return refuse(format!("a fleet has from 1 to {PODS_MAX} pods"));
    }
    if options.capacity.amount() == 0 {
        return refuse("the capacity is zero: a pod could hold nothing".to_owned());
    }
    if !(0.0..=100.0).contains(&options.writes_percent) {
        return refuse("writes must be from 0 to 100 per cent of the reads".to_owned());
    }
    let reads = trace.requests.iter();
    if !reads.clone().any(|request| request.kind == Kind::Read) {
        return refuse("there is no read in the trace".to_owned());
    }
    if reads.clone().any(|r| r.key as usize >= trace.keys.len()) {
        return refuse("a request of the trace is for a key that it does not name".to_owned());
    }
    Ok(())
}

fn per_read(found: &Replayed) -> f64 {
    found.fetched as f64 / found.total.reads.max(1) as f64
}

/// The keys by how often they are read before request number `end`, the most read first.
fn most_read(trace: &Trace, end: usize) -> Vec<u32> {
    let mut reads = vec![0u32; trace.keys.len()];
    for request in &trace.requests[..end] {
        if request.kind == Kind::Read {
            reads[request.key as usize] += 1;
        }
    }
    let mut order: Vec<u32> = (0..)
        .zip(&reads)
        .filter(|(_, reads)| **reads > 0)
        .map(|(key, _)| key)
        .collect();
    order.sort_by_key(|key| (u32::MAX - reads[*key as usize], *key));
    order
}

/// What entries take that are as large as those read, on average.
fn about_bytes(trace: &Trace, capacity: Capacity) -> u64 {
    let Capacity::Entries(entries) = capacity else {
        return capacity.amount() as u64;
    };
    let total: u64 = trace
        .requests
        .iter()
        .map(|request| weight(&trace.keys[request.key as usize]) as u64)
        .sum();
    total / trace.requests.len().max(1) as u64 * entries as u64
}

/// Microseconds of the next 1, 2 or 5 times a power of ten of seconds.
fn round(seconds: f64) -> f64 {
    let power = 10f64.powf(seconds.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= seconds);
    factor.unwrap_or(10.0) * power * 1e6
}
