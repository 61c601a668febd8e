//! `bench statistics`: what counting the reads costs a hit. Two caches that differ in nothing else, in turns.
//! On the embedded L2, whose values all are resident: nothing is sent while it is measured.

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use nearcache::{NearCache, Ttl, blocking};
use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::terminal::outln;
use serde::Serialize;

use crate::document;
use crate::machine::{Hardware, thread_ns};
use crate::zipf::{Rng, Zipf};

/// What a hit may pay for being counted.
const GOAL_NS: f64 = 5.0;
/// Length of a value.
const VALUE: usize = 100;

/// What the benchmark can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Keys, all of them resident
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
    /// Rounds, each with both caches
    #[arg(long, default_value_t = 401, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Hits of each thread in each round of each cache
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    hits: u32,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The figures, as JSON (`docs/benchmarks.md` documents it).
#[derive(Debug, Serialize)]
struct Run {
    version: &'static str,
    seed: u64,
    hardware: Hardware,
    keys: u32,
    rounds: u16,
    hits_per_round: u32,
    rows: Vec<Row>,
}

/// One number of threads: nanoseconds of processor time a hit, over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    threads: usize,
    without: Spread,
    with: Spread,
    /// Round by round, what it is more with than without.
    difference: Spread,
    /// One read in so many was sampled at the end.
    sampling_period: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

/// Runs the benchmark.
pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let hardware = Hardware::detect();
    outln!(
        "Hits on {} resident keys by Zipf 0.99, {} rounds, {} hits of each thread in each; seed {}. {}.",
        args.keys,
        args.rounds,
        args.hits,
        args.seed,
        hardware.line()
    );
    let names: Vec<String> = (0..args.keys)
        .map(|key| format!("product:{key:06}"))
        .collect();
    let (without, with) = (filled(&names, false)?, filled(&names, true)?);
    let zipf = Zipf::new(args.keys, 0.99);
    let mut rows = Vec::new();
    for threads in [1, 2] {
        let orders: Vec<Vec<u32>> = (0..threads as u64)
            .map(|thread| {
                let mut rng = Rng::new(args.seed, thread);
                (0..args.hits).map(|_| zipf.sample(&mut rng)).collect()
            })
            .collect();
        let mut rounds: [Vec<f64>; 2] = Default::default();
        for round in 0..usize::from(args.rounds) {
            // Who begins rotates, so that whatever else the machine does falls on both alike.
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let cache = [&without, &with][which];
                rounds[which].push(timed(cache, &names, &orders)?);
            }
        }
        let difference = rounds[1]
            .iter()
            .zip(&rounds[0])
            .map(|(with, without)| with - without);
        let row = Row {
            threads,
            sampling_period: with.stats().sampling_period,
            difference: spread(difference.collect()),
            without: spread(rounds[0].clone()),
            with: spread(rounds[1].clone()),
        };
        outln!("{}", line(&row));
        rows.push(row);
    }
    let good = rows.iter().all(|row| row.difference.median < GOAL_NS);
    if let Some(note) = hardware.busy() {
        outln!("Note: {note}.");
    }
    let run = Run {
        version: env!("CARGO_PKG_VERSION"),
        seed: args.seed,
        hardware,
        keys: args.keys,
        rounds: args.rounds,
        hits_per_round: args.hits,
        rows,
    };
    if let Some(path) = &args.json {
        document::write(path, &run)?;
    }
    Ok(Outcome::of(good))
}

fn line(row: &Row) -> String {
    let show = |spread: &Spread| {
        format!(
            "{:6.1} / {:6.1} / {:6.1}",
            spread.min, spread.median, spread.max
        )
    };
    let verdict = match row.difference.median < GOAL_NS {
        true => "yes",
        false => "NO",
    };
    format!(
        "{} thread{}, ns of processor a hit, min / median / max: without statistics {}, with {}, difference {} (wanted: median below \
         {GOAL_NS} ns: {verdict}); between the fastest rounds {:.1}; one read in {} sampled",
        row.threads,
        if row.threads == 1 { "" } else { "s" },
        show(&row.without),
        show(&row.with),
        show(&row.difference),
        row.with.min - row.without.min,
        row.sampling_period
    )
}

/// A cache in which all keys are resident.
fn filled(names: &[String], statistics: bool) -> Result<blocking::NearCache, Failure> {
    let built = NearCache::builder()
        .memory()
        .statistics(statistics)
        .connect_blocking();
    let cache = built.map_err(|error| error.to_string())?;
    for name in names {
        let value = vec![1; VALUE];
        cache
            .set(name, value, Ttl::NONE)
            .and_then(|()| cache.get(name))
            .map_err(|error| error.to_string())?;
    }
    Ok(cache)
}

/// Nanoseconds of processor time a hit, the mean of the threads: on a busy machine time on the clock is that of others.
fn timed(
    cache: &blocking::NearCache,
    names: &[String],
    orders: &[Vec<u32>],
) -> Result<f64, Failure> {
    let barrier = Barrier::new(orders.len());
    let times: Vec<(f64, usize)> = thread::scope(|scope| {
        let threads: Vec<_> = orders
            .iter()
            .map(|order| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let start = thread_ns();
                    let hits = order
                        .iter()
                        .filter(|key| cache.get_resident(&names[**key as usize]).is_some())
                        .count();
                    let ns = (thread_ns() - start) as f64 / order.len() as f64;
                    (ns, order.len() - hits)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|times| times.unwrap_or((f64::NAN, 1))).collect()
    });
    let missed: usize = times.iter().map(|time| time.1).sum();
    // A lease may run out where the machine stands still; a share that matters makes the figure worthless.
    if missed * 1000 > orders.iter().map(Vec::len).sum() {
        return Err(format!("{missed} of the reads were no hits"));
    }
    Ok(times.iter().map(|time| time.0).sum::<f64>() / times.len() as f64)
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    Spread {
        min: at(0),
        median: at(values.len() / 2),
        max: at(values.len().saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_sorted_values() {
        let found = spread(vec![3.0, 1.0, 2.0]);
        assert_eq!((found.min, found.median, found.max), (1.0, 2.0, 3.0));
    }

    #[test]
    fn all_hits_are_hits() {
        let names: Vec<String> = (0..50).map(|key| format!("product:{key:06}")).collect();
        for statistics in [false, true] {
            let cache = filled(&names, statistics).unwrap();
            let order = vec![(0..50).collect(), (0..50).collect()];
            assert!(timed(&cache, &names, &order).unwrap() > 0.0);
        }
    }
}
