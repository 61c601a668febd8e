//! The curves of a simulation as SVG files.

use std::path::Path;

use nearcache_sim::{Arm, FrontierRow, Join, Options, Point, Report};

use super::table::{capacity, name};
use crate::chart::{Axis, Line, file};
use crate::outcome::Failure;

/// Writes the files that there are findings for.
pub(super) fn write(report: &Report, options: &Options, folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, svg) in plots(report, options) {
        let path = folder.join(name);
        std::fs::write(&path, svg).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

fn plots(report: &Report, options: &Options) -> Vec<(&'static str, String)> {
    let mut plots = Vec::new();
    if report.restarts > 0 {
        let by_request = |join: &Join| join.curve.by_request.clone();
        let by_second = |join: &Join| join.curve.by_second.clone();
        let title = "Hit rate after a restart, by request";
        plots.push((
            "join.svg",
            join(report, title, "requests since the restart", by_request),
        ));
        let title = "Hit rate after a restart, by time";
        plots.push((
            "join-seconds.svg",
            join(report, title, "seconds since the restart", by_second),
        ));
    }
    if report.topup_frontier.len() > 1 {
        plots.push(("top-up.svg", frontier(report)));
    }
    if !report.sizing.is_empty() {
        plots.push(("sizing.svg", sizing(report, options)));
    }
    plots
}

fn join(report: &Report, title: &str, unit: &'static str, pick: fn(&Join) -> Vec<Point>) -> String {
    let arms = report.join.iter();
    let lines: Vec<Line> = arms
        .map(|(arm, join)| Line {
            class: class(*arm),
            points: pick(join)
                .iter()
                .map(|point| (point.until, point.hit_rate))
                .collect(),
            marked: true,
        })
        .collect();
    let legend: Vec<_> = report
        .join
        .iter()
        .map(|(arm, join)| {
            let text = format!("{}: first 100 requests {:.3}", name(*arm), join.first_100);
            (class(*arm), text)
        })
        .collect();
    let x = Axis::linear(unit, most(&lines), |value| format!("{value:.0}"));
    file(title, &legend, &x, &rates(), &lines)
}

fn frontier(report: &Report) -> String {
    let point = |row: &FrontierRow| (row.l2_reads_per_read, row.hit_rate);
    let mut points: Vec<_> = report.topup_frontier.iter().map(point).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let line = Line {
        class: "warm",
        points,
        marked: true,
    };
    let lines = [line];
    let x = Axis::linear("reads of L2 per read of a pod", most(&lines), |value| {
        format!("{value:.2}")
    });
    let low = report
        .topup_frontier
        .iter()
        .map(|row| row.hit_rate)
        .fold(1.0, f64::min);
    let from = (low * 20.0).floor() / 20.0;
    let ticks = (0..=5u32).map(|number| from + (1.0 - from) / 5.0 * f64::from(number));
    let y = Axis {
        name: "hit rate",
        from,
        to: 1.0,
        ticks: ticks.map(|rate| (rate, format!("{rate:.2}"))).collect(),
    };
    let legend = [(
        "warm",
        "from fetching nothing ahead to fetching much".to_owned(),
    )];
    file("Hit rate against the load on L2", &legend, &x, &y, &lines)
}

fn sizing(report: &Report, options: &Options) -> String {
    let point = |row: &nearcache_sim::SizingRow| ((row.capacity as f64).log10(), row.hit_rate);
    let points: Vec<_> = report.sizing.iter().map(point).collect();
    let ticks = report.sizing.iter();
    let x = Axis {
        name: "capacity of a pod",
        from: points.first().map_or(0.0, |point| point.0),
        to: points.last().map_or(1.0, |point| point.0),
        ticks: ticks
            .map(|row| {
                let label = capacity(row.capacity, options.capacity);
                ((row.capacity as f64).log10(), label.replace(" entries", ""))
            })
            .collect(),
    };
    let bound = Line {
        class: "bound",
        points: vec![(x.from, report.bound), (x.to, report.bound)],
        marked: false,
    };
    let line = Line {
        class: "warm",
        points,
        marked: true,
    };
    let knee = report.sizing.iter().find(|row| row.knee);
    let mut legend = vec![
        ("warm", "hit rate of the fleet".to_owned()),
        ("bound", format!("bound: {:.3}", report.bound)),
    ];
    if let Some(row) = knee {
        legend[0].1 += &format!("; knee at {}", capacity(row.capacity, options.capacity));
    }
    file(
        "Hit rate by capacity",
        &legend,
        &x,
        &rates(),
        &[bound, line],
    )
}

fn rates() -> Axis {
    Axis::linear("hit rate", 1.0, |value| format!("{value:.1}"))
}

fn most(lines: &[Line]) -> f64 {
    let points = lines.iter().flat_map(|line| &line.points);
    points.map(|point| point.0).fold(0.0, f64::max)
}

fn class(arm: Arm) -> &'static str {
    match arm {
        Arm::Cold => "cold",
        Arm::NeverRestarted => "never",
        Arm::PeerCopy => "peer",
        Arm::KeysFile => "keys",
        Arm::Warm => "warm",
    }
}
