//! Who waits for the lane: across what can heal, until patience ends; not for what cannot, and nobody else.

use super::*;

const PATIENCE: Duration = Duration::from_secs(4);

fn ready(cache: &Cache<Desk>, patience: Duration) -> Running<Result<(), Error>> {
    let cache = cache.clone();
    Running::start(async move { cache.ready(patience).await })
}

fn unconnected() -> Hand {
    let mut hand = Hand::new(PodConfig::default(), LaneConfig::default());
    hand.turn();
    hand
}

/// The attempt under way fails.
fn fail(hand: &mut Hand, kind: ErrorKind) {
    fail_with(hand, Error::new(kind, "nothing listens there"));
}

pub(super) fn fail_with(hand: &mut Hand, error: Error) {
    let (connection, now) = (connection(hand.lane.connections), hand.now());
    hand.lane.handle_connect_failed(connection, error, now);
    hand.turn();
}

/// Lets the pause before the next attempt pass.
pub(super) fn next_attempt(hand: &mut Hand) {
    let before = hand.lane.connections;
    let due = hand.lane.poll_timeout().expect("it will try again");
    let pause = due.saturating_since(hand.now());
    hand.wait(pause);
    assert_eq!(hand.lane.connections, before + 1);
}

pub(super) fn succeed(hand: &mut Hand) {
    let (connection, now) = (connection(hand.lane.connections), hand.now());
    hand.lane.handle_connected(connection, now);
    hand.turn();
    let (batch, ..) = hand.take();
    let shaken = OpReply::Handshake {
        primary: true,
        tracking: Ok(()),
        traits: Traits::default(),
    };
    hand.answer(batch, vec![Ok(shaken)]);
}

#[test]
fn c10_attempts_that_can_heal_are_waited_for_and_nothing_else_waits() {
    let mut hand = unconnected();
    let (mut patient, mut hasty) = (
        ready(&hand.cache, PATIENCE),
        ready(&hand.cache, Duration::ZERO),
    );
    let read = get(&hand.cache, "k");
    hand.turn();
    fail(&mut hand, ErrorKind::Retry);
    let plain = hasty
        .ended()
        .expect("the first decides")
        .expect_err("it failed");
    assert_eq!(plain.to_string(), "nothing listens there");
    assert_eq!(fails(read).kind(), ErrorKind::Retry);
    next_attempt(&mut hand);
    fail(&mut hand, ErrorKind::Retry);
    assert!(patient.ended().is_none(), "it waits for the next");

    // Between two attempts: calls fail at once, who is patient waits here, too.
    let mut late = ready(&hand.cache, PATIENCE);
    let (read, hasty) = (get(&hand.cache, "k"), ready(&hand.cache, Duration::ZERO));
    hand.turn();
    assert_eq!(fails(read).kind(), ErrorKind::Retry);
    assert_eq!(fails(hasty).kind(), ErrorKind::Retry);
    next_attempt(&mut hand);
    succeed(&mut hand);
    assert!(matches!(patient.ended(), Some(Ok(()))));
    assert!(matches!(late.ended(), Some(Ok(()))));
}

#[test]
fn c10_patience_ends_with_what_was_tried_and_the_last_reason() {
    let mut hand = unconnected();
    let patient = ready(&hand.cache, Duration::from_secs(1));
    let mut later = ready(&hand.cache, PATIENCE);
    hand.turn();
    for _ in 0..3 {
        fail(&mut hand, ErrorKind::Retry);
        next_attempt(&mut hand);
    }
    // The fourth hangs: it does not hold up whoever has waited long enough.
    let due = hand.lane.poll_timeout().expect("patience ends");
    let pause = due.saturating_since(hand.now());
    hand.wait(pause);
    assert_eq!(due, Timestamp::from_micros(2_000_000));
    let error = fails(patient);
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(
        error.to_string(),
        "nothing listens there; given up after 3 attempts in 1.00 s (warm_deadline)"
    );
    assert!(later.ended().is_none(), "each has a deadline of its own");
}

#[test]
fn c10_the_first_attempt_has_its_own_time() {
    let config = LaneConfig {
        connect_timeout: Duration::from_secs(9),
        ..LaneConfig::default()
    };
    let mut hand = Hand::new(PodConfig::default(), config);
    hand.turn();
    let mut patient = ready(&hand.cache, PATIENCE);
    hand.turn();
    hand.wait(Duration::from_secs(8));
    assert!(patient.ended().is_none());
    succeed(&mut hand);
    assert!(matches!(patient.ended(), Some(Ok(()))));
}

#[test]
fn c12_what_cannot_heal_ends_every_wait_at_once() {
    let mut hand = unconnected();
    let patient = ready(&hand.cache, PATIENCE);
    hand.turn();
    fail(&mut hand, ErrorKind::Retry);
    next_attempt(&mut hand);
    fail(&mut hand, ErrorKind::Configuration);
    assert_eq!(fails(patient).kind(), ErrorKind::Configuration);
    let late = ready(&hand.cache, PATIENCE);
    hand.turn();
    assert_eq!(fails(late).kind(), ErrorKind::Configuration);
}

#[test]
fn c10_who_waits_for_the_lane_is_bounded_and_hears_of_its_end() {
    let config = PodConfig {
        queue_requests: 2,
        ..PodConfig::default()
    };
    let mut hand = Hand::new(config, LaneConfig::default());
    hand.turn();
    let calls: Vec<_> = (0..3).map(|_| ready(&hand.cache, PATIENCE)).collect();
    hand.turn();
    assert_eq!(hand.cache.pod().totals().queue_waits_total, 1);
    fail(&mut hand, ErrorKind::Retry);
    let now = hand.now();
    hand.lane.shutdown(now);
    for call in calls {
        assert_eq!(fails(call).kind(), ErrorKind::Closed);
    }
}
