//! The checker by hand: every answer it must allow, and every one it must not.

use super::*;

const BOUND: u64 = 1_000;
const MS: u64 = 1_000_000;

fn read(how: How, sequence: Option<u64>, started_ns: u64) -> Seen {
    Seen {
        key: 0,
        sequence,
        started_ns,
        ended_ns: started_ns + 10,
        how,
        hit: true,
    }
}

fn judged(history: &History, sequence: Option<u64>, started_ns: u64) -> Result<(), Wrong> {
    history.judge(&read(How::Default, sequence, started_ns))
}

/// Write 1 from 100 to 110, write 2 from 5,000 to 5,010.
fn two_writes() -> History {
    let mut history = History::new(1, BOUND);
    write(&mut history, 100);
    write(&mut history, 5_000);
    history
}

fn write(history: &mut History, at_ns: u64) {
    history.begin(0, Deed::Write { life_ns: None }, at_ns);
    history.done(0, at_ns + 10);
}

#[test]
fn an_old_value_is_allowed_for_as_long_as_the_bound() {
    let history = two_writes();
    assert_eq!(judged(&history, Some(1), 4_000), Ok(()));
    assert_eq!(judged(&history, Some(1), 6_010), Ok(()));
    assert_eq!(
        judged(&history, Some(1), 6_011),
        Err(Wrong::Stale { late_ns: 1 })
    );
    // A write may be seen before it is acknowledged, but not before it is begun.
    assert_eq!(judged(&history, Some(2), 4_990), Ok(()));
    assert_eq!(judged(&history, Some(2), 4_989), Err(Wrong::Unwritten));
    assert_eq!(judged(&history, Some(3), 9_000), Err(Wrong::Unwritten));
    assert_eq!(
        judged(&history, Some(u64::MAX), 9_000),
        Err(Wrong::Unwritten)
    );
    assert_eq!(judged(&history, Some(0), 9_000), Err(Wrong::Unwritten));
}

#[test]
fn a_validated_read_has_no_bound_and_a_marked_one_no_end_to_it() {
    let history = two_writes();
    let stale = Err(Wrong::Stale { late_ns: 1 });
    assert_eq!(history.judge(&read(How::Validated, Some(1), 5_010)), Ok(()));
    assert_eq!(history.judge(&read(How::Validated, Some(1), 5_011)), stale);
    assert_eq!(history.judge(&read(How::Own, Some(1), 5_011)), stale);
    assert_eq!(history.judge(&read(How::Stale, Some(1), 90_000)), Ok(()));
    assert_eq!(history.judge(&read(How::Fresh, Some(1), 6_011)), stale);
}

#[test]
fn a_write_without_an_answer_allows_both_values() {
    let mut history = two_writes();
    history.begin(0, Deed::Write { life_ns: None }, 7_000);
    assert_eq!(judged(&history, Some(2), 99_000), Ok(()));
    assert_eq!(judged(&history, Some(3), 99_000), Ok(()));
    history.settled(0, 8_000);
    assert_eq!(judged(&history, Some(2), 99_000), Ok(()));
    // The next one that is acknowledged ends both.
    write(&mut history, 10_000);
    for old in [2, 3] {
        assert_eq!(judged(&history, Some(old), 11_010), Ok(()));
        assert!(judged(&history, Some(old), 11_011).is_err());
    }
}

#[test]
fn a_write_that_was_not_sent_must_not_be_seen_and_ends_nothing() {
    let mut history = two_writes();
    history.begin(0, Deed::Write { life_ns: None }, 7_000);
    history.void(0, 7_100);
    assert_eq!(judged(&history, Some(3), 9_000), Err(Wrong::Unwritten));
    assert_eq!(judged(&history, Some(2), 9_000), Ok(()));
}

#[test]
fn what_is_lost_may_be_served_for_as_long_as_the_bound_and_be_absent_at_once() {
    let mut history = two_writes();
    history.wipe(7_000);
    assert_eq!(judged(&history, Some(2), 9_000), Ok(()), "not yet over");
    history.wiped(7_500);
    assert_eq!(judged(&history, Some(2), 8_500), Ok(()));
    assert_eq!(
        judged(&history, Some(2), 8_501),
        Err(Wrong::Stale { late_ns: 1 })
    );
    assert_eq!(judged(&history, None, 6_990), Ok(()));
    assert!(judged(&history, None, 6_989).is_err());
    // Written anew, it must be found again, and the old one must not.
    write(&mut history, 10_000);
    assert_eq!(judged(&history, None, 11_010), Ok(()));
    assert_eq!(
        judged(&history, None, 11_011),
        Err(Wrong::Missing { late_ns: 1 })
    );
    assert_eq!(judged(&history, Some(3), 90_000), Ok(()));
}

#[test]
fn a_write_beside_a_loss_may_have_come_before_or_after() {
    let mut history = History::new(1, BOUND);
    history.begin(0, Deed::Write { life_ns: None }, 100);
    history.wipe(105);
    history.wiped(120);
    history.done(0, 130);
    assert_eq!(judged(&history, Some(1), 90_000), Ok(()));
    assert_eq!(judged(&history, None, 90_000), Ok(()));
}

#[test]
fn a_deleted_value_is_gone_and_stays_so() {
    let mut history = two_writes();
    let number = history.begin(0, Deed::Delete, 7_000);
    history.done(0, 7_010);
    assert_eq!(judged(&history, None, 6_990), Ok(()));
    assert_eq!(judged(&history, None, 90_000), Ok(()));
    assert_eq!(judged(&history, Some(2), 8_010), Ok(()));
    assert!(judged(&history, Some(2), 8_011).is_err());
    assert_eq!(judged(&history, Some(number), 7_500), Err(Wrong::Unwritten));
}

#[test]
fn nothing_is_served_past_its_end() {
    let mut history = History::new(1, BOUND);
    let life_ns = Some(300 * MS);
    history.begin(0, Deed::Write { life_ns }, 1_000 * MS);
    history.done(0, 1_001 * MS);
    assert_eq!(judged(&history, Some(1), 1_321 * MS), Ok(()));
    for how in [How::Default, How::Stale, How::Validated] {
        assert_eq!(
            history.judge(&read(how, Some(1), 1_321 * MS + 1)),
            Err(Wrong::Expired { late_ns: 1 })
        );
    }
    assert!(judged(&history, None, 1_200 * MS).is_err());
    assert_eq!(judged(&history, None, 1_280 * MS), Ok(()));
}

#[test]
fn under_pressure_everything_may_be_absent_until_it_is_written_again() {
    let mut history = two_writes();
    history.press(20_000);
    history.relieve(30_000);
    assert!(judged(&history, None, 19_000).is_err());
    assert_eq!(judged(&history, None, 25_000), Ok(()));
    assert_eq!(judged(&history, None, 90_000), Ok(()));
    assert_eq!(judged(&history, Some(2), 90_000), Ok(()));
    write(&mut history, 40_000);
    assert!(judged(&history, None, 90_000).is_err());
}

#[test]
fn acknowledged_deeds_are_counted() {
    let mut history = two_writes();
    history.begin(0, Deed::Delete, 9_000);
    assert_eq!(history.acknowledged(), 2);
}
