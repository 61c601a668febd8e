//! The lane driven by hand: limits, pace, and what happens when the server is silent.

mod ahead;
mod edges;
mod large;
mod ready;
mod room;
mod told;
mod visit;

use std::fmt;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::StoreConfig;

use super::*;
use crate::cache::{Cache, Io, ReadPolicy};
use crate::config::PodConfig;
use crate::op::{BatchReply, OpError, Tracking, Traits};
use crate::primary::LaneState;

const HERE: PrimaryId = PrimaryId::FIRST;
const LANE: Line = Line::Lane(HERE);

fn connection(number: u64) -> ConnectionId {
    ConnectionId {
        primary: HERE,
        number,
    }
}

/// A pod whose IO thread is the test.
struct Hand {
    lane: Lane,
    cache: Cache<Desk>,
    sent: VecDeque<(BatchId, Line, Vec<Op>)>,
    closed_sides: Vec<u64>,
    reports: Vec<Report>,
}

struct Desk {
    now: Mutex<Timestamp>,
    inbox: Mutex<Vec<Request>>,
}

impl Io for Desk {
    fn now(&self) -> Timestamp {
        *self.now.lock().expect("one thread")
    }

    fn submit(&self, request: Request) {
        self.inbox.lock().expect("one thread").push(request);
    }
}

impl Hand {
    /// A lane that is up.
    fn up(pod: PodConfig, lane: LaneConfig) -> Self {
        let mut hand = Self::new(pod, lane);
        hand.turn();
        hand.lane.handle_connected(connection(1), hand.now());
        hand.turn();
        let (batch, ..) = hand.take();
        hand.answer(
            batch,
            vec![Ok(OpReply::Handshake {
                primary: true,
                tracking: Ok(()),
                traits: Traits::default(),
            })],
        );
        assert_eq!(hand.cache.pod().state(), LaneState::Up);
        hand
    }

    fn new(pod: PodConfig, lane: LaneConfig) -> Self {
        let pod = Arc::new(Pod::new(StoreConfig::new(1 << 20), pod).expect("a good configuration"));
        let desk = Arc::new(Desk {
            now: Mutex::new(Timestamp::from_micros(1_000_000)),
            inbox: Mutex::default(),
        });
        Self {
            lane: Lane::new(pod.clone(), HERE, lane, 1).expect("there is one"),
            cache: Cache::new(pod, desk),
            sent: VecDeque::new(),
            closed_sides: Vec::new(),
            reports: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.cache.io().now()
    }

    fn wait(&mut self, time: Duration) {
        let later = self.now().saturating_add(time);
        *self.cache.io().now.lock().expect("one thread") = later;
        self.lane.handle_timeout(later);
        self.turn();
    }

    fn turn(&mut self) {
        let now = self.now();
        for request in std::mem::take(&mut *self.cache.io().inbox.lock().expect("one thread")) {
            self.lane.submit(request, now);
        }
        while let Some(action) = self.lane.poll_action(now) {
            match action {
                Action::Send { batch, line, ops } => self.sent.push_back((batch, line, ops)),
                Action::CloseSide { side, .. } => self.closed_sides.push(side),
                Action::Report { report, .. } => self.reports.push(report),
                _ => {}
            }
        }
    }

    fn take(&mut self) -> (BatchId, Line, Vec<Op>) {
        self.sent.pop_front().expect("something was sent")
    }

    fn answer(&mut self, batch: BatchId, results: BatchReply) {
        let now = self.now();
        self.lane.handle_reply(batch, Ok(results), now);
        self.turn();
    }

    fn value(&mut self, batch: BatchId, bytes: usize) {
        let value = Some(Bytes::from(vec![b'v'; bytes]));
        self.answer(
            batch,
            vec![Ok(OpReply::Read {
                value,
                ttl: None,
                tracked: true,
            })],
        );
    }
}

/// A call that the test polls when it likes.
struct Running<T>(std::pin::Pin<Box<dyn Future<Output = T>>>);

impl<T> Running<T> {
    fn start(future: impl Future<Output = T> + 'static) -> Self {
        let mut running = Self(Box::pin(future));
        assert!(running.ended().is_none(), "it has to wait");
        running
    }

    fn ended(&mut self) -> Option<T> {
        let mut context = Context::from_waker(Waker::noop());
        match self.0.as_mut().poll(&mut context) {
            Poll::Ready(end) => Some(end),
            Poll::Pending => None,
        }
    }
}

fn get(cache: &Cache<Desk>, key: &'static str) -> Running<Result<Option<Bytes>, Error>> {
    let cache = cache.clone();
    Running::start(async move {
        let read = cache
            .read(0, key.as_bytes(), ReadPolicy::PassThrough)
            .await?;
        Ok(read.value)
    })
}

fn fails<T: fmt::Debug>(mut call: Running<Result<T, Error>>) -> Error {
    call.ended()
        .expect("it has ended")
        .expect_err("it has failed")
}

#[test]
fn c10_fills_in_flight_are_bounded_and_the_rest_waits_its_turn() {
    let lane = LaneConfig {
        inflight_bytes: 1,
        ..LaneConfig::default()
    };
    let mut hand = Hand::up(PodConfig::default(), lane);
    let (mut a, mut b) = (get(&hand.cache, "a"), get(&hand.cache, "b"));
    hand.turn();
    let (batch, ..) = hand.take();
    assert!(hand.sent.is_empty(), "the second waits");
    hand.value(batch, 100);
    assert_eq!(
        a.ended().expect("ended").expect("a value").map(|v| v.len()),
        Some(100)
    );
    let (batch, ..) = hand.take();
    hand.value(batch, 50);
    assert_eq!(
        b.ended().expect("ended").expect("a value").map(|v| v.len()),
        Some(50)
    );
}

#[test]
fn c10_a_silent_server_fails_calls_at_once_after_the_first_and_is_given_up() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let first = get(&hand.cache, "a");
    hand.turn();
    hand.wait(Duration::from_secs(3));
    let error = fails(first);
    assert!(error.to_string().contains("operation_timeout"), "{error}");
    let second = get(&hand.cache, "b");
    hand.turn();
    let error = fails(second);
    assert!(error.to_string().contains("stopped answering"), "{error}");
    let heartbeats = hand
        .sent
        .iter()
        .filter(|(.., ops)| ops == &[Op::Heartbeat])
        .count();
    assert!(
        (1..=3).contains(&heartbeats),
        "{heartbeats} heartbeats in flight"
    );

    let history = hand.cache.pod().route.unkeyed().coherence.history();
    hand.wait(Duration::from_secs(10));
    assert_ne!(
        hand.cache.pod().route.unkeyed().coherence.history(),
        history,
        "the lane was given up"
    );
    assert!(matches!(hand.cache.pod().state(), LaneState::Down(_)));
}

#[test]
fn c10_one_heartbeat_for_all_who_wait() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let mut filled = get(&hand.cache, "a");
    hand.turn();
    let (batch, ..) = hand.take();
    hand.value(batch, 10);
    filled.ended().expect("ended").expect("a value");
    // The lease runs out while the lane's thread does not run.
    let later = hand.now().saturating_add(Duration::from_millis(1500));
    *hand.cache.io().now.lock().expect("one thread") = later;
    let calls: Vec<_> = (0..100).map(|_| get(&hand.cache, "a")).collect();
    hand.turn();
    let (batch, _, ops) = hand.take();
    assert_eq!(ops, [Op::Heartbeat]);
    assert!(
        hand.sent.is_empty(),
        "and nothing else: {:?}",
        hand.sent.len()
    );
    hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
    for mut call in calls {
        let value = call.ended().expect("ended").expect("served from L1");
        assert_eq!(value.map(|v| v.len()), Some(10));
    }
    assert_eq!(hand.cache.pod().totals().fills_total, 1);
}

#[test]
fn c9_a_large_value_is_served_but_not_kept_and_then_read_beside_the_lane() {
    let pod = PodConfig {
        max_inline: 1000,
        ..PodConfig::default()
    };
    let mut hand = Hand::up(pod, LaneConfig::default());
    let mut first = get(&hand.cache, "big");
    hand.turn();
    let (batch, line, _) = hand.take();
    assert_eq!(line, LANE, "its size is not known yet");
    hand.value(batch, 2000);
    assert!(first.ended().expect("ended").is_ok());
    assert!(hand.cache.get_resident(0, b"big").is_none());

    let mut second = get(&hand.cache, "big");
    hand.turn();
    let (batch, line, _) = hand.take();
    assert_eq!(line, Line::Side(hand.lane.bulk()));
    hand.value(batch, 2000);
    assert!(
        second.ended().is_none(),
        "C14: not before the lane has caught up"
    );
    let (batch, line, ops) = hand.take();
    assert_eq!(line, LANE);
    assert!(matches!(ops[..], [Op::Fence { .. }]));
    hand.answer(batch, vec![Ok(OpReply::Fenced)]);
    let value = second.ended().expect("ended").expect("a value");
    assert_eq!(value.map(|v| v.len()), Some(2000));
}

#[test]
fn trap_caching_refused_drops_the_connection_and_its_history() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let history = hand.cache.pod().route.unkeyed().coherence.history();
    let call = get(&hand.cache, "a");
    hand.turn();
    let (batch, ..) = hand.take();
    hand.answer(batch, vec![Err(OpError::TrackingLost("NOPERM".to_owned()))]);
    assert_eq!(fails(call).kind(), ErrorKind::Retry);
    assert_ne!(
        hand.cache.pod().route.unkeyed().coherence.history(),
        history
    );
}

#[test]
fn an_unknown_db_is_probed_once_before_anything_runs_in_it() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let write = |value: &'static str| {
        let cache = hand.cache.clone();
        Running::start(async move { cache.set(7, b"k", Bytes::from(value), None).await })
    };
    let (mut a, mut b) = (write("1"), write("2"));
    hand.turn();
    let (batch, _, ops) = hand.take();
    assert_eq!(ops, [Op::ProbeDb { db: 7 }]);
    assert!(hand.sent.is_empty());
    hand.answer(batch, vec![Ok(OpReply::Selectable)]);
    for _ in 0..2 {
        let (batch, ..) = hand.take();
        hand.answer(batch, vec![Ok(OpReply::Stored(true))]);
    }
    assert!(a.ended().expect("ended").is_ok() && b.ended().expect("ended").is_ok());

    let cache = hand.cache.clone();
    let bad = Running::start(async move { cache.set(99, b"k", Bytes::new(), None).await });
    hand.turn();
    let (batch, ..) = hand.take();
    let out = OpError::Server {
        code: "ERR".to_owned(),
        message: "DB index is out of range".to_owned(),
    };
    hand.answer(batch, vec![Err(out)]);
    let error = fails(bad);
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("db 99"), "{error}");
}

#[test]
fn an_unanswered_request_that_is_dropped_fails_its_caller() {
    let hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let read = get(&hand.cache, "a");
    let cache = hand.cache.clone();
    let write = Running::start(async move { cache.delete(0, b"a").await });
    hand.cache
        .io()
        .inbox
        .lock()
        .expect("one thread")
        .truncate(0);
    assert_eq!(fails(write).kind(), ErrorKind::Closed);
    drop(read);
}

#[test]
fn c10_shutdown_ends_every_call_with_a_clear_error() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let (a, b) = (get(&hand.cache, "a"), get(&hand.cache, "b"));
    hand.turn();
    let now = hand.now();
    hand.lane.shutdown(now);
    assert_eq!(fails(a).kind(), ErrorKind::Closed);
    assert_eq!(fails(b).kind(), ErrorKind::Closed);
    let later = get(&hand.cache, "c");
    hand.turn();
    assert_eq!(fails(later).kind(), ErrorKind::Closed);
    assert_eq!(hand.lane.poll_timeout(), None);
}

#[test]
fn a_store_that_cannot_invalidate_is_not_reported_as_a_problem() {
    let lane = LaneConfig {
        tracking: Tracking::None,
        ..LaneConfig::default()
    };
    let mut hand = Hand::up(PodConfig::default(), lane);
    assert!(!hand.cache.pod().is_tracked());
    let mut call = get(&hand.cache, "a");
    hand.turn();
    let (batch, _, ops) = hand.take();
    assert!(matches!(ops[..], [Op::Read { tracked: false, .. }]));
    let reply = OpReply::Read {
        value: Some(Bytes::from_static(b"v")),
        ttl: None,
        tracked: false,
    };
    hand.answer(batch, vec![Ok(reply)]);
    assert!(call.ended().expect("ended").is_ok());
    assert!(hand.cache.get_resident(0, b"a").is_some());
    hand.wait(Duration::from_millis(400));
    let (batch, ..) = hand.take();
    hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
    hand.wait(Duration::from_millis(700));
    assert!(
        hand.cache.get_resident(0, b"a").is_none(),
        "C2: it lives for L"
    );
}

#[test]
fn c10_the_first_attempts_are_spread_and_those_after_a_useless_connection_back_off() {
    let config = LaneConfig {
        backoff_min: Duration::from_millis(100),
        ..LaneConfig::default()
    };
    let lose = |hand: &mut Hand| {
        let (connection, now) = (connection(hand.lane.connections), hand.now());
        hand.lane.handle_disconnected(connection, now);
        hand.turn();
    };
    // It answered its handshake and nothing else: the pauses grow.
    let mut hand = Hand::up(PodConfig::default(), config.clone());
    lose(&mut hand);
    assert_eq!(hand.lane.connections, 1, "it waits");
    hand.wait(Duration::from_millis(100));
    assert_eq!(hand.lane.connections, 2);

    // It was of use: at most the shortest pause, and not the same for every pod.
    let mut hand = Hand::up(PodConfig::default(), config);
    hand.wait(Duration::from_millis(400));
    let (batch, ..) = hand.take();
    hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
    lose(&mut hand);
    hand.wait(Duration::from_millis(100));
    assert_eq!(hand.lane.connections, 2);
}

#[test]
fn c15_an_answer_that_may_be_somebody_elses_leaves_a_write_unknown() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    let cache = hand.cache.clone();
    let write = Running::start(async move { cache.delete(0, b"a").await });
    hand.turn();
    let (batch, ..) = hand.take();
    hand.answer(batch, vec![Err(OpError::Protocol("a wrong nonce".into()))]);
    let error = fails(write);
    assert_eq!(error.write_outcome(), Some(crate::WriteOutcome::Unknown));
}

#[test]
fn c10_a_silent_connection_for_large_values_is_given_up() {
    let pod = PodConfig {
        max_inline: 10,
        ..PodConfig::default()
    };
    let config = LaneConfig::default();
    let mut hand = Hand::up(pod, config.clone());
    let mut first = get(&hand.cache, "a");
    hand.turn();
    let (batch, ..) = hand.take();
    hand.value(batch, 100);
    assert!(first.ended().expect("ended").is_ok());
    let second = get(&hand.cache, "a");
    hand.turn();
    let (_, line, _) = hand.take();
    assert!(matches!(line, Line::Side(Side { id: 0, .. })));
    let (mut waited, step) = (Duration::ZERO, Duration::from_millis(300));
    while waited <= config.dead_after + step {
        hand.wait(step);
        waited += step;
        while let Some((batch, LANE, ops)) = hand.sent.pop_front() {
            assert_eq!(ops, [Op::Heartbeat]);
            hand.answer(batch, vec![Ok(OpReply::Role { primary: true })]);
        }
    }
    assert_eq!(fails(second).kind(), ErrorKind::Retry);
    assert_eq!(hand.closed_sides, [0]);
    assert!(hand.lane.sent.values().all(|entry| entry.line == LANE));
    assert!(hand.cache.pod().is_tracked(), "the lane is as it was");
}
