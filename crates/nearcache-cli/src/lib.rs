//! What the `nearcache` command is made of, for that command and for programs of this repository that do more. No stable
//! interface: whoever wants a near cache uses the crate `nearcache`.

pub mod chart;
pub mod grid;
pub mod outcome;
pub mod page;
pub mod record;
pub mod show;
pub mod simulate;
pub mod terminal;
pub mod text;
pub mod trace;

use outcome::{Failure, Outcome};

/// What the command can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Replays a trace through a simulated fleet: hit rates, the load on L2, what a restart costs, and how large L1 should be.
    Simulate(simulate::Args),
    /// Makes a trace file from what clients ask a live server.
    Record(record::Args),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    ///
    /// Says what went wrong and what mends it.
    pub fn run(&self) -> Result<Outcome, Failure> {
        match self {
            Self::Simulate(args) => simulate::run(args),
            Self::Record(args) => record::run(args),
        }
    }
}
