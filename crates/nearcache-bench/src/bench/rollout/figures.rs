//! From what pods and server said of a stage to its figures. Judges nothing.

use super::options::Options;
use super::report::{First, Newcomer, Second, Span, Stage};
use super::stages::{Course, LOOKED_AT};
use crate::fleet::check::{Acks, Findings};
use crate::fleet::control::Snapshot;
use crate::fleet::message::{Report, Served};
use crate::fleet::plan::Plan;

const SECOND_NS: u64 = 1_000_000_000;

/// One read: when it was due, how long after that it ended, and whether L1 had it.
#[derive(Clone, Copy)]
struct Read {
    due_ns: u64,
    took_ns: u64,
    hit: bool,
    old: bool,
}

/// The figures of a stage.
pub(super) fn stage(measured: &Course, plan: &Plan, options: &Options, acks: &Acks) -> Stage {
    let reads = reads(measured);
    let zero = measured.served_ns;
    let span = |from, to| span(&reads, &measured.looks, from, to);
    let steady = span(measured.steady_ns, measured.change_ns);
    let change = span(measured.change_ns, measured.end_ns);
    let before = rates(&measured.looks, 0, measured.change_ns);
    let peak_before = before.iter().map(|rate| rate.1).fold(0.0, f64::max);
    let share = peak_before * options.warm_share as f64 / 100.0;
    let ahead = share.max(options.warm_reads as f64);
    let ready = measured.lives.iter().filter_map(|life| life.start.as_ref());
    let last_ready = ready.map(|start| start.ready_ns).max().unwrap_or(0);
    let ready_ns = last_ready.clamp(
        measured.change_ns + SECOND_NS,
        measured.end_ns.max(measured.change_ns + SECOND_NS),
    );
    let newcomers = newcomers(measured, &reads);
    let mut ready: Vec<f64> = newcomers.iter().map(|pod| pod.ready_seconds).collect();
    ready.sort_by(f64::total_cmp);
    let reports = || {
        measured
            .lives
            .iter()
            .filter_map(|life| life.report.as_ref())
    };
    let sum = |count: fn(&Report) -> u64| reports().map(count).sum::<u64>();
    let found = check(measured, acks, plan.max_staleness_ms * 1_000_000);
    Stage {
        pods: measured.lives.iter().filter(|life| !life.newcomer).count(),
        settled: measured.settled,
        published: measured.published,
        steady,
        change,
        getting_ready: span(measured.change_ns, ready_ns),
        l2_peak_before_per_s: peak_before,
        l2_allowed_per_s: 2.0 * steady.l2_reads_per_s + ahead,
        l2_share_allowed_per_s: 2.0 * steady.l2_reads_per_s + share,
        first_100: first(&newcomers, |pod| (pod.first_100, pod.fleet_100)),
        first_400: first(&newcomers, |pod| (pod.first_400, pod.fleet_400)),
        ready_p50_seconds: ready.get(ready.len() / 2).copied().unwrap_or(0.0),
        ready_max_seconds: ready.last().copied().unwrap_or(0.0),
        newcomers,
        errors: sum(|report| report.errors) + measured.fill_errors,
        error: reports().find_map(|report| report.error.clone()),
        wrong_values: sum(|report| report.wrong),
        checked_reads: found.checked,
        stale_reads: found.stale,
        reads_late: sum(|report| report.late),
        reads_shed: sum(|report| report.shed),
        stalled_seconds: stalled(&measured.looks, measured.steady_ns, measured.end_ns),
        change_at_seconds: seconds(measured.change_ns, zero),
        seconds: by_second(&reads, zero, measured.end_ns),
        l2: rates(&measured.looks, zero, measured.end_ns)
            .into_iter()
            .map(|(at, reads, bytes)| (seconds(at, zero), reads, bytes))
            .collect(),
    }
}

fn seconds(at_ns: u64, zero_ns: u64) -> f64 {
    at_ns.saturating_sub(zero_ns) as f64 / 1e9
}

/// All reads, in the order in which they were due.
fn reads(measured: &Course) -> Vec<Read> {
    let lives = measured.lives.iter();
    let mut reads: Vec<Read> = lives
        .flat_map(|life| {
            let served = life.report.iter().flat_map(|report| &report.served);
            served.map(|read| Read {
                due_ns: read.due_ns,
                took_ns: read.ended_ns.saturating_sub(read.due_ns),
                hit: read.hit,
                old: !life.newcomer,
            })
        })
        .collect();
    reads.sort_by_key(|read| read.due_ns);
    reads
}

/// Those that were due from one moment to another.
fn between(reads: &[Read], from_ns: u64, to_ns: u64) -> &[Read] {
    let from = reads.partition_point(|read| read.due_ns < from_ns);
    let to = reads.partition_point(|read| read.due_ns < to_ns);
    &reads[from..to.max(from)]
}

fn hit_rate<'a>(reads: impl Iterator<Item = &'a Read>) -> Option<f64> {
    let (mut all, mut hits) = (0u64, 0u64);
    for read in reads {
        all += 1;
        hits += u64::from(read.hit);
    }
    (all > 0).then(|| hits as f64 / all as f64)
}

/// How long all but this share of them took at most, in microseconds.
fn quantile<'a>(reads: impl Iterator<Item = &'a Read>, quantile: f64) -> Option<f64> {
    let mut times: Vec<u64> = reads.map(|read| read.took_ns).collect();
    let last = times.len().checked_sub(1)?;
    let at = ((times.len() as f64 * quantile).ceil() as usize)
        .saturating_sub(1)
        .min(last);
    let (_, time, _) = times.select_nth_unstable(at);
    Some(*time as f64 / 1e3)
}

fn span(reads: &[Read], looks: &[Snapshot], from_ns: u64, to_ns: u64) -> Span {
    let reads = between(reads, from_ns, to_ns);
    let took = seconds(to_ns, from_ns).max(1e-9);
    let rates = rates(looks, from_ns, to_ns);
    let ends = looks
        .iter()
        .filter(|look| (from_ns..=to_ns).contains(&look.at_ns));
    let (first, last) = (ends.clone().next(), ends.clone().next_back());
    let grown = |count: fn(&Snapshot) -> u64| match (first, last) {
        (Some(first), Some(last)) => count(last).saturating_sub(count(first)) as f64 / took,
        _ => 0.0,
    };
    let seconds = by_second(reads, from_ns, to_ns);
    let worst = |pick: fn(&Second) -> Option<f64>| seconds.iter().filter_map(pick).reduce(f64::max);
    let old = || reads.iter().filter(|read| read.old);
    Span {
        seconds: took,
        reads: reads.len() as u64,
        reads_per_s: reads.len() as f64 / took,
        hit_rate: hit_rate(reads.iter()).unwrap_or(0.0),
        l2_reads_per_s: grown(|look| look.reads),
        l2_peak_per_s: rates.iter().map(|rate| rate.1).fold(0.0, f64::max),
        l2_peak_second_per_s: over_a_second(looks, from_ns, to_ns),
        l2_bytes_per_s: grown(|look| look.bytes_out),
        l2_bytes_peak_per_s: rates.iter().map(|rate| rate.2).fold(0.0, f64::max),
        p50_us: quantile(reads.iter(), 0.5).unwrap_or(0.0),
        p99_us: quantile(reads.iter(), 0.99).unwrap_or(0.0),
        p99_worst_us: worst(|second| Some(second.p99_us)).unwrap_or(0.0),
        p99_old_us: quantile(old(), 0.99),
        p99_old_worst_us: worst(|second| second.p99_old_us),
    }
}

/// Reads and bytes a second at L2 from one look to the next, with the time of the second.
fn rates(looks: &[Snapshot], from_ns: u64, to_ns: u64) -> Vec<(u64, f64, f64)> {
    // Two looks close to each other, as where a part of a stage begins, would make a rate of a single read.
    const LEAST_NS: u64 = 150_000_000;
    let mut rates = Vec::new();
    let mut looks = looks
        .iter()
        .filter(|look| (from_ns..=to_ns).contains(&look.at_ns));
    let Some(mut last) = looks.next() else {
        return rates;
    };
    for look in looks {
        let gap = look.at_ns - last.at_ns;
        if gap >= LEAST_NS {
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 * 1e9 / gap as f64;
            rates.push((
                look.at_ns,
                rate(look.reads, last.reads),
                rate(look.bytes_out, last.bytes_out),
            ));
            last = look;
        }
    }
    rates
}

/// How much later than they were due looks came, those together that were much too late.
fn stalled(looks: &[Snapshot], from_ns: u64, to_ns: u64) -> f64 {
    const MUCH_NS: u64 = 750_000_000;
    let within = looks
        .iter()
        .filter(|look| (from_ns..=to_ns).contains(&look.at_ns));
    let gaps = within.clone().zip(within.skip(1));
    let late = gaps.map(|(one, next)| next.at_ns - one.at_ns);
    late.filter(|gap| *gap > MUCH_NS).sum::<u64>() as f64 / 1e9
}

/// The most reads in a row of looks that is about a second long.
fn over_a_second(looks: &[Snapshot], from_ns: u64, to_ns: u64) -> f64 {
    let within: Vec<&Snapshot> = looks
        .iter()
        .filter(|look| (from_ns..=to_ns).contains(&look.at_ns))
        .collect();
    let mut most = 0.0f64;
    for (at, first) in within.iter().enumerate() {
        let later = within[at..].iter();
        let Some(last) = later
            .clone()
            .find(|look| look.at_ns >= first.at_ns + 950_000_000)
        else {
            break;
        };
        let gap = (last.at_ns - first.at_ns) as f64 / 1e9;
        most = most.max(last.reads.saturating_sub(first.reads) as f64 / gap);
    }
    most
}

fn by_second(reads: &[Read], zero_ns: u64, end_ns: u64) -> Vec<Second> {
    // The last one may not be whole, and p99 of few reads is their maximum.
    let count = (end_ns.saturating_sub(zero_ns) / SECOND_NS).max(1);
    (0..count)
        .filter_map(|second| {
            let from = zero_ns + second * SECOND_NS;
            let own = between(reads, from, (from + SECOND_NS).min(end_ns));
            Some(Second {
                second,
                reads: own.len() as u64,
                hit_rate: hit_rate(own.iter())?,
                p99_us: quantile(own.iter(), 0.99)?,
                p99_old_us: quantile(own.iter().filter(|read| read.old), 0.99),
            })
        })
        .collect()
}

fn newcomers(measured: &Course, reads: &[Read]) -> Vec<Newcomer> {
    let new = measured.lives.iter().filter(|life| life.newcomer);
    new.map(|life| {
        let start = life.start.clone().unwrap_or_default();
        let mut own: Vec<Served> = life
            .report
            .as_ref()
            .map_or_else(Vec::new, |report| report.served.clone());
        own.sort_by_key(|read| read.due_ns);
        let first = |count: u64| {
            let first = own.get(..count as usize)?;
            let hits = first.iter().filter(|read| read.hit).count();
            let window = between(reads, first.first()?.due_ns, first.last()?.due_ns + 1);
            let fleet = hit_rate(window.iter().filter(|read| read.old));
            Some((hits as f64 / count as f64, fleet))
        };
        let (hundred, more) = (first(100), first(LOOKED_AT));
        Newcomer {
            at_seconds: seconds(life.started_ns, measured.served_ns),
            ready_seconds: seconds(start.ready_ns, life.started_ns),
            warm_end: start.end,
            warm_seconds: start.warm_ns as f64 / 1e9,
            warm_keys: start.keys,
            warm_keys_planned: start.keys_planned,
            warm_bytes: start.bytes,
            warm_share_of_reads: start.share_of_reads,
            first_100: hundred.map(|first| first.0),
            first_400: more.map(|first| first.0),
            fleet_100: hundred.and_then(|first| first.1),
            fleet_400: more.and_then(|first| first.1),
        }
    })
    .collect()
}

fn first(newcomers: &[Newcomer], pick: impl Fn(&Newcomer) -> (Option<f64>, Option<f64>)) -> First {
    let own: Vec<f64> = newcomers.iter().filter_map(|pod| pick(pod).0).collect();
    let fleet: Vec<f64> = newcomers.iter().filter_map(|pod| pick(pod).1).collect();
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let hit_rate = mean(&own);
    let squares = own
        .iter()
        .map(|rate| (rate - hit_rate).powi(2))
        .sum::<f64>();
    let variance = squares / (own.len().saturating_sub(1)).max(1) as f64;
    First {
        pods: own.len(),
        hit_rate,
        standard_error: (variance / own.len().max(1) as f64).sqrt(),
        worst: own.iter().copied().reduce(f64::min).unwrap_or(0.0),
        fleet_hit_rate: (!fleet.is_empty()).then(|| mean(&fleet)),
    }
}

fn check(measured: &Course, acks: &Acks, bound_ns: u64) -> Findings {
    let mut found = Findings::default();
    for report in measured
        .lives
        .iter()
        .filter_map(|life| life.report.as_ref())
    {
        let samples = report.served.iter().map(|read| read.sample).collect();
        let all = Report {
            samples,
            ..Report::default()
        };
        found.add(&acks.check(std::slice::from_ref(&all), bound_ns));
    }
    found
}

#[cfg(test)]
mod tests;
