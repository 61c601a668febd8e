//! The tables of the page: the same figures as in the terminal.

use std::fmt::Write as _;

use nearcache_cli::page;
use nearcache_cli::show::{bytes, count, or_dash, percent, time};
use nearcache_cli::text::escape;

use super::super::report::{PhaseKind, Row, Run};
use super::super::table;
use crate::fleet::plan::Arm;

/// The architectures side by side.
pub(super) fn compared(run: &Run) -> String {
    let names: Vec<(&str, &str)> = run
        .arms()
        .map(|(arm, _)| (arm.name(), arm.name()))
        .collect();
    format!(
        "<h2>Side by side, as fast as before could go</h2>\n<p class=\"soft\">All at {} reads/s of the fleet, the 100 % \
         rate. All reads count, misses included; what was checked for staleness includes filling and the own maximum.</p>\n{}",
        count(run.base_rate_per_s),
        page::compared(&names, &table::compared(run))
    )
}

/// What other parameters make of it.
pub(super) fn sensitivity(run: &Run) -> String {
    let of = |row: &&Row| row.kind == PhaseKind::Sensitivity;
    let usual = run.rows.iter().filter(|row| {
        row.kind == PhaseKind::Rate
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
        .filter(|row| row.kind != PhaseKind::Sensitivity)
        .collect();
    format!("<h2>All phases</h2>\n{}", phases_of(&rows))
}

/// The figures of a phase.
const NAMES: [&str; 13] = [
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
];

fn phases_of(rows: &[&Row]) -> String {
    let mut text = "<div class=\"wide\"><table class=\"phases\"><thead><tr>".to_owned();
    text += "<th>phase</th>";
    for name in NAMES {
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
        let cells = [
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
        ];
        for (name, cell) in NAMES.iter().zip(cells) {
            let _ = write!(text, "<td data-name=\"{name}\">{cell}</td>");
        }
        let class = if side.stale_reads > 0 {
            " class=\"bad\""
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "<td{class} data-name=\"stale\">{}</td></tr>",
            count(side.stale_reads as f64)
        );
    }
    text + "</tbody></table></div>\n"
}
