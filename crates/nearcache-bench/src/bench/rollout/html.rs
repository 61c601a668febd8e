//! A run as one page for a browser: the table, the time lines, and how the new pods differ. It fetches nothing.

use nearcache_cli::chart::{Axis, Line, chart};
use nearcache_cli::page;
use nearcache_cli::show::{bytes, count, time};

use super::report::{Newcomer, Run, Stage, Stages};
use super::table;
use crate::document::Document;
use crate::measured::percentiles::round_time;
use crate::measured::{self, Fact, Page};

/// The page: the finding, then what there is to see, then all figures.
pub(super) fn page(document: &Document<Run>, command: &str) -> String {
    let run = &document.run;
    let mut body = tiles(run);
    body += &page::legend([
        (
            "after",
            "warm",
            "a new pod fetches what the fleet reads before it is ready".to_owned(),
        ),
        ("before", "cold", "it does not".to_owned()),
    ]);
    for (title, pick) in STAGES {
        let stages: Vec<(&str, &Stage)> = run
            .sides()
            .filter_map(|(name, side)| Some((name, pick(side)?)))
            .collect();
        if !stages.is_empty() {
            body += &section(title, &stages);
        }
    }
    let names: Vec<(&str, &str)> = run.sides().map(|(name, _)| (class(name), name)).collect();
    body += "<h2>Side by side</h2>\n";
    body += &page::compared(&names, &table::lines(run));
    let page = Page {
        title: format!("nearcache bench rollout: {} pods", run.plan.pods),
        opening: format!(
            "{} pods are replaced, and {} join at once",
            run.options.restarts, run.options.join
        ),
        body,
        of_goals: "",
        facts: &facts(document),
        command,
        notes: &table::notes(document),
        end: String::new(),
    };
    page.text(document)
}

/// The figures that matter of the first change that was tried: warm, and what it is without.
fn tiles(run: &Run) -> String {
    let (warm, cold) = (first(&run.warm), first(&run.cold));
    let Some(shown) = warm.or(cold) else {
        return String::new();
    };
    let other = cold.filter(|_| warm.is_some());
    let tile = |name: &str, show: &dyn Fn(&Stage) -> String| page::Tile {
        name: name.to_owned(),
        figure: show(shown),
        beside: other.map_or_else(String::new, |cold| format!("cold {}", show(cold))),
    };
    page::tiles(&[
        tile("hit rate, first 100 reads of a new pod", &|stage| {
            format!("{:.1} %", 100.0 * stage.first_100.hit_rate)
        }),
        tile("p99 of the other pods meanwhile", &|stage| {
            stage.change.p99_old_us.map_or_else(|| "-".to_owned(), time)
        }),
        tile("most reads at L2 in a second", &|stage| {
            count(stage.change.l2_peak_second_per_s)
        }),
        tile("process start to ready, p50", &|stage| {
            time(stage.ready_p50_seconds * 1e6)
        }),
    ])
}

fn first(side: &Option<Stages>) -> Option<&Stage> {
    let side = side.as_ref()?;
    side.rolling.as_ref().or(side.join.as_ref())
}

type Pick = fn(&Stages) -> Option<&Stage>;

const STAGES: [(&str, Pick); 2] = [
    ("Pods replaced one after the other", |side| {
        side.rolling.as_ref()
    }),
    ("Pods joining at the same moment", |side| side.join.as_ref()),
];

fn facts(document: &Document<Run>) -> Vec<Fact> {
    let run = &document.run;
    let (plan, options) = (&run.plan, &run.options);
    let mut facts = vec![
        measured::data(plan, run.data_bytes, run.capacity_bytes),
        (
            "load",
            format!(
                "{} reads/s of the fleet by Zipf {}, due at random moments, spread over the pods that are ready; {} updates/s",
                count(options.rate),
                plan.zipf,
                plan.writes
            ),
        ),
        (
            "fetched ahead",
            format!(
                "at most {} keys/s of the fleet, or {} % of its highest rate at L2; ready after {} ms in any case",
                count(options.warm_reads as f64),
                options.warm_share,
                options.warm_deadline_ms
            ),
        ),
    ];
    facts.extend(measured::setting(document));
    facts.extend(measured::effort(document));
    facts
}

fn section(title: &str, stages: &[(&str, &Stage)]) -> String {
    let mut text = format!(
        "<h2>{title}</h2>\n<p class=\"soft\">Zero is the beginning of the change; what is left of it is the steady state. P99 \
         is since reads were due, on a logarithmic axis. Pods are in the order of their figure: half of them lie left of \
         50 %.</p>\n<div class=\"charts\">"
    );
    let from = stages
        .iter()
        .map(|(_, stage)| (stage.steady.seconds).min(stage.change_at_seconds))
        .fold(0.0, f64::max);
    let second = |pick: fn(&super::report::Second) -> Option<f64>| {
        move |stage: &Stage| {
            let at = |second: u64| second as f64 + 0.5 - stage.change_at_seconds;
            let points = stage.seconds.iter();
            points
                .filter_map(|second| Some((at(second.second), pick(second)?)))
                .collect()
        }
    };
    text += &over_time(
        "P99 of the fleet",
        "",
        from,
        stages,
        true,
        second(|s| Some(s.p99_us)),
        round_time,
    );
    text += &over_time(
        "P99 of the pods that were there before",
        "",
        from,
        stages,
        true,
        second(|s| s.p99_old_us),
        round_time,
    );
    text += &over_time(
        "Hit rate of the fleet",
        "",
        from,
        stages,
        false,
        second(|s| Some(s.hit_rate * 100.0)),
        |percent| format!("{percent:.0} %"),
    );
    let l2 = |pick: fn(&(f64, f64, f64)) -> f64| {
        move |stage: &Stage| {
            let zero = stage.change_at_seconds;
            stage.l2.iter().map(|at| (at.0 - zero, pick(at))).collect()
        }
    };
    text += &over_time(
        "Reads at L2, by the quarter of a second",
        "reads/s",
        from,
        stages,
        false,
        l2(|at| at.1),
        count,
    );
    text += &over_time(
        "Bytes out of L2",
        "bytes/s",
        from,
        stages,
        false,
        l2(|at| at.2),
        bytes,
    );
    text += &by_pod(
        "Hit rate of the first 100 reads of each new pod",
        stages,
        |pod| pod.first_100.map(|rate| rate * 100.0),
        |percent| format!("{percent:.0} %"),
    );
    text += &by_pod(
        "From the start of a process until ready",
        stages,
        |pod| Some(pod.ready_seconds),
        |seconds| round(seconds * 1e6),
    );
    text + "</div>\n"
}

/// Beside whole seconds only: others would look like their neighbours.
fn whole_second(at: f64) -> String {
    match (at - at.round()).abs() < 0.01 {
        // Rounding may leave a zero with a sign.
        true => format!("{:.0}", at.round() + 0.0),
        false => String::new(),
    }
}

/// A time on an axis that begins at none.
fn round(us: f64) -> String {
    match us {
        us if us < 1.0 => "0".to_owned(),
        us => time(us),
    }
}

fn over_time(
    title: &str,
    unit: &'static str,
    before: f64,
    stages: &[(&str, &Stage)],
    logarithmic: bool,
    points: impl Fn(&Stage) -> Vec<(f64, f64)>,
    show: impl Fn(f64) -> String,
) -> String {
    let height = |value: f64| {
        if logarithmic {
            value.max(1.0).log10()
        } else {
            value
        }
    };
    let lines: Vec<Line> = stages
        .iter()
        .map(|&(name, stage)| Line {
            class: class(name),
            points: points(stage)
                .into_iter()
                .filter(|point| point.0 >= -before)
                .map(|(at, value)| (at, height(value)))
                .collect(),
            marked: false,
        })
        .collect();
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = all().map(|point| point.1).fold(0.0, f64::max);
    let least = all().map(|point| point.1).fold(most, f64::min);
    let y = match logarithmic {
        true => Axis::decades(unit, (least, most), show),
        false => Axis::linear(unit, most, show),
    };
    let last = all().map(|point| point.0).fold(1.0, f64::max);
    let whole = Axis::linear("", last, |_| String::new());
    let step = whole.ticks.get(1).map_or(last, |tick| tick.0);
    let first = -(before / step).floor();
    let count = (last / step).ceil() - first;
    let x = Axis {
        name: "seconds since the change began",
        from: -before,
        to: (first + count) * step,
        ticks: (0..=count as u32)
            .map(|number| (first + f64::from(number)) * step)
            .map(|at| (at, whole_second(at)))
            .collect(),
    };
    chart(title, "", &x, &y, &lines)
}

/// One point for each new pod, in the order of the figure.
fn by_pod(
    title: &str,
    stages: &[(&str, &Stage)],
    pick: fn(&Newcomer) -> Option<f64>,
    show: impl Fn(f64) -> String,
) -> String {
    let lines: Vec<Line> = stages
        .iter()
        .map(|&(name, stage)| {
            let mut values: Vec<f64> = stage.newcomers.iter().filter_map(pick).collect();
            values.sort_by(f64::total_cmp);
            let step = 100.0 / values.len().max(1) as f64;
            Line {
                class: class(name),
                points: (0u32..)
                    .zip(values)
                    .map(|(at, value)| ((f64::from(at) + 0.5) * step, value))
                    .collect(),
                marked: true,
            }
        })
        .collect();
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = all().map(|point| point.1).fold(0.0, f64::max);
    let y = Axis::linear("", most, show);
    let x = Axis::linear("per cent of the new pods", 100.0, |percent| {
        format!("{percent:.0}")
    });
    chart(title, "", &x, &y, &lines)
}

/// The colour of a side: those of the page's architectures.
fn class(side: &str) -> &'static str {
    match side {
        "warm" => "after",
        _ => "before",
    }
}
