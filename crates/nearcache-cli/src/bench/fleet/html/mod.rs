//! A run as one page for a browser: styles, charts and a few lines of script are in it, and it fetches nothing.
//! Everything but the sums of the cost box is there without the script.

mod cost;
mod plots;
mod tables;

use std::fmt::Write as _;

use super::report::Run;
use super::table;
use crate::fleet::plan::Arm;
use crate::fleet::show::{bytes, count, time};
use crate::text::escape;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("cost.js");

/// The page.
pub(super) fn page(run: &Run, command: &str) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>nearcache bench fleet: {} pods</title><style>\n{STYLE}</style></head>\n<body>\n",
        run.plan.pods
    );
    page += &header(run, command);
    page += &tables::compared(run);
    page += &plots::distributions(run);
    page += &plots::over_time(run);
    page += &tables::sensitivity(run);
    page += &cost::cost(run);
    page += &tables::phases(run);
    page += &tables::goals(run);
    page += "<h2>What to know</h2>\n<ul>";
    for note in table::notes(run) {
        let _ = write!(page, "<li>{}</li>", escape(&note));
    }
    let _ = write!(page, "</ul>\n<script>\n{SCRIPT}</script>\n</body></html>\n");
    page
}

fn header(run: &Run, command: &str) -> String {
    let (plan, options) = (&run.plan, &run.options);
    let kind = if run.good { "verdict" } else { "verdict bad" };
    let mut text = format!(
        "<h1>{} pods, {} architectures, the same reads</h1>\n<p class=\"{kind}\">{}</p>\n<p class=\"legend\">",
        plan.pods,
        run.arms().count(),
        escape(&run.verdict)
    );
    for (arm, _) in run.arms() {
        let what = match arm {
            Arm::Before => format!(
                "every read asks the shared server, {} pooled connections a pod",
                plan.pool
            ),
            Arm::After => "nearcache in front of the same server".to_owned(),
            Arm::Sidecar => "a server in each pod, filled cache-aside".to_owned(),
        };
        let name = arm.name();
        let _ = write!(
            text,
            "<span class=\"{name}\"><i></i><b>{name}</b>: {what}</span>"
        );
    }
    text += "</p>\n<dl>";
    let mut pair = |name: &str, value: &str| {
        let _ = write!(text, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    };
    pair(
        "data",
        &format!(
            "{} keys of {}, {} in all; {} of L1 per pod",
            count(plan.keys.into()),
            bytes(plan.value_bytes as f64),
            bytes(run.data_bytes as f64),
            bytes(run.capacity_bytes as f64)
        ),
    );
    pair(
        "load",
        &format!(
            "reads {}, due at random moments; 100 % is {} reads/s of the fleet ({}); {} s at each rate",
            match &plan.traffic {
                Some(_) => "as in the trace".to_owned(),
                None => format!("by Zipf {}", plan.zipf),
            },
            count(run.base_rate_per_s),
            match options.rate {
                Some(_) => "as asked",
                None => "the measured maximum of before",
            },
            plan.seconds
        ),
    );
    pair(
        "updates",
        &format!(
            "{} of the reads and at least {}/s, {}",
            table::percent(options.writes_percent / 100.0),
            options.writes_min_per_s,
            match &plan.traffic {
                Some(traffic) if !traffic.writes.is_empty() => "of the keys that the trace writes",
                _ => "uniform over the keys",
            }
        ),
    );
    pair(
        "added to each round trip",
        &match options.l2_latency_us {
            0 => "nothing: loopback, which understates before".to_owned(),
            us => format!("{} by a proxy, in all arms", time(us as f64)),
        },
    );
    if options.sidecar {
        let seconds = plan.sidecar_ttl_ms as f64 / 1e3;
        pair("time to live in a sidecar", &format!("{seconds} s"));
    }
    pair("seed", &run.seed.to_string());
    pair("machine", &run.hardware.line());
    pair(
        "load average before",
        &run.hardware
            .load_before
            .map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}")),
    );
    pair(
        "versions",
        &format!("nearcache {}; {}", run.version, run.server),
    );
    pair("took", &format!("{:.0} s", run.elapsed_seconds));
    let _ = write!(
        text,
        "<dt>command</dt><dd><code>{}</code></dd>",
        escape(command)
    );
    text + "</dl>\n"
}

#[cfg(test)]
mod tests;
