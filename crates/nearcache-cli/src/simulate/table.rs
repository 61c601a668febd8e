//! The findings as text for a terminal.

use std::fmt::Write as _;

use nearcache_sim::{Arm, Capacity, Options, Report};

use super::Speed;
use super::input::Guessed;
use crate::grid::Grid;
use crate::show::{bytes, count};
use crate::terminal;

/// What is printed.
pub(super) fn text(report: &Report, options: &Options, guessed: Guessed, speed: Speed) -> String {
    let columns = terminal::columns();
    let mut text = String::new();
    fleet(&mut text, report, options, columns);
    if guessed.keys > 0 {
        let _ = writeln!(
            text,
            "\nThe trace does not say how large the values of {} of {} keys are: taken as {}, {}",
            count(guessed.keys as f64),
            count(report.keys as f64),
            bytes(guessed.bytes.into()),
            match guessed.median {
                true => "the median of those it says",
                false => "as it says none (see --sizes)",
            }
        );
    }
    if report.restarts > 0 {
        joins(&mut text, report, columns);
    }
    if report.restarts < report.restarts_asked {
        let _ = writeln!(
            text,
            "\n{} of the {} restarts that were asked for could be watched: the trace ends before their pod, once it was \
             ready, had 400 reads",
            report.restarts, report.restarts_asked
        );
    }
    if report.topup_frontier.len() > 1 {
        frontier(&mut text, report, columns);
    }
    if !report.sizing.is_empty() {
        sizing(&mut text, report, options, columns);
    }
    let _ = writeln!(
        text,
        "\n{} requests simulated in {:.1} s: {} a second, {} a second of one core",
        count(report.simulated_requests as f64),
        speed.elapsed_seconds,
        count(speed.requests_per_second),
        count(speed.requests_per_cpu_second)
    );
    if report.failed_reads > 0 {
        let failed = count(report.failed_reads as f64);
        let _ = writeln!(
            text,
            "{failed} reads failed, which should not be: the figures are wrong"
        );
    }
    text
}

/// A capacity in its unit.
pub(super) fn capacity(amount: u64, unit: Capacity) -> String {
    match unit {
        Capacity::Entries(_) => format!("{} entries", count(amount as f64)),
        Capacity::Bytes(_) => bytes(amount as f64),
    }
}

/// A time of a trace.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// How an arm is called.
pub(super) fn name(arm: Arm) -> &'static str {
    match arm {
        Arm::Cold => "cold",
        Arm::NeverRestarted => "never restarted",
        Arm::PeerCopy => "copy of one peer",
        Arm::KeysFile => "fixed file of keys",
        Arm::Warm => "warm start",
    }
}

fn fleet(text: &mut String, report: &Report, options: &Options, columns: usize) {
    let amount = match options.capacity {
        Capacity::Entries(amount) | Capacity::Bytes(amount) => amount as u64,
    };
    let _ = writeln!(
        text,
        "{} requests for {} keys in {}; {} pods of {} each; steady state: without the first eighth\n",
        count(report.requests as f64),
        count(report.keys as f64),
        span(report.span_seconds),
        options.pods,
        capacity(amount, options.capacity)
    );
    let (bounds, pods, l2) = (&report.bounds, &report.pods, &report.l2);
    let rows = [
        (
            "hit rate of the fleet",
            format!("{:.4}", report.hit_rate.no_warm),
        ),
        (
            "  of its pods: lowest, middle, highest",
            format!("{:.4}  {:.4}  {:.4}", pods.min, pods.median, pods.max),
        ),
        (
            "bound: keys that anyone had read before",
            format!("{:.4}", bounds.ever),
        ),
        (
            "  that anyone had read in the last 12 h",
            format!("{:.4}", bounds.last_12h),
        ),
        (
            "  that the same pod had read before",
            format!("{:.4}", bounds.own),
        ),
        (
            "reads of L2 per read of a pod",
            format!("{:.4}", report.l2_reads_per_read.no_warm),
        ),
        (
            "reads of L2 a second, and in the busiest minute",
            format!(
                "{:.2}  {:.2}",
                l2.reads_per_second, l2.peak_reads_per_second
            ),
        ),
        (
            "bytes out of L2 a second, and in the busiest minute",
            format!(
                "{}  {}",
                bytes(l2.bytes_per_second),
                bytes(l2.peak_bytes_per_second)
            ),
        ),
    ];
    let mut grid = Grid::new(["", ""]);
    for (what, figure) in rows {
        grid.row([what, &figure]);
    }
    *text += &grid.text(columns);
}

fn joins(text: &mut String, report: &Report, columns: usize) {
    let _ = writeln!(
        text,
        "\nHit rate of a restarted pod, mean of {} restarts (± standard error), and by request number\n",
        report.restarts
    );
    let curve = report.join.values().next();
    let points = curve.into_iter().flat_map(|join| &join.curve.by_request);
    let heads = ["", ">first 100", ">first 400"].map(str::to_owned);
    let until = points.map(|point| format!(">{:.0}", point.until));
    let mut grid = Grid::new(heads.into_iter().chain(until));
    for (arm, join) in &report.join {
        let points = join.curve.by_request.iter();
        let cells = [
            name(*arm).to_owned(),
            format!("{:.4} ± {:.4}", join.first_100, join.first_100_error),
            format!("{:.4}", join.first_400),
        ];
        let curve = points.map(|point| format!("{:.3}", point.hit_rate));
        grid.row(cells.into_iter().chain(curve));
    }
    grid.row([
        "bound: known for 12 h".to_owned(),
        format!("{:.4}", report.join_bound.first_100),
        format!("{:.4}", report.join_bound.first_400),
    ]);
    *text += &grid.text(columns);
    if let Some(starts) = &report.warm.starts {
        let _ = writeln!(
            text,
            "\nA warm start fetched {} keys, {}, in {:.2} s on average: {:.1} % of what the fleet reads; {:.1} % of the keys were \
             not read in the first 400 requests",
            count(starts.keys),
            bytes(starts.bytes),
            starts.seconds,
            100.0 * starts.share_of_reads,
            100.0 * starts.unread_share
        );
    }
}

fn frontier(text: &mut String, report: &Report, columns: usize) {
    *text += "\nFetching ahead what a pod expects to read so often within an hour\n\n";
    let mut grid = Grid::new([
        "reads",
        ">hit rate",
        ">L2 reads per read",
        ">ahead per read",
        ">of that wasted",
    ]);
    for row in &report.topup_frontier {
        let theta = row
            .theta
            .map_or_else(|| "nothing".to_owned(), |theta| theta.to_string());
        grid.row([
            theta,
            format!("{:.4}", row.hit_rate),
            format!("{:.4}", row.l2_reads_per_read),
            format!("{:.4}", row.ahead_per_read),
            format!("{:.3}", row.wasted_share),
        ]);
    }
    *text += &grid.text(columns);
}

fn sizing(text: &mut String, report: &Report, options: &Options, columns: usize) {
    text.push('\n');
    let heads = [
        "capacity of a pod",
        ">about",
        ">hit rate",
        ">L2 reads per read",
        "",
    ];
    let mut grid = Grid::new(heads);
    for row in &report.sizing {
        let knee = if row.knee {
            "<- knee: more buys little"
        } else {
            ""
        };
        grid.row([
            capacity(row.capacity, options.capacity),
            bytes(row.about_bytes as f64),
            format!("{:.4}", row.hit_rate),
            format!("{:.4}", row.l2_reads_per_read),
            knee.to_owned(),
        ]);
    }
    *text += &grid.text(columns);
}
