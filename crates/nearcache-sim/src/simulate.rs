//! A whole simulation: one replay with restarts, one for each capacity of the sizing table.

use std::fmt;

use nearcache_l1::ENTRY_OVERHEAD;
use nearcache_proto::warm::WarmConfig;

use crate::bound::bound;
use crate::fleet::Fetched;
use crate::join::{Arm, Joins};
use crate::replay::{Kin, Plan, Replayed, replay};
use crate::report::{FrontierRow, HitRate, PodRates, Report, SizingRow, Warm};
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
    /// Instead, rolling restarts of the whole fleet begin at these times, microseconds after the first request.
    pub restart_at_us: Vec<u64>,
    /// How restarted pods start.
    pub arms: Vec<Arm>,
    /// Writes beside those of the trace, in per cent of the reads.
    pub writes_percent: f64,
    /// Fleets that top themselves up are simulated for each of these: reads of a key that a pod must expect to make within an
    /// hour before it fetches it ahead.
    pub top_up: Vec<f64>,
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

/// Most fleets that are held at a time.
const FLEETS_MAX: usize = 32;

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
        writes_percent: options.writes_percent,
        seed: options.seed,
        steady_from: first_after(8),
    };
    progress("the fleet, and restarted pods");
    let wanted = options.restarts;
    let restarts = match options.restart_at_us.as_slice() {
        [] => restarts::draw(trace, options.pods, wanted, first_after(4), options.seed),
        times => restarts::at_times(trace, options.pods, times),
    };
    // So long that a curve shows about as many requests as are watched.
    let watched_us = span as f64 / trace.requests.len() as f64 * (options.pods * WATCHED) as f64;
    let mut joins = Joins::new(
        &options.arms,
        options.capacity,
        options.seed,
        most_read(trace, plan.steady_from),
        round((watched_us / 1e6 / 20.0).max(1e-3)) as u64,
    );
    let alone = Kin {
        capacity: options.capacity,
        top_up: None,
    };
    let main = only(replay(&plan, &[alone], &restarts, &mut joins)?)?;
    let mut frontier = vec![frontier_row(None, &main)];
    let mut simulated_requests = main.requests + joins.reads;
    let mut failed_reads = main.failed;
    if !options.top_up.is_empty() {
        progress("fleets that top themselves up");
        let kin: Vec<Kin> = options
            .top_up
            .iter()
            .map(|theta| Kin {
                top_up: Some(*theta),
                ..alone
            })
            .collect();
        let found = replay(&plan, &kin, &[], &mut Joins::none(options.capacity))?;
        for (kin, found) in kin.iter().zip(&found) {
            frontier.push(frontier_row(kin.top_up, found));
            simulated_requests += found.requests;
            failed_reads += found.failed;
        }
    }
    // The default; without it no fleet was simulated that tops itself up as it would.
    let default = WarmConfig::default().top_up;
    let topped = frontier.iter().find(|row| row.theta == default);
    let topped = *topped.unwrap_or(&frontier[0]);
    let mut sizing = Vec::new();
    if options.sizing {
        for power in -SIZING..=SIZING {
            let capacity = options.capacity.scaled(power);
            progress(&format!("a capacity of {}", capacity.amount()));
            let kin = Kin { capacity, ..alone };
            let found = only(replay(&plan, &[kin], &[], &mut Joins::none(capacity))?)?;
            simulated_requests += found.requests;
            failed_reads += found.failed;
            sizing.push(SizingRow {
                capacity: capacity.amount() as u64,
                about_bytes: about_bytes(trace, capacity),
                hit_rate: found.total.hit_rate(),
                l2_reads_per_read: per_read(&found),
                knee: false,
            });
        }
        mark_knee(&mut sizing);
    }
    let bounds = bound(trace, options.pods, plan.steady_from);
    Ok(Report {
        requests: trace.requests.len() as u64,
        keys: trace.keys.len() as u64,
        data_bytes: trace.keys.iter().map(|key| weight(key) as u64).sum(),
        span_seconds: span as f64 / 1e6,
        steady_reads: main.total.reads,
        bounds,
        bound: bounds.ever,
        hit_rate: HitRate {
            no_warm: main.total.hit_rate(),
            warm: topped.hit_rate,
        },
        pods: main.pods,
        l2: main.l2,
        l2_reads_per_read: PodRates {
            no_warm: per_read(&main),
            warm: topped.l2_reads_per_read,
        },
        restarts: joins.finished(),
        restarts_asked: match options.restart_at_us.len() {
            0 => wanted as u64,
            times => (times * options.pods) as u64,
        },
        join: joins.report(),
        join_bound: joins.bound(),
        warm: Warm {
            wasted_share: topped.wasted_share,
            starts: joins.warm_starts(),
        },
        topup_frontier: frontier,
        sizing,
        failed_reads,
        simulated_requests,
    })
}

/// The one fleet of a replay of one.
fn only(found: Vec<Replayed>) -> Result<Replayed, Error> {
    let nothing = || Error("a replay of one fleet found nothing".to_owned());
    found.into_iter().next().ok_or_else(nothing)
}

fn frontier_row(theta: Option<f64>, found: &Replayed) -> FrontierRow {
    let Fetched {
        ahead, ahead_used, ..
    } = found.fetched;
    FrontierRow {
        theta,
        hit_rate: found.total.hit_rate(),
        l2_reads_per_read: per_read(found),
        ahead_per_read: ahead as f64 / found.total.reads.max(1) as f64,
        // What was fetched before the steady state may be used in it.
        wasted_share: ahead.saturating_sub(ahead_used) as f64 / ahead.max(1) as f64,
    }
}

fn check(trace: &Trace, options: &Options) -> Result<(), Error> {
    let refuse = |why: String| Err(Error(why));
    check_fleet(options.pods, options.capacity)?;
    if !(0.0..=100.0).contains(&options.writes_percent) {
        return refuse("writes must be from 0 to 100 per cent of the reads".to_owned());
    }
    if options
        .top_up
        .iter()
        .any(|theta| !(1e-6..=1e6).contains(theta))
    {
        return refuse(
            "the reads from which on a key is fetched ahead must be from 0.000001 to 1000000"
                .to_owned(),
        );
    }
    if options.top_up.len() > FLEETS_MAX {
        return refuse(format!(
            "at most {FLEETS_MAX} fleets are simulated side by side"
        ));
    }
    check_trace(trace)
}

pub(crate) fn check_fleet(pods: usize, capacity: Capacity) -> Result<(), Error> {
    if !(1..=PODS_MAX).contains(&pods) {
        return Err(Error(format!("a fleet has from 1 to {PODS_MAX} pods")));
    }
    if capacity.amount() == 0 {
        let why = "the capacity is zero: a pod could hold nothing";
        return Err(Error(why.to_owned()));
    }
    Ok(())
}

pub(crate) fn check_trace(trace: &Trace) -> Result<(), Error> {
    let reads = trace.requests.iter();
    if !reads.clone().any(|request| request.kind == Kind::Read) {
        return Err(Error("there is no read in the trace".to_owned()));
    }
    if reads.clone().any(|r| r.key as usize >= trace.keys.len()) {
        let why = "a request of the trace is for a key that it does not name";
        return Err(Error(why.to_owned()));
    }
    Ok(())
}

fn per_read(found: &Replayed) -> f64 {
    found.fetched.keys as f64 / found.total.reads.max(1) as f64
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
