//! Figures of one phase, beyond those of the demo: distributions, seconds, the fleet as a whole.
//! Judges nothing.

use hdrhistogram::Histogram;

use super::report::{Figures, Second, Sidecars};
use crate::fleet::check::Acks;
use crate::fleet::control::Snapshot;
use crate::fleet::load::{histogram, merged};
use crate::fleet::message::Load;
use crate::fleet::plan::{Arm, Plan, WATCHED};
use crate::fleet::side::{Measured, Phases, Side};
use crate::fleet::writer::Updates;
use crate::measured::percentiles::buckets;

/// One phase as it was asked for and measured.
pub(crate) struct Done {
    pub(crate) arm: Arm,
    pub(crate) load: Load,
    pub(crate) reads_per_s: f64,
    pub(crate) updates: Updates,
    pub(crate) measured: Measured,
    pub(crate) sidecars: Option<Sidecars>,
    /// Connections at L2 that are not of the pods.
    pub(crate) other_connections: u64,
    pub(crate) writes: u64,
    /// What the pods of this phase were told.
    pub(crate) plan: Plan,
}

impl Done {
    /// Its own figures.
    pub(crate) fn figures(&self, acks: &Acks) -> Figures {
        self.with(&self.measured, &self.measured, acks)
    }

    /// Its figures as the demo has them: filling and full throughput are phases of their own.
    pub(crate) fn with(&self, fill: &Measured, max: &Measured, acks: &Acks) -> Figures {
        let measured = &self.measured;
        let phases = Phases {
            cold: fill,
            paced: measured,
            flat_out: max,
            max_staleness_ms: self.plan.max_staleness_ms,
            other_connections: self.other_connections,
            writes: self.writes,
        };
        let mut side = Side::new(self.arm, &phases, acks);
        let own = Phases {
            cold: measured,
            flat_out: measured,
            ..phases
        };
        // While it fills, a pod is too busy to look at once.
        let own = Side::new(self.arm, &own, acks);
        side.lag_samples = own.lag_samples;
        (side.lag_p50_us, side.lag_p99_us) = (own.lag_p50_us, own.lag_p99_us);
        side.lag_max_us = own.lag_max_us;
        let probe = measured.sum(|report| report.watch_reads) as f64 / measured.seconds;
        side.l2_reads_per_s = (side.l2_reads_per_s - probe).max(0.0);
        let intended = merged(&measured.reports, |report| &report.intended);
        let since_due = |us: f64| (self.load == Load::Paced).then_some(us / 1e3);
        let quantile = |q| since_due(intended.value_at_quantile(q) as f64);
        let everywhere = Everywhere::new(self.arm, measured, acks);
        let rss = side.rss_bytes_per_pod;
        let (age_samples, old) = ages(measured, acks);
        let age = |quantile| age_us(age_samples, &old, quantile);
        Figures {
            intended_mean_us: since_due(intended.mean()),
            intended_p50_us: quantile(0.5),
            intended_p99_us: quantile(0.99),
            intended_p999_us: quantile(0.999),
            intended_max_us: since_due(intended.max() as f64),
            asked_reads_per_s: (self.load == Load::Paced).then_some(self.reads_per_s),
            updates_per_s: self.updates.per_s,
            writes_per_s: self.writes as f64 / measured.seconds,
            updates_skewed: self.updates.skewed,
            steady_hit_rate: self.steady_hit_rate(),
            seconds: measured.seconds,
            l2_commands_per_s: measured
                .rate(|snapshot| snapshot.commands as f64)
                .unwrap_or(0.0),
            l2_memory_bytes: measured.l2.map_or(0, |(_, end)| end.memory_bytes),
            probe_reads_per_s: probe,
            rss_bytes_fleet: rss.map(|bytes| bytes * self.plan.pods as u64),
            everywhere_samples: everywhere.histogram.len(),
            everywhere_unseen: everywhere.unseen,
            everywhere_p50_us: everywhere.quantile(0.5),
            everywhere_max_us: everywhere.quantile(1.0),
            sidecars: self.sidecars,
            latency_buckets: buckets(&merged(&measured.reports, |report| &report.latencies)),
            intended_buckets: buckets(&intended),
            age_samples,
            age_p50_us: age(0.5),
            age_p99_us: age(0.99),
            age_p999_us: age(0.999),
            age_buckets: buckets(&old),
            series: series(measured, probe, self.arm != Arm::Before),
            side,
        }
    }

    /// Of nearcache, where everything fits and the rate is set.
    fn steady_hit_rate(&self) -> Option<f64> {
        let plan = &self.plan;
        let fits = plan.capacity_bytes as u64 > plan.data_bytes();
        let known =
            plan.traffic.is_none() && fits && self.arm == Arm::After && self.load == Load::Paced;
        let reads_per_pod = self.reads_per_s / plan.pods as f64;
        known.then(|| steady(plan.keys, plan.zipf, reads_per_pod, self.updates))
    }
}

/// What the hit rate would become: a key that is read r times a second by a pod and written w times misses
/// r w / (r + w) times.
fn steady(keys: u32, exponent: f64, reads_per_pod: f64, updates: Updates) -> f64 {
    let weight = |key: u32| f64::from(key + 1).powf(-exponent);
    let all: f64 = (0..keys).map(weight).sum();
    let missed: f64 = (0..keys)
        .map(|key| {
            let reads = reads_per_pod * weight(key) / all;
            let share = match updates.skewed {
                true => weight(key) / all,
                false => 1.0 / f64::from(keys),
            };
            let writes = updates.per_s * share;
            reads * writes / (reads + writes).max(f64::MIN_POSITIVE)
        })
        .sum();
    1.0 - missed / reads_per_pod.max(f64::MIN_POSITIVE)
}

/// How many reads were checked, and by how much those were behind that were.
fn ages(measured: &Measured, acks: &Acks) -> (u64, Histogram<u64>) {
    let (mut all, mut old) = (0, histogram());
    let samples = measured.reports.iter().flat_map(|report| &report.samples);
    for age_ns in samples.map(|sample| acks.age_ns(sample)) {
        all += 1;
        if age_ns > 0 {
            old.saturating_record(age_ns);
        }
    }
    (all, old)
}

/// By how much the checked reads up to this quantile were behind at most; all but the old ones by nothing.
fn age_us(all: u64, old: &Histogram<u64>, quantile: f64) -> Option<f64> {
    let rank = (quantile * all as f64).ceil() as u64;
    let current = all - old.len();
    let age_us = match rank.checked_sub(current) {
        None | Some(0) => 0.0,
        Some(rank) => old.value_at_quantile(rank as f64 / old.len() as f64) as f64 / 1e3,
    };
    (all > 0).then_some(age_us)
}

/// From a write until no pod returns what was before it.
struct Everywhere {
    histogram: Histogram<u64>,
    /// Writes that not every pod had seen when the phase ended.
    unseen: u64,
}

impl Everywhere {
    fn new(arm: Arm, measured: &Measured, acks: &Acks) -> Self {
        let mut found = Self {
            histogram: histogram(),
            unseen: 0,
        };
        if arm != Arm::After {
            return found;
        }
        let end_ns = measured.start_ns + (measured.seconds * 1e9) as u64;
        let writes = acks.of(WATCHED);
        for &(acked_ns, sequence) in writes {
            if !(measured.start_ns..end_ns).contains(&acked_ns) {
                continue;
            }
            let seen = measured.reports.iter().map(|report| {
                let mut later = report.sightings.iter();
                later
                    .find(|sighting| sighting.sequence >= sequence)
                    .map(|sighting| sighting.seen_ns)
            });
            match seen.collect::<Option<Vec<u64>>>() {
                Some(all) => {
                    let last = all.into_iter().max().unwrap_or(acked_ns);
                    // A push may overtake the acknowledgement.
                    let lag_ns = last.saturating_sub(acked_ns).max(1);
                    found.histogram.saturating_record(lag_ns);
                }
                None => found.unseen += 1,
            }
        }
        found
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        let some = !self.histogram.is_empty();
        some.then(|| self.histogram.value_at_quantile(quantile) as f64 / 1e3)
    }
}

/// Second by second. The server is asked at other moments than full seconds: in between, its figures grow evenly. Where
/// nothing is kept nothing is hit, whatever the two sides make of one second.
fn series(measured: &Measured, probe: f64, kept: bool) -> Vec<Second> {
    let whole = measured.asked_seconds.floor() as u64;
    let at = |second: u64, pick: fn(&Snapshot) -> f64| {
        let at_ns = measured.start_ns + second * 1_000_000_000;
        interpolated(&measured.series, at_ns, pick)
    };
    let grown = |second, pick| (at(second + 1, pick) - at(second, pick)).max(0.0);
    (0..whole)
        .map(|second| {
            let ended = measured.sum(|report| {
                let number = usize::try_from(second).unwrap_or(usize::MAX);
                report.seconds.get(number).copied().unwrap_or(0)
            });
            let reads = ended as f64;
            let l2_reads = (grown(second, |snapshot| snapshot.reads as f64) - probe).max(0.0);
            let missed = if reads > 0.0 { l2_reads / reads } else { 1.0 };
            Second {
                second,
                reads_per_s: reads,
                hit_rate: if kept { 1.0 - missed.min(1.0) } else { 0.0 },
                l2_reads_per_s: l2_reads,
                l2_bytes_per_s: grown(second, |snapshot| snapshot.bytes_out as f64),
                l2_cpu_percent: grown(second, |snapshot| snapshot.cpu_seconds * 100.0),
            }
        })
        .collect()
}

fn interpolated(series: &[Snapshot], at_ns: u64, pick: fn(&Snapshot) -> f64) -> f64 {
    let later = series.partition_point(|snapshot| snapshot.at_ns < at_ns);
    let (Some(before), Some(after)) = (series.get(later.wrapping_sub(1)), series.get(later)) else {
        let edge = if later == 0 {
            series.first()
        } else {
            series.last()
        };
        return edge.map_or(0.0, pick);
    };
    let share = (at_ns - before.at_ns) as f64 / (after.at_ns - before.at_ns).max(1) as f64;
    pick(before) + (pick(after) - pick(before)) * share
}

#[cfg(test)]
mod tests;
