//! A run as text for people.
//! Only prints; what is printed is made elsewhere.

use nearcache_cli::grid::Grid;
use nearcache_cli::terminal::{self, outln};

use super::Run;
use super::band::Band;
use super::hits::Who;

/// What is known before the run.
pub(super) fn announce(run: &Run) {
    outln!(
        "{}; {}; {}; seed {}; capacity {}",
        run.hardware.line(),
        run.libraries.join(", "),
        run.server,
        run.seed,
        run.capacity
    );
    if let Some(load) = run.hardware.load_before {
        outln!("Load average when it began: {load:.1}.");
    }
    if let Some(busy) = run.hardware.busy() {
        outln!("Note: {busy}.");
    }
    outln!(
        "{} rounds; each case of each client has {} ms in each.",
        run.rounds,
        run.slice_ms
    );
}

/// What the run found.
pub(super) fn print(run: &Run) {
    outln!("\nHits, one caller: microseconds a call, min / median / max over the rounds\n");
    let mut grid = Grid::new(["read", "client", ">p50", ">p99", ">p99.9", ">calls"]);
    for row in &run.hits {
        grid.row([
            row.read.to_string(),
            name(row.client).to_owned(),
            micros(row.spreads.p50_ns),
            micros(row.spreads.p99_ns),
            micros(row.spreads.p999_ns),
            row.spreads.calls.to_string(),
        ]);
    }
    outln!("{}", grid.text(terminal::columns()));
    let least = run.hits.iter().map(|row| row.hit_share).fold(1.0, f64::min);
    outln!(
        "\nOf the calls that should be hits at least {:.2} % were, whoever made them.",
        least * 100.0
    );
    outln!("\nHow many times faster the median hit is: min / median / max over the rounds\n");
    for ratio in &run.hit_ratios {
        let names = format!("{} / {}", name(ratio.client), name(ratio.drop_in));
        let times = ratio.times.text(1);
        outln!("  {:<18} {names:<42}{times:>24}", ratio.read);
    }
    outln!("\nPass-through, two workers: thousand calls a second, and microseconds a call\n");
    let mut grid = Grid::new(["command", ">tasks", "client", ">1000/s", ">p50", ">p99"]);
    for row in &run.through {
        grid.row([
            row.command.to_string(),
            row.tasks.to_string(),
            row.client.to_string(),
            scaled(row.per_second, 1e-3).text(1),
            scaled(row.spreads.p50_ns, 1e-3).text(1),
            scaled(row.spreads.p99_ns, 1e-3).text(1),
        ]);
    }
    outln!("{}", grid.text(terminal::columns()));
    outln!("\nGoals, by the median over the rounds\n");
    for goal in &run.goals {
        let mark = match goal.reached {
            true => "reached",
            false => "NOT REACHED",
        };
        outln!(
            "  {:<44}{:>8.2}   {:<18}{mark}",
            goal.name,
            goal.value,
            goal.goal
        );
    }
}

fn name(who: Who) -> &'static str {
    match who {
        Who::RedisRs => "redis-rs",
        Who::CacheAio => "redis-rs, cache-aio",
        Who::DropIn => "drop-in",
        Who::RedisRsBlocking => "redis-rs, blocking",
        Who::DropInBlocking => "drop-in, blocking",
    }
}

fn micros(band: Band) -> String {
    scaled(band, 1e-3).text(2)
}

fn scaled(band: Band, by: f64) -> Band {
    Band {
        min: band.min * by,
        median: band.median * by,
        max: band.max * by,
    }
}
