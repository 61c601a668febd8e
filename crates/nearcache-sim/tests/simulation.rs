//! Simulations of small made-up traces: that they replay, that their figures add up, and what a restart costs.

use bytes::Bytes;
use nearcache_sim::{Arm, Capacity, Key, Kind, Options, Report, Request, Trace, simulate};

const MINUTE_US: u64 = 60_000_000;

/// Clients who read what is new: low numbers often, and every hour other keys.
fn news(requests: u32) -> Trace {
    let mut random = 12345u64;
    let mut next = move |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    let request = |number: u32| {
        let at_us = u64::from(number) * 1_000_000;
        let hour = at_us / (60 * MINUTE_US);
        let rank = next(200) * next(200) / 200;
        Request {
            at_us,
            client: next(1000) as u32,
            key: ((hour * 20 + rank) % 500) as u32,
            kind: Kind::Read,
        }
    };
    Trace {
        requests: (0..requests).map(request).collect(),
        keys: keys(500, 1000),
    }
}

fn keys(number: u32, value_bytes: u32) -> Vec<Key> {
    (0..number)
        .map(|number| Key {
            name: Bytes::from(format!("article:{number}")),
            value_bytes,
        })
        .collect()
}

/// A fleet of many pods, each of which reads little.
fn large(entries: usize) -> Options {
    Options {
        pods: 20,
        ..options(Capacity::Entries(entries))
    }
}

fn options(capacity: Capacity) -> Options {
    Options {
        pods: 4,
        capacity,
        restarts: 10,
        restart_at_us: Vec::new(),
        top_up: Vec::new(),
        arms: Arm::ALL.to_vec(),
        writes_percent: 0.0,
        sizing: false,
        seed: 1,
    }
}

fn simulated(trace: &Trace, options: &Options) -> Report {
    let report = simulate(trace, options, |_| {}).unwrap();
    assert_eq!(report.failed_reads, 0);
    report
}

#[test]
fn a_seed_replays_bit_for_bit_and_another_does_not() {
    let trace = news(20_000);
    let run = |seed| {
        let options = Options {
            seed,
            sizing: true,
            writes_percent: 1.0,
            top_up: vec![0.25],
            ..options(Capacity::Entries(40))
        };
        serde_json::to_string(&simulated(&trace, &options)).unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn with_room_for_everything_only_first_reads_miss() {
    let trace = news(20_000);
    for capacity in [Capacity::Entries(500), Capacity::Bytes(4 << 20)] {
        let report = simulated(&trace, &options(capacity));
        assert_eq!(report.hit_rate.no_warm, report.bounds.own);
        let missed = 1.0 - report.hit_rate.no_warm;
        assert!((report.l2_reads_per_read.no_warm - missed).abs() < 1e-12);
        assert!(report.bounds.own < report.bound);
        assert!(report.l2.peak_reads_per_second >= report.l2.reads_per_second);
        // Each value has 1000 bytes.
        let ratio = report.l2.bytes_per_second / report.l2.reads_per_second;
        assert!((ratio - 1000.0).abs() < 1e-6, "{ratio}");
    }
}

#[test]
fn a_pod_that_went_down_is_worse_off_than_its_twin() {
    let report = simulated(&news(60_000), &large(150));
    assert_eq!(report.restarts, 10);
    let first = |arm: Arm| report.join[&arm].first_100;
    assert!(first(Arm::Cold) + 0.1 < first(Arm::NeverRestarted));
    assert!(first(Arm::Cold) + 0.1 < first(Arm::PeerCopy));
    // By then all keys of the file are old.
    assert!(first(Arm::KeysFile) < first(Arm::PeerCopy));
    assert!(first(Arm::Warm) > first(Arm::NeverRestarted));
    assert!(first(Arm::Warm) <= report.join_bound.first_100);
    let starts = report.warm.starts.unwrap();
    assert!(
        starts.keys > 90.0 && starts.share_of_reads > 0.5,
        "{starts:?}"
    );
    let cold = &report.join[&Arm::Cold];
    let (start, end) = (cold.curve.by_request.first(), cold.curve.by_request.last());
    assert!(start.unwrap().hit_rate + 0.2 < end.unwrap().hit_rate);
    assert!(cold.first_100 < cold.first_400 && cold.curve.by_second.len() > 2);
}

#[test]
fn fetching_ahead_trades_reads_of_l2_for_hits() {
    let options = Options {
        restarts: 0,
        top_up: vec![2.0, 0.5],
        ..large(150)
    };
    let report = simulated(&news(60_000), &options);
    let [none, little, much] = &report.topup_frontier[..] else {
        panic!("{:?}", report.topup_frontier);
    };
    assert_eq!(
        (none.theta, little.theta, much.theta),
        (None, Some(2.0), Some(0.5))
    );
    assert_eq!(
        (none.ahead_per_read, none.hit_rate),
        (0.0, report.hit_rate.no_warm)
    );
    assert!(much.hit_rate > little.hit_rate && little.hit_rate > none.hit_rate);
    assert!(much.ahead_per_read > little.ahead_per_read && little.ahead_per_read > 0.0);
    assert!(little.wasted_share < 0.5, "{little:?}");
    let spent = much.l2_reads_per_read - much.ahead_per_read;
    assert!((spent - (1.0 - much.hit_rate)).abs() < 1e-9, "{much:?}");
}

#[test]
fn a_rolling_restart_takes_each_pod_once() {
    let options = Options {
        restart_at_us: vec![5 * 60 * MINUTE_US],
        ..large(150)
    };
    let report = simulated(&news(60_000), &options);
    assert_eq!(report.restarts, 20);
    assert!(report.join[&Arm::Warm].first_100 > report.join[&Arm::NeverRestarted].first_100);
}

#[test]
fn more_room_hits_more_and_one_row_is_the_knee() {
    let options = Options {
        restarts: 0,
        sizing: true,
        ..options(Capacity::Entries(64))
    };
    let report = simulated(&news(20_000), &options);
    let capacities: Vec<u64> = report.sizing.iter().map(|row| row.capacity).collect();
    assert_eq!(capacities, [8, 16, 32, 64, 128, 256, 512]);
    assert!(report.sizing.is_sorted_by(|a, b| a.hit_rate <= b.hit_rate));
    assert_eq!(report.sizing[3].hit_rate, report.hit_rate.no_warm);
    assert_eq!(report.sizing.iter().filter(|row| row.knee).count(), 1);
}

#[test]
fn what_is_written_is_read_again() {
    let request = |number: u32| Request {
        at_us: u64::from(number) * 1000,
        client: 1,
        key: 0,
        kind: match number % 2 {
            0 => Kind::Read,
            _ => Kind::Write,
        },
    };
    let trace = Trace {
        requests: (0..2000).map(request).collect(),
        keys: keys(1, 10),
    };
    let quiet = Options {
        restarts: 0,
        ..options(Capacity::Bytes(1 << 20))
    };
    let report = simulated(&trace, &quiet);
    assert_eq!((report.hit_rate.no_warm, report.bound), (0.0, 1.0));
    let busy = Options {
        writes_percent: 100.0,
        ..options(Capacity::Entries(500))
    };
    let (calm, busy) = (
        simulated(&news(5000), &options(Capacity::Entries(500))),
        simulated(&news(5000), &busy),
    );
    assert!(busy.hit_rate.no_warm < calm.hit_rate.no_warm);
}

#[test]
fn days_without_a_request_cost_no_read() {
    let request = |number: u32| Request {
        at_us: u64::from(number) * 3 * 24 * 60 * MINUTE_US,
        client: 1,
        key: 0,
        kind: Kind::Read,
    };
    let trace = Trace {
        requests: (0..64).map(request).collect(),
        keys: keys(1, 10),
    };
    let report = simulated(&trace, &options(Capacity::Bytes(1 << 20)));
    assert_eq!(report.hit_rate.no_warm, 1.0);
}

#[test]
fn large_values_are_answered_and_not_kept() {
    let mut trace = news(2000);
    for key in &mut trace.keys {
        key.value_bytes = 3 << 20;
    }
    let report = simulated(&trace, &options(Capacity::Bytes(64 << 20)));
    assert_eq!(report.hit_rate.no_warm, 0.0);
}

#[test]
fn c12_what_cannot_be_simulated_is_refused() {
    let why = |trace: &Trace, options: &Options| {
        simulate(trace, options, |_| {}).unwrap_err().to_string()
    };
    let good = options(Capacity::Entries(10));
    let empty = Trace::default();
    assert!(why(&empty, &good).contains("no read"));
    let mut stray = news(10);
    stray.keys.truncate(1);
    stray.requests[3].key = 7;
    assert!(why(&stray, &good).contains("does not name"));
    let trace = news(10);
    let with = |change: fn(&mut Options)| {
        let mut options = good.clone();
        change(&mut options);
        why(&trace, &options)
    };
    assert!(with(|o| o.pods = 0).contains("1 to 4096 pods"));
    assert!(with(|o| o.capacity = Capacity::Bytes(0)).contains("capacity is zero"));
    assert!(with(|o| o.writes_percent = f64::NAN).contains("writes"));
}
