//! What is spent follows what is read, whoever asks how often.

use proptest::prelude::*;

use super::*;

fn config() -> WarmConfig {
    WarmConfig::default()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn totals(reads: u64, bytes: u64) -> Totals {
    Totals {
        fills_total: reads,
        fill_bytes_total: bytes,
        ..Totals::default()
    }
}

#[test]
fn a_pod_spends_a_part_of_what_it_reads() {
    let mut upkeep = Upkeep::new(at(0));
    let told = Cost::of(4, 50_000);
    let mut spent = 0;
    upkeep.telling.once = told;
    for second in 1..=10_000 {
        // A hundred reads a second, of a thousand bytes each.
        upkeep.earn(
            &totals(second * 100, second * 100_000),
            1000,
            &config(),
            at(second),
        );
        if upkeep.telling.affords(told) {
            upkeep.telling.spend(told);
            spent += 1;
        }
    }
    // 3.5 of a thousand bytes.
    let expected = 1e9 * TELLING / 50_000.0;
    assert!(
        (f64::from(spent) - expected).abs() <= 1.0,
        "{spent} {expected}"
    );
}

#[test]
fn a_fleet_that_reads_nothing_learns_all_the_same() {
    let mut upkeep = Upkeep::new(at(0));
    // In four rounds, of which a sixteenth is this pod's.
    upkeep.earn(&totals(0, 0), 16, &config(), at(40));
    assert!(upkeep.telling.affords(Cost::of(4, 4 << 10)));
    assert!(!upkeep.telling.affords(Cost::of(5, 0)));
    assert!(!upkeep.telling.affords(Cost::of(0, 5 << 10)));
    let minute = Duration::from_secs(60);
    assert!(is_overdue(LATEST, Duration::MAX) && !is_overdue(minute, Duration::MAX));
    assert!(is_overdue(minute, minute * 2) && !is_overdue(minute, minute * 3));
    let round = Rounds::of(&config()).telling;
    let much = Cost::of(1 << 20, 1 << 30);
    let nothing = pause(MERGING, much, Rates::default(), round);
    assert_eq!(nothing, LATEST);
}

#[test]
fn a_fleet_told_to_hurry_does() {
    // What a test or a benchmark of a few pods would set.
    let config = WarmConfig {
        publish_every: Duration::from_millis(100),
        ..config()
    };
    let mut upkeep = Upkeep::new(at(0));
    let now = Timestamp::from_micros(100_000);
    upkeep.earn(&totals(0, 0), 2, &config, now);
    assert!(upkeep.telling.affords(Cost::of(5, 8 << 10)));
}

proptest! {
    #[test]
    fn books_stay_within_their_limits(steps in proptest::collection::vec((any::<u64>(), any::<u64>(), 0_usize..100, 0_usize..1 << 24), 0..50)) {
        let mut upkeep = Upkeep::new(at(0));
        for (reads, bytes, commands, cost) in steps {
            upkeep.earn(&totals(reads, bytes), 0, &config(), at(reads % 1_000_000));
            upkeep.looking.spend(Cost::of(commands, cost));
            for saved in [upkeep.telling.saved, upkeep.looking.saved] {
                prop_assert!(saved.commands.abs() <= MOST.commands && saved.bytes.abs() <= MOST.bytes);
            }
            prop_assert!((SMALL..=MOST.bytes as usize).contains(&upkeep.looking.bytes()));
        }
    }
}

#[test]
fn who_finds_that_there_are_many_has_saved_as_one_of_them() {
    let mut upkeep = Upkeep::new(at(0));
    upkeep.earn(&totals(0, 0), 1, &config(), at(100));
    assert!(upkeep.telling.affords(LEAST));
    upkeep.earn(&totals(0, 0), 600, &config(), at(100));
    assert!(!upkeep.telling.affords(Cost::of(2, 0)) && upkeep.telling.affords(Cost::of(1, 0)));
}

#[test]
fn what_was_saved_once_does_not_last_for_hours() {
    let mut upkeep = Upkeep::new(at(0));
    upkeep.telling.once = Cost::of(4, 100_000);
    upkeep.earn(&totals(1 << 40, 1 << 50), 10, &config(), at(1));
    assert_eq!(upkeep.telling.bytes(), 200_000);
    assert_eq!(upkeep.looking.bytes(), LEAST.bytes as usize);
}
