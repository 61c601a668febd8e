//! Decay, limits, and what pruning keeps.

use proptest::prelude::*;

use super::*;

const HALF_LIFE: Duration = Duration::from_secs(1800);
const DAY: u64 = 86_400;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn counts() -> Counts {
    Counts::new(1000, 1 << 20, HALF_LIFE)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[test]
fn a_read_counts_half_after_a_half_life() {
    let mut counts = counts();
    let key = Key::new(0, b"k");
    counts.add(at(0), key, 4);
    counts.add(at(1800), key, 1);
    counts.add(at(1800), Key::new(1, b"k"), 16);
    assert!(close(counts.score(at(1800), key).unwrap(), 3.0));
    assert!(close(counts.score(at(5400), key).unwrap(), 0.75));
    assert!(close(counts.mass(at(1800)), 19.0));
    assert_eq!(counts.score(at(0), Key::new(2, b"k")), None);
}

#[test]
fn years_of_reads_neither_overflow_nor_fade() {
    let mut counts = counts();
    let rate = 10.0;
    // A minute's reads at a time.
    for minute in 0..(10 * 365 * DAY / 60) {
        counts.add(at(60 * minute), Key::new(0, b"k"), 600);
    }
    let now = at(10 * 365 * DAY);
    let steady = rate * HALF_LIFE.as_secs_f64() / std::f64::consts::LN_2;
    let score = counts.score(now, Key::new(0, b"k")).unwrap();
    assert!((score / steady - 1.0).abs() < 0.02, "{score} {steady}");
    assert!(close(counts.mass(now), score));
}

#[test]
fn what_nobody_reads_any_more_is_forgotten() {
    let mut counts = counts();
    counts.add(at(0), Key::new(0, b"old"), 100);
    counts.add(at(300 * 365 * DAY), Key::new(0, b"new"), 1);
    assert_eq!(counts.len(), 1);
    assert!(close(counts.mass(at(300 * 365 * DAY)), 1.0));
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    let mut counts = counts();
    counts.add(at(100 * DAY), Key::new(0, b"k"), 1);
    counts.add(at(0), Key::new(0, b"k"), 1);
    assert!(counts.score(at(0), Key::new(0, b"k")).unwrap().is_finite());
}

#[test]
fn half_lives_that_make_no_sense_are_brought_into_range() {
    for half_life in [Duration::ZERO, Duration::MAX] {
        let mut counts = Counts::new(10, 1 << 16, half_life);
        counts.add(at(0), Key::new(0, b"k"), 1);
        counts.add(at(DAY), Key::new(0, b"k"), 1);
        assert!(HALF_LIVES.contains(&counts.half_life()));
        assert!(counts.score(at(DAY), Key::new(0, b"k")).unwrap() >= 1.0);
    }
}

#[test]
fn sizes_are_of_slots_that_are_counted() {
    let mut counts = counts();
    counts.note_bytes(Key::new(0, b"k"), 7);
    counts.add(at(0), Key::new(0, b"k"), 1);
    assert_eq!(counts.ranked(at(0), 9)[0].bytes, 0);
    counts.note_bytes(Key::new(0, b"k"), 7);
    assert_eq!(counts.ranked(at(0), 9)[0].bytes, 7);
    counts.note_bytes(Key::new(0, b"k"), 0);
    assert_eq!(counts.ranked(at(0), 9)[0].bytes, 1);
}

#[test]
fn the_most_read_come_first_and_equals_by_name() {
    let mut counts = counts();
    for (name, reads) in [("c", 1), ("b", 5), ("a", 1), ("d", 9)] {
        counts.add(at(0), Key::new(0, name.as_bytes()), reads);
    }
    let names = |n| -> Vec<String> {
        let items = counts.ranked(at(0), n).into_iter();
        items.map(|item| format!("{:?}", item.name)).collect()
    };
    assert_eq!(names(3), ["0:\"d\"", "0:\"b\"", "0:\"a\""]);
    assert_eq!(names(9), ["0:\"d\"", "0:\"b\"", "0:\"a\"", "0:\"c\""]);
    assert!(names(0).is_empty());
}

#[test]
fn c9_names_too_long_to_keep_are_counted_and_not_kept() {
    let mut counts = counts();
    counts.add(at(0), Key::new(0, &[b'x'; LONGEST + 1]), 3);
    assert!(counts.is_empty());
    assert_eq!(counts.too_long_total(), 1);
    assert!(close(counts.mass(at(0)), 3.0));
}

#[test]
fn c9_without_memory_nothing_is_counted_but_the_mass() {
    let mut counts = Counts::new(1000, 100, HALF_LIFE);
    counts.add(at(0), Key::new(0, b"k"), 2);
    assert_eq!((counts.len(), counts.bytes()), (0, 0));
    assert!(close(counts.mass(at(0)), 2.0));
}

proptest! {
    #[test]
    fn c9_no_limit_is_ever_passed(
        limit_keys in 1_usize..300,
        limit_bytes in 0_usize..40_000,
        adds in proptest::collection::vec((0_u64..400, 0_usize..300, 0_u64..200_000), 0..600),
    ) {
        let mut counts = Counts::new(limit_keys, limit_bytes, HALF_LIFE);
        let mut now = 0;
        for (key, padding, pause) in adds {
            now += pause;
            let name = [key.to_string().into_bytes(), vec![b'x'; padding]].concat();
            counts.add(at(now), Key::new(0, &name), 1);
            prop_assert!(counts.len() <= limit_keys);
            prop_assert!(counts.bytes() <= limit_bytes);
        }
        let listed: f64 = counts.ranked(at(now), usize::MAX).iter().map(|item| item.score).sum();
        prop_assert!(listed <= counts.mass(at(now)) * (1.0 + 1e-9));
    }

    #[test]
    fn a_score_never_says_too_much_and_misses_only_what_was_dropped(
        reads in proptest::collection::vec((0_u64..60, 0_u64..600), 1..500),
    ) {
        let mut counts = Counts::new(20, 1 << 20, HALF_LIFE);
        let mut exact = Counts::new(1000, 1 << 20, HALF_LIFE);
        let (mut now, mut floors, mut pruned) = (0, 0.0, 0);
        for (key, pause) in reads {
            now += pause;
            let name = key.to_le_bytes();
            floors *= (-(pause as f64) / 1800.0).exp2();
            counts.add(at(now), Key::new(0, &name), 1);
            exact.add(at(now), Key::new(0, &name), 1);
            if counts.pruned_total() > pruned {
                pruned = counts.pruned_total();
                floors += counts.floor(at(now));
            }
        }
        for key in 0_u64..60 {
            let name = key.to_le_bytes();
            let told = counts.score(at(now), Key::new(0, &name)).unwrap_or(0.0);
            let truth = exact.score(at(now), Key::new(0, &name)).unwrap_or(0.0);
            prop_assert!(told <= truth * (1.0 + 1e-9));
            prop_assert!(told + floors >= truth * (1.0 - 1e-9), "{} {} {}", told, floors, truth);
        }
    }
}

/// Uniform in 0..1, the same every time.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The part of the reads of the `c` entries read most that the `c` entries ranked first have, after hours of a Zipf
/// stream whose ranks belong to other entries as time goes by.
fn kept(limit: usize, c: usize, exponent: f64) -> f64 {
    const KEYS: usize = 20_000;
    const READS: u64 = 1_000_000;
    let mut sums = Vec::with_capacity(KEYS);
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += (rank as f64).powf(-exponent);
        sums.push(sum);
    }
    let mut counts = Counts::new(limit, 64 << 20, HALF_LIFE);
    let mut exact = Counts::new(1 << 20, 64 << 20, HALF_LIFE);
    let mut draws = Draws(7);
    let now = |read: u64| Timestamp::from_micros(read * 4 * 3_600_000_000 / READS);
    for read in 0..READS {
        let draw = draws.next() * sum;
        let rank = sums.partition_point(|below| *below < draw);
        // One entry in a thousand has another name every second or so.
        let life = 1 + (rank * 7919 % 997) as u64;
        let name = format!("{rank}:{}", read / (life * 2000)).into_bytes();
        counts.add(now(read), Key::new(0, &name), 1);
        exact.add(now(read), Key::new(0, &name), 1);
    }
    let end = now(READS);
    let worth = |items: Vec<Item>| -> f64 {
        let score = |item: &Item| exact.score(end, item.key().unwrap()).unwrap();
        items.iter().map(score).sum()
    };
    worth(counts.ranked(end, c)) / worth(exact.ranked(end, c))
}

#[test]
fn pruning_keeps_what_is_read_most_while_it_drifts() {
    // Twice and four times as many as are wanted, and no more than are wanted.
    for (limit, exponent, least) in [
        (2000, 0.9, 0.95),
        (2000, 0.7, 0.92),
        (4000, 0.9, 0.99),
        (1000, 0.9, 0.75),
    ] {
        let kept = kept(limit, 1000, exponent);
        assert!(kept >= least, "limit {limit}, exponent {exponent}: {kept}");
    }
}
