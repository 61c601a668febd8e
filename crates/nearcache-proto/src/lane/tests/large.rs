//! What is too large to be kept: each read of it is counted, and the operator is told once what to raise.

use super::*;
use crate::entry_key::EntryKey;
use crate::fill::Purpose;

const LARGE: usize = 2000;

/// Above what an L1 of 1 MiB keeps.
const HEAVY: usize = 200 << 10;

fn hand() -> Hand {
    let pod = PodConfig {
        max_inline: 1000,
        bypass: vec![b"passed:".to_vec()],
        ..PodConfig::default()
    };
    Hand::up(pod, LaneConfig::default())
}

/// Reads a key whose value has so many bytes.
fn read(hand: &mut Hand, key: &str, bytes: usize) {
    let (cache, key) = (hand.cache.clone(), key.to_owned());
    let mut call = Running::start(async move {
        let read = cache.read(0, key.as_bytes(), ReadPolicy::PassThrough).await;
        read.expect("answered").value.map(|value| value.len())
    });
    hand.turn();
    let (batch, line, _) = hand.take();
    hand.value(batch, bytes);
    if line != LANE {
        let (fence, ..) = hand.take();
        hand.answer(fence, vec![Ok(OpReply::Fenced)]);
    }
    assert_eq!(call.ended(), Some(Some(bytes)));
}

/// Lets time pass on a lane whose server answers.
fn pass(hand: &mut Hand, time: Duration) {
    let step = Duration::from_millis(300);
    for _ in 0..time.div_duration_f64(step).ceil() as u64 {
        hand.wait(step);
        while let Some((batch, ..)) = hand.sent.pop_front() {
            hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
        }
    }
}

fn told(hand: &Hand) -> Vec<String> {
    let large = |report: &&Report| matches!(report, Report::TooLarge { .. });
    let reports = hand.reports.iter().filter(large);
    reports.map(Report::to_string).collect()
}

fn counted(hand: &Hand) -> u64 {
    hand.cache.pod().totals().oversize_total
}

#[test]
fn c9_each_read_of_a_large_value_is_counted_and_the_operator_is_told_once() {
    let mut hand = hand();
    for round in 0..10 {
        for n in 0..3 {
            read(&mut hand, &format!("large:{n}"), LARGE + 500 * n);
        }
        read(&mut hand, "small", 10 + round);
        hand.cache.forget(0, b"small");
    }
    assert_eq!(counted(&hand), 30);
    assert_eq!(told(&hand), [""; 0], "there may be more");
    pass(&mut hand, Duration::from_secs(11));
    read(&mut hand, "another", LARGE);
    pass(&mut hand, Duration::from_secs(60));
    assert_eq!(
        told(&hand),
        [
            "values of 3 keys, of up to 2.9 KiB, are too large to be kept: every read of them goes to L2; \
             raise max_inline (1000 B) to keep them"
        ]
    );
    assert!(hand.reports.iter().any(Report::is_problem));
    assert_eq!(counted(&hand), 31);
}

#[test]
fn c9_what_l1_has_no_place_for_is_told_with_its_own_setting() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    for _ in 0..5 {
        read(&mut hand, "heavy", HEAVY);
    }
    assert_eq!(counted(&hand), 5);
    pass(&mut hand, Duration::from_secs(11));
    let told = told(&hand);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("of 1 key, of up to 200.0 KiB"), "{told:?}");
    assert!(told[0].contains("raise max_entry"), "{told:?}");
}

#[test]
fn c10_keys_that_are_told_of_are_bounded() {
    let mut hand = hand();
    for n in 0..5000 {
        read(&mut hand, &format!("large:{n}"), LARGE);
    }
    assert_eq!(counted(&hand), 5000);
    pass(&mut hand, Duration::from_secs(11));
    let told = told(&hand);
    assert!(told[0].contains("at least 4096 keys"), "{told:?}");
}

#[test]
fn what_is_not_to_be_kept_anyway_is_not_missed() {
    let mut hand = hand();
    read(&mut hand, "passed:large", LARGE);
    read(&mut hand, "passed:large", LARGE);
    assert_eq!(counted(&hand), 0);
    pass(&mut hand, Duration::from_secs(11));
    assert_eq!(told(&hand), [""; 0]);
}

#[test]
fn c11_a_value_that_has_grown_too_heavy_is_not_taken_for_a_full_l1() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let (pod, now) = (hand.cache.pod().clone(), hand.now());
    let guard = pod.lead_ahead(EntryKey::value(0, b"grown"), Purpose::WarmStart, || now);
    let work = Work::FillAhead(guard.into_iter().collect());
    let deadline = now.saturating_add(Duration::from_secs(1));
    hand.cache.submit(HERE, deadline, work);
    hand.turn();
    let (batch, ..) = hand.take();
    hand.value(batch, HEAVY);
    assert_eq!(hand.cache.pod().totals().warm_no_room_total, 0);
    assert_eq!(counted(&hand), 1);
}
