//! One pod on the embedded server: side connections, slow servers, tracking that comes back.

mod harness;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use harness::{Harness, TestIo};
use nearcache_proto::resp::Reply;
use nearcache_proto::*;

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|w| w.as_bytes().to_vec()).collect()
}

#[test]
fn c16_a_transaction_that_exec_aborts_is_over() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 0);
    h.run(session.command(&words("MULTI"))).unwrap();
    h.run(session.command(&words("GET"))).unwrap_err();
    h.run(session.command(&words("EXEC"))).unwrap_err();
    assert!(
        h.run(session.command(&words("SELECT 1"))).is_ok(),
        "still in MULTI"
    );
}

#[test]
fn c16_a_cancelled_multi_does_not_linger() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 0);
    {
        let argv = words("MULTI");
        let mut call = Box::pin(session.command(&argv));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    h.settle();
    // A side command of the same session: must not be swallowed by the MULTI.
    let reply = h.run(session.command(&words("CLIENT ID"))).unwrap();
    assert!(matches!(reply, Reply::Int(_)), "{reply:?}");
    let reply = h.run(session.command(&words("MULTI")));
    assert!(reply.is_ok(), "{reply:?}");
}

#[test]
fn c16_what_was_watched_is_not_forgotten_with_a_cancelled_call() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 0);
    h.run(session.command(&words("WATCH k"))).unwrap();
    {
        let argv = words("GET k");
        let mut call = Box::pin(session.command(&argv));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    h.settle();
    h.foreign("SET k theirs");
    let begun = h.run(session.command(&words("MULTI")));
    if begun.is_ok() {
        h.run(session.command(&words("SET k ours"))).unwrap();
        let executed = h.run(session.command(&words("EXEC"))).unwrap();
        assert_eq!(executed, Reply::Nil, "k was changed");
    }
}

#[test]
fn c10_a_db_that_cannot_be_selected_leaves_no_connection() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 99);
    h.run(session.command(&words("MULTI"))).unwrap_err();
    drop(session);
    h.settle();
    assert!(h.sides.is_empty(), "{:?}", h.sides);
}

#[test]
fn c10_a_cancelled_first_side_command_leaves_no_connection() {
    let mut h = Harness::new(PodConfig::default());
    h.run(h.cache.clone().ready(Duration::ZERO)).unwrap();
    let mut session = Session::new(h.cache.clone(), 0);
    {
        let argv = words("MULTI");
        let mut call = Box::pin(session.command(&argv));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    drop(session);
    h.settle();
    assert!(h.sides.is_empty(), "{:?}", h.sides);
}

#[test]
fn c10_a_session_that_ends_while_the_lane_is_down_closes_its_connection() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 0);
    h.run(session.command(&words("WATCH k"))).unwrap();
    assert_eq!(h.sides.len(), 1);
    h.down = true;
    let (connection, ..) = h.link.clone().unwrap();
    h.lane.handle_disconnected(connection, h.io.now());
    h.settle();
    drop(session);
    h.settle();
    assert!(h.sides.is_empty(), "{:?}", h.sides);
}

#[test]
fn trap_a_cancelled_side_command_ends_its_connection_at_once() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 0);
    h.run(session.command(&words("CLIENT ID"))).unwrap();
    h.hold_side = true;
    {
        let argv = words("CLIENT ID");
        let mut call = Box::pin(session.command(&argv));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        h.settle();
        assert_eq!(h.sides.len(), 1, "it waits at the server");
    }
    h.settle();
    assert!(h.sides.is_empty(), "{:?}", h.sides);
    h.hold_side = false;
    h.run(session.command(&words("CLIENT ID"))).unwrap();
}

#[test]
fn c10_what_does_not_block_has_a_deadline_and_holds_nobody_up() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 0);
    h.run(session.command(&words("KEYS *"))).unwrap();
    h.hold_side = true;
    {
        let argv = words("KEYS *");
        let mut call = pin!(session.command(&argv));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        h.settle();
        for _ in 0..5 {
            h.pass(500);
            h.settle();
        }
        let Poll::Ready(Err(error)) = call.as_mut().poll(&mut cx) else {
            panic!("it has no deadline");
        };
        assert_eq!(error.write_outcome(), Some(WriteOutcome::Unknown));
    }
    h.hold_side = false;
    let stuck = h.held_side[0].0;
    h.run(session.command(&words("KEYS *"))).unwrap();
    assert!(h.sides.len() == 2 && h.sides.contains_key(&stuck));
    for _ in 0..20 {
        h.pass(500);
        h.settle();
    }
    assert!(!h.sides.contains_key(&stuck), "it owed an answer for long");
    assert_eq!(h.cache.pod().totals().disconnects_total, 0);
}

#[test]
fn c10_shared_connections_are_closed_when_nobody_uses_them() {
    let mut h = Harness::new(PodConfig::default());
    let mut sessions: Vec<_> = (0..10)
        .map(|db| Session::new(h.cache.clone(), db % 3))
        .collect();
    for session in &mut sessions {
        h.run(session.command(&words("KEYS *"))).unwrap();
        h.run(session.command(&words("SCRIPT EXISTS x"))).unwrap();
    }
    assert_eq!(h.sides.len(), 1, "one after the other needs no more");
    drop(sessions);
    for _ in 0..70 {
        h.pass(1000);
        h.settle();
    }
    assert!(h.sides.is_empty(), "{:?}", h.sides);
}

#[test]
fn c3_c14_a_shared_answer_waits_for_the_lane() {
    let mut h = Harness::new(PodConfig::default());
    let mut session = Session::new(h.cache.clone(), 0);
    h.run(session.command(&words("KEYS *"))).unwrap();
    h.rtt = Duration::from_millis(100);
    let argv = words("KEYS *");
    let mut call = pin!(session.command(&argv));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    h.settle();
    assert!(call.as_mut().poll(&mut cx).is_pending(), "not fenced");
    h.pass(100);
    h.settle();
    assert!(call.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn c7_what_was_read_untracked_is_not_trusted_when_tracking_comes_back() {
    let mut h = Harness::new(PodConfig::default());
    h.server.refuse_tracking(true);
    h.run(h.cache.clone().ready(Duration::ZERO)).unwrap();
    assert!(!h.cache.pod().is_tracked());
    h.server.refuse_tracking(false);
    h.pass(29_990);
    h.settle();
    h.foreign("SET k old");
    let cache = h.cache.clone();
    assert_eq!(
        h.run(cache.get_validated(0, b"k")).unwrap(),
        Some(Bytes::from("old"))
    );
    h.pass(20);
    h.settle();
    assert!(h.cache.pod().is_tracked());
    h.foreign("SET k new");
    let cache = h.cache.clone();
    assert_eq!(
        h.run(cache.get_validated(0, b"k")).unwrap(),
        Some(Bytes::from("new"))
    );
}

#[test]
fn rights_that_are_granted_later_are_noticed_without_a_new_connection() {
    let mut h = Harness::new(PodConfig::default());
    h.server.deny(&["client|tracking", "pttl", "echo"], None);
    h.run(h.cache.clone().ready(Duration::ZERO)).unwrap();
    h.foreign("SET k v");
    let cache = h.cache.clone();
    for round in 0..2 {
        let read = cache.read(0, b"k", ReadPolicy::PassThrough);
        assert_eq!(h.run(read).unwrap().value, Some(Bytes::from("v")));
        assert_eq!(cache.get_resident(0, b"k").is_some(), round == 1);
        h.run(cache.fence()).unwrap();
        h.server.deny(&[], None);
        h.pass(30_010);
        h.settle();
        assert!(cache.pod().is_tracked());
    }
    assert_eq!(cache.pod().totals().connects_total, 1);
}

#[test]
fn c2_the_age_of_what_was_read_untracked_counts_from_its_fetch() {
    let mut h = Harness::new(PodConfig::default());
    h.server.refuse_tracking(true);
    h.run(h.cache.clone().ready(Duration::ZERO)).unwrap();
    let cache = h.cache.clone();
    h.run(cache.read(0, b"k", ReadPolicy::PassThrough)).unwrap();
    h.foreign("SET k new");
    for _ in 0..4 {
        // Heartbeats are answered, and prove nothing about it.
        h.pass(200);
        h.settle();
    }
    h.down = true;
    let (connection, ..) = h.link.clone().unwrap();
    h.lane.handle_disconnected(connection, h.io.now());
    h.settle();
    let max = Duration::from_secs(10);
    let read = h
        .run(cache.read(0, b"k", ReadPolicy::ServeStale { max }))
        .unwrap();
    match read.freshness {
        Freshness::Stale(by) => assert!(by >= Duration::from_millis(800), "{by:?}"),
        Freshness::Fresh => panic!("{read:?}"),
    }
}

/// A clock may be slow by one per cent: a value that the server lets live for 10 s is dead here after 9.9 s.
#[test]
fn c5_an_expiry_allows_for_the_rate_of_the_clock() {
    let mut harness = Harness::new(PodConfig::default());
    harness.settle();
    harness.foreign("SET k v PX 10000");
    let cache = harness.cache.clone();
    let resident = |cache: &Cache<TestIo>| cache.get_resident(0, b"k");
    let read = cache.read(0, b"k", ReadPolicy::PassThrough);
    assert!(harness.run(read).unwrap().value.is_some());
    for _ in 0..98 {
        harness.pass(100);
        harness.settle();
    }
    assert!(resident(&cache).is_some(), "it lives for almost as long");
    harness.pass(110);
    harness.settle();
    assert!(resident(&cache).is_none(), "C5: the clock may be slow");
}

/// The same for what nobody will tell of.
#[test]
fn c2_an_untracked_life_allows_for_the_rate_of_the_clock() {
    let mut harness = Harness::new(PodConfig::default());
    harness.server.refuse_tracking(true);
    harness.settle();
    harness.foreign("SET k v");
    let cache = harness.cache.clone();
    let read = cache.read(0, b"k", ReadPolicy::PassThrough);
    assert!(harness.run(read).unwrap().value.is_some());
    for _ in 0..9 {
        harness.pass(100);
        harness.settle();
    }
    assert!(cache.get_resident(0, b"k").is_some());
    harness.pass(92);
    harness.settle();
    assert!(
        cache.get_resident(0, b"k").is_none(),
        "C2: the clock may be slow"
    );
}

#[test]
fn c2_a_round_trip_longer_than_l_passes_through() {
    let config = PodConfig {
        max_staleness: Duration::from_millis(20),
        ..PodConfig::default()
    };
    let mut h = Harness::new(config);
    let cache = h.cache.clone();
    h.run(cache.read(0, b"k", ReadPolicy::PassThrough)).unwrap();
    h.rtt = Duration::from_millis(30);
    h.pass(100);
    let read = h.run(cache.read(0, b"k", ReadPolicy::PassThrough));
    assert!(read.is_ok(), "{read:?}");
}

#[test]
fn c10_a_large_key_recovers_from_a_silent_side_connection() {
    let config = PodConfig {
        max_inline: 3,
        ..PodConfig::default()
    };
    let mut h = Harness::new(config);
    h.foreign("SET k large");
    let cache = h.cache.clone();
    h.run(cache.read(0, b"k", ReadPolicy::PassThrough)).unwrap();
    h.hold_side = true;
    for _ in 0..6 {
        let _ = h.run(async {
            let mut read = pin!(cache.read(0, b"k", ReadPolicy::PassThrough));
            let mut polls = 0;
            std::future::poll_fn(move |cx| {
                polls += 1;
                match read.as_mut().poll(cx) {
                    Poll::Ready(read) => Poll::Ready(Some(read)),
                    Poll::Pending if polls > 5 => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        });
        h.pass(60_000);
        h.settle();
    }
    h.hold_side = false;
    h.sides.clear();
    let read = h.run(cache.read(0, b"k", ReadPolicy::PassThrough));
    assert!(read.is_ok(), "{read:?}");
}

/// And for how stale a copy may be: what this clock calls 9.95 s may be 10.05 s.
#[test]
fn c2_the_maximum_of_serve_stale_allows_for_the_rate_of_the_clock() {
    let mut harness = Harness::new(PodConfig::default());
    let cache = harness.cache.clone();
    harness
        .run(cache.read(0, b"k", ReadPolicy::PassThrough))
        .unwrap();
    harness.down = true;
    let (connection, ..) = harness.link.clone().unwrap();
    let fresh = harness.io.now();
    let now = harness.io.now();
    harness.lane.handle_disconnected(connection, now);
    let max = Duration::from_secs(10);
    let stale = |harness: &mut Harness, ms: u64| {
        let passed = harness.io.now().saturating_since(fresh).as_millis() as u64;
        harness.pass(ms - passed);
        harness.run(cache.read(0, b"k", ReadPolicy::ServeStale { max }))
    };
    let read = stale(&mut harness, 9_890).unwrap();
    assert!(matches!(read.freshness, Freshness::Stale(_)), "{read:?}");
    assert!(stale(&mut harness, 9_950).is_err());
}

/// A lease is over when its answer comes: whoever needs several entries asks once for all of them, not once for each.
#[test]
fn several_reads_on_a_lane_that_is_slower_than_l_cost_one_heartbeat_a_round() {
    let config = PodConfig {
        max_staleness: Duration::from_millis(30),
        ..PodConfig::default()
    };
    let mut h = Harness::new(config);
    let cache = h.cache.clone();
    h.run(cache.ready(Duration::ZERO)).unwrap();
    h.rtt = Duration::from_millis(40);
    let keys: Vec<_> = (0..100).map(|n| format!("k{n}").into_bytes()).collect();
    let names: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    h.pass(1000);
    let before = cache.pod().totals().lapsed_total;
    let read = h.run(cache.get_many(0, &names, ReadPolicy::PassThrough));
    assert!(read.iter().all(Result::is_ok));
    let asked = cache.pod().totals().lapsed_total - before;
    assert!(asked <= 3, "{asked} heartbeats were waited for");
}
