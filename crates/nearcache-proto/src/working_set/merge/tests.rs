//! What a fleet's blobs become, and what a pod makes of it.

use super::*;
use crate::working_set::{KeyNames, Snapshot};

const HALF_LIFE: Duration = Duration::from_secs(1800);

fn item(name: &str, score: f64, bytes: u32) -> Item {
    Item {
        name: Name::plain(Key::new(0, name.as_bytes())),
        score,
        bytes,
    }
}

fn blob(pod: u64, items: Vec<Item>) -> Blob {
    Blob {
        pod,
        sequence: 1,
        half_life: HALF_LIFE,
        mass: items.iter().map(|item| item.score).sum(),
        rates: Rates {
            reads_per_s: 10.0,
            l2_reads_per_s: 1.0,
            l2_bytes_per_s: 100.0,
        },
        life: Duration::ZERO,
        leaving: false,
        items,
        skipped: 0,
    }
}

fn fresh(blobs: Vec<Blob>) -> impl Iterator<Item = (Blob, Duration)> {
    blobs.into_iter().map(|blob| (blob, Duration::ZERO))
}

fn names(items: &[Item]) -> Vec<String> {
    let text = |item: &Item| match &item.name {
        Name::Plain { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Name::Hashed(_) => "#".to_owned(),
    };
    items.iter().map(text).collect()
}

#[test]
fn scores_sizes_and_rates_of_pods_become_those_of_the_fleet() {
    let one = blob(1, vec![item("a", 10.0, 100), item("b", 1.0, 0)]);
    let two = blob(2, vec![item("a", 5.0, 300), item("c", 9.0, 200)]);
    let manifest = merge(fresh(vec![one, two]), 2, 41);
    assert_eq!(manifest.version, 42);
    assert_eq!((manifest.fleet, manifest.merged), (2, 2));
    assert_eq!(manifest.half_life, HALF_LIFE);
    assert_eq!(manifest.mass, 25.0);
    assert_eq!(manifest.rates.reads_per_s, 20.0);
    // Per byte; the size of "b" is the mean of the others.
    assert_eq!(
        manifest.items,
        [
            item("a", 15.0, 300),
            item("c", 9.0, 200),
            item("b", 1.0, 250)
        ]
    );
}

#[test]
fn what_a_sample_of_the_fleet_told_is_scaled_to_the_fleet() {
    let blobs = (0..5)
        .map(|pod| blob(pod, vec![item("a", 2.0, 1)]))
        .collect();
    let manifest = merge(fresh(blobs), 50, 0);
    assert_eq!((manifest.items[0].score, manifest.mass), (100.0, 100.0));
    assert_eq!(manifest.rates.l2_reads_per_s, 50.0);
    assert_eq!((manifest.fleet, manifest.merged), (50, 5));
}

#[test]
fn a_blob_counts_less_the_longer_it_has_been_known() {
    let old = (blob(1, vec![item("old", 8.0, 1)]), 3 * HALF_LIFE);
    let new = (blob(2, vec![item("new", 2.0, 1)]), Duration::ZERO);
    let manifest = merge([old, new], 2, 0);
    assert_eq!(names(&manifest.items), ["new", "old"]);
    assert_eq!(manifest.items[1].score, 1.0);
    assert_eq!(manifest.mass, 3.0);
    let ancient = (blob(1, vec![item("a", 8.0, 1)]), Duration::MAX);
    assert_eq!(merge([ancient], 1, 0).mass, 0.0);
}

#[test]
fn half_lives_that_differ_are_brought_to_one() {
    let one = blob(1, vec![item("a", 100.0, 1)]);
    let two = Blob {
        half_life: HALF_LIFE * 2,
        ..blob(2, vec![item("b", 200.0, 1)])
    };
    let manifest = merge(fresh(vec![one, two]), 2, 0);
    assert_eq!(manifest.items[0].score, manifest.items[1].score);
}

#[test]
fn a_pod_counts_once_and_nothing_is_merged_without_end() {
    let mut merger = Merger::new(1);
    assert!(merger.add(&blob(1, vec![item("a", 1.0, 1)]), Duration::ZERO));
    assert!(!merger.add(&blob(1, vec![item("a", 1.0, 1)]), Duration::ZERO));
    for pod in 2..10_000 {
        merger.add(&blob(pod, vec![]), Duration::ZERO);
    }
    assert_eq!(merger.pods.len(), Merger::MOST_BLOBS);
    assert_eq!(merger.refused(), 1 + 9998 - (Merger::MOST_BLOBS as u64 - 1));
    assert_eq!(merger.finish(1, 0).mass, 1.0);
}

#[test]
fn c9_distinct_items_are_bounded_and_the_most_read_stay() {
    let mut merger = Merger::new(1);
    for pod in 0..30_u64 {
        let own = (0..4000).map(|n| item(&format!("{pod}:{n}"), 1.0, 10));
        let all = (0..100).map(|n| item(&format!("all:{n}"), 2.0, 10));
        merger.add(&blob(pod, own.chain(all).collect()), Duration::ZERO);
        assert!(merger.tally.entries().len() <= MOST_ITEMS && merger.tally.bytes() <= MOST_BYTES);
    }
    let manifest = merger.finish(30, u64::MAX);
    assert_eq!(manifest.version, u64::MAX);
    assert!(manifest.items[..100].iter().all(|item| item.score == 60.0));
}

#[test]
fn a_merge_of_nothing_is_a_manifest_that_plans_nothing() {
    let manifest = merge([], 0, 0);
    assert_eq!(
        Manifest::decode(&manifest.encode(1 << 20)).unwrap(),
        manifest
    );
    let plan = manifest.plan(u64::MAX, u64::MAX);
    assert_eq!(
        (plan.items().len(), plan.bytes(), plan.share()),
        (0, 0, 0.0)
    );
}

#[test]
fn a_plan_takes_what_fits_in_order_and_says_its_share() {
    let items = vec![
        item("hot", 50.0, 100),
        item("large", 200.0, 5000),
        item("warm", 10.0, 100),
        item("cold", 1.0, 100),
    ];
    let manifest = merge(fresh(vec![blob(1, items)]), 1, 0);
    assert_eq!(names(&manifest.items).join(" "), "hot large warm cold");
    let planned = |budget, most| {
        let plan = manifest.plan(budget, most);
        let items: Vec<Item> = plan.items().iter().map(|item| (*item).clone()).collect();
        assert!(plan.bytes() <= budget);
        (names(&items).join(" "), plan.share())
    };
    let each = manifest.items[0].weight();
    assert_eq!(
        planned(u64::MAX, u64::MAX),
        ("hot large warm cold".to_owned(), 1.0)
    );
    assert_eq!(
        planned(3 * each + 2, u64::MAX),
        ("hot warm cold".to_owned(), 61.0 / 261.0)
    );
    assert_eq!(
        planned(u64::MAX, 4999),
        ("hot warm cold".to_owned(), 61.0 / 261.0)
    );
    assert_eq!(planned(each - 1, u64::MAX), (String::new(), 0.0));
}

#[test]
fn expected_reads_are_those_of_a_steady_rate() {
    let rate = 3.0;
    let steady = rate * HALF_LIFE.as_secs_f64() / std::f64::consts::LN_2;
    let manifest = merge(fresh(vec![blob(1, vec![item("a", steady, 1)])]), 10, 0);
    let hour = Duration::from_secs(3600);
    let expected = manifest.expected_reads(&manifest.items[0], hour, manifest.even_share());
    assert!((expected - rate * 3600.0).abs() < 1e-6, "{expected}");
    let half = manifest.expected_reads(&manifest.items[0], hour, 0.05);
    assert!((half - rate * 1800.0).abs() < 1e-6, "{half}");
}

#[test]
fn hashed_names_merge_and_are_recognised_but_not_fetched() {
    let told = |pod, score| {
        let published = blob(pod, vec![item("secret", score, 10), item("other", 1.0, 10)]);
        Blob::decode(&published.encode(Blob::LIMIT_BYTES, KeyNames::Hashed)).unwrap()
    };
    let merged = merge(fresh(vec![told(1, 4.0), told(2, 8.0)]), 2, 0);
    let bytes = merged.encode(Manifest::LIMIT_BYTES);
    assert!(!bytes.windows(6).any(|six| six == b"secret"));
    let manifest = Manifest::decode(&bytes).unwrap();
    assert_eq!(names(&manifest.items), ["#", "#"]);
    assert!(manifest.plan(u64::MAX, u64::MAX).items().is_empty());

    let known = [
        Key::new(0, b"unread"),
        Key::new(0, b"secret"),
        Key::new(0, b"secret"),
        Key::new(1, b"other"),
    ];
    let mine = manifest.matching(&known);
    assert_eq!(mine.items, [item("secret", 12.0, 10)]);
    assert_eq!((mine.mass, mine.version), (manifest.mass, manifest.version));
    assert_eq!(mine.plan(u64::MAX, u64::MAX).share(), 12.0 / 14.0);
    assert!(
        manifest
            .items
            .iter()
            .any(|item| item.is(Key::new(0, b"other")))
    );
}

#[test]
fn a_snapshot_is_a_manifest_of_one_pod() {
    let items = vec![item("large", 9.0, 100_000), item("small", 5.0, 1)];
    let snapshot = Snapshot {
        half_life: HALF_LIFE,
        mass: 20.0,
        items,
        skipped: 0,
    };
    let manifest = Manifest::from(snapshot);
    assert_eq!(names(&manifest.items), ["small", "large"]);
    assert_eq!(manifest.plan(1000, u64::MAX).share(), 0.25);
    assert_eq!(manifest.even_share(), 1.0);
}
