//! What the charts of the page show: latencies by percentile, and the seconds of a phase.

use nearcache_cli::chart::{Axis, Line, chart};
use nearcache_cli::show::{bytes, count};
use nearcache_cli::text::escape;

use super::super::arms::OWN_RATE;
use super::super::report::{Figures, PhaseKind, Run, Second};
use super::super::verdict::share;
use crate::fleet::plan::Arm;
use crate::measured::percentiles::{Buckets, percentiles, steps};

/// Latency distributions where a fleet is run, and at saturation.
pub(super) fn distributions(run: &Run) -> String {
    let full: Vec<(Arm, &Figures)> = run.arms().collect();
    let asked = |figures: &Figures| figures.asked_reads_per_s.unwrap_or(run.base_rate_per_s);
    let own: Vec<(Arm, &Figures)> = full
        .iter()
        .filter_map(|&(arm, _)| {
            let own = run.options.trace_reads_per_s?;
            let mut rows = run.rows.iter();
            let row = rows.find(|row| {
                row.arm == arm && row.kind == PhaseKind::Rate && asked(&row.figures) == own
            })?;
            Some((arm, &row.figures))
        })
        .collect();
    let usual: Vec<(Arm, &Figures)> = full
        .iter()
        .filter_map(|&(arm, _)| Some((arm, run.usual(arm)?)))
        .filter(|(_, figures)| asked(figures) < run.base_rate_per_s)
        .collect();
    let mut text = "<h2>Latencies</h2>\n<p class=\"soft\">How long all but the slowest reads took, on logarithmic axes: at \
                    p99 one read in a hundred took longer. The call includes waiting for a pooled connection; since the \
                    read was due also counts what it waited before it began.</p>\n"
        .to_owned();
    for arms in [own, usual, full] {
        let Some(&(_, first)) = arms.first() else {
            continue;
        };
        let rate = asked(first);
        let share = match run.options.trace_reads_per_s == Some(rate) {
            true => OWN_RATE.to_owned(),
            false => share(run, first),
        };
        let title = format!("At {share}: {} reads/s", count(rate));
        text += &format!("<h3>{}</h3>\n<div class=\"charts\">", escape(&title));
        text += &distribution("The read call", &arms, |figures| &figures.latency_buckets);
        text += &distribution("Since the read was due", &arms, |figures| {
            &figures.intended_buckets
        });
        text += "</div>\n";
    }
    text + &ages(&run.arms().collect::<Vec<_>>())
}

/// By how much what was served was behind, where anything was.
fn ages(arms: &[(Arm, &Figures)]) -> String {
    let points = |&(arm, figures): &(Arm, &Figures)| Line {
        class: arm.name(),
        points: steps(&figures.age_buckets, figures.age_samples),
        marked: false,
    };
    let chart = percentiles("Age of what was served", "behind", arms.iter().map(points));
    if chart.is_empty() {
        return chart;
    }
    format!(
        "<h3>Ages at the 100 % rate</h3>\n<p class=\"soft\">For how long a newer value had been acknowledged when the read \
         began. A line begins at the share of reads that got the newest; without one, all did.</p>\n\
         <div class=\"charts\">{chart}</div>\n"
    )
}

fn distribution(title: &str, arms: &[(Arm, &Figures)], pick: fn(&Figures) -> &Buckets) -> String {
    let points = |&(arm, figures): &(Arm, &Figures)| {
        let buckets = pick(figures);
        let all = buckets.iter().map(|bucket| bucket.1).sum();
        Line {
            class: arm.name(),
            points: steps(buckets, all),
            marked: false,
        }
    };
    percentiles(title, "latency", arms.iter().map(points))
}

/// Hit rate and the load at L2, second by second.
pub(super) fn over_time(run: &Run) -> String {
    let filling: Vec<(Arm, &Figures)> = run
        .rows
        .iter()
        .filter(|row| row.kind == PhaseKind::Fill)
        .map(|row| (row.arm, &row.figures))
        .collect();
    let full: Vec<(Arm, &Figures)> = run.arms().collect();
    let mut text = "<h2>Hit rate and load at L2 over time</h2>\n<p class=\"soft\">The hit rate of a second compares the \
                    reads that ended in it with those that L2 counted, and L2 is asked at other moments: it can be some per \
                    cent off. Reads at L2 have a logarithmic axis; less than one a second is drawn as one.</p>\n"
        .to_owned();
    let percent = |value: f64| format!("{value:.0} %");
    for (title, arms, hits) in [
        ("At the 100 % rate", full, true),
        (
            "While filling from empty pods: each key once that there is room for",
            filling,
            false,
        ),
    ] {
        if arms.iter().all(|(_, figures)| figures.series.is_empty()) {
            continue;
        }
        text += &format!("<h3>{title}</h3>\n<div class=\"charts\">");
        if hits {
            text += &series(
                "Hit rate",
                "",
                &arms,
                |second| second.hit_rate * 100.0,
                percent,
            );
        }
        text += &reads_at_l2(&arms);
        text += &series(
            "Bytes out of L2",
            "bytes/s",
            &arms,
            |second| second.l2_bytes_per_s,
            bytes,
        );
        if hits {
            text += &series(
                "Processor used by L2",
                "of one core",
                &arms,
                |second| second.l2_cpu_percent,
                percent,
            );
        }
        text += "</div>\n";
    }
    text
}

/// On a logarithmic axis: what is left of a load is seen beside the load.
fn reads_at_l2(arms: &[(Arm, &Figures)]) -> String {
    let lines = lines(arms, |second| second.l2_reads_per_s.max(1.0).log10());
    let most = largest(&lines, |point| point.1);
    let y = Axis::decades("reads/s", (0.0, most), count);
    chart("Reads at L2", "", &seconds(&lines), &y, &lines)
}

fn series(
    title: &str,
    unit: &'static str,
    arms: &[(Arm, &Figures)],
    pick: fn(&Second) -> f64,
    show: impl Fn(f64) -> String,
) -> String {
    let lines = lines(arms, pick);
    let y = Axis::linear(unit, largest(&lines, |point| point.1), show);
    chart(title, "", &seconds(&lines), &y, &lines)
}

fn lines(arms: &[(Arm, &Figures)], pick: fn(&Second) -> f64) -> Vec<Line> {
    let line = |&(arm, figures): &(Arm, &Figures)| Line {
        class: arm.name(),
        points: figures
            .series
            .iter()
            .map(|second| (second.second as f64 + 1.0, pick(second)))
            .collect(),
        marked: true,
    };
    arms.iter().map(line).collect()
}

fn largest(lines: &[Line], pick: fn(&(f64, f64)) -> f64) -> f64 {
    let points = lines.iter().flat_map(|line| &line.points);
    points.map(pick).fold(0.0, f64::max)
}

/// The axis of time.
fn seconds(lines: &[Line]) -> Axis {
    Axis::linear("seconds", largest(lines, |point| point.0), |value| {
        match value.fract() > 0.01 {
            true => String::new(),
            false => format!("{value:.0}"),
        }
    })
}
