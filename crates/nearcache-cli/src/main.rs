//! The `nearcache` command: what a near cache would do for your traffic.

use std::process::ExitCode;

use clap::Parser;
use nearcache_cli::{Command, outcome};

/// A near cache in front of a shared Redis or Valkey: record what your clients ask, and see what one would do for them.
#[derive(Parser)]
#[command(name = "nearcache", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    outcome::exit(|| Cli::parse().command.run())
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
