//! Calls in line for room, and calls that wait for the end of an outage.

use super::*;
use crate::cache::WhileAway;
use crate::error::{Reason, WriteOutcome};

const TIMEOUT: Duration = Duration::from_secs(2);

/// So many may wait to be sent, and one fill at a time is on its way.
fn narrow(queue_requests: usize) -> Hand {
    let pod = PodConfig {
        queue_requests,
        operation_timeout: TIMEOUT,
        ..PodConfig::default()
    };
    let lane = LaneConfig {
        inflight_bytes: 1,
        ..LaneConfig::default()
    };
    Hand::up(pod, lane)
}

/// The key a batch reads.
fn key(ops: &[Op]) -> String {
    match ops {
        [Op::Read { key, .. }] => String::from_utf8_lossy(key).into_owned(),
        other => panic!("not one read: {other:?}"),
    }
}

fn set(cache: &Cache<Desk>) -> Running<Result<(), Error>> {
    let cache = cache.clone();
    Running::start(async move { cache.set(0, b"w", Bytes::from("1"), None).await })
}

fn waits(hand: &Hand) -> (u64, u64) {
    let totals = hand.cache.pod().totals();
    (totals.queue_waits_total, totals.rejected_total)
}

fn lose(hand: &mut Hand) {
    hand.lane.handle_disconnected(connection(1), hand.now());
    hand.turn();
}

/// The attempt to connect that is under way, or due, fails.
fn refuse(hand: &mut Hand) {
    hand.wait(Duration::from_millis(60));
    let connection = connection(hand.lane.connections);
    let error = Error::new(ErrorKind::Retry, "nothing listens");
    hand.lane
        .handle_connect_failed(connection, error, hand.now());
    hand.turn();
}

/// The next attempt succeeds.
fn reconnect(hand: &mut Hand) {
    hand.wait(TIMEOUT / 4);
    hand.lane
        .handle_connected(connection(hand.lane.connections), hand.now());
    hand.turn();
    let (batch, ..) = hand.take();
    let up = OpReply::Handshake {
        primary: true,
        tracking: Ok(()),
        traits: Traits::default(),
    };
    hand.answer(batch, vec![Ok(up)]);
    assert_eq!(hand.cache.pod().state(), LaneState::Up);
}

#[test]
fn c10_a_burst_waits_for_room_in_the_order_of_its_calls() {
    let mut hand = narrow(2);
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut calls: Vec<_> = keys.iter().map(|key| get(&hand.cache, key)).collect();
    for expected in keys {
        hand.turn();
        let (batch, _, ops) = hand.take();
        assert_eq!(key(&ops), expected);
        assert!(hand.sent.is_empty(), "one fill always goes, and no more");
        hand.value(batch, 3);
        // Those whose turn it is submit when they are polled.
        calls.retain_mut(|call| match call.ended() {
            Some(end) => {
                assert_eq!(end.unwrap().as_deref(), Some(&b"vvv"[..]));
                false
            }
            None => true,
        });
    }
    assert!(calls.is_empty());
    assert_eq!(waits(&hand), (6, 0));
    assert_eq!(hand.cache.pod().store.flights_open(), 0);
}

#[test]
fn c10_several_keys_take_room_for_each_and_wait_for_more() {
    let mut hand = narrow(2);
    let cache = hand.cache.clone();
    let keys: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
    let mut call =
        Running::start(async move { cache.get_many(0, &keys, ReadPolicy::PassThrough).await });
    for _ in keys {
        hand.turn();
        let (batch, ..) = hand.take();
        hand.value(batch, 3);
        let ended = call.ended();
        if let Some(reads) = ended {
            assert!(reads.iter().all(Result::is_ok));
            assert!(waits(&hand).0 >= 1);
            return;
        }
    }
    panic!("five answers and no end");
}

#[test]
fn c10_who_finds_no_room_in_time_is_told_the_setting_and_not_that_l2_is_slow() {
    let mut hand = narrow(1);
    let first = get(&hand.cache, "a");
    hand.turn();
    let second = get(&hand.cache, "b");
    // It has room, and waits for its turn to be sent for as long as another does in line.
    hand.turn();
    let third = get(&hand.cache, "c");
    // The server answers heartbeats, and that one fill not: it is not taken for stalled.
    for _ in 0..16 {
        hand.wait(TIMEOUT / 15);
        for (batch, _, ops) in std::mem::take(&mut hand.sent) {
            if matches!(ops[..], [Op::Heartbeat]) {
                hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
            }
        }
    }
    let refused = fails(third);
    assert_eq!(refused.reason(), Some(Reason::Overloaded), "{refused}");
    assert!(refused.to_string().contains("queue_requests"), "{refused}");
    assert_eq!(waits(&hand), (1, 1));
    for call in [first, second] {
        assert_eq!(fails(call).reason(), Some(Reason::Timeout));
    }
}

#[test]
fn c10_a_place_in_line_goes_on_when_its_caller_does_not() {
    let mut hand = narrow(1);
    let _first = get(&hand.cache, "a");
    hand.turn();
    let _second = get(&hand.cache, "b");
    hand.turn();
    let dropped = get(&hand.cache, "c");
    // Never polled again: what it is given goes on when its time is up.
    let _parked = get(&hand.cache, "d");
    let mut last = get(&hand.cache, "e");
    drop(dropped);
    let (batch, ..) = hand.take();
    hand.value(batch, 1);
    let (batch, ..) = hand.take();
    hand.wait(TIMEOUT / 2);
    hand.value(batch, 1);
    assert!(last.ended().is_none(), "it is another's turn");
    let mut patient = {
        hand.wait(TIMEOUT / 4);
        get(&hand.cache, "f")
    };
    hand.wait(TIMEOUT / 4 + TIMEOUT / 8);
    assert!(
        last.ended().is_some_and(|end| end.is_err()),
        "it waited as long"
    );
    assert!(patient.ended().is_none());
    hand.turn();
    let sent: Vec<_> = hand.sent.iter().map(|(_, _, ops)| ops.clone()).collect();
    let fills = sent
        .iter()
        .filter(|ops| matches!(ops[..], [Op::Read { .. }]));
    assert_eq!(fills.map(|ops| key(ops)).collect::<Vec<_>>(), ["f"]);
}

#[test]
fn c10_an_outage_is_waited_out_by_those_who_want_that_and_by_nobody_else() {
    let mut hand = narrow(64);
    let patient = hand.cache.clone().with_while_away(WhileAway::Wait);
    lose(&mut hand);
    refuse(&mut hand);
    let mut read = get(&patient, "a");
    let mut write = set(&patient);
    let hasty = get(&hand.cache, "a");
    let hasty_write = set(&hand.cache);
    hand.turn();
    let error = fails(hasty);
    assert_eq!(error.reason(), Some(Reason::Unavailable), "{error}");
    assert_eq!(
        fails(hasty_write).write_outcome(),
        Some(WriteOutcome::NotSent)
    );
    refuse(&mut hand);
    assert!(read.ended().is_none() && write.ended().is_none());
    reconnect(&mut hand);
    for (batch, _, ops) in std::mem::take(&mut hand.sent) {
        match ops[..] {
            [Op::Read { .. }] => hand.value(batch, 3),
            [Op::Set { .. }] => hand.answer(batch, vec![Ok(OpReply::Stored(true))]),
            _ => {}
        }
    }
    assert_eq!(read.ended().unwrap().unwrap().as_deref(), Some(&b"vvv"[..]));
    write.ended().unwrap().unwrap();
}

#[test]
fn c10_who_waits_for_the_end_of_an_outage_waits_no_longer_than_a_call_may() {
    let mut hand = narrow(64);
    let patient = hand.cache.clone().with_while_away(WhileAway::Wait);
    let short = patient.clone().with_timeout(TIMEOUT / 2);
    lose(&mut hand);
    refuse(&mut hand);
    let (read, write) = (get(&patient, "a"), set(&patient));
    let mut short = get(&short, "b");
    hand.turn();
    hand.wait(TIMEOUT / 2 + TIMEOUT / 8);
    let error = short.ended().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Unavailable), "{error}");
    hand.wait(TIMEOUT);
    let error = fails(read);
    assert_eq!(error.reason(), Some(Reason::Unavailable), "{error}");
    assert!(error.to_string().contains("operation_timeout"), "{error}");
    let error = fails(write);
    assert_eq!(error.write_outcome(), Some(WriteOutcome::NotSent));
}

#[test]
fn c10_what_cannot_heal_is_not_waited_for() {
    let mut hand = narrow(64);
    let patient = hand.cache.clone().with_while_away(WhileAway::Wait);
    lose(&mut hand);
    refuse(&mut hand);
    let read = get(&patient, "a");
    hand.turn();
    hand.wait(TIMEOUT / 4);
    let error = Error::new(ErrorKind::Configuration, "the password is wrong");
    let connection = connection(hand.lane.connections);
    hand.lane
        .handle_connect_failed(connection, error, hand.now());
    hand.turn();
    assert_eq!(fails(read).kind(), ErrorKind::Configuration);
    let later = get(&patient, "b");
    hand.turn();
    assert_eq!(fails(later).kind(), ErrorKind::Configuration);
}

#[test]
fn c3_a_read_that_was_lost_is_sent_again_and_a_write_is_not() {
    let mut hand = narrow(64);
    let patient = hand.cache.clone().with_while_away(WhileAway::Wait);
    let mut read = get(&patient, "a");
    let mut write = set(&patient);
    hand.turn();
    assert_eq!(hand.sent.len(), 2);
    hand.sent.clear();
    lose(&mut hand);
    let error = write.ended().unwrap().unwrap_err();
    assert_eq!(error.write_outcome(), Some(WriteOutcome::Unknown));
    assert_eq!(error.reason(), Some(Reason::Interrupted));
    assert!(read.ended().is_none(), "it is asked again");
    reconnect(&mut hand);
    let (batch, _, ops) = hand.take();
    assert_eq!(key(&ops), "a");
    assert!(hand.sent.is_empty(), "a write is never sent twice");
    hand.value(batch, 3);
    assert!(read.ended().unwrap().is_ok());
}

#[test]
fn c10_a_server_that_stands_still_is_sent_nothing_more_by_those_who_wait() {
    let mut hand = narrow(64);
    let patient = hand.cache.clone().with_while_away(WhileAway::Wait);
    let _stuck = get(&hand.cache, "a");
    hand.turn();
    let (batch, ..) = hand.take();
    hand.wait(TIMEOUT + TIMEOUT / 8);
    hand.sent.clear();
    let (mut write, hasty) = (set(&patient), set(&hand.cache));
    hand.turn();
    assert_eq!(fails(hasty).reason(), Some(Reason::Timeout));
    assert!(
        hand.sent
            .iter()
            .all(|(_, _, ops)| matches!(ops[..], [Op::Heartbeat]))
    );
    // It answers: what waits is sent.
    hand.value(batch, 1);
    hand.turn();
    let sets = |(_, _, ops): &(BatchId, Line, Vec<Op>)| matches!(ops[..], [Op::Set { .. }]);
    assert_eq!(hand.sent.iter().filter(|sent| sets(sent)).count(), 1);
    assert!(write.ended().is_none());
}

#[test]
fn c10_neither_kind_of_call_waits_for_what_only_the_other_would() {
    let mut hand = narrow(64);
    let patient = hand.cache.clone().with_while_away(WhileAway::Wait);
    lose(&mut hand);
    refuse(&mut hand);
    let mut waiting = get(&patient, "a");
    hand.turn();
    let hasty = get(&hand.cache, "a");
    hand.turn();
    assert_eq!(fails(hasty).reason(), Some(Reason::Unavailable));
    assert!(waiting.ended().is_none());
}

#[test]
fn c12_a_read_of_another_db_that_waits_for_room_survives_the_loss_of_the_lane() {
    let mut hand = narrow(64);
    let cache = hand.cache.clone().with_while_away(WhileAway::Wait);
    let read = async move { cache.read(3, b"a", ReadPolicy::PassThrough).await };
    let mut read = Running::start(read);
    hand.turn();
    assert!(matches!(hand.take().2[..], [Op::ProbeDb { db: 3 }]));
    lose(&mut hand);
    reconnect(&mut hand);
    assert!(read.ended().is_none());
    let (batch, _, ops) = hand.take();
    assert!(matches!(ops[..], [Op::ProbeDb { db: 3 }]));
    hand.answer(batch, vec![Ok(OpReply::Selectable)]);
    let (batch, _, ops) = hand.take();
    assert_eq!(key(&ops), "a");
    hand.value(batch, 2);
    assert!(read.ended().unwrap().is_ok());
}
