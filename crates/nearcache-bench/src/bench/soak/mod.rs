//! `bench soak`: one process with a full L1 on a real server, read and written to for a long time, and what it
//! counts held against what it takes. Measures memory, not speed.

mod load;
mod options;
mod report;
mod samples;
mod table;
mod values;

use std::sync::atomic::Ordering;
use std::thread;

use nearcache::{NearCache, blocking};
use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::show;
use nearcache_cli::terminal::{self, outln};

use crate::document::{self, Document, Head};
use crate::fleet::control::{Control, Place};
use crate::fleet::program;
use crate::fleet::progress::{Count, Progress};
use crate::fleet::server::Server;
use crate::machine::{Hardware, now_ns, resident_bytes, sleep_until};
use load::Load;
pub(super) use options::Args;
use options::Options;
use report::Run;
use samples::Sample;
use values::{Distribution, Values};

/// How often what L1 counts is looked at.
const LOOK_NS: u64 = 10_000_000;

/// Runs it.
pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let options = options::parse(args)?;
    let hardware = Hardware::detect();
    let program = program::needed(args.server.as_deref())?;
    let limit = options.server_memory_bytes.to_string();
    let limits = ["--maxmemory", &limit, "--maxmemory-policy", "allkeys-lru"];
    let server = Server::start(&program, &limits)?;
    let url = server.url();
    let product = Control::open(&Place::Server { url: url.clone() })?.describe()?;
    let values = Values::new(options.seed);
    let sizes = values.distribution(options.keys);
    announce(&options, &sizes, &product);
    let cache = opened(&url, &options)?;
    let load = Load::new(&cache, &values, &options);
    let resident_bytes_start = memory()?;
    let client = redis::Client::open(url).map_err(|error| error.to_string())?;
    let past = client.get_connection().map_err(|error| error.to_string())?;
    let start_ns = now_ns();
    let samples = thread::scope(|scope| {
        let load = &load;
        for number in 0..options.threads as u64 {
            scope.spawn(move || load.read(number));
        }
        if options.writes_per_s > 0.0 {
            scope.spawn(move || load.write(past));
        }
        let seen = watch(load, start_ns);
        load.end();
        seen
    })?;
    let elapsed_ns = now_ns() - start_ns;
    let stats = cache.stats();
    let tenths = samples::tenths(&samples);
    let last = tenths.last().map_or(0, |tenth| tenth.resident_bytes_median);
    let most = |of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);
    let run = Run {
        value_bytes: sizes,
        reads: load.reads.load(Ordering::Relaxed),
        hits: stats.totals.hits_total,
        fills: load.fills.load(Ordering::Relaxed),
        writes: load.writes.load(Ordering::Relaxed),
        wrong_values: load.wrong.load(Ordering::Relaxed),
        errors: load.errors(),
        evictions: stats.store.evictions,
        expired: stats.store.expired,
        invalidated: stats.store.invalidated,
        l1_bytes_max: most(|sample| sample.l1_bytes),
        resident_bytes_start,
        resident_bytes_max: most(|sample| sample.resident_bytes),
        resident_over_capacity: last as f64 / options.capacity_bytes as f64,
        resident_bytes_per_minute: samples::slope(&samples),
        options: options.clone(),
        tenths,
        samples,
    };
    let head = Head {
        seed: options.seed,
        hardware,
        server: product,
    };
    let (goals, verdict) = (run.goals(), run.verdict());
    let mut document = Document::new(head, run, elapsed_ns, verdict);
    document.goals = Some(goals);
    outln!("\n{}", table::table(&document, terminal::columns()));
    if let Some(path) = &args.json {
        document::write(path, &document)?;
    }
    Ok(document.outcome())
}

/// The cache under test: everything as it comes, but for large values, which are cached as well.
fn opened(url: &str, options: &Options) -> Result<blocking::NearCache, Failure> {
    NearCache::builder()
        .redis(url)
        .capacity(options.capacity_bytes)
        .max_inline(values::LARGEST * 2)
        .connect_blocking()
        .map_err(|error| error.to_string())
}

/// Looks at the memory until the time is over.
fn watch(load: &Load<'_>, start_ns: u64) -> Result<Vec<Sample>, Failure> {
    let end_ns = start_ns + load.options.duration_ms * 1_000_000;
    let step_ns = load.options.sample_ms * 1_000_000;
    let mut progress = Progress::new();
    progress.begin("soak", start_ns, end_ns - start_ns, None);
    let mut samples = Vec::new();
    let mut sample = Sample::default();
    let mut due_ns = start_ns + step_ns;
    while now_ns() < end_ns {
        sleep_until(now_ns() + LOOK_NS);
        let stats = load.cache.stats();
        // The tables that count reads have their part of the capacity from the beginning: the store has the rest.
        let tables = load.options.capacity_bytes - stats.store.capacity;
        sample.l1_bytes = sample.l1_bytes.max((stats.store.weight + tables) as u64);
        if now_ns() < due_ns {
            continue;
        }
        due_ns = now_ns().max(due_ns) + step_ns;
        sample.at_seconds = (now_ns() - start_ns) as f64 / 1e9;
        sample.resident_bytes = memory()?;
        sample.entries = stats.store.entries as u64;
        sample.evictions = stats.store.evictions;
        sample.reads = load.reads.load(Ordering::Relaxed);
        samples.push(std::mem::take(&mut sample));
        if progress.due() {
            let reads = Count::now(load.reads.load(Ordering::Relaxed));
            progress.show(reads, None, None);
        }
    }
    let reads = Count::now(load.reads.load(Ordering::Relaxed));
    progress.finish(reads, None);
    Ok(samples)
}

fn memory() -> Result<u64, Failure> {
    resident_bytes().ok_or_else(|| "this system does not tell how much memory a process has".into())
}

fn announce(options: &Options, sizes: &Distribution, server: &str) {
    let text = format!(
        "One process on {server} with {} of memory, {} of L1. {} keys by Zipf {}, values of {} B to {} (median {}, one in \
         a hundred above {}, mean {}, {} together); {} threads read as fast as they can, {} changes/s; {} s; seed {}.",
        report::bytes(options.server_memory_bytes),
        report::bytes(options.capacity_bytes as u64),
        show::count(options.keys.into()),
        options.zipf,
        sizes.min,
        show::bytes(sizes.max as f64),
        show::bytes(sizes.median as f64),
        show::bytes(sizes.p99 as f64),
        show::bytes(sizes.mean as f64),
        show::bytes(sizes.total as f64),
        options.threads,
        options.writes_per_s,
        options.duration_ms / 1000,
        options.seed
    );
    terminal::paragraph(&text);
}
