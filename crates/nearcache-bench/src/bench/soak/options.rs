//! What `bench soak` can be told, and what it does with it. Starts nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use nearcache_cli::outcome::Failure;
use serde::Serialize;

use crate::limits;

/// What the benchmark can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// How long it lasts, for example 3m or 10m
    #[arg(long, value_name = "T", default_value = "10m", value_parser = nearcache_cli::text::duration)]
    duration: Duration,
    /// Bytes L1 may hold
    #[arg(long, default_value = "256MiB")]
    capacity: ByteSize,
    /// Keys
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    keys: u32,
    /// Exponent of the Zipf distribution of reads and writes; 0 takes all keys alike
    #[arg(long, default_value_t = 0.9)]
    zipf: f64,
    /// Threads that read, as fast as they can
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Writes and deletions per second, beside those of reads that find nothing
    #[arg(long, default_value_t = 200.0, value_name = "N")]
    writes: f64,
    /// The server: only `auto`, which starts one, since it is filled to its limit
    #[arg(long, default_value = "auto", value_name = "auto")]
    redis: String,
    /// Start this server program instead of one found on PATH
    #[arg(long, value_name = "PATH")]
    pub(super) server: Option<PathBuf>,
    /// Bytes the server may hold (`maxmemory`); beyond them it evicts
    #[arg(long, default_value = "2GiB")]
    server_memory: ByteSize,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

/// The same, checked.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Options {
    /// Milliseconds it lasts.
    pub(super) duration_ms: u64,
    /// Milliseconds between two samples.
    pub(super) sample_ms: u64,
    /// Bytes L1 may hold.
    pub(super) capacity_bytes: usize,
    /// Keys.
    pub(super) keys: u32,
    /// Exponent of their Zipf distribution.
    pub(super) zipf: f64,
    /// Threads that read.
    pub(super) threads: usize,
    /// Writes and deletions per second.
    pub(super) writes_per_s: f64,
    /// Bytes the server may hold.
    pub(super) server_memory_bytes: u64,
    /// What the environment tells the allocator: the variables whose names begin with `MALLOC_` or `GLIBC_TUNABLES`.
    pub(super) allocator: BTreeMap<String, String>,
    /// What all choices follow from; told beside the options.
    #[serde(skip)]
    pub(super) seed: u64,
}

/// Checks what was asked for.
pub(super) fn parse(args: &Args) -> Result<Options, Failure> {
    if args.redis != "auto" {
        return Err(
            "--redis must be auto: this fills its server until it evicts, and so starts one of its own; choose its \
             program with --server"
                .to_owned(),
        );
    }
    let duration_ms = args.duration.as_millis() as u64;
    if !(2_000..=24 * 3_600_000).contains(&duration_ms) {
        return Err("--duration must be from 2s to 24h".to_owned());
    }
    let zipf = limits::zipf(args.zipf)?;
    let writes_per_s = limits::per_second("writes", args.writes, 0.0, 1e4)?;
    let least = ByteSize::mib(1).as_u64();
    for (name, size) in [
        ("capacity", args.capacity),
        ("server-memory", args.server_memory),
    ] {
        if !(least..=isize::MAX as u64).contains(&size.as_u64()) {
            return Err(format!("--{name} must be at least 1MiB"));
        }
    }
    Ok(Options {
        duration_ms,
        // At least a hundred, so that a tenth of a short run has a median.
        sample_ms: (duration_ms / 100).min(1000),
        capacity_bytes: args.capacity.as_u64() as usize,
        keys: args.keys,
        zipf,
        threads: args.threads.into(),
        writes_per_s,
        server_memory_bytes: args.server_memory.as_u64(),
        allocator: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES")
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect(),
        seed: args.seed,
    })
}
