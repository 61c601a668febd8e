//! What was to be reached and what was, and the finding in one sentence.

use nearcache_cli::show::{count, percent, time};

use super::report::{Run, Stage, Stages};
use super::table;
use crate::goal::Goal;

/// From the start of a process until it is ready, at most, in seconds.
const READY: f64 = 5.0;
/// By how much the first reads of a new pod may miss more often than the fleet's.
const WITHIN: f64 = 0.01;
/// It is no spike when p99 is at most so many times that of the steady state.
const SPIKE: f64 = 1.5;

/// The goals of the side that starts warm.
pub(super) fn goals(run: &Run) -> Vec<Goal> {
    let Some(warm) = &run.warm else {
        return Vec::new();
    };
    let cold = run.cold.as_ref();
    let mut goals = Vec::new();
    if let Some(stage) = &warm.rolling {
        of_stage("replaced", stage, &mut goals);
    }
    if let Some(stage) = &warm.join {
        of_stage("joining", stage, &mut goals);
        goals.push(Goal {
            name: "joining: reads/s at L2, most in a second".to_owned(),
            wanted: format!(
                "at most {} (twice steady, and what may be fetched ahead)",
                count(stage.l2_allowed_per_s)
            ),
            found: count(stage.change.l2_peak_second_per_s),
            reached: stage.change.l2_peak_second_per_s <= stage.l2_allowed_per_s,
        });
        goals.push(Goal {
            name: "- were only the share of the peak before allowed".to_owned(),
            wanted: format!(
                "at most {} ({} % of {})",
                count(stage.l2_share_allowed_per_s),
                run.options.warm_share,
                count(stage.l2_peak_before_per_s)
            ),
            found: count(stage.change.l2_peak_second_per_s),
            reached: stage.change.l2_peak_second_per_s <= stage.l2_share_allowed_per_s,
        });
        goals.push(spike(stage, cold.and_then(|side| side.join.as_ref())));
    }
    let stale: u64 = stages(warm)
        .chain(cold.into_iter().flat_map(stages))
        .map(|s| s.stale_reads)
        .sum();
    goals.push(Goal {
        name: "stale reads, all stages".to_owned(),
        wanted: "0".to_owned(),
        found: count(stale as f64),
        reached: stale == 0,
    });
    goals
}

fn of_stage(what: &str, stage: &Stage, goals: &mut Vec<Goal>) {
    goals.push(Goal {
        name: format!("{what}: process start to ready, longest"),
        wanted: format!("under {READY:.0} s"),
        found: time(stage.ready_max_seconds * 1e6),
        reached: stage.ready_max_seconds < READY,
    });
    let first = &stage.first_100;
    let fleet = first.fleet_hit_rate.unwrap_or(stage.steady.hit_rate);
    goals.push(Goal {
        name: format!("{what}: hit rate of the first 100 reads"),
        wanted: format!(
            "at least {} (the fleet's less a point)",
            percent(fleet - WITHIN)
        ),
        found: percent(first.hit_rate),
        reached: first.pods > 0 && first.hit_rate >= fleet - WITHIN,
    });
}

/// Whether reads of the pods that were there took longer while others got ready. That processes start takes the cores
/// from them in any case; the first second of a join without the warm start shows how much of it is that.
fn spike(stage: &Stage, cold: Option<&Stage>) -> Goal {
    let ready = |stage: &Stage| stage.getting_ready.p99_old_us.unwrap_or(0.0);
    // Of both sides the quieter: what disturbed the steady state of one excuses nothing.
    let quiet = cold.map_or(f64::MAX, |cold| cold.steady.p99_us);
    let allowed = stage.steady.p99_us.min(quiet) * SPIKE;
    let beside = cold.map_or_else(String::new, |cold| {
        format!(" (cold: {})", time(ready(cold)))
    });
    Goal {
        name: "joining: p99 of the pods there before, until all ready".to_owned(),
        wanted: format!("at most {} ({SPIKE} x steady)", time(allowed)),
        found: format!("{}{beside}", time(ready(stage))),
        reached: ready(stage) <= allowed,
    }
}

fn stages(side: &Stages) -> impl Iterator<Item = &Stage> {
    [&side.rolling, &side.join].into_iter().flatten()
}

/// The finding, and whether it is a good one: nothing wrong, and warm no worse than cold.
pub(super) fn verdict(run: &Run) -> (String, bool) {
    let all = || run.sides().flat_map(|(_, side)| stages(side));
    let sum = |count: fn(&Stage) -> u64| all().map(count).sum::<u64>();
    let (stale, wrong, errors) = (
        sum(|stage| stage.stale_reads),
        sum(|stage| stage.wrong_values),
        sum(|stage| stage.errors),
    );
    if stale + wrong + errors > 0 {
        let text =
            format!("NOT GOOD: {stale} stale reads, {wrong} wrong values, {errors} failed reads.");
        return (text, false);
    }
    let both = run.warm.as_ref().zip(run.cold.as_ref());
    let Some((warm, cold)) = both else {
        let line = all().map(|stage| {
            format!(
                "first 100 reads {} hits, fleet {}; ready after {} at most",
                percent(stage.first_100.hit_rate),
                percent(stage.steady.hit_rate),
                time(stage.ready_max_seconds * 1e6)
            )
        });
        return (line.collect::<Vec<_>>().join("; joining: ") + ".", true);
    };
    let pair = |what: &str, warm: &Option<Stage>, cold: &Option<Stage>| {
        let (warm, cold) = (warm.as_ref()?, cold.as_ref()?);
        let better = warm.first_100.hit_rate > cold.first_100.hit_rate;
        let text = format!(
            "{what}, the first 100 reads of a new pod hit {} instead of {} (the fleet: {}), ready after {} instead of {}, \
             L2 at most {} reads/s instead of {}",
            percent(warm.first_100.hit_rate),
            percent(cold.first_100.hit_rate),
            table::or_steady(warm),
            time(warm.ready_p50_seconds * 1e6),
            time(cold.ready_p50_seconds * 1e6),
            count(warm.change.l2_peak_second_per_s),
            count(cold.change.l2_peak_second_per_s),
        );
        Some((text, better))
    };
    let found: Vec<(String, bool)> = [
        pair("Replaced one by one", &warm.rolling, &cold.rolling),
        pair("joining at once", &warm.join, &cold.join),
    ]
    .into_iter()
    .flatten()
    .collect();
    let good = found.iter().all(|(_, better)| *better);
    let words = found.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    let head = if good {
        "Better warm"
    } else {
        "NOT BETTER warm"
    };
    (format!("{head}. {}.", words.join("; ")), good)
}
