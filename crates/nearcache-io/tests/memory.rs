//! The embedded L2: the same order of pushes and replies as a server, whoever writes from wherever.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use nearcache_io::MemoryL2;
use nearcache_proto::resp::Reply;
use nearcache_proto::{
    ConnectionId, Endpoint, ErrorKind, Events, Invalidations, L2, Op, OpReply, PrimaryId, Protocol,
};
use support::{ask, command, handshake, lane, proven, read, send, set, value};

#[tokio::test]
async fn tracking_is_proven_and_a_foreign_write_is_pushed() {
    let l2 = MemoryL2::new();
    let (mut one, log) = lane(&l2).await;
    assert!(proven(handshake(&mut *one).await));
    assert_eq!(log.lines(), ["nearcache:canary:test"]);
    let (mut two, _) = lane(&l2.clone()).await;
    ask(&mut *two, set("k", "old")).await.unwrap();
    assert_eq!(
        value(&ask(&mut *one, read(0, "k")).await),
        Some(Bytes::from("old"))
    );
    ask(&mut *two, set("k", "new")).await.unwrap();
    assert!(log.lines().contains(&"k".to_owned()));
    assert_eq!(
        value(&ask(&mut *one, read(0, "k")).await),
        Some(Bytes::from("new"))
    );
    ask(&mut *two, command(0, &["FLUSHALL"])).await.unwrap();
    assert!(log.lines().contains(&"*".to_owned()));
}

#[tokio::test]
async fn a_store_that_refuses_tracking_is_found_out() {
    let l2 = MemoryL2::new();
    l2.with_server(|server| server.refuse_tracking(true));
    let (mut con, _) = lane(&l2).await;
    match handshake(&mut *con).await {
        Ok(OpReply::Handshake {
            tracking: Err(_), ..
        }) => {}
        other => panic!("{other:?}"),
    }
    l2.with_server(|server| {
        server.refuse_tracking(false);
        server.set_role(false);
    });
    match handshake(&mut *con).await {
        Ok(OpReply::Handshake { primary: false, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn c1_a_value_is_shared_not_copied() {
    let l2 = MemoryL2::new();
    let (mut con, _) = lane(&l2).await;
    let stored = Bytes::from(vec![1u8; 200_000]);
    let op = Op::Set {
        db: 0,
        key: Bytes::from("k"),
        value: stored.clone(),
        ttl: None,
        if_absent: false,
    };
    ask(&mut *con, op).await.unwrap();
    let op = Op::Read {
        db: 0,
        key: Bytes::from("k"),
        tracked: false,
    };
    let found = value(&ask(&mut *con, op).await).unwrap();
    assert_eq!(found.as_ptr(), stored.as_ptr());
}

#[tokio::test]
async fn c6_ended_connections_are_reported_and_refuse_to_work() {
    let l2 = MemoryL2::new();
    let (mut con, log) = lane(&l2).await;
    l2.disconnect_all();
    assert_eq!(log.lines(), ["end"]);
    let error = send(&mut *con, vec![Op::Heartbeat]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    l2.refuse_connections(true);
    assert!(
        l2.connect_side(&Endpoint::Given, Protocol::Resp3)
            .await
            .is_err()
    );
    l2.refuse_connections(false);
    let mut side = l2
        .connect_side(&Endpoint::Given, Protocol::Resp3)
        .await
        .unwrap();
    ask(&mut *side, command(2, &["SET", "k", "v"]))
        .await
        .unwrap();
    let found = ask(&mut *side, command(2, &["GET", "k"])).await;
    assert_eq!(found, Ok(OpReply::Value(Reply::Bulk(Bytes::from("v")))));
    drop(con);
    assert_eq!(log.lines(), ["end"]);
}

/// Counts the pushes it was told of.
#[derive(Default)]
struct Count(AtomicU64);

impl Invalidations for Count {
    fn invalidate(&self, _: ConnectionId, _: &[u8]) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn invalidate_all(&self, _: ConnectionId) {}
    fn disconnected(&self, _: ConnectionId) {}
}

#[test]
fn c4_no_reply_overtakes_a_push_when_threads_race() {
    let l2 = MemoryL2::new();
    let stop = AtomicBool::new(false);
    let reading = |tracked| Op::Read {
        db: 0,
        key: Bytes::from("k"),
        tracked,
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut con =
                    support::wait(l2.connect_side(&Endpoint::Given, Protocol::Resp3)).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let answers = support::wait(con.ask(vec![command(0, &["INCR", "k"])]));
                    answers.unwrap()[0].as_ref().unwrap();
                    // The lock of the store is not fair: two who never pause could keep the third out.
                    std::thread::yield_now();
                }
            });
        }
        let count = Arc::new(Count::default());
        let events = Events::new(
            ConnectionId {
                primary: PrimaryId::FIRST,
                number: 1,
            },
            count.clone(),
        );
        let mut con = support::wait(l2.connect(&Endpoint::Given, events)).unwrap();
        let canary = Bytes::from("canary");
        support::wait(con.ask(vec![Op::Handshake { canary, nonce: 1 }])).unwrap();
        let mut get = |tracked| {
            let answers = support::wait(con.ask(vec![reading(tracked)])).unwrap();
            value(&answers[0])
        };
        let pushed = || count.0.load(Ordering::SeqCst);
        assert_eq!(pushed(), 1, "the canary");
        for round in 1..=1_000 {
            let seen = get(true);
            // The write that makes the value another uses the registration up: its push must have been
            // applied before any reply shows what it wrote.
            while get(false) == seen {
                std::thread::yield_now();
            }
            assert_eq!(pushed(), 1 + round);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
