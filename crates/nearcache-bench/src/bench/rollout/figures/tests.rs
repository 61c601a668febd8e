//! Figures of made-up stages.

use super::*;
use crate::bench::rollout::crew::Life;
use crate::fleet::message::{Sample, Start};

fn read(due_ms: u64, took_us: u64, hit: bool) -> Served {
    let due_ns = due_ms * 1_000_000;
    Served {
        sample: Sample {
            key: 0,
            sequence: 1,
            started_ns: due_ns,
        },
        due_ns,
        ended_ns: due_ns + took_us * 1000,
        hit,
    }
}

fn life(newcomer: bool, served: Vec<Served>) -> Life {
    let start = Start {
        ready_ns: 1_500_000_000,
        ..Start::default()
    };
    let report = Report {
        served,
        ..Report::default()
    };
    Life::ended(1_000_000_000, start, newcomer, report)
}

fn look(at_ms: u64, reads: u64) -> Snapshot {
    Snapshot {
        at_ns: at_ms * 1_000_000,
        reads,
        ..Snapshot::default()
    }
}

#[test]
fn a_new_pod_is_compared_with_the_others_at_the_same_time() {
    // The old pod hits until 2 s and never after; the new one reads from 1 s on and hits every other time.
    let old = (0..400).map(|n| read(n * 10, 10, n < 200)).collect();
    let new = (0..100)
        .map(|n| read(1000 + n * 10, 1000, n % 2 == 0))
        .collect();
    let measured = Course {
        lives: vec![life(false, old), life(true, new)],
        looks: vec![
            look(0, 0),
            look(250, 100),
            look(260, 200),
            look(500, 200),
            look(4000, 200),
        ],
        served_ns: 0,
        steady_ns: 0,
        change_ns: 1_000_000_000,
        end_ns: 4_000_000_000,
        settled: true,
        published: true,
        fill_errors: 0,
    };
    let all = reads(&measured);
    let new = &newcomers(&measured, &all)[0];
    assert_eq!((new.first_100, new.fleet_100), (Some(0.5), Some(1.0)));
    assert_eq!((new.first_400, new.fleet_400), (None, None));
    assert!((new.ready_seconds - 0.5).abs() < 1e-9);
    let change = span(&all, &measured.looks, 1_000_000_000, 4_000_000_000);
    assert_eq!(change.reads, 400);
    assert!((change.hit_rate - 150.0 / 400.0).abs() < 1e-9);
    assert_eq!(change.p99_old_us, Some(10.0));
    assert!((change.p99_us - 1000.0).abs() < 1e-9);
    // Two looks close to each other are not told apart: 200 reads in 500 ms at most, of which 100 in 250.
    let steady = span(&all, &measured.looks, 0, 1_000_000_000);
    assert!((steady.l2_peak_per_s - 400.0).abs() < 1e-9);
}

#[test]
fn first_reads_are_averaged_over_pods() {
    let pod = |own, fleet| Newcomer {
        first_100: own,
        fleet_100: fleet,
        ..empty()
    };
    let pods = [
        pod(Some(0.8), Some(0.9)),
        pod(Some(1.0), None),
        pod(None, None),
    ];
    let found = first(&pods, |pod| (pod.first_100, pod.fleet_100));
    assert_eq!((found.pods, found.fleet_hit_rate), (2, Some(0.9)));
    assert!((found.hit_rate - 0.9).abs() < 1e-9 && (found.worst - 0.8).abs() < 1e-9);
    assert!((found.standard_error - 0.1).abs() < 1e-9);
}

fn empty() -> Newcomer {
    Newcomer {
        at_seconds: 0.0,
        ready_seconds: 0.0,
        warm_end: String::new(),
        warm_seconds: 0.0,
        warm_keys: 0,
        warm_keys_planned: 0,
        warm_bytes: 0,
        warm_share_of_reads: 0.0,
        first_100: None,
        first_400: None,
        fleet_100: None,
        fleet_400: None,
    }
}
