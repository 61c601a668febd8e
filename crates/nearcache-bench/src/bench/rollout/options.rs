//! What `bench rollout` can be told, and what it does with it. Starts nothing.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use nearcache_cli::outcome::Failure;
use nearcache_cli::text::duration;
use serde::Serialize;

use crate::fleet::header::HEADER;
use crate::fleet::plan::{Asked, Plan};
use crate::limits;

/// What the benchmark can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Pods of the fleet, each a process of its own
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=256))]
    pods: u16,
    /// Keys
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
    /// Size of each value
    #[arg(long, default_value = "20KB")]
    value_size: ByteSize,
    /// Exponent of the Zipf distribution of reads; 0 reads all keys alike
    #[arg(long, default_value_t = 0.99)]
    zipf: f64,
    /// Bytes L1 may hold in each pod; by default half of the data
    #[arg(long)]
    capacity: Option<ByteSize>,
    /// Updates per second, spread evenly over the keys
    #[arg(long, default_value_t = 2.0, value_name = "N")]
    writes: f64,
    /// Reads per second of the whole fleet, spread over the pods that are ready
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Pods that are replaced one after the other; by default all
    #[arg(long, value_name = "N")]
    restarts: Option<u16>,
    /// From one replacement to the next at least, for example 800ms
    #[arg(long, default_value = "800ms", value_name = "T", value_parser = humantime::parse_duration)]
    every: Duration,
    /// Pods that join at the same moment, a fleet of the others; 0 leaves that out
    #[arg(long, default_value_t = 30, value_name = "N")]
    join: u16,
    /// For how long the steady state is measured before each change, for example 8s
    #[arg(long, value_name = "T", default_value = "8s", value_parser = duration)]
    duration: Duration,
    /// Only with the warm start
    #[arg(long, conflicts_with = "no_warm")]
    warm: bool,
    /// Only without the warm start
    #[arg(long)]
    no_warm: bool,
    /// Keys a second that all pods together may fetch ahead (the setting `warm_reads`)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    warm_reads: Option<u32>,
    /// Between two publications of a pod (the setting `publish_every`, there 10s: this fleet is young)
    #[arg(long, default_value = "2s", value_name = "T", value_parser = humantime::parse_duration)]
    publish_every: Duration,
    /// The server, for example redis://127.0.0.1:6379; auto starts one
    #[arg(long, default_value = "auto", value_name = "URL")]
    pub(super) redis: String,
    /// Start this server program instead of one found on PATH
    #[arg(long, value_name = "PATH")]
    pub(super) server: Option<PathBuf>,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write a page for a browser to this file: it needs no other file and no network
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// What the pods need not know.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Options {
    /// Reads a second of the fleet.
    pub(super) rate: f64,
    /// Pods that are replaced.
    pub(super) restarts: usize,
    /// Milliseconds from one replacement to the next, at least.
    pub(super) every_ms: u64,
    /// Pods that join at once.
    pub(super) join: usize,
    /// Seconds of steady state.
    pub(super) steady_seconds: f64,
    /// Seconds in which each pod reads as fast as it can, before anything is measured.
    pub(super) fill_seconds: f64,
    /// Keys a second that all pods together may fetch ahead.
    pub(super) warm_reads: usize,
    /// Per cent of the fleet's highest rate at L2 that they may, where that is more.
    pub(super) warm_share: usize,
    /// Milliseconds after which a pod is ready however warm it is.
    pub(super) warm_deadline_ms: u64,
    /// Milliseconds between two publications of a pod.
    pub(super) publish_every_ms: u64,
    /// With the warm start, without it, or both.
    pub(super) arms: Vec<bool>,
}

/// Checks what was asked for.
pub(super) fn parse(args: &Args) -> Result<(Plan, Options), Failure> {
    let settings = nearcache::Settings::default();
    let value_bytes = limits::bytes("value-size", args.value_size, HEADER as u64, 512 << 20)?;
    let data = u64::from(args.keys) * value_bytes as u64;
    let half = ByteSize::b((data / 2).max(64 << 10));
    let capacity = args.capacity.unwrap_or(half);
    let capacity_bytes = limits::capacity(capacity)?;
    if !(1.0..=1e6).contains(&args.rate) {
        return Err("--rate must be from 1 to 1000000 reads per second of the fleet".to_owned());
    }
    let writes = limits::per_second("writes", args.writes, 0.0, 1e5)?;
    let zipf = limits::zipf(args.zipf)?;
    let pods = usize::from(args.pods);
    let restarts = args.restarts.map_or(pods, usize::from);
    if restarts > pods {
        return Err("--restarts must be at most --pods".to_owned());
    }
    let join = usize::from(args.join);
    if join >= pods {
        return Err(
            "--join must be below --pods: the others are the fleet that is joined".to_owned(),
        );
    }
    if restarts + join == 0 {
        return Err("with --restarts 0 and --join 0 there is nothing to measure".to_owned());
    }
    let seconds = limits::seconds(args.duration)?;
    let ms = |name: &str, value: Duration, least: u64| {
        let ms = value.as_millis() as u64;
        match (least..=600_000).contains(&ms) {
            true => Ok(ms),
            false => Err(format!("--{name} must be from {least}ms to 10m")),
        }
    };
    let options = Options {
        rate: args.rate,
        restarts,
        every_ms: ms("every", args.every, 1)?,
        join,
        steady_seconds: args.duration.as_secs_f64(),
        fill_seconds: (args.duration.as_secs_f64() / 2.0).clamp(1.0, 5.0),
        warm_reads: args
            .warm_reads
            .map_or(settings.warm_reads, |reads| reads as usize),
        warm_share: settings.warm_share,
        warm_deadline_ms: settings.warm_deadline.as_millis() as u64,
        publish_every_ms: ms("publish-every", args.publish_every, 1000)?,
        arms: match (args.warm, args.no_warm) {
            (true, _) => vec![true],
            (_, true) => vec![false],
            _ => vec![true, false],
        },
    };
    let plan = Plan {
        tasks: 2,
        ..Plan::new(Asked {
            pods,
            keys: args.keys,
            value_bytes,
            zipf,
            reads_per_pod: args.rate / pods as f64,
            writes,
            capacity_bytes,
            seconds,
            seed: args.seed,
            prefix: "nearcache-bench:".to_owned(),
        })
    };
    Ok((plan, options))
}
