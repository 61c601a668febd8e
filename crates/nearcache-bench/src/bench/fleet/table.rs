//! The figures as people read them: the arms side by side, every phase in a line, the goals, and what to know.

use std::cell::Cell;

use nearcache_cli::grid::Grid;
use nearcache_cli::page::Compared;
use nearcache_cli::show::{bytes, count, or_dash, percent, time};

use super::report::{Figures, Row, Run};
use super::verdict::{stale, times_own};
use crate::document::Document;
use crate::fleet::plan::Arm;

/// The arms at the 100 % rate.
pub(crate) fn arms(run: &Run, columns: usize) -> String {
    let title = format!("at {} reads/s (100 %)", count(run.base_rate_per_s));
    let names = run.arms().map(|(arm, _)| format!(">{}", arm.name()));
    let mut grid = Grid::new(std::iter::once(title).chain(names));
    for line in compared(run) {
        grid.row(std::iter::once(line.name).chain(line.cells));
    }
    grid.text(columns)
}

/// The same, figure by figure.
pub(crate) fn compared(run: &Run) -> Vec<Compared> {
    let arms: Vec<&Figures> = run.arms().map(|(_, figures)| figures).collect();
    let mut lines = Vec::new();
    let group = Cell::new("the read call");
    let mut row = |name: &str, show: &dyn Fn(&Figures) -> String| {
        lines.push(Compared {
            group: group.get(),
            name: name.to_owned(),
            cells: arms.iter().map(|figures| show(figures)).collect(),
        });
    };
    row("call, mean", &|f| time(f.side.mean_us));
    row("call, p50", &|f| time(f.side.p50_us));
    row("call, p99", &|f| time(f.side.p99_us));
    row("call, p99.9", &|f| time(f.side.p999_us));
    row("call, max", &|f| time(f.side.max_us));
    group.set("since the read was due");
    row("since intended start, mean", &|f| {
        or_dash(f.intended_mean_us, time)
    });
    row("since intended start, p50", &|f| {
        or_dash(f.intended_p50_us, time)
    });
    row("since intended start, p99", &|f| {
        or_dash(f.intended_p99_us, time)
    });
    row("since intended start, p99.9", &|f| {
        or_dash(f.intended_p999_us, time)
    });
    row("since intended start, max", &|f| {
        or_dash(f.intended_max_us, time)
    });
    group.set("reads");
    let capacity = bytes(run.capacity_bytes as f64);
    row(&format!("hit rate at {capacity}"), &|f| {
        percent(f.side.hit_rate)
    });
    row("- if the phase went on", &|f| {
        or_dash(f.steady_hit_rate, percent)
    });
    row("reads/s, until the last was served", &|f| {
        count(f.side.reads_per_s)
    });
    row("reads/s, own maximum", &|f| {
        count(f.side.flat_out_reads_per_s)
    });
    group.set("the shared server (L2)");
    row("reads/s at L2", &|f| count(f.side.l2_reads_per_s));
    row("commands/s at L2", &|f| count(f.l2_commands_per_s));
    row("bytes/s out of L2", &|f| {
        or_dash(f.side.l2_bytes_per_s, bytes)
    });
    row("processor used by L2", &|f| {
        or_dash(f.side.l2_cpu_percent, |share| format!("{share:.0} %"))
    });
    row("connections at L2", &|f| {
        or_dash(f.side.connections.map(|n| n as f64), count)
    });
    group.set("memory of the pods");
    row("memory per pod (RSS)", &|f| {
        or_dash(f.side.rss_bytes_per_pod.map(|n| n as f64), bytes)
    });
    row("memory of the fleet (RSS)", &|f| {
        let servers = f.sidecars.map_or(0, |servers| servers.rss_bytes);
        or_dash(f.rss_bytes_fleet.map(|n| (n + servers) as f64), bytes)
    });
    if run.sidecar.is_some() {
        row("- of which the pods' own servers", &|f| {
            or_dash(f.sidecars.map(|servers| servers.rss_bytes as f64), bytes)
        });
        row("processor used by own servers", &|f| {
            or_dash(f.sidecars.map(|servers| servers.cpu_percent), |share| {
                format!("{share:.0} %")
            })
        });
    }
    group.set("freshness");
    row("write to visible, a pod, p50", &|f| {
        or_dash(f.side.lag_p50_us, time)
    });
    row("write to visible, a pod, p99", &|f| {
        or_dash(f.side.lag_p99_us, time)
    });
    row("write to visible everywhere, p50", &|f| {
        or_dash(f.everywhere_p50_us, time)
    });
    row("write to visible everywhere, max", &|f| {
        or_dash(f.everywhere_max_us, time)
    });
    row("- writes timed, not seen by all", &|f| {
        let some = f.everywhere_samples + f.everywhere_unseen > 0;
        let counts = format!("{}, {}", f.everywhere_samples, f.everywhere_unseen);
        if some { counts } else { "-".to_owned() }
    });
    row("age of a served value, p50", &|f| {
        or_dash(f.age_p50_us, time)
    });
    row("age of a served value, p99", &|f| {
        or_dash(f.age_p99_us, time)
    });
    row("age of a served value, p99.9", &|f| {
        or_dash(f.age_p999_us, time)
    });
    row("reads checked, filling and max too", &|f| {
        count(f.side.checked_reads as f64)
    });
    row("- stale", &|f| count(f.side.stale_reads as f64));
    row("- behind a write", &|f| count(f.side.behind_reads as f64));
    row("- by at most", &|f| {
        let some = f.side.behind_reads > 0;
        or_dash(some.then_some(f.side.behind_max_us), time)
    });
    lines
}

/// Every phase in a line.
pub(crate) fn rows(run: &Run, columns: usize) -> String {
    let mut grid = Grid::new([
        "all phases",
        ">room",
        ">writes/s",
        ">reads/s",
        ">mean",
        ">p99",
        ">p99.9",
        ">due p99",
        ">hit",
        ">steady",
        ">at L2/s",
        ">stale",
    ]);
    for Row {
        arm,
        name,
        figures,
        capacity_bytes,
        ..
    } in &run.rows
    {
        let side = &figures.side;
        let room = (*arm != Arm::Before).then_some(*capacity_bytes as f64);
        grid.row([
            format!("{}: {name}", arm.name()),
            or_dash(room, bytes),
            format!("{:.1}", figures.writes_per_s),
            count(side.reads_per_s),
            time(side.mean_us),
            time(side.p99_us),
            time(side.p999_us),
            or_dash(figures.intended_p99_us, time),
            percent(side.hit_rate),
            or_dash(figures.steady_hit_rate, percent),
            count(side.l2_reads_per_s),
            side.stale_reads.to_string(),
        ]);
    }
    grid.text(columns)
}

/// What a reader of the tables should know.
pub(crate) fn notes(document: &Document<Run>) -> Vec<String> {
    let run = &document.run;
    let plan = &run.plan;
    let mut notes = vec![
        "Call: from the call to its value, waiting for a connection of the pool included. Due p99 and since intended \
         start: from the moment the read was due, whenever it began. Reads are due at random moments whether earlier \
         ones have ended or not; at full throughput there is no such moment."
            .to_owned(),
        format!(
            "Stale: older than a write acknowledged more than {} before the read began, by the writer's own log and one \
             clock. Behind: older than any write acknowledged before. Age: for how long a newer value had been acknowledged when the \
             read began; nothing for the newest.",
            time(plan.max_staleness_ms as f64 * 1e3)
        ),
        "Each update costs every pod that reads the key one miss. With updates as skewed as the reads the miss rate is \
         about w / (w + one pod's read rate), w being the updates a second: more pods at the same load make it worse. \
         A fill from a peer would mend that; there is none yet."
            .to_owned(),
        "Steady: what the hit rate would become by that if the phase went on. A key that is written is missed when it is next \
         read, which for the rare ones takes longer than a phase: short phases flatter `hit`."
            .to_owned(),
        format!(
            "{} pods share {} cores: a read is preempted by whichever pod has one due, and that is most of what lies between \
             p50 and p99 of a hit here.",
            plan.pods, document.hardware.cores
        ),
        "`before` is not repeated in the sensitivity rows: neither capacity nor updates of this size change it."
            .to_owned(),
    ];
    if let Some(times) = times_own(run) {
        notes.push(format!(
            "The trace: 100 % is {times}. All rows at a set rate begin with its first request, and all but the one at its own rate \
             play the same number: what a pod read in the row before is there. That one plays what the duration has room for."
        ));
    }
    if run.options.l2_latency_us == 0 {
        notes.push(
            "Loopback understates `before`: a network adds its round trip to each of its reads. See --l2-latency.".to_owned(),
        );
    } else {
        notes.push(format!(
            "A proxy adds {} to every round trip to L2, in all arms; it takes processor time of its own from them.",
            time(run.options.l2_latency_us as f64)
        ));
    }
    if run.capacity_bytes as u64 > run.data_bytes {
        notes.push(format!(
            "All {} of values fit each pod's {}; the row with a tenth shows what a smaller one does.",
            bytes(run.data_bytes as f64),
            bytes(run.capacity_bytes as f64)
        ));
    }
    if let Some(sidecar) = &run.sidecar {
        notes.push(format!(
            "sidecar: {} of its reads were stale, the oldest by {}: nobody tells a sidecar of a write, so it serves what it \
             has for up to its {} s. A shorter time to live means fewer old values and more misses.",
            count(stale(run, Arm::Sidecar) as f64),
            time(sidecar.side.behind_max_us),
            plan.sidecar_ttl_ms / 1000
        ));
    }
    for row in &run.rows {
        let side = &row.figures.side;
        if (side.reads_late + side.reads_shed) * 100 > side.reads {
            notes.push(format!(
                "{}, {}: {} reads began over 10 ms late and {} not at all: the machine is full.",
                row.arm.name(),
                row.name,
                count(side.reads_late as f64),
                count(side.reads_shed as f64)
            ));
        }
        let asked = row.figures.updates_per_s;
        // Of few there are now and then many less.
        if asked * row.figures.seconds > 50.0 && row.figures.writes_per_s < 0.8 * asked {
            notes.push(format!(
                "{}, {}: {:.1} writes/s of the {asked:.1} that were due: one writer at L2 could do no more.",
                row.arm.name(),
                row.name,
                row.figures.writes_per_s
            ));
        }
        if side.errors > 0 {
            notes.push(format!(
                "{}, {}: {} reads failed, one with: {}",
                row.arm.name(),
                row.name,
                side.errors,
                side.error.as_deref().unwrap_or("nothing said")
            ));
        }
    }
    notes.extend(document.busy());
    notes.push(document.origin());
    notes
}
