//! The `nearcache` command: a demonstration of what a near cache changes, and the benchmarks behind the figures.

mod bench;
mod chart;
mod demo;
mod fleet;
mod grid;
mod machine;
mod measured;
mod outcome;
mod page;
mod record;
mod show;
mod simulate;
mod terminal;
mod text;
mod trace;
mod zipf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use outcome::{Failure, Outcome};

/// A near cache in front of a shared Redis or Valkey: see it work, and measure it.
#[derive(Parser)]
#[command(name = "nearcache", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs pods against one server, first with an ordinary connection pool, then with nearcache, and compares; 30 s.
    Demo(demo::Args),
    /// Measures: a fleet in three architectures, or L1 next to other caches.
    Bench(bench::Args),
    /// Replays a trace through a simulated fleet: hit rates, the load on L2, what a restart costs, and how large L1 should be.
    Simulate(simulate::Args),
    /// Makes a trace file from what clients ask a live server.
    Record(record::Args),
}

fn main() -> ExitCode {
    // One pod of a fleet, which a fleet starts: no command, or it would be offered to those who mistype one.
    outcome::exit(|| match std::env::args_os().nth(1) {
        Some(word) if word == fleet::POD => fleet::run_pod(),
        _ => run(),
    })
}

fn run() -> Result<Outcome, Failure> {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Record(args) => record::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }
}
