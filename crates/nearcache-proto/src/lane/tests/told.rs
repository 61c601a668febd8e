//! What an operator hears of the lane: each change at once, the rest by a summary a minute.

use super::ready::{fail_with, next_attempt, succeed};
use super::*;

/// Lets the lane fail by itself for so long, with a reason for each attempt.
fn down(hand: &mut Hand, time: Duration, reason: impl Fn(u64) -> &'static str) {
    let end = hand.now().saturating_add(time);
    loop {
        let due = hand.lane.poll_timeout().expect("it tries again");
        if due > end {
            let rest = end.saturating_since(hand.now());
            return hand.wait(rest);
        }
        let pause = due.saturating_since(hand.now());
        let before = hand.lane.connections;
        hand.wait(pause);
        if hand.lane.connections > before {
            fail_with(hand, Error::new(ErrorKind::Retry, reason(before)));
        }
    }
}

fn lines(hand: &mut Hand) -> Vec<String> {
    let reports = std::mem::take(&mut hand.reports);
    reports.iter().map(Report::to_string).collect()
}

fn unconnected() -> Hand {
    let mut hand = Hand::new(PodConfig::default(), LaneConfig::default());
    hand.turn();
    hand
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_server_that_is_not_there_is_told_once_and_then_once_a_minute() {
    let mut hand = unconnected();
    fail_with(&mut hand, Error::new(ErrorKind::Retry, "nothing listens"));
    down(&mut hand, MINUTE * 3, |_| "nothing listens");
    let told = lines(&mut hand);
    assert_eq!(told.len(), 4, "{told:#?}");
    assert_eq!(told[0], "lane not up yet, it never was: nothing listens");
    for summary in &told[1..] {
        assert!(
            summary.starts_with("lane still down, it never was up: "),
            "{summary}"
        );
        assert!(
            summary.ends_with("attempts failed in 60 s, last: nothing listens"),
            "{summary}"
        );
        assert!(!summary.contains(": 0 attempts"), "{summary}");
    }
    // It heals: one line, and silence.
    next_attempt(&mut hand);
    succeed(&mut hand);
    assert_eq!(lines(&mut hand), ["lane up, invalidations proven"]);
    assert!(
        hand.lane
            .told
            .summary(hand.now().saturating_add(MINUTE * 2))
            .is_none()
    );
    assert_eq!(hand.lane.told.due(), None, "nothing to sum up any more");
}

#[test]
fn one_that_was_lost_is_told_from_one_that_never_worked() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    lines(&mut hand);
    hand.lane.handle_disconnected(connection(1), hand.now());
    hand.turn();
    next_attempt(&mut hand);
    hand.wait(Duration::from_secs(1));
    fail_with(&mut hand, Error::new(ErrorKind::Retry, "refused"));
    let told = lines(&mut hand);
    assert_eq!(told[0], "lane lost: the connection was closed");
    assert!(
        told[1].starts_with("lane down for 1.0 s, it was up before: refused"),
        "{told:?}"
    );
    next_attempt(&mut hand);
    succeed(&mut hand);
    let told = lines(&mut hand);
    assert!(told[0].starts_with("lane up again after 1."), "{told:?}");
}

#[test]
fn a_new_reason_is_told_at_once_and_an_old_one_is_not_told_again() {
    let mut hand = unconnected();
    for reason in ["refused", "loading", "refused", "loading", "refused"] {
        fail_with(&mut hand, Error::new(ErrorKind::Retry, reason));
        next_attempt(&mut hand);
    }
    let told = lines(&mut hand);
    assert_eq!(
        told,
        ["refused", "loading"].map(|reason| format!("lane not up yet, it never was: {reason}"))
    );
}

#[test]
fn c10_reasons_that_all_differ_and_a_lane_that_flaps_are_bounded_too() {
    const REASONS: [&str; 64] = {
        let digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-+";
        let mut reasons = [""; 64];
        let mut index = 0;
        while index < 64 {
            reasons[index] = digits.split_at(index).1;
            index += 1;
        }
        reasons
    };
    let mut hand = unconnected();
    fail_with(&mut hand, Error::new(ErrorKind::Retry, "first"));
    down(&mut hand, MINUTE * 5, |attempt| {
        REASONS[attempt as usize % 64]
    });
    let told = lines(&mut hand);
    assert!(told.len() <= 5 * 9, "{} lines in 5 minutes", told.len());

    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    lines(&mut hand);
    let end = hand.now().saturating_add(MINUTE);
    while hand.now() < end {
        let connection = connection(hand.lane.connections);
        hand.lane.handle_disconnected(connection, hand.now());
        hand.turn();
        hand.wait(Duration::from_secs(2));
        hand.sent.clear();
        assert_eq!(hand.lane.connections, connection.number + 1);
        succeed(&mut hand);
    }
    hand.wait(MINUTE);
    let told = lines(&mut hand);
    assert!(told.len() <= 2 * 9, "{} lines in 2 minutes", told.len());
    let summary = told.iter().find(|line| line.contains("lost 30 times"));
    assert!(summary.is_some(), "{told:#?}");
}

#[test]
fn a_lane_without_invalidations_is_told_once_and_then_once_a_minute() {
    let mut told = Told::default();
    let mut lines = Vec::new();
    for second in 0..300 {
        let now = Timestamp::from_micros(second * 1_000_000);
        lines.extend(told.summary(now));
        if second % 30 == 0 {
            lines.extend(told.degraded("the ACL forbids CLIENT".to_owned(), now));
        }
    }
    let lines: Vec<_> = lines.iter().map(Report::to_string).collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(
        lines[1].starts_with("lane still up without invalidations"),
        "{lines:?}"
    );
}

#[test]
fn a_short_time_is_not_told_as_none() {
    let after = |ms| {
        let after = Some(Duration::from_millis(ms));
        Report::Connected { after }.to_string()
    };
    assert_eq!(
        after(40),
        "lane up again after less than 0.1 s, invalidations proven"
    );
    assert!(after(100).contains("after 0.1 s,"), "{}", after(100));
}
