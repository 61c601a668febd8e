//! What `bench fleet` can be told, and whether this machine has room for it. Starts nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use nearcache_cli::outcome::Failure;
use nearcache_cli::show;
use nearcache_cli::text::duration;
use nearcache_cli::trace;
use serde::Serialize;

use crate::fleet::header::HEADER;
use crate::fleet::plan::{Asked, Plan};
use crate::fleet::traffic::Traffic;
use crate::limits;
use crate::machine::now_ns;

const KEYS_MAX: u32 = 10_000_000;
const VALUE_BYTES: usize = 200_000;
const WRITES_PERCENT: f64 = 0.01;
const WRITES_MIN: f64 = 2.0;

/// What the benchmark can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Pods that share L2, each a process of its own
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=256))]
    pods: u16,
    /// Keys
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=i64::from(KEYS_MAX)))]
    keys: u32,
    /// Size of each value [default: 200KB; of those whose size a trace does not say: the median of those it says]
    #[arg(long)]
    value_size: Option<ByteSize>,
    /// Exponent of the Zipf distribution of reads; 0 reads all keys alike
    #[arg(long, default_value_t = 0.99)]
    zipf: f64,
    /// Updates, in per cent of the reads, spread evenly over the keys [default: 0.01; those of a trace that has any]
    #[arg(long, value_name = "PCT")]
    writes: Option<f64>,
    /// Updates per second at least, whatever --writes makes of the rate [default: 2; none with a trace that has any]
    #[arg(long, value_name = "N")]
    writes_min: Option<f64>,
    /// Bytes L1 may hold in each pod, and the maxmemory of a sidecar
    #[arg(long, default_value = "256MiB")]
    capacity: ByteSize,
    /// Reads per second of the whole fleet that 100 % means, instead of the measured maximum of `before`
    #[arg(long)]
    rate: Option<f64>,
    /// How long at each of the three rates, for example 10s; other phases take their share
    #[arg(long, value_name = "T", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Take keys, their sizes, and which are written how often from this trace (see `nearcache record`)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keys", "zipf"])]
    trace: Option<PathBuf>,
    /// What a delay proxy adds to every round trip to L2, in all arms, for example 1ms
    #[arg(long, value_name = "TIME", value_parser = latency, default_value = "0ms")]
    l2_latency: Duration,
    /// The server, for example redis://127.0.0.1:6379; auto starts one
    #[arg(long, default_value = "auto", value_name = "URL")]
    pub(crate) redis: String,
    /// Start this server program instead of one found on PATH; sidecars always are started
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// Measure a server in each pod as well, filled cache-aside
    #[arg(long)]
    pub(crate) sidecar: bool,
    /// How long a sidecar keeps a value, for example 30s: the longest time it serves old ones
    #[arg(long, value_name = "T", default_value = "30s", value_parser = duration, requires = "sidecar")]
    sidecar_ttl: Duration,
    /// Connections in each ordinary pool, and tasks per pod that read at full throughput
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pool: u16,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page for a browser to this file: it needs no other file and no network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Break a mechanism of nearcache in a short run made for it, which must find stale reads
    #[cfg(nearcache_break)]
    #[arg(long = "break", value_name = "WHAT", conflicts_with = "html")]
    pub(crate) sabotage: Option<crate::fleet::sabotage::Sabotage>,
}

/// What the pods need not know.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    pub(crate) writes_percent: f64,
    pub(crate) writes_min_per_s: f64,
    pub(crate) rate: Option<f64>,
    pub(crate) l2_latency_us: u64,
    pub(crate) sidecar: bool,
    pub(crate) trace: Option<PathBuf>,
    /// Reads a second that the trace has.
    pub(crate) trace_reads_per_s: Option<f64>,
}

impl Options {
    /// Updates a second that belong to this many reads a second of the fleet.
    pub(crate) fn updates_per_s(&self, reads_per_s: f64, percent: f64) -> f64 {
        (reads_per_s * percent / 100.0).max(self.writes_min_per_s)
    }
}

/// Checks what was asked for.
pub(crate) fn parse(args: &Args) -> Result<(Plan, Options), Failure> {
    let value_size = |size| limits::bytes("value-size", size, HEADER as u64, 512 << 20);
    let value_bytes = args.value_size.map(value_size).transpose()?;
    let capacity_bytes = limits::capacity(args.capacity)?;
    if args.rate.is_some_and(|rate| !(1.0..=1e8).contains(&rate)) {
        return Err("--rate must be from 1 to 100000000 reads per second of the fleet".to_owned());
    }
    let writes_percent = args.writes.unwrap_or(WRITES_PERCENT);
    let writes_min_per_s = args.writes_min.unwrap_or(WRITES_MIN);
    if !(0.0..=100.0).contains(&writes_percent) {
        return Err("--writes must be from 0 to 100 per cent of the reads".to_owned());
    }
    limits::per_second("writes-min", writes_min_per_s, 0.0, 1e5)?;
    let zipf = limits::zipf(args.zipf)?;
    let seconds = limits::seconds(args.duration)?;
    let mut plan = Plan {
        tasks: args.pool.into(),
        pool: args.pool.into(),
        sidecar_ttl_ms: args.sidecar_ttl.as_secs() * 1000,
        flat_out_seconds: seconds.div_ceil(2),
        ..Plan::new(Asked {
            pods: args.pods.into(),
            keys: args.keys,
            value_bytes: value_bytes.unwrap_or(VALUE_BYTES),
            zipf,
            reads_per_pod: 0.0,
            writes: writes_min_per_s,
            capacity_bytes,
            seconds,
            seed: args.seed,
            // Of this run alone: another one on the same server must not write what this one checks.
            prefix: format!("nearcache-bench:{:x}-{:x}:", std::process::id(), now_ns()),
        })
    };
    let mut options = Options {
        writes_percent,
        writes_min_per_s,
        rate: args.rate,
        l2_latency_us: args.l2_latency.as_micros() as u64,
        sidecar: args.sidecar,
        trace: args.trace.clone(),
        trace_reads_per_s: None,
    };
    if let Some(path) = &args.trace {
        let traffic = Traffic::new(&trace::read(path)?, plan.pods, value_bytes, VALUE_BYTES)?;
        let told = args.writes.is_some() || args.writes_min.is_some();
        if told && !traffic.writes.is_empty() {
            let path = path.display();
            return Err(format!(
                "the trace {path} has writes of its own: leave out --writes and --writes-min"
            ));
        }
        follow(traffic, &mut plan, &mut options)
            .map_err(|why| format!("trace {}: {why}", path.display()))?;
    }
    Ok((plan, options))
}

/// Lets the traffic decide what otherwise the options do.
fn follow(traffic: Traffic, plan: &mut Plan, options: &mut Options) -> Result<(), Failure> {
    plan.keys = u32::try_from(traffic.sizes.len())
        .ok()
        .filter(|keys| *keys <= KEYS_MAX)
        .ok_or_else(|| format!("there are more than {KEYS_MAX} keys in it"))?;
    plan.value_bytes = (traffic.data_bytes() / u64::from(plan.keys)) as usize;
    // A trace without a write still gets some: without any, no copy could be old.
    if !traffic.writes.is_empty() {
        options.writes_percent = traffic.writes_percent();
        options.writes_min_per_s = 0.0;
    }
    options.trace_reads_per_s = traffic.reads_per_s;
    plan.traffic = Some(Arc::new(traffic));
    Ok(())
}

/// Whether the memory that is free is enough for the fullest arm.
pub(crate) fn room(plan: &Plan, options: &Options, free: Option<u64>) -> Result<(), Failure> {
    // Allocators and servers round sizes up; a process is some megabytes besides.
    const ROUNDED: f64 = 1.25;
    const PROCESS: f64 = 16e6;
    let held = (plan.capacity_bytes as f64).min(plan.data_bytes() as f64);
    let processes = if options.sidecar { 2.0 } else { 1.0 };
    let per_pod = held * ROUNDED + processes * PROCESS;
    let l2 = plan.data_bytes() as f64 * ROUNDED + 256e6;
    let needed = per_pod * plan.pods as f64 + l2;
    match free {
        Some(free) if needed > free as f64 => Err(format!(
            "{} pods that hold {} each need about {}, and {} of memory are free: lower --pods to {}, or --capacity, \
             --value-size or --keys",
            plan.pods,
            show::bytes(held),
            show::bytes(needed),
            show::bytes(free as f64),
            ((free as f64 - l2) / per_pod).max(1.0) as u64
        )),
        _ => Ok(()),
    }
}

/// `1ms`, `500us`, `0.5ms`, `1s`.
fn latency(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let seconds = units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * factor)
    });
    match seconds {
        Some(seconds) if (0.0..=1.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a time from 0us to 1s with its unit, for example 1ms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn defaults() -> (Plan, Options) {
        let line = <Line as clap::Parser>::parse_from(["fleet"]);
        parse(&line.args).unwrap()
    }

    #[test]
    fn the_defaults_are_those_that_cannot_flatter() {
        let (plan, options) = defaults();
        assert_eq!(
            (plan.pods, plan.keys, plan.value_bytes),
            (50, 1000, 200_000)
        );
        assert_eq!((plan.capacity_bytes, plan.pool), (256 << 20, 10));
        assert!((plan.zipf - 0.99).abs() < 1e-9);
        // 0.01 % of the reads, and two a second at least.
        assert!((options.updates_per_s(1e6, options.writes_percent) - 100.0).abs() < 1e-9);
        assert!((options.updates_per_s(1e3, options.writes_percent) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn what_does_not_fit_says_what_to_lower() {
        let (plan, options) = defaults();
        assert!(room(&plan, &options, None).is_ok());
        assert!(room(&plan, &options, Some(24 << 30)).is_ok());
        let why = room(&plan, &options, Some(6 << 30)).unwrap_err();
        assert!(why.contains("lower --pods to 2"), "{why}");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(latency("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(latency("0.5ms"), Ok(Duration::from_micros(500)));
        assert!(latency("1").is_err() && latency("2s").is_err() && latency("-1ms").is_err());
    }
}
