//! `bench`: what stands behind the figures. Each benchmark has a module; `l1`, `dropin` and `contrast` bring other
//! libraries with them and are only in builds that ask for it.

mod chaos;
#[cfg(feature = "bench")]
mod contrast;
#[cfg(feature = "bench")]
mod dropin;
mod errors;
mod fleet;
#[cfg(feature = "bench")]
mod l1;
mod rollout;
mod soak;
mod statistics;

use std::path::Path;

use nearcache_cli::outcome::{Failure, Outcome};

use crate::fleet::control::Place;
use crate::fleet::program;
use crate::fleet::server::Server;

/// Which benchmark.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// A fleet of pods on one server: ordinary pool, nearcache, and a sidecar each, under the same loads; 4 minutes, 12 GB
    Fleet(Box<fleet::Args>),
    /// Restarts a fleet's pods one by one and lets many join at once, with the warm start and without it; 5 minutes.
    Rollout(Box<rollout::Args>),
    /// Breaks the server, the network and the pods of a fleet every few seconds, and checks every answer; 1 minute.
    Chaos(chaos::Args),
    /// Fills L1 for a long time with values of every size, and holds what it counts against what the process takes; 10 minutes.
    Soak(soak::Args),
    /// What counting the reads costs a hit.
    Statistics(statistics::Args),
    /// The hit path, the overhead per entry, and hit ratios on trace files.
    #[cfg(feature = "bench")]
    L1(l1::Args),
    /// The drop-in for redis-rs next to redis-rs itself: hits, and commands that pass through.
    #[cfg(feature = "bench")]
    Dropin(dropin::Args),
    /// The traps of client-side caching, tried on the drop-in and on redis-rs's own cache.
    #[cfg(feature = "bench")]
    Contrast(contrast::Args),
    /// Measures L1 next to other caches (needs a build with `--features bench`).
    #[cfg(not(feature = "bench"))]
    L1 {
        /// What the full build would be asked.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        _rest: Vec<String>,
    },
    /// Tries the traps of client-side caching (needs a build with `--features bench`).
    #[cfg(not(feature = "bench"))]
    Contrast {
        /// What the full build would be asked.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        _rest: Vec<String>,
    },
    /// Measures the drop-in next to redis-rs (needs a build with `--features bench`).
    #[cfg(not(feature = "bench"))]
    Dropin {
        /// What the full build would be asked.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        _rest: Vec<String>,
    },
}

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.what {
        What::Fleet(args) => fleet::run(args),
        What::Rollout(args) => rollout::run(args),
        What::Chaos(args) => chaos::run(args),
        What::Soak(args) => soak::run(args),
        What::Statistics(args) => statistics::run(args),
        #[cfg(feature = "bench")]
        What::L1(args) => l1::run(args),
        #[cfg(feature = "bench")]
        What::Dropin(args) => dropin::run(args),
        #[cfg(feature = "bench")]
        What::Contrast(args) => contrast::run(args),
        #[cfg(not(feature = "bench"))]
        What::L1 { .. } | What::Dropin { .. } | What::Contrast { .. } => Err(
            "this build leaves that benchmark out, because it brings other cache libraries with it; build with: \
             cargo run --release --features bench -- bench l1, bench dropin or bench contrast"
                .to_owned(),
        ),
    }
}

/// Where L2 is: at the address that was given, else (`auto`) in a server that is started here and ends when it is dropped.
fn place(url: &str, asked: Option<&Path>) -> Result<(Place, Option<Server>), Failure> {
    if url != "auto" {
        let url = url.to_owned();
        return Ok((Place::Server { url }, None));
    }
    let program = program::needed(asked)?;
    let server = Server::announced(&program)?;
    Ok((Place::Server { url: server.url() }, Some(server)))
}
