//! What a run found: the figures of both sides, as JSON (`docs/demo-json.md` documents it) and what follows from them.

use serde::Serialize;

use super::check::{Acks, Findings};
use super::control::Snapshot;
use super::load::merged;
use super::message::Report;
use super::plan::{Arm, Plan, WATCHED};
use crate::machine::Hardware;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// What all choices followed from.
    pub(crate) seed: u64,
    /// The machine.
    pub(crate) hardware: Hardware,
    /// What L2 was.
    pub(crate) server: String,
    /// Whether pods were processes, or threads of one process.
    pub(crate) pods_are_processes: bool,
    /// Bytes L1 may hold, per pod.
    pub(crate) capacity_bytes: usize,
    /// Bytes of all values.
    pub(crate) data_bytes: u64,
    /// Everything that was asked for.
    pub(crate) plan: Plan,
    /// Without nearcache.
    pub(crate) before: Side,
    /// With it.
    pub(crate) after: Side,
    /// The finding in one sentence.
    pub(crate) verdict: String,
    /// Whether it is a good one.
    pub(crate) good: bool,
}

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
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
}

/// All phases of one side.
pub(crate) struct Phases {
    pub(crate) cold: Measured,
    pub(crate) paced: Measured,
    pub(crate) flat_out: Measured,
    /// Connections that were open before the pods were there.
    pub(crate) other_connections: u64,
    /// Writes acknowledged meanwhile.
    pub(crate) writes: u64,
}

impl Measured {
    fn sum(&self, count: impl Fn(&Report) -> u64) -> u64 {
        self.reports.iter().map(count).sum()
    }

    /// Reads that reached L2: by the server's count, else by nearcache's.
    fn l2_reads(&self) -> u64 {
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

    fn rate(&self, count: impl Fn(&Snapshot) -> f64) -> Option<f64> {
        let (start, end) = self.l2.as_ref()?;
        Some((count(end) - count(start)).max(0.0) / ((end.at_ns - start.at_ns) as f64 / 1e9))
    }
}

impl Side {
    /// Puts the figures of a side together.
    pub(crate) fn new(arm: Arm, phases: &Phases, acks: &Acks, plan: &Plan) -> Self {
        let Phases {
            cold,
            paced,
            flat_out,
            ..
        } = phases;
        let latencies = merged(&paced.reports);
        let micros = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        let all = [cold, paced, flat_out];
        let bound_ns = plan.max_staleness_ms * 1_000_000;
        let mut found = Findings::default();
        for part in all.map(|phase| acks.check(&phase.reports, bound_ns)) {
            found.checked += part.checked;
            found.stale += part.stale;
            found.behind += part.behind;
            found.behind_max_ns = found.behind_max_ns.max(part.behind_max_ns);
        }
        let lag = Lag::new(arm, &[cold, paced], acks);
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
                .map(|(_, end)| end.connections.saturating_sub(phases.other_connections)),
            rss_bytes_per_pod: resident.map(|all| all.iter().sum::<u64>() / all.len() as u64),
            reads: paced.sum(|report| report.reads),
            reads_per_s: paced.sum(|report| report.reads) as f64 / plan.seconds as f64,
            reads_late: paced.sum(|report| report.late),
            reads_shed: paced.sum(|report| report.shed),
            errors: total(|report| report.errors),
            error: all
                .iter()
                .flat_map(|phase| &phase.reports)
                .find_map(|report| report.error.clone()),
            wrong_values: total(|report| report.wrong),
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
        if arm == Arm::Before {
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

/// The finding in one sentence, and whether it is a good one.
pub(crate) fn verdict(before: &Side, after: &Side, max_staleness_ms: u64) -> (String, bool) {
    let bad = |side: &Side| side.stale_reads + side.wrong_values + side.errors;
    if bad(before) + bad(after) > 0 {
        let of = |name, side: &Side| {
            format!(
                "{name}: {} stale, {} wrong, {} failed{}",
                side.stale_reads,
                side.wrong_values,
                side.errors,
                side.error
                    .as_ref()
                    .map(|error| format!(" ({error})"))
                    .unwrap_or_default()
            )
        };
        return (
            format!(
                "NOT GOOD: {}; {}.",
                of("before", before),
                of("after", after)
            ),
            false,
        );
    }
    let better = after.mean_us < before.mean_us && after.l2_reads_per_s < before.l2_reads_per_s;
    let text = format!(
        "{}: mean {} -> {} ({}), {:.1} % of the reads gone from L2, and none of {} checked reads older than {}.",
        if better { "Better" } else { "NOT BETTER" },
        super::table::time(before.mean_us),
        super::table::time(after.mean_us),
        super::table::factor(before.mean_us, after.mean_us),
        100.0 * (1.0 - after.l2_reads_per_s / before.l2_reads_per_s.max(f64::MIN_POSITIVE)),
        super::table::count(after.checked_reads as f64),
        super::table::time(max_staleness_ms as f64 * 1e3),
    );
    (text, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(mean_us: f64, l2_reads_per_s: f64) -> Side {
        Side {
            mean_us,
            l2_reads_per_s,
            checked_reads: 10,
            ..Side::default()
        }
    }

    #[test]
    fn better_is_good() {
        let (text, good) = verdict(&side(100.0, 1000.0), &side(1.0, 10.0), 1000);
        assert!(good && text.starts_with("Better"), "{text}");
        assert!(text.contains("100x") && text.contains("99.0 %"), "{text}");
    }

    #[test]
    fn not_better_is_not() {
        assert!(!verdict(&side(1.0, 1000.0), &side(2.0, 10.0), 1000).1);
        assert!(!verdict(&side(2.0, 10.0), &side(1.0, 10.0), 1000).1);
    }

    #[test]
    fn one_stale_read_is_bad_however_fast() {
        let after = Side {
            stale_reads: 1,
            ..side(1.0, 10.0)
        };
        let (text, good) = verdict(&side(100.0, 1000.0), &after, 1000);
        assert!(!good && text.contains("after: 1 stale"), "{text}");
    }

    #[test]
    fn errors_are_shown() {
        let after = Side {
            errors: 3,
            error: Some("why".to_owned()),
            ..side(1.0, 10.0)
        };
        let (text, good) = verdict(&side(100.0, 1000.0), &after, 1000);
        assert!(!good && text.contains("3 failed (why)"), "{text}");
    }
}
