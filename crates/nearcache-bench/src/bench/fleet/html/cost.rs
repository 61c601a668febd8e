//! What each architecture uses of what one pays for, with fields for the prices.

use std::fmt::Write as _;

use nearcache_cli::show::{bytes, count};

use super::super::report::{Figures, Run};

/// The cost box. The script finds the amounts in it.
pub(super) fn cost(run: &Run) -> String {
    let arms: Vec<_> = run.arms().collect();
    let mut text = "<h2>Cost</h2>\n<p class=\"soft\">What was used at the 100 % rate. A month has 730 hours; RAM is what was \
                    in use, and that of the pods counts: it is what a cache near the reader costs. Commands and bytes \
                    include what the measuring of the lag cost; checked reads, filling and the own maximum.</p>\n<div id=\"cost\">\n<div class=\"prices\">"
        .to_owned();
    for (name, what, value) in [
        ("server", "GB-month of RAM at L2", ""),
        ("pods", "GB-month of RAM in pods", ""),
        ("transfer", "GB out of L2", ""),
        ("ops", "million commands at L2", ""),
        ("share", "average load, % of this rate", "100"),
    ] {
        let what = if name == "share" {
            what.to_owned()
        } else {
            format!("price per {what}")
        };
        let _ = write!(
            text,
            "<label>{what}<input type=\"number\" min=\"0\" step=\"any\" name=\"{name}\" value=\"{value}\"></label>"
        );
    }
    text += "</div>\n<div class=\"wide\"><table><thead><tr><th></th>";
    for (arm, figures) in &arms {
        let name = arm.name();
        let _ = write!(
            text,
            "<th class=\"{name}\" id=\"cost-{name}\" data-server=\"{}\" data-pods=\"{:.0}\" data-bytes=\"{:.0}\" \
             data-ops=\"{:.3}\">{name}</th>",
            figures.l2_memory_bytes,
            pods(figures),
            figures.side.l2_bytes_per_s.unwrap_or(0.0),
            figures.l2_commands_per_s
        );
    }
    text += "</tr></thead><tbody>\n";
    let mut row = |name: &str, show: &dyn Fn(&Figures) -> String| {
        let _ = write!(text, "<tr><th>{name}</th>");
        for (_, figures) in &arms {
            let _ = write!(text, "<td>{}</td>", show(figures));
        }
        text += "</tr>\n";
    };
    row("reads/s served", &|figures| count(figures.side.reads_per_s));
    row("commands/s at L2", &|figures| {
        count(figures.l2_commands_per_s)
    });
    row("bytes/s out of L2", &|figures| {
        bytes(figures.side.l2_bytes_per_s.unwrap_or(0.0))
    });
    row("connections at L2", &|figures| {
        count(figures.side.connections.unwrap_or(0) as f64)
    });
    row("RAM at L2", &|figures| {
        bytes(figures.l2_memory_bytes as f64)
    });
    row("RAM of all pods, own servers included", &|figures| {
        bytes(pods(figures))
    });
    if run.sidecar.is_some() {
        let own = |figures: &Figures,
                   pick: fn(&super::super::report::Sidecars) -> f64,
                   show: fn(f64) -> String| {
            figures
                .sidecars
                .as_ref()
                .map_or_else(|| "-".to_owned(), |servers| show(pick(servers)))
        };
        row("commands/s at own servers", &|figures| {
            own(figures, |servers| servers.commands_per_s, count)
        });
        row("connections at own servers", &|figures| {
            own(figures, |servers| servers.connections as f64, count)
        });
    }
    row("stale of checked reads", &|figures| {
        let side = &figures.side;
        format!(
            "{} of {}",
            count(side.stale_reads as f64),
            count(side.checked_reads as f64)
        )
    });
    let _ = writeln!(
        text,
        "<tr class=\"group\"><th colspan=\"{}\">a month, at your prices</th></tr>",
        arms.len() + 1
    );
    for (kind, name) in [
        ("server", "RAM at L2"),
        ("pods", "RAM in pods"),
        ("transfer", "transfer out of L2"),
        ("ops", "commands at L2"),
        ("total", "all that has a price"),
    ] {
        let class = if kind == "total" {
            " class=\"total\""
        } else {
            ""
        };
        let _ = write!(text, "<tr{class}><th>{name}</th>");
        for (arm, _) in &arms {
            let _ = write!(
                text,
                "<td data-arm=\"{}\" data-kind=\"{kind}\">-</td>",
                arm.name()
            );
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>\n<noscript><p class=\"soft\">The sums need JavaScript.</p></noscript>\n</div>\n"
}

/// Bytes of RAM that an architecture takes outside the shared server.
fn pods(figures: &Figures) -> f64 {
    let own = figures.sidecars.map_or(0, |servers| servers.rss_bytes);
    (figures.rss_bytes_fleet.unwrap_or(0) + own) as f64
}
