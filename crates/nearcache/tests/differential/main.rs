//! The differential test: random commands through the connection under test on one server, and through
//! plain redis-rs on another; every reply must be the same. One seed is one schedule; a failure prints it.
//!
//! `NEARCACHE_TEST_SEED=n` replays one schedule, `NEARCACHE_TEST_RUNS=n` runs that many per test.
//! `subject.rs` says what is under test.

// The seed to replay comes from the environment, and what was done goes to the terminal.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]
// One test program: what its modules share is not an API.
#![allow(unreachable_pub)]

mod command;
mod forecast;
mod link;
mod plain;
mod plan;
mod probe;
mod random;
mod reply;
mod servers;
mod session;
mod step;
mod subject;
mod threads;
mod world;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use command::Command;
use link::{Style, SubjectLink};
use servers::Servers;
use world::{Tally, World};

/// Schedules per test, unless the environment says otherwise.
const RUNS: u64 = 6;

/// Steps of a schedule.
const STEPS: u64 = 3000;

/// The share of reads, in percent, that must be hits. Below it the test compares the server with itself.
const HITS_MIN: u64 = 40;

/// What is put after the address of a server.
const RESP2: &str = "/";
const RESP3: &str = "/?protocol=resp3";

#[test]
fn differential_resp2_async() {
    in_order("differential_resp2_async", Style::Async, RESP2, 1_000);
}

#[test]
fn differential_resp3_async() {
    in_order("differential_resp3_async", Style::Async, RESP3, 2_000_000);
}

#[test]
fn differential_resp2_blocking() {
    let style = Style::Blocking;
    in_order("differential_resp2_blocking", style, RESP2, 3_000_000);
}

#[test]
fn differential_resp3_blocking() {
    let style = Style::Blocking;
    in_order("differential_resp3_blocking", style, RESP3, 4_000_000);
}

#[test]
fn differential_resp2_multiplexed() {
    let style = Style::Multiplexed;
    in_order("differential_resp2_multiplexed", style, RESP2, 7_000_000);
}

#[test]
fn differential_resp3_multiplexed() {
    let style = Style::Multiplexed;
    in_order("differential_resp3_multiplexed", style, RESP3, 8_000_000);
}

#[test]
fn a_difference_is_found() {
    let servers = Servers::start(Style::Async, RESP2);
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drive(Style::Async, async {
            let handles = [(Some(servers.pod().await), 1)];
            let world = World::new(&servers, "a_difference_is_found", 5, "", &handles).await;
            world.sabotage(&Command::of(&["SET", "s0", "what nobody writes"]));
            world.run(0).await
        })
    }));
    let panic = found.expect_err("the servers differ");
    let text = panic.downcast_ref::<String>().expect("a message");
    for part in ["NEARCACHE_TEST_SEED=5", "GET s0", "what nobody writes"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Step by step over the handles of two pods and a foreign client.
fn in_order(title: &str, style: Style, query: &'static str, first: u64) {
    let servers = Servers::start(style, query);
    let mut coverage = Coverage::default();
    for seed in seeds(first) {
        servers.clear();
        drive(style, async {
            let pods = [servers.pod().await, servers.pod().await];
            let [one, other] = [0, 1].map(|index: usize| Some(pods[index].clone()));
            let handles = [(one.clone(), 4), (one, 3), (other, 3), (None, 1)];
            let world = World::new(&servers, title, seed, "", &handles).await;
            let tally = world.run(STEPS).await;
            coverage.add(tally, &pods);
        });
    }
    coverage.check(title);
}

/// The seeds of a test: one that was asked for, or some from `first` on.
fn seeds(first: u64) -> Range<u64> {
    if let Some(seed) = variable("NEARCACHE_TEST_SEED") {
        return seed..seed + 1;
    }
    first..first + variable("NEARCACHE_TEST_RUNS").unwrap_or(RUNS)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}"))
    })
}

/// Runs a future as a program of that style would: a blocking one has no runtime.
fn drive<R>(style: Style, future: impl Future<Output = R>) -> R {
    match style {
        Style::Async | Style::Multiplexed => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future),
        Style::Blocking => pollster::block_on(future),
    }
}

/// What a test did, and how many of its reads were hits.
#[derive(Default, Debug)]
struct Coverage {
    tally: Tally,
    hits: Option<u64>,
}

impl Coverage {
    fn add(&mut self, tally: Tally, pods: &[Arc<SubjectLink>]) {
        self.tally.add(tally);
        for hits in pods.iter().filter_map(|pod| pod.hits()) {
            *self.hits.get_or_insert(0) += hits;
        }
    }

    fn check(&self, title: &str) {
        let Tally {
            steps,
            reads,
            repeats,
            errors,
        } = self.tally;
        let share = |part: u64| part * 100 / reads.max(1);
        println!(
            "{title}: {steps} steps, {errors} error replies, {reads} reads, of which {} % repeat",
            share(repeats)
        );
        let hits = self.hits.expect("the subject counts its hits");
        println!("{title}: {} % of the reads were hits", share(hits));
        assert!(
            share(hits) >= HITS_MIN,
            "only {hits} of {reads} reads were hits"
        );
    }
}
