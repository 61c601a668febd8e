//! The handshake in another db than the lane rests in.

use super::*;
use crate::resp::Reply;

/// What a lane that rests in db 3 makes of these answers to its handshake: the pod's state, and the ops.
fn shaken(fleet_db: Option<u32>, entered: bool, left: bool) -> (Hand, Vec<Op>) {
    let config = LaneConfig {
        resting_db: 3,
        fleet_db,
        ..LaneConfig::default()
    };
    let mut hand = Hand::new(PodConfig::default(), config);
    hand.turn();
    hand.lane.handle_connected(connection(1), hand.now());
    hand.turn();
    let (batch, _, ops) = hand.take();
    let answers = answers(&ops, [entered, left]);
    hand.answer(batch, answers);
    (hand, ops)
}

fn answers(ops: &[Op], selects: [bool; 2]) -> BatchReply {
    let mut selects = selects.into_iter();
    let answer = |op: &Op| match op {
        Op::Handshake { .. } => Ok(OpReply::Handshake {
            primary: true,
            tracking: Ok(()),
            traits: Traits::default(),
        }),
        _ if selects.next().expect("two at most") => Ok(OpReply::Value(Reply::ok())),
        _ => Err(OpError::Server {
            code: "ERR".to_owned(),
            message: "DB index is out of range".to_owned(),
        }),
    };
    ops.iter().map(answer).collect()
}

fn selects(ops: &[Op]) -> Vec<String> {
    let words = |op: &Op| match op {
        Op::Command { argv, .. } => argv.concat(),
        Op::Handshake { .. } => b"handshake".to_vec(),
        other => panic!("{other:?}"),
    };
    let text = |op| String::from_utf8(words(op)).expect("it is text");
    ops.iter().map(text).collect()
}

#[test]
fn the_canary_lies_in_the_db_of_the_fleets_keys() {
    for same in [None, Some(3)] {
        let (hand, ops) = shaken(same, true, true);
        assert_eq!(selects(&ops), ["handshake"]);
        assert_eq!(hand.cache.pod().state(), LaneState::Up);
    }
    let (hand, ops) = shaken(Some(5), true, true);
    assert_eq!(selects(&ops), ["SELECT5", "handshake", "SELECT3"]);
    assert_eq!(hand.cache.pod().state(), LaneState::Up);
}

#[test]
fn a_db_that_is_refused_keeps_no_lane_down() {
    // As for a user without SELECT: it is in its db all the time.
    let (hand, _) = shaken(Some(5), false, false);
    assert_eq!(hand.cache.pod().state(), LaneState::Up);
}

#[test]
fn a_lane_that_was_left_in_another_db_carries_nothing() {
    let (hand, _) = shaken(Some(5), true, false);
    let LaneState::Down(why) = hand.cache.pod().state() else {
        panic!("{:?}", hand.cache.pod().state());
    };
    assert!(why.contains("left in the db"), "{why}");
    // Nor when it is tried again on a lane that is up.
    let (mut hand, _) = shaken(Some(5), true, true);
    hand.lane.retest_later(hand.now());
    hand.wait(Duration::from_secs(60));
    let retest = loop {
        let (batch, _, ops) = hand.take();
        if ops.len() == 3 {
            break (batch, ops);
        }
    };
    let answers = answers(&retest.1, [true, false]);
    hand.answer(retest.0, answers);
    let state = hand.cache.pod().state();
    assert!(matches!(state, LaneState::Down(_)), "{state:?}");
}
