//! What `bench chaos` can be told, and what it does with it. Starts nothing.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use nearcache_cli::outcome::Failure;
use serde::Serialize;

use crate::fleet::header::HEADER;
use crate::fleet::plan::{Asked, Plan};
use crate::limits;
use crate::machine::now_ns;

/// What the benchmark can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Pods, each a process of its own
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=256))]
    pods: u16,
    /// How long it lasts, for example 60s or 10m
    #[arg(long, value_name = "T", default_value = "60s", value_parser = nearcache_cli::text::duration)]
    duration: Duration,
    /// From the end of a fault to the next, on average
    #[arg(long, value_name = "T", default_value = "3s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// Keys
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(8..=100_000))]
    keys: u32,
    /// Size of each value
    #[arg(long, default_value = "2KB")]
    value_size: ByteSize,
    /// Exponent of the Zipf distribution of reads; 0 reads all keys alike
    #[arg(long, default_value_t = 0.7)]
    zipf: f64,
    /// Reads per second of each pod
    #[arg(long, default_value_t = 100.0, value_name = "N")]
    reads: f64,
    /// Writes and deletions per second of all writers together
    #[arg(long, default_value_t = 100.0, value_name = "N")]
    writes: f64,
    /// Bytes L1 may hold in each pod; by default half of the data
    #[arg(long)]
    capacity: Option<ByteSize>,
    /// The server: only `auto`, which starts one, since it is killed and emptied
    #[arg(long, default_value = "auto", value_name = "auto")]
    pub(super) redis: String,
    /// Start this server program instead of one found on PATH
    #[arg(long, value_name = "PATH")]
    pub(super) server: Option<PathBuf>,
    /// What all random choices follow from, the faults and their order among them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Switch a mechanism of nearcache off: there must be violations then
    #[cfg(nearcache_break)]
    #[arg(long = "break", value_name = "WHAT")]
    sabotage: Option<crate::fleet::sabotage::Sabotage>,
}

/// What the pods need not know.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Options {
    /// Milliseconds it lasts.
    pub(super) duration_ms: u64,
    /// Milliseconds from the end of a fault to the next, on average.
    pub(super) every_ms: u64,
    /// Groups of pods that share a way to the server, and are cut off together.
    pub(super) groups: usize,
}

/// Checks what was asked for.
pub(super) fn parse(args: &Args) -> Result<(Plan, Options), Failure> {
    if args.redis != "auto" {
        return Err(
            "--redis must be auto: this kills its server and deletes all it holds, and so starts one of its own; \
             choose its program with --server"
                .to_owned(),
        );
    }
    let within = |name: &str, value: Duration, least: u64, most: u64| {
        let ms = value.as_millis() as u64;
        match (least..=most).contains(&ms) {
            true => Ok(ms),
            false => Err(format!(
                "--{name} must be from {least}ms to {}s",
                most / 1000
            )),
        }
    };
    let duration_ms = within("duration", args.duration, 5_000, 4 * 3_600_000)?;
    let every_ms = within("every", args.every, 100, 600_000)?;
    let zipf = limits::zipf(args.zipf)?;
    let value_bytes = limits::bytes("value-size", args.value_size, HEADER as u64, 1 << 20)?;
    let half = ByteSize::b((u64::from(args.keys) * value_bytes as u64 / 2).max(64 << 10));
    let capacity = args.capacity.unwrap_or(half);
    let pods = usize::from(args.pods);
    let options = Options {
        duration_ms,
        every_ms,
        groups: pods.min(5),
    };
    let asked = Asked {
        pods,
        keys: args.keys,
        value_bytes,
        zipf,
        reads_per_pod: limits::per_second("reads", args.reads, 1.0, 1e4)?,
        writes: limits::per_second("writes", args.writes, 1.0, 1e4)?,
        capacity_bytes: limits::capacity(capacity)?,
        seconds: duration_ms / 1000,
        seed: args.seed,
        prefix: format!("nearcache-chaos:{:x}-{:x}:", std::process::id(), now_ns()),
    };
    let plan = Plan {
        watched_writes: 0.0,
        #[cfg(nearcache_break)]
        sabotage: args
            .sabotage
            .unwrap_or(crate::fleet::sabotage::Sabotage::None),
        ..Plan::new(asked)
    };
    Ok((plan, options))
}
