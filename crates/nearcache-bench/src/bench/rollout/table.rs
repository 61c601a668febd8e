//! The figures as people read them: warm beside cold, the goals, and what to know.

use nearcache_cli::grid::Grid;
use nearcache_cli::page::Compared;
use nearcache_cli::show::{bytes, count, or_dash, percent, time};

use super::report::{First, Run, Stage, Stages};
use crate::document::Document;

/// The sides beside each other, in lines that fit.
pub(super) fn compared(run: &Run, columns: usize) -> String {
    let names = run.sides().map(|(name, _)| format!(">{name}"));
    let mut grid = Grid::new(std::iter::once(String::new()).chain(names));
    let mut group = "";
    for line in lines(run) {
        if line.group != group {
            group = line.group;
            grid.group(group);
        }
        grid.row(std::iter::once(line.name).chain(line.cells));
    }
    grid.text(columns)
}

/// The same, figure by figure.
pub(super) fn lines(run: &Run) -> Vec<Compared> {
    let mut lines = Vec::new();
    let rolling: fn(&Stages) -> Option<&Stage> = |side| side.rolling.as_ref();
    let join: fn(&Stages) -> Option<&Stage> = |side| side.join.as_ref();
    for (group, pick) in [
        ("pods replaced one after the other", rolling),
        ("pods joining at the same moment", join),
    ] {
        let stages: Vec<&Stage> = run.sides().filter_map(|(_, side)| pick(side)).collect();
        if stages.is_empty() {
            continue;
        }
        let mut row = |name: &str, show: &dyn Fn(&Stage) -> String| {
            lines.push(Compared {
                group,
                name: name.to_owned(),
                cells: stages.iter().map(|stage| show(stage)).collect(),
            });
        };
        row("pods: before, started", &|stage| {
            format!("{}, {}", stage.pods, stage.newcomers.len())
        });
        row("process start to ready, p50", &|stage| {
            time(stage.ready_p50_seconds * 1e6)
        });
        row("process start to ready, longest", &|stage| {
            time(stage.ready_max_seconds * 1e6)
        });
        row("keys fetched before ready, mean of planned", &keys);
        row("hit rate, first 100 reads of a new pod", &|stage| {
            of_first(&stage.first_100)
        });
        row("- the pods that were there, at that time", &|stage| {
            or_dash(stage.first_100.fleet_hit_rate, percent)
        });
        row("- the worst new pod", &|stage| {
            percent(stage.first_100.worst)
        });
        row("hit rate, first 400 reads of a new pod", &|stage| {
            of_first(&stage.first_400)
        });
        row("hit rate of the fleet before", &|stage| {
            percent(stage.steady.hit_rate)
        });
        row("- during the change", &|stage| {
            percent(stage.change.hit_rate)
        });
        row("reads/s at L2 before", &|stage| {
            count(stage.steady.l2_reads_per_s)
        });
        row("- during the change, mean", &|stage| {
            count(stage.change.l2_reads_per_s)
        });
        row("- during the change, most in a second", &|stage| {
            count(stage.change.l2_peak_second_per_s)
        });
        row("- most in a quarter of a second, as a rate", &|stage| {
            count(stage.change.l2_peak_per_s)
        });
        row("bytes/s out of L2: before, most", &|stage| {
            let (before, most) = (
                stage.steady.l2_bytes_per_s,
                stage.change.l2_bytes_peak_per_s,
            );
            format!("{}, {}", bytes(before), bytes(most))
        });
        row("p99 since due: before, worst second", &|stage| {
            let steady = &stage.steady;
            format!("{}, {}", time(steady.p99_us), time(steady.p99_worst_us))
        });
        row("- during the change, worst second", &|stage| {
            let change = &stage.change;
            format!("{}, {}", time(change.p99_us), time(change.p99_worst_us))
        });
        row("- of the pods that were there before", &|stage| {
            let (all, worst) = (stage.change.p99_old_us, stage.change.p99_old_worst_us);
            format!("{}, {}", or_dash(all, time), or_dash(worst, time))
        });
        row("- of those, until the last new pod was ready", &|stage| {
            or_dash(stage.getting_ready.p99_old_us, time)
        });
        row("reads checked, stale", &|stage| {
            format!(
                "{}, {}",
                count(stage.checked_reads as f64),
                stage.stale_reads
            )
        });
        row("reads failed, wrong, late, not begun", &|stage| {
            format!(
                "{}, {}, {}, {}",
                stage.errors, stage.wrong_values, stage.reads_late, stage.reads_shed
            )
        });
    }
    lines
}

fn keys(stage: &Stage) -> String {
    let pods = stage.newcomers.len().max(1);
    let sum = |pick: fn(&super::report::Newcomer) -> usize| {
        stage.newcomers.iter().map(pick).sum::<usize>() / pods
    };
    let (fetched, planned) = (sum(|pod| pod.warm_keys), sum(|pod| pod.warm_keys_planned));
    format!("{} of {}", count(fetched as f64), count(planned as f64))
}

fn of_first(first: &First) -> String {
    match first.pods {
        0 => "-".to_owned(),
        _ => format!(
            "{} +- {:.1}",
            percent(first.hit_rate),
            200.0 * first.standard_error
        ),
    }
}

/// What a reader of the tables should know.
pub(super) fn notes(document: &Document<Run>) -> Vec<String> {
    let run = &document.run;
    let (plan, options) = (&run.plan, &run.options);
    let joining = options.join as f64 * (plan.capacity_bytes as f64).min(run.data_bytes as f64);
    let mut notes = vec![
        "Cold: the setting `warm_start` is off; all else, counting and publishing included, is the same. A pod gets its \
         share of the load from the moment nearcache says that it is ready, and the load of the fleet stays the same: fewer \
         pods, more each."
            .to_owned(),
        format!(
            "First 100 reads: of the started pods, misses that joined a fetch under way counted as misses; +- is two standard \
             errors over the pods, in points. What was there before is the fleet's own hit rate at {} of L1 for {} of data.",
            bytes(plan.capacity_bytes as f64),
            bytes(run.data_bytes as f64)
        ),
        "P99 is since the moment a read was due, of all reads, misses included; the worst second is the highest p99 of any \
         whole second."
            .to_owned(),
        "Reads at L2 are GETs by the server's count: misses, and what is fetched ahead."
            .to_owned(),
        format!(
            "Size matters: {} pods that fill an L1 of {} each move {} through one server, whatever the pace; at {} keys/s \
             that takes {:.1} s, and of larger values `warm_bytes` (128 MiB/s) lets fewer through.",
            options.join,
            bytes(plan.capacity_bytes as f64),
            bytes(joining),
            count(options.warm_reads as f64),
            joining / plan.value_bytes as f64 / options.warm_reads as f64
        ),
        format!(
            "{} pods share {} cores with the server and the load: the start of a process alone takes a core for some \
             milliseconds from all others, warm or cold. Compare the two sides, not p99 with that of a real node.",
            plan.pods, document.hardware.cores
        ),
    ];
    for (name, side) in run.sides() {
        for stage in [&side.rolling, &side.join].into_iter().flatten() {
            if !stage.settled {
                notes.push(format!(
                    "{name}: the hit rate was still changing when the steady state was measured."
                ));
            }
            if !stage.published {
                notes.push(format!(
                    "{name}: the fleet had not published what it reads when its pods were changed."
                ));
            }
            if stage.stalled_seconds > 0.0 {
                notes.push(format!(
                    "{name}: for {:.1} s the machine was so full that not even this program got a processor when it was to \
                     ask L2: what others did on it is in p99, in time to ready and in the peaks.",
                    stage.stalled_seconds
                ));
            }
            if let Some(error) = &stage.error {
                notes.push(format!("{name}: reads failed, one with: {error}"));
            }
        }
    }
    notes.extend(document.busy());
    notes.push(document.origin());
    notes
}

/// The fleet's hit rate while the new pods had their first reads, or before where there was none.
pub(super) fn or_steady(stage: &Stage) -> String {
    percent(
        stage
            .first_100
            .fleet_hit_rate
            .unwrap_or(stage.steady.hit_rate),
    )
}
