//! What this repository can run: everything of the `nearcache` command, a demonstration of what a near cache changes, and the
//! benchmarks behind the figures. `cargo run` from the root starts it.

mod bench;
mod demo;
mod document;
mod fleet;
mod goal;
mod limits;
mod machine;
mod measured;
mod zipf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nearcache_cli::outcome::{self, Failure, Outcome};

/// A near cache in front of a shared Redis or Valkey: see it work, and measure it.
#[derive(Parser)]
#[command(name = "nearcache-bench", version, arg_required_else_help = true)]
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
    #[command(flatten)]
    Tool(nearcache_cli::Command),
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
        Command::Tool(command) => command.run(),
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
