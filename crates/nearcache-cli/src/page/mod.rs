//! What the pages of the demo and the benchmarks have in common: style, tiles, tables and the latency chart. A page fetches
//! nothing, follows the reader's light or dark, and is readable on a phone.

pub(crate) mod measured;
pub(crate) mod percentiles;

use std::fmt::Write as _;

use crate::bench::fleet::Goal;
use crate::fleet::show::{bytes, count, factor, time};
use crate::fleet::side::Side;
use crate::text::escape;

/// The style of all pages.
const STYLE: &str = include_str!("page.css");

/// The beginning of a page, up to its body.
pub(crate) fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{}</title>\
         <style>\n{STYLE}</style></head>\n<body>\n",
        escape(title)
    )
}

/// A title and the finding below it.
pub(crate) fn opening(title: &str, verdict: &str, good: bool) -> String {
    let kind = if good { "verdict" } else { "verdict bad" };
    format!(
        "<h1>{}</h1>\n<p class=\"{kind}\">{}</p>\n",
        escape(title),
        escape(verdict)
    )
}

/// A figure that is seen first.
pub(crate) struct Tile {
    /// What it is.
    pub(crate) name: String,
    /// The figure.
    pub(crate) figure: String,
    /// What it is compared with.
    pub(crate) beside: String,
}

/// The figures that matter, in a row.
pub(crate) fn tiles(tiles: &[Tile]) -> String {
    let mut text = "<div class=\"tiles\">".to_owned();
    for tile in tiles {
        let _ = write!(
            text,
            "<div class=\"tile\"><span>{}</span><b>{}</b><small>{}</small></div>",
            escape(&tile.name),
            escape(&tile.figure),
            escape(&tile.beside)
        );
    }
    text + "</div>\n"
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

/// What each colour stands for: its class, its name and a few words.
pub(crate) fn legend<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str, String)>) -> String {
    let mut text = "<p class=\"legend\">".to_owned();
    for (class, name, what) in lines {
        let _ = write!(
            text,
            "<span class=\"{class}\"><i></i><b>{name}</b>: {}</span>",
            escape(&what)
        );
    }
    text + "</p>\n"
}

/// How it was measured: names and values, and the command that does it again.
pub(crate) fn facts(rows: &[(&str, String)], command: &str) -> String {
    let mut text = "<h2>How it was measured</h2>\n<dl>".to_owned();
    for (name, value) in rows {
        let _ = write!(text, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    }
    let command = escape(command);
    text + &format!("<dt>command</dt><dd><code>{command}</code></dd></dl>\n")
}

/// A figure of everything that is compared.
pub(crate) struct Line {
    /// What it belongs to; empty, where there are no groups.
    pub(crate) group: &'static str,
    /// What it is.
    pub(crate) name: String,
    /// One for each column.
    pub(crate) cells: Vec<String>,
}

/// What is compared, side by side; columns have a class and a name.
pub(crate) fn compared(columns: &[(&str, &str)], lines: &[Line]) -> String {
    let mut text = "<table class=\"compared\"><thead><tr><th></th>".to_owned();
    for (class, name) in columns {
        let _ = write!(text, "<th class=\"{class}\">{name}</th>");
    }
    text += "</tr></thead><tbody>\n";
    let mut group = "";
    for line in lines {
        if line.group != group {
            group = line.group;
            let _ = writeln!(
                text,
                "<tr class=\"group\"><th colspan=\"{}\">{}</th></tr>",
                columns.len() + 1,
                escape(group)
            );
        }
        let _ = write!(text, "<tr><th>{}</th>", escape(&line.name));
        for cell in &line.cells {
            let _ = write!(text, "<td>{}</td>", escape(cell));
        }
        text += "</tr>\n";
    }
    text + "</tbody></table>\n"
}

/// What was to be reached, and what was.
pub(crate) fn goals(goals: &[Goal], what: &str) -> String {
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

/// What a reader should know.
pub(crate) fn notes(notes: &[String]) -> String {
    let mut text = "<h2>What to know</h2>\n<ul>".to_owned();
    for note in notes {
        let _ = write!(text, "<li>{}</li>", escape(note));
    }
    text + "</ul>\n"
}
