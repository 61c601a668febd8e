//! Figures from made-up phases.

use super::*;
use crate::fleet::check::Written;
use crate::fleet::message::{Report, Sighting};

fn snapshot(at_ns: u64, reads: u64) -> Snapshot {
    Snapshot {
        at_ns,
        reads,
        ..Snapshot::default()
    }
}

fn measured(reports: Vec<Report>) -> Measured {
    Measured {
        reports,
        l2: None,
        seconds: 2.0,
        asked_seconds: 2.0,
        start_ns: 1_000_000_000,
        series: vec![
            snapshot(500_000_000, 0),
            snapshot(1_500_000_000, 10),
            snapshot(3_500_000_000, 50),
        ],
    }
}

#[test]
fn the_servers_figures_are_cut_at_full_seconds() {
    let report = Report {
        seconds: vec![100, 50],
        ..Report::default()
    };
    let measured = measured(vec![report]);
    assert!(
        series(&measured, 0.0, false)
            .iter()
            .all(|second| second.hit_rate == 0.0)
    );
    let seconds = series(&measured, 0.0, true);
    let found: Vec<(f64, f64)> = seconds
        .iter()
        .map(|second| (second.l2_reads_per_s, second.hit_rate))
        .collect();
    assert_eq!(found, [(15.0, 0.85), (20.0, 0.6)]);
}

#[test]
fn everywhere_is_when_the_last_pod_has_seen_it() {
    let mut acks = Acks::default();
    let write = |sequence, acked_ns| Written {
        key: WATCHED,
        sequence,
        acked_ns,
    };
    acks.add(&[
        write(1, 5),
        write(2, 1_100_000_000),
        write(3, 1_200_000_000),
        write(4, 1_300_000_000),
    ]);
    let pod = |seen: &[(u64, u64)]| Report {
        sightings: seen
            .iter()
            .map(|&(sequence, seen_ns)| Sighting { sequence, seen_ns })
            .collect(),
        ..Report::default()
    };
    // The second pod never read write 2: it saw write 3 in its place. Nobody but the first has seen write 4.
    let reports = vec![
        pod(&[(2, 1_101_000_000), (3, 1_201_000_000), (4, 1_301_000_000)]),
        pod(&[(3, 1_202_000_000)]),
    ];
    let found = Everywhere::new(Arm::After, &measured(reports), &acks);
    assert_eq!((found.histogram.len(), found.unseen), (2, 1));
    assert!((found.histogram.max() as f64 / 102e6 - 1.0).abs() < 0.01);
    assert!((found.histogram.min() as f64 / 2e6 - 1.0).abs() < 0.01);
}

#[test]
fn the_steady_hit_rate_follows_from_reads_and_writes() {
    let updates = |skewed| Updates {
        per_s: 2.0,
        skewed,
        twice: false,
        traced: false,
    };
    // w / (w + r), for every key and so for all.
    let skewed = steady(1000, 0.99, 98.0, updates(true));
    assert!((skewed - 0.98).abs() < 1e-9, "{skewed}");
    let alike = steady(1000, 0.0, 98.0, updates(false));
    assert!((alike - 0.98).abs() < 1e-9, "{alike}");
    assert!(steady(1000, 0.99, 98.0, updates(false)) > 0.98);
}

#[test]
fn ages_count_what_was_current() {
    let mut old = histogram();
    assert_eq!(age_us(0, &old, 0.5), None);
    assert_eq!(age_us(100, &old, 0.999), Some(0.0));
    old.saturating_record_n(2_000_000, 9);
    old.saturating_record(5_000_000);
    // Ten of a hundred are old, one of them more so.
    let near = |quantile, us: f64| {
        let found = age_us(100, &old, quantile).unwrap();
        assert!((found / us - 1.0).abs() < 0.01, "{quantile}: {found}");
    };
    assert_eq!(age_us(100, &old, 0.9), Some(0.0));
    near(0.91, 2_000.0);
    near(0.99, 2_000.0);
    near(1.0, 5_000.0);
}

#[test]
fn buckets_are_even_on_a_logarithmic_scale() {
    let mut all = histogram();
    all.saturating_record_n(1_000, 3);
    all.saturating_record_n(1_050, 2);
    all.saturating_record(1_000_000);
    let found = buckets(&all);
    assert_eq!(found.iter().map(|bucket| bucket.1).sum::<u64>(), 6);
    assert!(found.len() <= 3 && found.windows(2).all(|pair| pair[0].0 < pair[1].0));
}
