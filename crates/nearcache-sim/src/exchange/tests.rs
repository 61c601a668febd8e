//! That the exchange stays cheap in fleets of any size, and that nothing in it depends on clocks that agree.

use bytes::Bytes;
use nearcache_proto::warm::{WarmEnd, WarmReport};
use nearcache_proto::working_set::Item;

use super::*;
use crate::io::Skew;
use crate::pod::Served;
use crate::trace::{Key, Request};

const SECOND: Duration = Duration::from_secs(1);

fn keys(number: u32, value_bytes: u32) -> Vec<Key> {
    (0..number)
        .map(|number| Key {
            name: Bytes::from(format!("product:{number}")),
            value_bytes,
        })
        .collect()
}

/// Requests at a steady rate, of keys of which the n-th is read about 1/n times as often as the first.
fn trace(requests: u32, per_s: u64, keys_number: u32, value_bytes: u32) -> Trace {
    let mut random = Random::new(5, 9);
    let most = f64::from(keys_number).ln();
    let request = |number: u32| Request {
        at_us: u64::from(number) * 1_000_000 / per_s,
        client: number,
        key: ((random.unit() * most).exp() as u32 - 1).min(keys_number - 1),
        kind: Kind::Read,
    };
    Trace {
        requests: (0..requests).map(request).collect(),
        keys: keys(keys_number, value_bytes),
    }
}

fn measured(trace: &Trace, pods: usize, entries: usize, minutes: u64, seed: u64) -> Exchange {
    let options = ExchangeOptions {
        pods,
        capacity: Capacity::Entries(entries),
        time: SECOND * 60 * minutes as u32,
        seed,
    };
    let (found, _) = exchange(trace, &options, || Duration::ZERO).unwrap();
    assert_eq!(found.failed_reads, 0);
    assert!(found.merges.number > 0, "{found:#?}");
    assert!(found.manifest_keys > 50, "{found:#?}");
    // As many as have published, and those of whom nobody knows: about so many.
    let known = found.manifest_pods as f64 / pods as f64;
    assert!((0.9..=1.1).contains(&known), "{found:#?}");
    found
}

#[test]
fn a_seed_replays_bit_for_bit_and_another_does_not() {
    let trace = trace(20_000, 200, 2000, 500);
    let run = |seed| serde_json::to_string(&measured(&trace, 10, 100, 4, seed)).unwrap();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn the_exchange_of_50_pods_costs_a_hundredth_of_their_reads() {
    // Thirty reads a second and pod, of which L1 serves half.
    let trace = trace(200_000, 1500, 50_000, 4000);
    let found = measured(&trace, 50, 500, 24, 1);
    assert!(found.total.percent_of_reads < 1.0, "{found:#?}");
    assert!(found.total.percent_of_bytes < 1.0, "{found:#?}");
}

#[test]
fn the_exchange_of_1000_pods_costs_a_hundredth_of_their_reads() {
    // Two or three reads a second and pod, of which L1 serves a third.
    let trace = trace(200_000, 2800, 50_000, 2000);
    let found = measured(&trace, 1000, 100, 24, 1);
    assert!(found.total.percent_of_reads < 1.0, "{found:#?}");
    assert!(found.total.percent_of_bytes < 1.0, "{found:#?}");
}

#[test]
fn what_merges_took_is_what_the_stopwatch_says() {
    let trace = trace(2000, 100, 100, 100);
    let options = ExchangeOptions {
        pods: 3,
        capacity: Capacity::Bytes(1 << 20),
        time: SECOND * 120,
        seed: 1,
    };
    let ticks = std::cell::Cell::new(0);
    let stopwatch = || {
        ticks.set(ticks.get() + 1);
        SECOND * ticks.get()
    };
    let (found, times) = exchange(&trace, &options, stopwatch).unwrap();
    assert!(times.merges >= found.merges.number && times.merges > 0);
    // From one look at it to the next.
    assert_eq!(
        (times.longest, times.total),
        (SECOND, SECOND * times.merges as u32)
    );
}

#[test]
fn c12_what_cannot_be_simulated_is_refused() {
    let good = ExchangeOptions {
        pods: 3,
        capacity: Capacity::Entries(10),
        time: SECOND * 60,
        seed: 1,
    };
    let why = |trace: &Trace, options: ExchangeOptions| {
        let found = exchange(trace, &options, || Duration::ZERO);
        found.unwrap_err().to_string()
    };
    let trace = trace(10, 1, 10, 10);
    assert!(why(&Trace::default(), good.clone()).contains("no read"));
    assert!(
        why(
            &trace,
            ExchangeOptions {
                pods: 0,
                ..good.clone()
            }
        )
        .contains("1 to 4096 pods")
    );
    let empty = Capacity::Entries(0);
    assert!(
        why(
            &trace,
            ExchangeOptions {
                capacity: empty,
                ..good.clone()
            }
        )
        .contains("zero")
    );
    assert!(
        why(
            &trace,
            ExchangeOptions {
                time: SECOND,
                ..good
            }
        )
        .contains("a minute")
    );
}

/// What a fleet came to know, and what two pods that join it at once made of it.
struct Known {
    manifest: Manifest,
    starts: Vec<WarmReport>,
    /// Microseconds from the start of the two until both are ready.
    took_us: u64,
}

/// Six pods whose clocks are off by these, one of which is gone by half of the time; then two more.
fn known(skews: [Skew; 8]) -> Known {
    let keys = keys(300, 1000);
    let config = WarmConfig {
        publish_every: SECOND / 10,
        look_every: SECOND * 5,
        // So short that a few seconds more or less change every score.
        half_life: SECOND * 10,
        // A read is counted when it is folded in.
        fold_every: SECOND / 50,
        reads_per_s: 100,
        deadline: SECOND * 60,
        share: 0.0,
        refetch: false,
        ..WarmConfig::default()
    };
    // Room for the samples of a pod that waits for leave to fetch ahead.
    let capacity = Capacity::Bytes(64 << 20);
    let mut fleet = Live::new(&keys);
    let ignore = &mut |_: Turn<'_>| {};
    let join = |fleet: &mut Live, number: usize| {
        let clock = fleet.clock.skewed(skews[number]);
        let seed = number as u64 + 1;
        fleet.join(capacity, config.clone(), &clock, seed).unwrap();
    };
    for number in 0..6 {
        join(&mut fleet, number);
    }
    let mut now_us = 0;
    // Each pod has keys of its own that it reads, and some that all read; the first pod stops reading in the middle.
    for step in 0..6000_usize {
        now_us += 10_000;
        fleet.go_on(Clock::at(now_us), ignore);
        let pod = step % 6;
        let key = match step / 6 % 3 {
            0 => step / 18 % 20,
            _ => 20 + pod * 40 + step / 6 % 40,
        };
        if pod > 0 || step < 3000 {
            assert_ne!(fleet.read(pod, &keys[key]), Served::Failed);
        }
    }
    // What was read last has been told and merged by then.
    now_us += 5_000_000;
    fleet.go_on(Clock::at(now_us), ignore);
    let bytes = fleet.l2.get(fleet_key("manifest"), fleet.clock.world());
    let bytes = bytes.unwrap();
    let manifest = Manifest::decode(&bytes).unwrap();
    let began_us = now_us;
    join(&mut fleet, 6);
    join(&mut fleet, 7);
    let report = |fleet: &Live, number: usize| fleet.members[number].pod.warm_report();
    while (6..8).any(|number| report(&fleet, number).is_none()) {
        now_us += 1000;
        assert!(now_us < began_us + 70_000_000, "they are never ready");
        fleet.go_on(Clock::at(now_us), ignore);
    }
    for member in &fleet.members {
        let totals = member.pod.totals();
        assert_eq!((totals.ignored_total, totals.exchange_errors_total), (0, 0));
    }
    Known {
        manifest,
        starts: (6..8).filter_map(|number| report(&fleet, number)).collect(),
        took_us: now_us - began_us,
    }
}

/// What both say of each key: the part of the fleet's reads that it gets. The sums differ with the moment of the last merge.
fn are_alike(one: &Manifest, other: &Manifest, sums: f64, shares: f64) {
    assert_eq!((one.fleet, one.merged), (other.fleet, other.merged));
    let close = |a: f64, b: f64, tolerance| (a / b - 1.0).abs() < tolerance;
    assert!(
        close(one.mass, other.mass, sums),
        "{} {}",
        one.mass,
        other.mass
    );
    assert_eq!(one.items.len(), other.items.len());
    let by_name = |manifest: &Manifest| {
        let mut items: Vec<Item> = manifest.items.clone();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        items
    };
    for (a, b) in by_name(one).iter().zip(by_name(other)) {
        assert_eq!((&a.name, a.bytes), (&b.name, b.bytes));
        let alike = close(a.score / one.mass, b.score / other.mass, shares);
        assert!(alike, "{a:?} {b:?}");
    }
}

fn ahead(seconds: i64) -> Skew {
    Skew {
        ahead_us: seconds * 1_000_000,
        gains_us: 0,
    }
}

#[test]
fn clocks_five_seconds_apart_change_nothing() {
    let equal = known([Skew::default(); 8]);
    let apart = known([5, 0, -5, 5, -5, 0, 5, -5].map(ahead));
    // The same up to what numbers of so many digits can say.
    are_alike(&equal.manifest, &apart.manifest, 1e-3, 1e-3);
    let ranked = |known: &Known| -> Vec<_> {
        let items = known.manifest.items.iter();
        items.map(|item| item.name.clone()).collect()
    };
    assert_eq!(ranked(&equal)[..20], ranked(&apart)[..20]);
    for (one, other) in equal.starts.iter().zip(&apart.starts) {
        assert_eq!(
            (one.end, one.keys, one.bytes),
            (other.end, other.keys, other.bytes)
        );
        assert!((one.share_of_reads - other.share_of_reads).abs() < 1e-3);
    }
    // The allowance of the fleet runs by the clock of L2.
    assert_eq!(equal.took_us, apart.took_us);
}

#[test]
fn clocks_that_run_a_hundredth_too_fast_or_slow_change_little() {
    let equal = known([Skew::default(); 8]);
    let runs = |per_cent: i64| Skew {
        ahead_us: 0,
        gains_us: per_cent * 10_000,
    };
    let apart = known([1, 0, -1, 1, -1, 0, 1, -1].map(runs));
    are_alike(&equal.manifest, &apart.manifest, 0.5, 0.1);
    for (one, other) in equal.starts.iter().zip(&apart.starts) {
        assert_eq!((one.end, one.keys), (WarmEnd::Complete, other.keys));
        assert!((one.share_of_reads - other.share_of_reads).abs() < 0.02);
    }
    let ratio = equal.took_us as f64 / apart.took_us as f64;
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
}
