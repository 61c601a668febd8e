//! Many at once: handles of one pod in tasks or threads, each with keys of its own, so that every reply
//! is certain although they all get in each other's way. No settling: all that is written is the pod's own.

use std::sync::Arc;

use crate::link::{Style, SubjectLink};
use crate::servers::Servers;
use crate::world::{Tally, World};
use crate::{Coverage, RESP2, RESP3, STEPS, drive, seeds};

/// How many at once.
const LANES: u64 = 4;

#[test]
fn differential_threads_async() {
    let servers = Arc::new(Servers::start(Style::Async, RESP3));
    let title = "differential_threads_async";
    let mut coverage = Coverage::default();
    for seed in seeds(5_000_000) {
        servers.clear();
        drive(Style::Async, async {
            let pod = servers.pod().await;
            let tasks: Vec<_> = (0..LANES)
                .map(|lane| {
                    let (servers, pod) = (servers.clone(), pod.clone());
                    tokio::spawn(async move { run(&servers, pod, title, seed, lane).await })
                })
                .collect();
            let mut tally = Tally::default();
            for task in tasks {
                match task.await {
                    Ok(of_lane) => tally.add(of_lane),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
            coverage.add(tally, &[pod]);
        });
    }
    coverage.check(title);
}

#[test]
fn differential_threads_blocking() {
    let servers = Servers::start(Style::Blocking, RESP2);
    let title = "differential_threads_blocking";
    let mut coverage = Coverage::default();
    for seed in seeds(6_000_000) {
        servers.clear();
        let pod = drive(Style::Blocking, servers.pod());
        let mut tally = Tally::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..LANES)
                .map(|lane| {
                    let call = run(&servers, pod.clone(), title, seed, lane);
                    scope.spawn(|| drive(Style::Blocking, call))
                })
                .collect();
            for thread in threads {
                match thread.join() {
                    Ok(of_lane) => tally.add(of_lane),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        coverage.add(tally, &[pod]);
    }
    coverage.check(title);
}

async fn run(servers: &Servers, pod: Arc<SubjectLink>, title: &str, seed: u64, lane: u64) -> Tally {
    let handles = [(Some(pod.clone()), 2), (Some(pod), 1)];
    let prefix = format!("{lane}:");
    let world = World::new(servers, title, seed, &prefix, &handles).await;
    world.run(STEPS / 2).await
}
