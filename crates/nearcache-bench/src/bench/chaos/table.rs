//! The figures of `bench chaos` for people: what broke, what that cost, and whether an answer was wrong.

use nearcache_cli::grid::Grid;
use nearcache_cli::show::{bytes, count};

use super::report::Run;
use crate::bench::errors;
use crate::document::Document;

/// Everything that is shown at the end.
pub(super) fn table(document: &Document<Run>, columns: usize) -> String {
    let run = &document.run;
    let mut grid = Grid::new([
        "fault",
        ">times",
        ">no answer for",
        ">all well again in",
        ">failed reads",
    ]);
    for kind in &run.fault_kinds {
        let recovery = match (kind.recovery_ms_max, kind.unrecovered) {
            (None, _) => "after the next".to_owned(),
            (Some(ms), 0) => time(ms),
            (Some(ms), more) => format!("{} ({more} later)", time(ms)),
        };
        grid.row([
            kind.fault.name().to_owned(),
            kind.times.to_string(),
            time(kind.unavailable_ms_max),
            recovery,
            count(kind.failed_reads as f64),
        ]);
    }
    let mut text = grid.text(columns);
    text += &format!(
        "\n{} answers checked, {} of them hits; {} writes; {} faults, {} pods killed, {} keys evicted.\n",
        count(run.reads as f64),
        count(run.hits as f64),
        count(run.writes as f64),
        run.faults,
        run.pods_killed,
        run.evicted
    );
    text += &format!(
        "Stale by policy, and marked so: {}. Wrong: {}.\n",
        count(run.stale_by_policy as f64),
        count(run.violations as f64)
    );
    text += &format!(
        "Memory at most: a pod {}, its L1 {} of {}, the server {}.\n",
        bytes(run.resident_bytes_max as f64),
        bytes(run.l1_bytes_max as f64),
        bytes(run.plan.capacity_bytes as f64),
        bytes(run.server_bytes_max as f64)
    );
    if run.shed > 0 {
        text += &format!(
            "{} reads were due and not begun, since too many were waiting in their pod.\n",
            count(run.shed as f64)
        );
    }
    text += &errors::listed(&run.errors, columns);
    if !run.violations_by.is_empty() {
        text += "\nwrong answers\n";
    }
    for (what, times) in &run.violations_by {
        text += &format!("{:>9}  {what}\n", count(*times as f64));
    }
    for violation in &run.violation_examples {
        let who = match violation.pod {
            Some(pod) => format!("pod {pod}"),
            None => "a writer".to_owned(),
        };
        let after = violation.after.map_or("no fault", |fault| fault.name());
        text += &format!(
            "  {:.3} s: {who}, key {}, write {:?}, {} ({}): {} by {:.1} ms, after: {after}\n",
            violation.at_seconds,
            violation.key,
            violation.sequence,
            violation.how,
            if violation.hit { "hit" } else { "no hit" },
            violation.what,
            violation.late_ms
        );
    }
    text + "\n" + &document.verdict
}

fn time(ms: u64) -> String {
    match ms {
        ms if ms >= 1_000 => format!("{:.2} s", ms as f64 / 1e3),
        ms => format!("{ms} ms"),
    }
}
