//! A run of the demo as one page for a browser. It fetches nothing, and shows no figure that is not in the terminal too.

use nearcache_cli::chart::{Axis, Line, chart};
use nearcache_cli::page;
use nearcache_cli::show::{bytes, count};

use super::report::Run;
use super::table;
use crate::document::Document;
use crate::fleet::load::merged;
use crate::fleet::plan::Arm;
use crate::fleet::side::Measured;
use crate::measured::percentiles::{buckets, percentiles, steps};
use crate::measured::{self, Fact, Page};

/// What is drawn of a side.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// Latencies of the timed reads.
    latencies: Vec<(f64, u64)>,
    /// Reads a second at L2 by the second, from a cold start and when timed; empty without a server.
    cold: Vec<(f64, f64)>,
    timed: Vec<(f64, f64)>,
}

impl Drawn {
    /// Keeps of two phases what is drawn.
    pub(super) fn new(cold: &Measured, timed: &Measured) -> Self {
        Self {
            latencies: buckets(&merged(&timed.reports, |report| &report.latencies)),
            cold: at_l2(cold),
            timed: at_l2(timed),
        }
    }
}

/// Reads a second at L2 between two words of the server, at the end of each such time.
fn at_l2(phase: &Measured) -> Vec<(f64, f64)> {
    let pairs = phase.series.windows(2).map(|pair| {
        let seconds = (pair[1].at_ns.saturating_sub(pair[0].at_ns)) as f64 / 1e9;
        let reads = pair[1].reads.saturating_sub(pair[0].reads) as f64;
        let at = pair[1].at_ns.saturating_sub(phase.start_ns) as f64 / 1e9;
        (at, seconds, reads)
    });
    // Of next to no time there is no rate.
    pairs
        .filter(|(_, seconds, _)| *seconds > 0.2)
        .map(|(at, seconds, reads)| (at, reads / seconds))
        .collect()
}

/// The page: the finding, then what there is to see, then all figures.
pub(super) fn page(document: &Document<Run>, drawn: &[Drawn; 2], command: &str) -> String {
    let run = &document.run;
    let plan = &run.plan;
    let mut body = page::tiles(&measured::before_after("", &run.before, &run.after));
    let before = match run.pods_are_processes {
        true => format!("every read asks L2, {} pooled connections a pod", plan.pool),
        false => "nearcache that keeps nothing".to_owned(),
    };
    let after = format!(
        "nearcache in front of the same L2, {} a pod",
        bytes(run.capacity_bytes as f64)
    );
    body += &page::legend([("before", "before", before), ("after", "after", after)]);
    body += "<h2>What changes</h2>\n<div class=\"charts\">";
    let latencies = drawn.iter().zip(CLASSES).map(|(side, class)| Line {
        class,
        points: steps(
            &side.latencies,
            side.latencies.iter().map(|bucket| bucket.1).sum(),
        ),
        marked: false,
    });
    body += &percentiles(
        "How long all but the slowest reads took",
        "latency",
        latencies,
    );
    body += &reads("Reads at L2, from a cold start", drawn, |side| &side.cold);
    body += &reads("Reads at L2, timed", drawn, |side| &side.timed);
    body += "</div>\n<h2>Side by side</h2>\n";
    let columns = [("before", "before"), ("after", "after"), ("", "")];
    let lines: Vec<page::Compared> = table::rows(run)
        .into_iter()
        .map(|[name, before, after, change]| page::Compared {
            group: "",
            name,
            cells: vec![before, after, change],
        })
        .collect();
    body += &page::compared(&columns, &lines);
    let page = Page {
        title: format!("nearcache demo: {} pods", plan.pods),
        opening: format!("{} pods, before and after, the same reads", plan.pods),
        body,
        of_goals: "",
        facts: &facts(document),
        command,
        notes: &table::notes(document),
        end: String::new(),
    };
    page.text(document)
}

const CLASSES: [&str; 2] = ["before", "after"];

/// On a logarithmic axis: what is left of a load is seen beside the load.
fn reads(title: &str, drawn: &[Drawn; 2], pick: fn(&Drawn) -> &Vec<(f64, f64)>) -> String {
    let lines: Vec<Line> = drawn
        .iter()
        .zip(CLASSES)
        .map(|(side, class)| Line {
            class,
            points: pick(side)
                .iter()
                .map(|&(at, rate)| (at, rate.max(1.0).log10()))
                .collect(),
            marked: true,
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return String::new();
    }
    let most = |pick: fn(&(f64, f64)) -> f64| points().map(pick).fold(0.0, f64::max);
    let x = Axis::linear("seconds", most(|point| point.0), |at| {
        match at.fract() > 0.01 {
            true => String::new(),
            false => format!("{at:.0}"),
        }
    });
    let y = Axis::decades("reads/s", (0.0, most(|point| point.1)), count);
    chart(title, "", &x, &y, &lines)
}

fn facts(document: &Document<Run>) -> Vec<Fact> {
    let run = &document.run;
    let plan = &run.plan;
    let name = |arm: Arm| arm.name();
    let mut facts = vec![
        measured::data(plan, run.data_bytes, run.capacity_bytes),
        (
            "load",
            format!(
                "reads by Zipf {} at {}/s and pod, due at random moments; {} writes/s; {} and {} each: {} s cold, {} s flat \
                 out, {} s timed",
                plan.zipf,
                count(plan.reads_per_pod),
                plan.writes,
                name(Arm::Before),
                name(Arm::After),
                plan.cold_seconds,
                plan.flat_out_seconds,
                plan.seconds
            ),
        ),
    ];
    facts.extend(measured::setting(document));
    facts
}
