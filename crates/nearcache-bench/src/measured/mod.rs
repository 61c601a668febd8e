//! What the pages of the demo and the benchmarks have in common beyond the frame: the figures of two sides, the goals, how
//! it was measured, and the chart of latencies.

pub(crate) mod percentiles;

use std::fmt::Write as _;

use nearcache_cli::page::{self, Tile};
use nearcache_cli::show::{bytes, count, factor, time};
use nearcache_cli::text::escape;

use crate::document::Document;
use crate::fleet::plan::Plan;
use crate::fleet::side::Side;
use crate::goal::Goal;

/// A name and its value.
pub(crate) type Fact = (&'static str, String);

/// The data, and the room for it.
pub(crate) fn data(plan: &Plan, data_bytes: u64, capacity_bytes: usize) -> Fact {
    let text = format!(
        "{} keys of {}, {} in all; {} of L1 per pod",
        count(plan.keys.into()),
        bytes(plan.value_bytes as f64),
        bytes(data_bytes as f64),
        bytes(capacity_bytes as f64)
    );
    ("data", text)
}

/// What would have to be the same for the same run.
pub(crate) fn setting<R>(document: &Document<R>) -> [Fact; 3] {
    let versions = format!(
        "nearcache {}; {}",
        env!("CARGO_PKG_VERSION"),
        document.server
    );
    [
        ("seed", document.seed.to_string()),
        ("machine", document.hardware.line()),
        ("versions", versions),
    ]
}

/// What else the machine did, and how long it took.
pub(crate) fn effort<R>(document: &Document<R>) -> [Fact; 2] {
    let load = document.hardware.load_before;
    let took = document.elapsed_seconds.unwrap_or_default();
    [
        (
            "load average before",
            load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}")),
        ),
        ("took", format!("{took:.0} s")),
    ]
}

/// The page of a run: the finding, then what there is to see, then how it was measured.
pub(crate) struct Page<'a> {
    /// Of the browser's tab.
    pub(crate) title: String,
    /// What was done.
    pub(crate) opening: String,
    /// Everything that is to be seen of this run alone.
    pub(crate) body: String,
    /// What is said of the goals.
    pub(crate) of_goals: &'a str,
    /// How it was measured.
    pub(crate) facts: &'a [Fact],
    /// What does it again.
    pub(crate) command: &'a str,
    /// What a reader should know.
    pub(crate) notes: &'a [String],
    /// Elements after all else.
    pub(crate) end: String,
}

impl Page<'_> {
    /// The page as text.
    pub(crate) fn text<R>(&self, document: &Document<R>) -> String {
        let parts = [
            &page::opening(&self.opening, &document.verdict, document.good),
            &self.body,
            &goals(document.goals(), self.of_goals),
            &page::facts(self.facts, self.command),
            &page::notes(self.notes),
            &self.end,
        ];
        page::whole(&self.title, &parts.map(String::as_str).concat())
    }
}

/// The four that matter of two sides.
pub(crate) fn before_after(at: &str, before: &Side, after: &Side) -> [Tile; 4] {
    let tile = |name: String, before: String, after: String, change: String| Tile {
        name,
        figure: after,
        beside: format!("before {before}: {change}"),
    };
    let micros = |name: &str, of: fn(&Side) -> f64| {
        let (was, is) = (of(before), of(after));
        tile(format!("{name}{at}"), time(was), time(is), factor(was, is))
    };
    let (was, is) = (before.l2_reads_per_s, after.l2_reads_per_s);
    let left = 100.0 * is / was.max(f64::MIN_POSITIVE);
    let memory = |side: &Side| match side.rss_bytes_per_pod {
        Some(taken) => bytes(taken as f64),
        None => "-".to_owned(),
    };
    let rss = |side: &Side| side.rss_bytes_per_pod.unwrap_or(0) as f64;
    [
        micros("mean read", |side| side.mean_us),
        micros("p99", |side| side.p99_us),
        Tile {
            name: "reads left at L2".to_owned(),
            figure: format!("{left:.2} %"),
            beside: format!("{}/s of {}/s", count(is), count(was)),
        },
        tile(
            "memory per pod".to_owned(),
            memory(before),
            memory(after),
            factor(rss(before), rss(after)),
        ),
    ]
}

/// What was to be reached, and what was.
fn goals(goals: &[Goal], what: &str) -> String {
    if goals.is_empty() {
        return String::new();
    }
    let mut table = format!(
        "<h2>Goals</h2>\n<p class=\"soft\">{}</p>\n<table class=\"text\"><thead><tr><th>goal</th><th>wanted</th><th>found</th>\
         <th>reached</th></tr></thead><tbody>\n",
        escape(what)
    );
    for goal in goals {
        let (class, word) = match goal.reached {
            true => ("after", "yes"),
            false => ("bad", "no"),
        };
        let _ = writeln!(
            table,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td class=\"{class}\">{word}</td></tr>",
            escape(&goal.name),
            escape(&goal.wanted),
            escape(&goal.found)
        );
    }
    table + "</tbody></table>\n"
}
