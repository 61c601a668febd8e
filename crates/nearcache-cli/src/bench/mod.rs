//! `nearcache bench`: what stands behind the figures. Each benchmark has a module; `l1` and `dropin` bring other libraries
//! with them and are only in builds that ask for it.

#[cfg(feature = "bench")]
mod dropin;
pub(crate) mod fleet;
#[cfg(feature = "bench")]
mod l1;

use crate::{Failure, Outcome};

/// Which benchmark.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// A fleet of pods on one server: ordinary pool, nearcache, and a sidecar each, under the same loads
    Fleet(Box<fleet::Args>),
    /// The hit path, the overhead per entry, and hit ratios on trace files.
    #[cfg(feature = "bench")]
    L1(l1::Args),
    /// The drop-in for redis-rs next to redis-rs itself: hits, and commands that pass through.
    #[cfg(feature = "bench")]
    Dropin(dropin::Args),
    /// Measures L1 next to other caches (needs a build with `--features bench`).
    #[cfg(not(feature = "bench"))]
    L1 {
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
        #[cfg(feature = "bench")]
        What::L1(args) => l1::run(args),
        #[cfg(feature = "bench")]
        What::Dropin(args) => dropin::run(args),
        #[cfg(not(feature = "bench"))]
        What::L1 { .. } | What::Dropin { .. } => Err(
            "this build leaves that benchmark out, because it brings other cache libraries with it; build with: \
             cargo run --release --features bench -- bench l1, or bench dropin"
                .to_owned(),
        ),
    }
}
