//! `bench dropin`: the drop-in for redis-rs beside redis-rs, on one server, in one run.
//! Reports figures and whether they reach the goals; fails only when something answers wrongly.

mod band;
mod clients;
mod data;
mod hits;
mod table;
mod through;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use nearcache_cli::outcome::{Failure, Outcome};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use super::l1::{Target, counting, releases};
use crate::document;
use crate::fleet::control::{Place, info};
use crate::fleet::server::Server;
use crate::machine::Hardware;
use clients::Clients;
use watch::Until;

/// What the benchmark can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Seconds for all calls together; every case has at least five rounds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Three short rounds: a first look in a few seconds
    #[arg(long)]
    quick: bool,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server, for example redis://127.0.0.1:6379; auto starts one
    #[arg(long, default_value = "auto", value_name = "URL")]
    redis: String,
    /// Start this server program instead of one found on PATH
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything a run found.
#[derive(Debug, Serialize)]
struct Run {
    hardware: Hardware,
    libraries: Vec<String>,
    server: String,
    seed: u64,
    capacity: &'static str,
    rounds: usize,
    slice_ms: u64,
    hits: Vec<hits::Row>,
    hit_ratios: Vec<hits::Ratio>,
    through: Vec<through::Row>,
    through_ratios: Vec<through::Ratio>,
    goals: Vec<Target>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    slice: Duration,
}

/// Runs the benchmark.
pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    counting::stop();
    let hardware = Hardware::detect();
    // Held until the end: dropping it ends the server.
    let (url, _server) = place(args)?;
    // Two workers, however many cores there are: the figures of two machines can then be compared.
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let mut clients = Clients::open(&url, &runtime)?;
    let text: String = redis::cmd("INFO")
        .arg("server")
        .query(&mut clients.plain_blocking)
        .map_err(|error| error.to_string())?;
    let effort = effort(args);
    let mut run = Run {
        hardware,
        libraries: releases(&["nearcache", "redis", "tokio"]),
        server: version(&text),
        seed: args.seed,
        capacity: clients::CAPACITY,
        rounds: effort.rounds,
        slice_ms: effort.slice.as_millis() as u64,
        hits: Vec::new(),
        hit_ratios: Vec::new(),
        through: Vec::new(),
        through_ratios: Vec::new(),
        goals: Vec::new(),
    };
    table::announce(&run);
    data::write(&mut clients.plain_blocking).map_err(|error| error.to_string())?;
    let measured = run.measure(&mut clients, &runtime, effort);
    let cleaned = data::delete(&mut clients.plain_blocking);
    measured?;
    cleaned.map_err(|error| format!("cannot clean up: {error}"))?;
    run.goals = run.judged();
    table::print(&run);
    if let Some(path) = &args.json {
        document::write_pretty(path, &run)?;
    }
    clients.cache.shutdown();
    Ok(Outcome::Good)
}

fn place(args: &Args) -> Result<(String, Option<Server>), Failure> {
    match super::place(&args.redis, args.server.as_deref())? {
        (Place::Server { url }, server) => Ok((url, server)),
        (Place::Embedded(_), _) => Err("this needs a server".to_owned()),
    }
}

fn effort(args: &Args) -> Effort {
    if args.quick {
        let slice = Duration::from_millis(40);
        return Effort { rounds: 3, slice };
    }
    let slices = hits::READS.len() * hits::WHO.len() + through::cases().len() * 2;
    // Slices long enough for a 99.9th percentile of what takes 50 microseconds, and as many rounds as fit.
    let round = Duration::from_millis(200) * slices as u32;
    let rounds = (Duration::from_secs(args.seconds).as_millis() / round.as_millis()).max(5);
    Effort {
        rounds: rounds as usize,
        slice: Duration::from_secs(args.seconds) / (rounds as u32 * slices as u32),
    }
}

fn version(text: &str) -> String {
    match info(text, "valkey_version") {
        Some(version) => format!("Valkey {version}"),
        None => format!("Redis {}", info(text, "redis_version").unwrap_or("?")),
    }
}

impl Run {
    /// All rounds. Both parts, all cases and all clients take turns, so that what else the machine does falls on
    /// all alike; who begins changes from round to round.
    fn measure(
        &mut self,
        clients: &mut Clients,
        runtime: &Runtime,
        effort: Effort,
    ) -> Result<(), Failure> {
        hits::fill(clients, runtime, self.seed)?;
        let cases = through::cases();
        let mut hits = hits::READS.map(|read| (read, std::array::from_fn(|_| Vec::new())));
        let mut through: Vec<_> = cases
            .iter()
            .map(|case| (*case, [Vec::new(), Vec::new()]))
            .collect();
        for round in 0..effort.rounds {
            for (read, rounds) in &mut hits {
                for turn in 0..hits::WHO.len() {
                    let who = hits::WHO[(turn + round) % hits::WHO.len()];
                    let until = Until::Elapsed(effort.slice);
                    let spread = hits::measure(clients, runtime, who, *read, self.seed, until)?;
                    rounds[who as usize].push(spread);
                }
            }
            for (case, rounds) in &mut through {
                for turn in 0..2 {
                    let client = (turn + round) % 2;
                    let (seed, slice) = (self.seed + round as u64, effort.slice);
                    let slice = through::measure(clients, runtime, client, *case, seed, slice)?;
                    rounds[client].push(slice);
                }
            }
        }
        for (read, rounds) in &hits {
            let (rows, ratios) = hits::sum_up(*read, rounds);
            self.hits.extend(rows);
            self.hit_ratios.extend(ratios);
        }
        for (case, rounds) in &through {
            let (rows, ratio) = through::sum_up(*case, rounds);
            self.through.extend(rows);
            self.through_ratios.push(ratio);
        }
        Ok(())
    }

    fn judged(&self) -> Vec<Target> {
        let small = hits::Read::GetSmall.name();
        let hit = self
            .hit_ratios
            .iter()
            .filter(|ratio| ratio.read == small && ratio.client == hits::Who::RedisRs)
            .map(|ratio| {
                goal(
                    format!("{small}: redis-rs / drop-in"),
                    ratio.times.median,
                    50.0,
                )
            });
        let through = self.through_ratios.iter().map(|ratio| {
            let name = format!("{} by {}: drop-in / redis-rs", ratio.command, ratio.tasks);
            goal(name, ratio.times.median, 0.85)
        });
        hit.chain(through).collect()
    }
}

fn goal(name: String, value: f64, least: f64) -> Target {
    Target {
        name,
        value,
        goal: format!("at least {least}"),
        reached: value >= least,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_fill_the_time() {
        let args = |seconds, quick| Args {
            seconds,
            quick,
            seed: 1,
            redis: "auto".to_owned(),
            server: None,
            json: None,
        };
        for seconds in [1, 60, 600] {
            let effort = effort(&args(seconds, false));
            let slices = 4 * 5 + 12 * 2;
            let all = effort.slice * slices * effort.rounds as u32;
            assert!(effort.rounds >= 5, "{effort:?}");
            assert!(all <= Duration::from_secs(seconds), "{effort:?}");
        }
        assert_eq!(effort(&args(60, true)).rounds, 3);
    }

    #[test]
    fn servers_are_named() {
        assert_eq!(
            version("redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n"),
            "Valkey 8.1.0"
        );
        assert_eq!(version("redis_version:8.2.1\r\n"), "Redis 8.2.1");
    }
}
