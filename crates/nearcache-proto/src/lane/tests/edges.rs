//! Where a lane of its own rules is tempted to break a promise: side answers, slow servers, sessions.

use super::*;
use crate::session::Session;

fn set(cache: &Cache<Desk>, bytes: usize) -> Running<Result<(), Error>> {
    let cache = cache.clone();
    let value = Bytes::from(vec![b'v'; bytes]);
    Running::start(async move { cache.set(0, b"k", value, None).await })
}

/// Makes the lane know that the key is large.
fn large(hand: &mut Hand) {
    let mut first = get(&hand.cache, "big");
    hand.turn();
    let (batch, ..) = hand.take();
    hand.value(batch, 2000);
    assert!(first.ended().expect("ended").is_ok());
}

fn small_inline() -> PodConfig {
    PodConfig {
        max_inline: 1000,
        ..PodConfig::default()
    }
}

#[test]
fn c3_c14_a_large_fetch_is_not_joined_once_the_lane_has_answered_something_later() {
    let mut hand = Hand::up(small_inline(), LaneConfig::default());
    large(&mut hand);
    let _slow = get(&hand.cache, "big");
    hand.turn();
    let (_, line, _) = hand.take();
    assert!(matches!(line, Line::Side { .. }));
    let _joined = get(&hand.cache, "big");
    hand.turn();
    assert!(hand.sent.is_empty(), "nothing has happened: it joins");

    // A script of this pod is acknowledged; nobody was told of its keys, the large one is untracked.
    let mut write = set(&hand.cache, 1);
    hand.turn();
    let (batch, ..) = hand.take();
    hand.answer(batch, vec![Ok(OpReply::Stored(true))]);
    assert!(write.ended().expect("ended").is_ok());
    let _later = get(&hand.cache, "big");
    hand.turn();
    let (_, line, _) = hand.take();
    assert!(matches!(line, Line::Side { .. }), "it asks for itself");
}

#[test]
fn c7_a_validated_read_joins_no_large_fetch_that_was_sent_before_it() {
    let mut hand = Hand::up(small_inline(), LaneConfig::default());
    large(&mut hand);
    let _slow = get(&hand.cache, "big");
    hand.turn();
    hand.take();
    let cache = hand.cache.clone();
    let _call = Running::start(async move { cache.get_validated(0, b"big").await });
    hand.turn();
    let (batch, _, ops) = hand.take();
    assert_eq!(ops, [Op::Heartbeat]);
    hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
    let mut call = _call;
    assert!(call.ended().is_none());
    hand.turn();
    let (_, line, ops) = hand.take();
    assert!(matches!(line, Line::Side { .. }));
    assert!(matches!(ops[..], [Op::Read { .. }]));
}

#[test]
fn c10_bytes_of_writes_in_flight_are_bounded() {
    let lane = LaneConfig {
        inflight_bytes: 1000,
        ..LaneConfig::default()
    };
    let mut hand = Hand::up(PodConfig::default(), lane);
    let mut calls: Vec<_> = (0..5).map(|_| set(&hand.cache, 600)).collect();
    hand.turn();
    assert_eq!(hand.sent.len(), 1, "the others wait for room");
    for call in &mut calls {
        let (batch, ..) = hand.take();
        hand.answer(batch, vec![Ok(OpReply::Stored(true))]);
        assert!(call.ended().expect("in order").is_ok());
    }
}

#[test]
fn c16_a_large_command_that_hangs_beside_the_lane_holds_up_nobody() {
    let lane = LaneConfig {
        inflight_bytes: 1000,
        ..LaneConfig::default()
    };
    let mut hand = Hand::up(PodConfig::default(), lane);
    let cache = hand.cache.clone();
    let large = "v".repeat(5000);
    let mut stuck = Running::start(async move {
        let mut session = Session::new(cache, 0);
        session.command(&["JSON.SET", "k", "$", &large]).await
    });
    hand.turn();
    let (_, line, _) = hand.take();
    assert!(matches!(line, Line::Side { .. }), "it is on its way");
    assert!(stuck.ended().is_none());

    let _write = set(&hand.cache, 600);
    hand.turn();
    let (_, line, _) = hand.take();
    assert_eq!(line, LANE);
}

#[test]
fn c10_a_resident_key_is_read_from_a_server_that_is_slower_than_the_lease() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let mut filled = get(&hand.cache, "a");
    hand.turn();
    let (batch, ..) = hand.take();
    hand.value(batch, 10);
    assert!(filled.ended().expect("ended").is_ok());
    *hand.cache.io().now.lock().expect("one thread") =
        hand.now().saturating_add(Duration::from_millis(1500));
    let mut call = get(&hand.cache, "a");
    hand.turn();
    let (batch, ..) = hand.take();
    // The heartbeat takes longer than the lease it renews lasts.
    *hand.cache.io().now.lock().expect("one thread") =
        hand.now().saturating_add(Duration::from_millis(1100));
    hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
    let value = call.ended().expect("ended").expect("a value");
    assert_eq!(
        value.map(|v| v.len()),
        Some(10),
        "for one heartbeat, without a GET"
    );
}

#[test]
fn c3_a_refused_fence_serves_nothing_from_before() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let mut filled = get(&hand.cache, "a");
    hand.turn();
    let (batch, ..) = hand.take();
    hand.value(batch, 10);
    assert!(filled.ended().expect("ended").is_ok());
    let cache = hand.cache.clone();
    let mut script = Running::start(async move {
        let mut session = Session::new(cache, 0);
        session.command(&["EVAL", "return 1", "0"]).await
    });
    hand.turn();
    let (batch, ..) = hand.take();
    let busy = OpError::Server {
        code: "BUSY".to_owned(),
        message: "Redis is busy running a script".to_owned(),
    };
    let done = OpReply::Value(crate::resp::Reply::Int(1));
    hand.answer(batch, vec![Ok(done), Err(busy)]);
    assert!(script.ended().expect("ended").is_ok(), "it was executed");
    assert!(hand.cache.get_resident(0, b"a").is_none());
    assert_eq!(
        hand.cache.pod().state(),
        LaneState::Up,
        "the lane is as it was"
    );
}

#[test]
fn trap_a_dropped_side_command_takes_its_connection_with_it() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let mut session = Session::new(hand.cache.clone(), 0);
    let mut context = Context::from_waker(Waker::noop());
    let mut call = Box::pin(session.command(&["BLPOP", "list", "0"]));
    assert!(call.as_mut().poll(&mut context).is_pending());
    hand.turn();
    let (_, first, _) = hand.take();
    drop(call);
    let now = hand.now();
    for request in std::mem::take(&mut *hand.cache.io().inbox.lock().expect("one thread")) {
        hand.lane.submit(request, now);
    }
    let Line::Side(Side { id, .. }) = first else {
        panic!("a blocking command runs beside the lane");
    };
    let mut closed = Vec::new();
    while let Some(action) = hand.lane.poll_action(now) {
        if let Action::CloseSide { side: id, .. } = action {
            closed.push(id);
        }
    }
    assert_eq!(closed, [id]);

    // One that was not sent yet never is.
    let mut call = Box::pin(session.command(&["BLPOP", "list", "0"]));
    assert!(call.as_mut().poll(&mut context).is_pending());
    drop(call);
    hand.turn();
    assert!(hand.sent.is_empty());
}

#[test]
fn c13_the_arguments_a_server_quotes_stay_out_of_the_error() {
    let error = reply::op_error(&OpError::Server {
        code: "ERR".to_owned(),
        message: "unknown command 'JSON.SET', with args beginning with: 'k' '$' 's3cret' "
            .to_owned(),
    });
    assert_eq!(error.to_string(), "ERR unknown command 'JSON.SET'");
}

#[test]
fn trap_no_read_asks_for_what_the_user_may_not_do() {
    let config = PodConfig {
        bypass: vec![b"by:".to_vec()],
        ..PodConfig::default()
    };
    let mut hand = Hand::new(config, LaneConfig::default());
    hand.turn();
    hand.lane.handle_connected(connection(1), hand.now());
    hand.turn();
    let (batch, ..) = hand.take();
    let rights = crate::rights::Rights {
        missing: vec!["+multi"],
        ..Default::default()
    };
    let shaken = OpReply::Handshake {
        primary: true,
        tracking: Ok(()),
        traits: Traits {
            rights,
            ..Traits::default()
        },
    };
    hand.answer(batch, vec![Ok(shaken)]);
    assert_eq!(hand.cache.pod().state(), LaneState::Up);
    // More than may be flights of one key: the others are read beside them.
    let mut calls: Vec<_> = (0..8).map(|_| get(&hand.cache, "by:k")).collect();
    hand.turn();
    while let Some((batch, _, ops)) = hand.sent.pop_front() {
        assert!(ops.iter().all(|op| matches!(op, Op::Command { .. })));
        let reply = || Ok(OpReply::Value(crate::resp::Reply::Bulk("v".into())));
        hand.answer(batch, ops.iter().map(|_| reply()).collect());
    }
    for call in &mut calls {
        let read = call.ended().expect("it was answered").unwrap();
        assert_eq!(read.as_deref(), Some(&b"v"[..]));
    }
    // What is kept is asked for with its life, which this user may know.
    let _kept = get(&hand.cache, "k");
    hand.turn();
    let (_, _, ops) = hand.take();
    assert!(matches!(ops[..], [Op::Read { tracked: true, .. }]));
}
