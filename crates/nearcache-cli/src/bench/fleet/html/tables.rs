//! The tables of the page: the same figures as in the terminal.

use std::fmt::Write as _;

use super::super::report::{Kind, Row, Run};
use super::super::table::{self, or_dash, percent};
use crate::bench::page::{self, text::escape};
use crate::fleet::plan::Arm;
use crate::fleet::show::{bytes, count, time};

/// The architectures side by side.
pub(super) fn compared(run: &Run) -> String {
    let mut text = format!(
        "<h2>Side by side</h2>\n<p class=\"soft\">All at {} reads/s of the fleet, the 100 % rate. All reads count, misses \
         included; what was checked for staleness \
         includes filling and the own maximum.</p>\n<div class=\"wide\"><table><thead><tr><th></th>",
        count(run.base_rate_per_s)
    );
    let columns = run.arms().count() + 1;
    for (arm, _) in run.arms() {
        let _ = write!(text, "<th class=\"{0}\">{0}</th>", arm.name());
    }
    text += "</tr></thead><tbody>\n";
    let mut group = "";
    for line in table::compared(run) {
        if line.group != group {
            group = line.group;
            let _ = writeln!(
                text,
                "<tr class=\"group\"><th colspan=\"{columns}\">{}</th></tr>",
                escape(group)
            );
        }
        let _ = write!(text, "<tr><th>{}</th>", escape(&line.name));
        for cell in &line.cells {
            let _ = write!(text, "<td>{}</td>", escape(cell));
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>\n"
}

/// What other parameters make of it.
pub(super) fn sensitivity(run: &Run) -> String {
    let of = |row: &&Row| row.kind == Kind::Sensitivity;
    let usual = run.rows.iter().filter(|row| {
        row.kind == Kind::Rate
            && row.figures.asked_reads_per_s == Some(run.base_rate_per_s)
            && run.rows.iter().filter(of).any(|other| other.arm == row.arm)
    });
    let rows: Vec<&Row> = usual.chain(run.rows.iter().filter(of)).collect();
    let mut text = "<h2>What makes it worse</h2>\n<p class=\"soft\">At the 100 % rate, first with the defaults of this run, \
                    then with less room or more updates. Steady: what the hit rate would become if the phase went \
                    on.</p>\n"
        .to_owned();
    text += &phases_of(&rows);
    text
}

/// Every phase.
pub(super) fn phases(run: &Run) -> String {
    let rows: Vec<&Row> = run
        .rows
        .iter()
        .filter(|row| row.kind != Kind::Sensitivity)
        .collect();
    format!("<h2>All phases</h2>\n{}", phases_of(&rows))
}

fn phases_of(rows: &[&Row]) -> String {
    let mut text = "<div class=\"wide\"><table class=\"phases\"><thead><tr>".to_owned();
    for name in [
        "phase",
        "room per pod",
        "writes/s",
        "reads/s",
        "mean",
        "p50",
        "p99",
        "p99.9",
        "max",
        "p99 since due",
        "hit rate",
        "steady",
        "reads/s at L2",
        "stale",
    ] {
        let _ = write!(text, "<th>{name}</th>");
    }
    text += "</tr></thead><tbody>\n";
    for row in rows {
        let (figures, side) = (&row.figures, &row.figures.side);
        let _ = write!(
            text,
            "<tr><th><span class=\"{0}\">{0}</span> {1}</th>",
            row.arm.name(),
            escape(&row.name)
        );
        for cell in [
            or_dash(
                (row.arm != Arm::Before).then_some(row.capacity_bytes as f64),
                bytes,
            ),
            format!("{:.1}", figures.writes_per_s),
            count(side.reads_per_s),
            time(side.mean_us),
            time(side.p50_us),
            time(side.p99_us),
            time(side.p999_us),
            time(side.max_us),
            or_dash(figures.intended_p99_us, time),
            percent(side.hit_rate),
            or_dash(figures.steady_hit_rate, percent),
            count(side.l2_reads_per_s),
        ] {
            let _ = write!(text, "<td>{cell}</td>");
        }
        let class = if side.stale_reads > 0 {
            " class=\"bad\""
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "<td{class}>{}</td></tr>",
            count(side.stale_reads as f64)
        );
    }
    text + "</tbody></table></div>\n"
}

/// What was to be reached, and what was.
pub(super) fn goals(run: &Run) -> String {
    if run.goals.is_empty() {
        return String::new();
    }
    format!(
        "<h2>Goals</h2>\n<p class=\"soft\">Set for the defaults on 2 cores; with other parameters they are only figures.</p>\n{}",
        page::goals(&run.goals)
    )
}
