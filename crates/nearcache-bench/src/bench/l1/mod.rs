//! `bench l1`: what a hit costs and what is kept, next to other libraries, in one run on one machine.
//! Reports figures; judges nothing by them.

pub(super) mod counting;
mod hits;
mod libraries;
mod overhead;
mod ratio;

use std::path::PathBuf;
use std::time::Duration;

use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::terminal::outln;
use nearcache_cli::trace;
use nearcache_sim::Lines;
use serde::Serialize;

use crate::document;
use crate::machine::Hardware;
use hits::{Effort, Row};
use overhead::Overhead;
use ratio::Ratio;

/// What the benchmark of L1 can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Seconds for all look-ups together, besides filling; every case has at least three rounds
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// 100,000 keys only, few rounds: a first look in half a minute
    #[arg(long)]
    quick: bool,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Request streams to take hit ratios from: CSV with the header ts_ms,client,op,key,size, or one key a line; plain or zstd
    #[arg(long, value_name = "FILE", num_args = 1..)]
    trace: Vec<PathBuf>,
    /// Only the hit ratios of --trace
    #[arg(long, requires = "trace")]
    only_traces: bool,
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything a run found.
#[derive(Debug, Serialize)]
struct Run {
    hardware: Hardware,
    libraries: Vec<String>,
    seed: u64,
    rows: Vec<Row>,
    overhead: Vec<Overhead>,
    ratios: Vec<Target>,
    hit_ratio: Vec<Ratio>,
}

/// A figure that follows from rows, and what it should be.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) goal: String,
    pub(super) reached: bool,
}

/// The keys a goal is looked at with.
const GOAL_KEYS: u32 = 100_000;
const SMALL: usize = 100;
const LARGE: usize = 200_000;

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    // Before anything else, so that a bad file costs no minutes.
    let traces: Vec<(String, Lines)> = args
        .trace
        .iter()
        .map(|path| {
            let name = path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned();
            trace::read(path).map(|trace| (name, trace))
        })
        .collect::<Result<_, _>>()?;
    let mut run = Run {
        hardware: Hardware::detect(),
        libraries: releases(&["nearcache", "quick_cache", "moka", "foyer"]),
        seed: args.seed,
        rows: Vec::new(),
        overhead: Vec::new(),
        ratios: Vec::new(),
        hit_ratio: Vec::new(),
    };
    outln!(
        "{}; {}; seed {}",
        run.hardware.line(),
        run.libraries.join(", "),
        run.seed
    );
    if let Some(busy) = run.hardware.busy() {
        outln!("Note: {busy}.");
    }
    if !args.only_traces {
        run.measure(args)?;
    }
    for (name, trace) in &traces {
        outln!(
            "\n{name}: {} requests of {} keys; hit ratio by entries kept",
            trace.requests.len(),
            trace.keys
        );
        ratio::measure(name, trace, |row| {
            outln!(
                "  {:<14}{:>10} entries {:>8.4}",
                row.library,
                row.capacity_entries,
                row.hit_ratio
            );
            run.hit_ratio.push(row);
        })?;
    }
    if let Some(path) = &args.json {
        document::write_pretty(path, &run)?;
    }
    Ok(Outcome::Good)
}

impl Run {
    fn measure(&mut self, args: &Args) -> Result<(), Failure> {
        let sizes: &[u32] = if args.quick {
            &[GOAL_KEYS]
        } else {
            &[4_000, GOAL_KEYS, 1_000_000]
        };
        let cases = sizes.len() * 2 * 4;
        let effort = Effort {
            per_case: Duration::from_secs(args.seconds) / cases as u32,
            rounds_min: 3,
            lookups: 200_000,
        };
        let effort = if args.quick {
            Effort {
                per_case: Duration::ZERO,
                ..effort
            }
        } else {
            effort
        };
        outln!(
            "\nHits: nanoseconds per look-up as each thread sees it, values found on every look-up\n"
        );
        outln!(
            "  {:<17}{:>9}{:>12}{:>8}  {:<12}{:>8}{:>10}{:>8}",
            "library",
            "keys",
            "value bytes",
            "threads",
            "distribution",
            "ns min",
            "ns median",
            "ns max"
        );
        for &keys in sizes {
            for value_bytes in [SMALL, LARGE] {
                hits::measure(keys, value_bytes, args.seed, effort, |row| {
                    outln!(
                        "  {:<17}{:>9}{:>12}{:>8}  {:<12}{:>8.1}{:>10.1}{:>8.1}",
                        row.library,
                        row.keys,
                        row.value_bytes,
                        row.threads,
                        row.distribution,
                        row.ns_min,
                        row.ns_median,
                        row.ns_max
                    );
                    self.rows.push(row);
                })?;
            }
        }
        self.overhead = overhead::measure(GOAL_KEYS);
        outln!(
            "\nOverhead: bytes set aside per entry beside key and value, {GOAL_KEYS} keys, {SMALL} B values\n"
        );
        for row in &self.overhead {
            outln!("  {:<17}{:>9.0}", row.library, row.bytes_per_entry);
        }
        self.ratios = self.goals();
        outln!("\nAt {GOAL_KEYS} keys, Zipf 0.99, one thread\n");
        for goal in &self.ratios {
            let mark = if goal.reached {
                "reached"
            } else {
                "NOT REACHED"
            };
            outln!(
                "  {:<44}{:>8.2}   {:<18}{mark}",
                goal.name,
                goal.value,
                goal.goal
            );
        }
        Ok(())
    }

    fn goals(&self) -> Vec<Target> {
        let median = |library: &str, value_bytes: usize| {
            let row = self.rows.iter().find(|row| {
                row.library == library
                    && (row.keys, row.value_bytes, row.threads) == (GOAL_KEYS, value_bytes, 1)
                    && row.distribution.starts_with("zipf")
            });
            row.map_or(f64::NAN, |row| row.ns_median)
        };
        let own = median("nearcache", SMALL);
        let overhead = self.overhead.iter().find(|row| row.library == "nearcache");
        let goal = |name: &str, value: f64, most: f64, goal: &str| Target {
            name: name.to_owned(),
            value,
            goal: goal.to_owned(),
            reached: value <= most,
        };
        vec![
            goal(
                "sync hit / quick_cache",
                own / median("quick_cache", SMALL),
                1.5,
                "at most 1.5",
            ),
            goal(
                "sync hit / moka",
                own / median("moka", SMALL),
                1.0 / 3.0,
                "at most 0.33",
            ),
            goal(
                "async get - sync hit, ns",
                median("nearcache-async", SMALL) - own,
                20.0,
                "at most 20",
            ),
            goal(
                "sync hit, 200 KB / 100 B",
                median("nearcache", LARGE) / own,
                1.2,
                "about 1",
            ),
            goal(
                "overhead, B/entry",
                overhead.map_or(f64::NAN, |row| row.bytes_per_entry),
                128.0,
                "at most 128",
            ),
        ]
    }
}

/// Names and releases of the libraries compared, from the lock file this was built with.
pub(super) fn releases(names: &[&str]) -> Vec<String> {
    releases_in(include_str!("../../../../../Cargo.lock"), names)
}

fn releases_in(lock: &str, names: &[&str]) -> Vec<String> {
    let release = |name: &str| {
        let start = lock
            .split_once(&format!("name = \"{name}\"\nversion = \""))?
            .1;
        Some(format!("{name} {}", start.split_once('"')?.0))
    };
    names.iter().filter_map(|name| release(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found() {
        let lock = "[[package]]\nname = \"moka\"\nversion = \"0.12.1\"\n\n[[package]]\nname = \"foyer\"\nversion = \"1.0\"\n";
        assert_eq!(
            releases_in(lock, &["x", "moka", "foyer"]),
            ["moka 0.12.1", "foyer 1.0"]
        );
    }

    #[test]
    fn every_library_finds_every_key() {
        let effort = Effort {
            per_case: Duration::ZERO,
            rounds_min: 1,
            lookups: 500,
        };
        for value_bytes in [SMALL, LARGE] {
            let mut rows = Vec::new();
            hits::measure(300, value_bytes, 1, effort, |row| rows.push(row)).unwrap();
            // Seven libraries, two distributions, one and two threads.
            assert_eq!(rows.len(), 7 * 4);
        }
    }
}
