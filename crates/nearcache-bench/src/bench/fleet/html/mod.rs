//! A run as one page for a browser: styles, charts and a few lines of script are in it, and it fetches nothing.
//! Everything but the sums of the cost box is there without the script.

mod cost;
mod plots;
mod tables;

use nearcache_cli::page;
use nearcache_cli::show::{count, percent, time};
pub(super) use nearcache_cli::text::command;

use super::report::Run;
use super::{table, verdict};
use crate::document::Document;
use crate::fleet::plan::Arm;
use crate::measured::{self, Fact, Page};

const SCRIPT: &str = include_str!("cost.js");

/// The page: the finding, then what there is to see, then all figures.
pub(super) fn page(document: &Document<Run>, command: &str) -> String {
    let run = &document.run;
    let plan = &run.plan;
    let mut body = tiles(run);
    body += &page::legend(run.arms().map(|(arm, _)| {
        let what = match arm {
            Arm::Before => format!(
                "every read asks the shared server, {} pooled connections a pod",
                plan.pool
            ),
            Arm::After => "nearcache in front of the same server".to_owned(),
            Arm::Sidecar => "a server in each pod, filled cache-aside".to_owned(),
        };
        (arm.name(), arm.name(), what)
    }));
    body += &plots::distributions(run);
    body += &plots::over_time(run);
    body += &tables::compared(run);
    body += &tables::sensitivity(run);
    body += &cost::cost(run);
    body += &tables::phases(run);
    let page = Page {
        title: format!("nearcache bench fleet: {} pods", plan.pods),
        opening: format!(
            "{} pods, {} architectures, the same reads",
            plan.pods,
            run.arms().count()
        ),
        body,
        of_goals: "Set for the defaults on 2 cores; with other parameters they are only figures.",
        facts: &facts(document),
        command,
        notes: &table::notes(document),
        end: format!("<script>\n{SCRIPT}</script>\n"),
    };
    page.text(document)
}

/// The figures that matter, where a fleet is run.
fn tiles(run: &Run) -> String {
    let before = run.usual(Arm::Before).unwrap_or(&run.before);
    let after = run.usual(Arm::After).unwrap_or(&run.after);
    let at = format!(" at {}", verdict::share(run, before));
    page::tiles(&measured::before_after(&at, &before.side, &after.side))
}

fn facts(document: &Document<Run>) -> Vec<Fact> {
    let run = &document.run;
    let (plan, options) = (&run.plan, &run.options);
    let mut rows = vec![measured::data(plan, run.data_bytes, run.capacity_bytes)];
    let mut pair = |name, value: &str| rows.push((name, value.to_owned()));
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
            percent(options.writes_percent / 100.0),
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
    rows.extend(measured::setting(document));
    rows.extend(measured::effort(document));
    rows
}

#[cfg(test)]
mod tests;
