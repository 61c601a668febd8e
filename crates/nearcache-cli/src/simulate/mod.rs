//! `nearcache simulate`: replays a trace through a fleet that exists only in memory, and says what a near cache of a given
//! size would do for it. Measures the time it took; what it finds does not depend on that.

mod exchange;
mod input;
mod plot;
mod table;
mod verdict;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use nearcache_sim::{Arm, Capacity, Exchange, ExchangeOptions, MergeTimes, Options, Report, Sizes};
use serde::Serialize;

use crate::outcome::{Failure, Outcome};
use crate::terminal::{errln, outln};
use crate::trace;

/// What the simulation can be told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Requests to replay: CSV with the header ts_ms,client,op,key,size, or one key a line; may be compressed with zstd
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Pods that share L2; each serves its own clients
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pods: u16,
    /// Bytes that L1 may hold in each pod
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "256MiB",
        conflicts_with = "capacity_entries"
    )]
    capacity: ByteSize,
    /// Entries that L1 may hold in each pod, whatever their sizes, instead of bytes
    #[arg(long, value_name = "C")]
    capacity_entries: Option<usize>,
    /// Restarts of pods to look at, spread over the last three quarters of the trace
    #[arg(long, default_value_t = 200, value_name = "M")]
    restarts: usize,
    /// Instead, restart the whole fleet, one pod after the other, at these hours of the trace, for example 37,61,85
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "HOURS",
        conflicts_with = "restarts"
    )]
    restart_at: Vec<f64>,
    /// How restarted pods start; all of these unless told otherwise
    #[arg(long, value_delimiter = ',', value_name = "POLICY")]
    policy: Vec<Policy>,
    /// Sizes of values, instead of what the trace says: 2KB, uniform:1KB,50KB or lognormal:MEDIAN,P99
    #[arg(long, value_name = "DIST", value_parser = input::sizes)]
    sizes: Option<Sizes>,
    /// Writes beside those of the trace, in per cent of the reads; what is read often is written often
    #[arg(long, default_value_t = 0.0, value_name = "PCT")]
    writes: f64,
    /// Requests per second of the whole fleet, instead of the times in the trace
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Reads of a key within an hour that a pod must expect to make before it fetches it ahead: a fleet is simulated for each
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "READS",
        default_value = "4,2,1,0.5,0.25,0.1"
    )]
    top_up: Vec<f64>,
    /// Leave out the fleets that fetch ahead
    #[arg(long)]
    skip_top_up: bool,
    /// Leave the table of capacities out, which takes seven replays
    #[arg(long)]
    skip_sizing: bool,
    /// Also simulate for so many minutes what the pods tell each other about their reads, and what that costs L2; the trace is
    /// repeated as often as that takes
    #[arg(
        long,
        value_name = "MINUTES",
        num_args = 0..=1,
        default_missing_value = "45",
        value_parser = exchange::minutes
    )]
    exchange: Option<Duration>,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the findings to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the curves to this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

/// How a restarted pod starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    Cold,
    PeerCopy,
    KeysFile,
    Warm,
}

/// What is written to the file of findings.
#[derive(Serialize)]
struct Findings<'a> {
    command: String,
    version: &'static str,
    #[serde(flatten)]
    report: &'a Report,
    exchange: Option<&'a Exchange>,
    speed: Speed,
}

/// How fast this machine was.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Speed {
    elapsed_seconds: f64,
    requests_per_second: f64,
    /// For each second that a core was at work: what other programs took is not counted.
    requests_per_cpu_second: f64,
    /// Processor time of a merge in the exchange, the embedded server's part included.
    merge_us: Option<MergeUs>,
}

/// Microseconds of processor time.
#[derive(Clone, Copy, Serialize)]
struct MergeUs {
    mean: f64,
    max: f64,
}

/// How long this thread has kept a core busy.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Simulates, and says what was found.
///
/// # Errors
///
/// There is no such trace, nothing in it to replay, or no place to write to.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (trace, guessed) = input::prepare(trace::read(&args.trace)?, args)?;
    let options = options(args);
    let (start, cpu) = (Instant::now(), cpu_time());
    let progress = |what: &str| errln!("{:6.1} s  {what}", start.elapsed().as_secs_f64());
    let failed = |error: nearcache_sim::Error| error.to_string();
    let report = nearcache_sim::simulate(&trace, &options, progress).map_err(failed)?;
    let elapsed_seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu_time().saturating_sub(cpu).as_secs_f64();
    let mut exchange = None;
    if let Some(time) = args.exchange {
        progress("what pods tell each other");
        let options = ExchangeOptions {
            pods: options.pods,
            capacity: options.capacity,
            time,
            seed: options.seed,
        };
        let found = nearcache_sim::exchange(&trace, &options, cpu_time).map_err(failed)?;
        exchange = Some(found);
    }
    let times = exchange.as_ref().map(|(_, times)| *times);
    let exchange = exchange.as_ref().map(|(found, _)| found);
    let requests_in = |seconds: f64| report.simulated_requests as f64 / seconds.max(1e-9);
    let speed = Speed {
        elapsed_seconds,
        requests_per_second: requests_in(elapsed_seconds),
        requests_per_cpu_second: requests_in(cpu_seconds),
        merge_us: times.and_then(merge_us),
    };
    crate::terminal::out(format_args!(
        "{}",
        table::text(&report, &options, guessed, speed)
    ));
    if let Some(exchange) = exchange {
        crate::terminal::out(format_args!("{}", exchange::text(exchange, speed.merge_us)));
    }
    outln!("\n{}", verdict::text(&report, &options, guessed));
    if let Some(path) = &args.json {
        let findings = Findings {
            command: crate::text::command(std::env::args()),
            version: env!("CARGO_PKG_VERSION"),
            report: &report,
            exchange,
            speed,
        };
        let text = serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let Some(folder) = &args.plot {
        plot::write(&report, &options, folder)?;
    }
    Ok(Outcome::Good)
}

fn merge_us(times: MergeTimes) -> Option<MergeUs> {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    (times.merges > 0).then(|| MergeUs {
        mean: us(times.total) / times.merges as f64,
        max: us(times.longest),
    })
}

fn options(args: &Args) -> Options {
    let wanted = |policy| args.policy.is_empty() || args.policy.contains(&policy);
    let arms = [
        (Arm::Cold, wanted(Policy::Cold)),
        (Arm::NeverRestarted, true),
        (Arm::PeerCopy, wanted(Policy::PeerCopy)),
        (Arm::KeysFile, wanted(Policy::KeysFile)),
        (Arm::Warm, wanted(Policy::Warm)),
    ];
    Options {
        pods: args.pods.into(),
        capacity: match args.capacity_entries {
            Some(entries) => Capacity::Entries(entries),
            None => Capacity::Bytes(args.capacity.as_u64().try_into().unwrap_or(usize::MAX)),
        },
        restarts: args.restarts,
        restart_at_us: args
            .restart_at
            .iter()
            .map(|hours| (hours * 3.6e9) as u64)
            .collect(),
        top_up: match args.skip_top_up {
            true => Vec::new(),
            false => args.top_up.clone(),
        },
        arms: arms
            .into_iter()
            .filter(|(_, on)| *on)
            .map(|(arm, _)| arm)
            .collect(),
        writes_percent: args.writes,
        sizing: !args.skip_sizing,
        seed: args.seed,
    }
}
