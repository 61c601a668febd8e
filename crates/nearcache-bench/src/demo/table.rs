//! The figures of the demo as people read them: a table that fits a terminal, and what to know about it.

use nearcache_cli::grid::Grid;
use nearcache_cli::show::{bytes, count, factor, time};

use super::report::Run;
use crate::document::Document;
use crate::fleet::side::Side;

/// The table of a run, in lines that fit.
pub(crate) fn table(run: &Run, columns: usize) -> String {
    let mut grid = Grid::new(["", ">before", ">after", ""]);
    for row in rows(run) {
        grid.row(row);
    }
    grid.text(columns)
}

/// Name, before, after, and how they compare.
pub(super) fn rows(run: &Run) -> Vec<[String; 4]> {
    let (before, after) = (&run.before, &run.after);
    let mut rows: Vec<[String; 4]> = Vec::new();
    let mut row = |name: &str,
                   pick: &dyn Fn(&Side) -> Option<f64>,
                   show: &dyn Fn(f64) -> String,
                   compare: bool| {
        let shown = |side| pick(side).map_or_else(|| "-".to_owned(), show);
        let change = match (pick(before), pick(after)) {
            (Some(before), Some(after)) if compare => factor(before, after),
            _ => String::new(),
        };
        // What neither side can tell, on the embedded store, is left out.
        if pick(before).or(pick(after)).is_some() {
            rows.push([name.to_owned(), shown(before), shown(after), change]);
        }
    };
    row("read, mean", &|side| Some(side.mean_us), &time, true);
    row("read, p50", &|side| Some(side.p50_us), &time, true);
    row("read, p99", &|side| Some(side.p99_us), &time, true);
    row("read, p99.9", &|side| Some(side.p999_us), &time, true);
    row("read, max", &|side| Some(side.max_us), &time, true);
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    row(
        &format!("hit rate at {}", bytes(run.capacity_bytes as f64)),
        &|side| Some(side.hit_rate),
        &percent,
        false,
    );
    row(
        "hit rate, cold start",
        &|side| Some(side.cold_hit_rate),
        &percent,
        false,
    );
    row(
        "reads/s at L2",
        &|side| Some(side.l2_reads_per_s),
        &count,
        true,
    );
    row(
        "bytes/s out of L2",
        &|side| side.l2_bytes_per_s,
        &bytes,
        true,
    );
    row(
        "processor used by L2",
        &|side| side.l2_cpu_percent,
        &|share| format!("{share:.0} %"),
        true,
    );
    row(
        "connections at L2",
        &|side| side.connections.map(|n| n as f64),
        &count,
        true,
    );
    row(
        "memory per pod (RSS)",
        &|side| side.rss_bytes_per_pod.map(|n| n as f64),
        &bytes,
        true,
    );
    row(
        "write to visible, p50",
        &|side| side.lag_p50_us,
        &time,
        false,
    );
    row(
        "write to visible, p99",
        &|side| side.lag_p99_us,
        &time,
        false,
    );
    row(
        "write to visible, max",
        &|side| side.lag_max_us,
        &time,
        false,
    );
    row(
        "reads checked",
        &|side| Some(side.checked_reads as f64),
        &count,
        false,
    );
    row(
        "- stale",
        &|side| Some(side.stale_reads as f64),
        &count,
        false,
    );
    row(
        "- behind a write",
        &|side| Some(side.behind_reads as f64),
        &count,
        false,
    );
    row(
        "- by at most",
        &|side| Some(side.behind_max_us),
        &time,
        false,
    );
    row(
        "reads/s, as paced",
        &|side| Some(side.reads_per_s),
        &count,
        false,
    );
    row(
        "reads/s, flat out",
        &|side| Some(side.flat_out_reads_per_s),
        &count,
        true,
    );
    rows
}

/// What a reader of the table should know.
pub(crate) fn notes(document: &Document<Run>) -> Vec<String> {
    let run = &document.run;
    let plan = &run.plan;
    let mut notes = vec![
        format!(
            "Reads are asked for at random moments, {} a second and pod, on both sides; each is timed from the call, \
             waiting for a connection included. Both sides start cold ({} s), run flat out ({} s), and then are timed.",
            count(plan.reads_per_pod),
            plan.cold_seconds,
            plan.flat_out_seconds
        ),
        "Flat out: how much the same pods read when each question follows the last answer."
            .to_owned(),
        format!(
            "Stale: older than a write acknowledged more than {} before the read began. Behind: older than any \
             write acknowledged before it began. Checked against the writer's own log.",
            time(plan.max_staleness_ms as f64 * 1e3)
        ),
    ];
    if run.pods_are_processes {
        notes.push("Everything runs on one machine: a network would make `before` slower, and hardly `after`.".to_owned());
        notes.push(
            "Hit rate: the share of reads that the server did not see, by its own count."
                .to_owned(),
        );
    } else {
        notes.push(
            "There is no server: L2 is the embedded store, the pods are threads of this process, and `before` is nearcache \
             keeping nothing. What only a server could tell is left out."
                .to_owned(),
        );
    }
    if run.capacity_bytes as u64 > run.data_bytes {
        notes.push(format!(
            "All {} of values fit each pod's {}; see what a smaller one does with --capacity.",
            bytes(run.data_bytes as f64),
            bytes(run.capacity_bytes as f64)
        ));
    }
    notes.extend(document.busy());
    for (name, side) in [("before", &run.before), ("after", &run.after)] {
        let strained = side.reads_late + side.reads_shed;
        if strained * 100 > side.reads {
            notes.push(format!(
                "{name}: {} reads began over 10 ms late and {} not at all: this machine is too small for --rate {}.",
                count(side.reads_late as f64),
                count(side.reads_shed as f64),
                plan.reads_per_pod
            ));
        }
    }
    notes
}
