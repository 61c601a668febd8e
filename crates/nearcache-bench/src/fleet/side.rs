//! The figures of one arm, from what its pods and the server say of its phases; `docs/demo-json.md` documents each.
//! Judges nothing.

use serde::Serialize;

use super::check::{Acks, Findings};
use super::control::Snapshot;
use super::load::merged;
use super::message::Report;
use super::plan::{Arm, WATCHED};

/// The figures of one side. Those that cannot be had where L2 is embedded are `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Side {
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    pub(crate) hit_rate: f64,
    pub(crate) l2_reads_per_s: f64,
    pub(crate) l2_bytes_per_s: Option<f64>,
    pub(crate) l2_cpu_percent: Option<f64>,
    pub(crate) connections: Option<u64>,
    pub(crate) rss_bytes_per_pod: Option<u64>,
    pub(crate) reads: u64,
    pub(crate) reads_per_s: f64,
    pub(crate) reads_late: u64,
    pub(crate) reads_shed: u64,
    pub(crate) errors: u64,
    pub(crate) error: Option<String>,
    pub(crate) wrong_values: u64,
    pub(crate) flat_out_reads_per_s: f64,
    pub(crate) cold_hit_rate: f64,
    pub(crate) lag_samples: u64,
    pub(crate) lag_p50_us: Option<f64>,
    pub(crate) lag_p99_us: Option<f64>,
    pub(crate) lag_max_us: Option<f64>,
    pub(crate) writes: u64,
    pub(crate) checked_reads: u64,
    pub(crate) stale_reads: u64,
    pub(crate) behind_reads: u64,
    pub(crate) behind_max_us: f64,
}

/// One phase of one side, as it was measured.
pub(crate) struct Measured {
    /// What the pods say.
    pub(crate) reports: Vec<Report>,
    /// What the server says at the beginning and at the end.
    pub(crate) l2: Option<(Snapshot, Snapshot)>,
    /// How long it took until the last read had ended, in seconds.
    pub(crate) seconds: f64,
    /// How long reads were started for, in seconds; what it took, where there was no such limit.
    pub(crate) asked_seconds: f64,
    /// When it began.
    pub(crate) start_ns: u64,
    /// What the server said about once a second.
    pub(crate) series: Vec<Snapshot>,
}

/// The phases that the figures of an arm come from.
pub(crate) struct Phases<'a> {
    /// From empty pods; what is timed itself, where there is no such phase.
    pub(crate) cold: &'a Measured,
    /// What is timed.
    pub(crate) paced: &'a Measured,
    /// At full throughput; what is timed itself, where there is no such phase.
    pub(crate) flat_out: &'a Measured,
    /// How old a value may be.
    pub(crate) max_staleness_ms: u64,
    /// Connections that were open before the pods were there.
    pub(crate) other_connections: u64,
    /// Writes acknowledged meanwhile.
    pub(crate) writes: u64,
}

impl Measured {
    /// A count of all pods together.
    pub(crate) fn sum(&self, count: impl Fn(&Report) -> u64) -> u64 {
        self.reports.iter().map(count).sum()
    }

    /// Reads that reached L2: by the server's count, else by nearcache's.
    pub(crate) fn l2_reads(&self) -> u64 {
        match &self.l2 {
            Some((start, end)) => end.reads.saturating_sub(start.reads),
            None => self.sum(|report| report.fills.unwrap_or(report.reads)),
        }
    }

    /// The share of reads that L2 did not see. What the watch of the one key costs is no read of the load.
    fn hit_rate(&self) -> f64 {
        let reads = self.sum(|report| report.reads + report.errors + report.wrong);
        let at_l2 = self
            .l2_reads()
            .saturating_sub(self.sum(|report| report.watch_reads));
        if reads == 0 {
            0.0
        } else {
            1.0 - (at_l2 as f64 / reads as f64).min(1.0)
        }
    }

    /// By how much a figure of the server grew in a second. Between its two words there is also some time in which nobody
    /// read; what it did then is next to nothing, and that time does not count.
    pub(crate) fn rate(&self, count: impl Fn(&Snapshot) -> f64) -> Option<f64> {
        let (start, end) = self.l2.as_ref()?;
        Some((count(end) - count(start)).max(0.0) / self.seconds)
    }

    /// Checks its reads.
    pub(crate) fn check(&self, acks: &Acks, max_staleness_ms: u64) -> Findings {
        acks.check(&self.reports, max_staleness_ms * 1_000_000)
    }
}

impl Side {
    /// Puts the figures of an arm together.
    pub(crate) fn new(arm: Arm, phases: &Phases<'_>, acks: &Acks) -> Self {
        let Phases {
            cold,
            paced,
            flat_out,
            ..
        } = *phases;
        let latencies = merged(&paced.reports, |report| &report.latencies);
        let micros = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        let mut all = vec![paced];
        for phase in [cold, flat_out] {
            if !std::ptr::eq(phase, paced) {
                all.push(phase);
            }
        }
        let mut found = Findings::default();
        for phase in &all {
            found.add(&phase.check(acks, phases.max_staleness_ms));
        }
        let timed = if std::ptr::eq(cold, paced) {
            vec![paced]
        } else {
            vec![cold, paced]
        };
        let lag = Lag::new(arm, &timed, acks);
        let resident: Option<Vec<u64>> = paced
            .reports
            .iter()
            .map(|report| report.resident_bytes)
            .collect();
        let processes = paced.l2.is_some();
        let resident = resident.filter(|all| processes && !all.is_empty());
        let total = |count: fn(&Report) -> u64| all.iter().map(|phase| phase.sum(count)).sum();
        Self {
            mean_us: latencies.mean() / 1e3,
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            max_us: latencies.max() as f64 / 1e3,
            hit_rate: paced.hit_rate(),
            l2_reads_per_s: paced.l2_reads() as f64 / paced.seconds,
            l2_bytes_per_s: paced.rate(|snapshot| snapshot.bytes_out as f64),
            l2_cpu_percent: paced.rate(|snapshot| snapshot.cpu_seconds * 100.0),
            connections: paced
                .l2
                .as_ref()
                .map(|(_, end)| end.connections.saturating_sub(phases.other_connections)),
            rss_bytes_per_pod: resident.map(|all| all.iter().sum::<u64>() / all.len() as u64),
            reads: paced.sum(|report| report.reads),
            reads_per_s: paced.sum(|report| report.reads) as f64 / paced.seconds,
            reads_late: paced.sum(|report| report.late),
            reads_shed: paced.sum(|report| report.shed),
            errors: total(|report| report.errors),
            error: all
                .iter()
                .flat_map(|phase| &phase.reports)
                .find_map(|report| report.error.clone()),
            wrong_values: total(|report| report.wrong) + found.unwritten,
            flat_out_reads_per_s: flat_out.sum(|report| report.reads) as f64 / flat_out.seconds,
            cold_hit_rate: cold.hit_rate(),
            lag_samples: lag.samples,
            lag_p50_us: lag.quantile(0.5),
            lag_p99_us: lag.quantile(0.99),
            lag_max_us: lag.quantile(1.0),
            writes: phases.writes,
            checked_reads: found.checked,
            stale_reads: found.stale,
            behind_reads: found.behind,
            behind_max_us: found.behind_max_ns as f64 / 1e3,
        }
    }
}

/// How long after its acknowledgement a write was first seen by a pod.
struct Lag {
    samples: u64,
    histogram: hdrhistogram::Histogram<u64>,
}

impl Lag {
    fn new(arm: Arm, phases: &[&Measured], acks: &Acks) -> Self {
        let mut lag = Self {
            samples: 0,
            histogram: super::load::histogram(),
        };
        if arm != Arm::After {
            return lag;
        }
        for sighting in phases
            .iter()
            .flat_map(|phase| &phase.reports)
            .flat_map(|report| &report.sightings)
        {
            if let Some(acked_ns) = acks.acked_ns(WATCHED, sighting.sequence) {
                lag.samples += 1;
                // A push may overtake the acknowledgement.
                lag.histogram
                    .saturating_record(sighting.seen_ns.saturating_sub(acked_ns).max(1));
            }
        }
        lag
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        (self.samples > 0).then(|| self.histogram.value_at_quantile(quantile) as f64 / 1e3)
    }
}
