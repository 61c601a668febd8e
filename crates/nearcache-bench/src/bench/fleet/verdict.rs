//! What was to be reached and what was, and the finding in one sentence.

use nearcache_cli::show::{bytes, count, time};

use super::report::{Figures, PhaseKind, Row, Run};
use crate::document::Document;
use crate::fleet::plan::Arm;
use crate::goal::Goal;

/// The hit rate from which on a read is expected to cost microseconds.
const WARM: f64 = 0.99;

/// The goals of a run with the defaults; with other parameters they are only figures, and with a trace of the user's they
/// are none.
pub(crate) fn goals(document: &Document<Run>) -> Vec<Goal> {
    let run = &document.run;
    let elapsed_seconds = document.elapsed_seconds.unwrap_or_default();
    if run.options.trace.is_some() {
        return Vec::new();
    }
    let (before, after) = (&run.before.side, &run.after.side);
    let warm = warm(run);
    let at = |row: &Row| {
        format!(
            "{}, hit rate {:.2} % at {}",
            row.name,
            row.figures.side.hit_rate * 100.0,
            bytes(row.capacity_bytes as f64)
        )
    };
    let of_warm = |name: &str, most_us: f64, pick: fn(&Figures) -> f64| match warm {
        Some(row) => Goal {
            name: format!("after: {name} at {}", at(row)),
            wanted: format!("at most {}", time(most_us)),
            found: time(pick(&row.figures)),
            reached: pick(&row.figures) <= most_us,
        },
        None => Goal {
            name: format!("after: {name} at a hit rate of 99 %"),
            wanted: format!("at most {}", time(most_us)),
            found: "no rate had it".to_owned(),
            reached: false,
        },
    };
    let gone = gone(&run.before, &run.after);
    let connections = after.connections.unwrap_or(0);
    let stale = stale(run, Arm::After);
    vec![
        Goal {
            name: "before: mean at its 100 % rate, since intended start".to_owned(),
            wanted: "above 10 ms".to_owned(),
            found: run.before.intended_mean_us.map_or_else(String::new, time),
            reached: run.before.intended_mean_us > Some(10e3),
        },
        of_warm("mean", 3.0, |figures| figures.side.mean_us),
        of_warm("p99", 20.0, |figures| figures.side.p99_us),
        Goal {
            name: "reads at L2, 100 % rate".to_owned(),
            wanted: "-95 %".to_owned(),
            found: format!("-{:.2} %", gone * 100.0),
            reached: gone >= 0.95,
        },
        Goal {
            name: "after: connections at L2".to_owned(),
            wanted: format!("{} (one a pod)", run.plan.pods),
            found: count(connections as f64),
            reached: connections == run.plan.pods as u64,
        },
        Goal {
            name: "after: stale reads, all phases".to_owned(),
            wanted: "0".to_owned(),
            found: format!("{stale} of {}", count(checked(run, Arm::After) as f64)),
            reached: stale == 0 && after.checked_reads > 0 && before.checked_reads > 0,
        },
        Goal {
            name: "whole run".to_owned(),
            wanted: "under 360 s".to_owned(),
            found: format!("{:.0} s", elapsed_seconds),
            reached: elapsed_seconds < 360.0,
        },
    ]
}

/// The 100 % rate of nearcache if it is warm, else the next above that is.
fn warm(run: &Run) -> Option<&Row> {
    let timed = |row: &&Row| {
        let enough = row.figures.asked_reads_per_s >= Some(run.base_rate_per_s);
        row.arm == Arm::After && row.kind == PhaseKind::Rate && enough
    };
    run.rows
        .iter()
        .filter(timed)
        .find(|row| row.figures.side.hit_rate >= WARM)
}

/// The share of the reads that L2 does not see any more.
fn gone(before: &Figures, after: &Figures) -> f64 {
    1.0 - after.side.l2_reads_per_s / before.side.l2_reads_per_s.max(f64::MIN_POSITIVE)
}

fn of(run: &Run, arm: Arm) -> impl Iterator<Item = &Row> {
    run.rows.iter().filter(move |row| row.arm == arm)
}

/// Stale reads in all phases of an arm.
pub(crate) fn stale(run: &Run, arm: Arm) -> u64 {
    of(run, arm).map(|row| row.figures.side.stale_reads).sum()
}

fn checked(run: &Run, arm: Arm) -> u64 {
    of(run, arm).map(|row| row.figures.side.checked_reads).sum()
}

/// What there is to win at the rate that the user's own fleet has.
fn own(run: &Run) -> Option<String> {
    let rate = run.options.trace_reads_per_s?;
    let at = |arm| {
        let rows = of(run, arm).filter(|row| row.kind == PhaseKind::Rate);
        let mut rows = rows.filter(|row| row.figures.asked_reads_per_s == Some(rate));
        rows.next().map(|row| &row.figures)
    };
    let (before, after) = (at(Arm::Before)?, at(Arm::After)?);
    Some(format!(
        " (mean {} -> {} and p99 {} -> {} at the trace's own {} reads/s)",
        time(before.side.mean_us),
        time(after.side.mean_us),
        time(before.side.p99_us),
        time(after.side.p99_us),
        count(rate),
    ))
}

/// Which share of which rate these figures are at.
pub(crate) fn share(run: &Run, figures: &Figures) -> String {
    let asked = figures.asked_reads_per_s.unwrap_or(run.base_rate_per_s);
    let whole = match run.options.rate {
        Some(_) => "--rate",
        None => "before's maximum",
    };
    format!("{:.0} % of {whole}", 100.0 * asked / run.base_rate_per_s)
}

/// How far a rate is from that of the trace.
pub(crate) fn times_own(run: &Run) -> Option<String> {
    let own = run.options.trace_reads_per_s?;
    let times = run.base_rate_per_s / own;
    let times = match times {
        times if times >= 10.0 => count(times),
        times => format!("{times:.1}"),
    };
    Some(format!(
        "{times} times the trace's own {} reads/s",
        count(own)
    ))
}

/// The finding, and whether it is a good one. That sidecars serve old values is a finding about them, and no fault.
pub(crate) fn verdict(run: &Run) -> (String, bool) {
    let total = |arm, pick: fn(&Row) -> u64| of(run, arm).map(pick).sum::<u64>();
    let wrong = [Arm::Before, Arm::After, Arm::Sidecar]
        .map(|arm| total(arm, |row| row.figures.side.wrong_values))
        .iter()
        .sum::<u64>();
    let errors = |arm| total(arm, |row| row.figures.side.errors);
    let unchecked = [Arm::Before, Arm::After]
        .iter()
        .any(|arm| checked(run, *arm) == 0);
    if unchecked {
        let text = "NOT GOOD: there was nothing to check, so that nobody knows of stale reads.";
        return (text.to_owned(), false);
    }
    let bad = stale(run, Arm::Before) + stale(run, Arm::After) + wrong + errors(Arm::After);
    if bad > 0 {
        let why = of(run, Arm::After).find_map(|row| row.figures.side.error.clone());
        let text = format!(
            "NOT GOOD: before {} stale, after {} stale, {wrong} wrong values, {} failed reads in after{}.",
            stale(run, Arm::Before),
            stale(run, Arm::After),
            errors(Arm::After),
            why.map(|why| format!(" ({why})")).unwrap_or_default()
        );
        return (text, false);
    }
    let before = run.usual(Arm::Before).unwrap_or(&run.before);
    let after = run.usual(Arm::After).unwrap_or(&run.after);
    let better = after.side.mean_us < before.side.mean_us && gone(before, after) > 0.0;
    // A maximum that was not to be had for long makes a part of it too much as well.
    let asked = before.asked_reads_per_s.unwrap_or(0.0);
    let short = match before.side.reads_per_s < 0.95 * asked {
        true => format!(
            " (before managed {} of them)",
            count(before.side.reads_per_s)
        ),
        false => String::new(),
    };
    let text = format!(
        "{}: at {} reads/s{short} of {} pods, {}{}, mean {} -> {} and p99 {} -> {} a call{}; {:.2} % of the reads gone from L2; none of \
         {} checked reads older than {}.",
        if better { "Better" } else { "NOT BETTER" },
        count(before.asked_reads_per_s.unwrap_or(run.base_rate_per_s)),
        run.plan.pods,
        share(run, before),
        times_own(run)
            .map(|times| format!(" (all of it: {times})"))
            .unwrap_or_default(),
        time(before.side.mean_us),
        time(after.side.mean_us),
        time(before.side.p99_us),
        time(after.side.p99_us),
        own(run).unwrap_or_default(),
        gone(before, after) * 100.0,
        count((checked(run, Arm::Before) + checked(run, Arm::After)) as f64),
        time(run.plan.max_staleness_ms as f64 * 1e3),
    );
    (text, better)
}
