//! One pod on the embedded server, run to a standstill after every step: side connections, slow
//! servers, tracking that comes back.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{StoreConfig, Timestamp};
use nearcache_proto::memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp::{self, Reply};
use nearcache_proto::*;

struct TestIo {
    clock: AtomicU64,
    inbox: Mutex<Vec<Request>>,
}

impl Io for TestIo {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::Relaxed))
    }
    fn submit(&self, request: Request) {
        self.inbox.lock().unwrap().push(request);
    }
}

struct Harness {
    server: MemoryServer,
    io: Arc<TestIo>,
    lane: Lane,
    cache: Cache<TestIo>,
    link: Option<(u64, ConnId, Events)>,
    sides: BTreeMap<u64, ConnId>,
    down: bool,
    /// Batches on side lines are not answered.
    hold_side: bool,
    /// Time that each batch of the lane takes.
    rtt: Duration,
    writer: ConnId,
    later: VecDeque<(Timestamp, BatchId, BatchReply)>,
}

impl Harness {
    fn new(config: PodConfig) -> Self {
        let pod = Arc::new(Pod::new(StoreConfig::new(1 << 16), config).unwrap());
        let io = Arc::new(TestIo {
            clock: AtomicU64::new(10_000_000),
            inbox: Mutex::default(),
        });
        let mut server = MemoryServer::new();
        let writer = server.connect();
        Self {
            writer,
            server,
            lane: Lane::new(pod.clone(), LaneConfig::default(), 1),
            cache: Cache::new(pod, io.clone()),
            io,
            link: None,
            sides: BTreeMap::new(),
            down: false,
            hold_side: false,
            rtt: Duration::ZERO,
            later: VecDeque::new(),
        }
    }

    fn pass(&self, ms: u64) {
        self.io.clock.fetch_add(ms * 1000, Ordering::Relaxed);
    }

    fn foreign(&mut self, line: &str) {
        let argv: Vec<Bytes> = line.split(' ').map(|w| Bytes::from(w.to_owned())).collect();
        let now = self.io.now();
        self.server.execute(self.writer, &argv, now);
        self.server.drain(self.writer);
    }

    fn batch(&mut self, conn: ConnId, events: Option<Events>, ops: &[Op]) -> BatchReply {
        let mut commands = Vec::new();
        let spans: Vec<_> = ops
            .iter()
            .map(|op| resp::encode(&mut op.clone(), 0, &mut commands))
            .collect();
        let now = self.io.now();
        for command in &commands {
            self.server.execute(conn, command, now);
        }
        let mut replies = VecDeque::new();
        for output in self.server.drain(conn) {
            match (output, &events) {
                (Output::Reply(reply), _) => replies.push_back(reply),
                (Output::Push(Push::All), Some(events)) => events.invalidate_all(),
                (Output::Push(Push::Keys(keys)), Some(events)) => {
                    keys.iter().for_each(|key| events.invalidate(key));
                }
                _ => panic!(),
            }
        }
        let mut replies = replies.into_iter();
        ops.iter()
            .zip(&spans)
            .map(|(op, span)| resp::decode(op, span, &mut replies))
            .collect()
    }

    fn settle(&mut self) {
        for _ in 0..5 {
            let now = self.io.now();
            let requests = std::mem::take(&mut *self.io.inbox.lock().unwrap());
            for request in requests {
                self.lane.submit(request, now);
            }
            self.lane.handle_timeout(now);
            while self.later.front().is_some_and(|(due, ..)| *due <= now) {
                let (_, batch, reply) = self.later.pop_front().unwrap();
                self.lane.handle_reply(batch, Ok(reply), now);
            }
            if let Some((_, conn, events)) = self.link.clone() {
                for output in self.server.drain(conn) {
                    match output {
                        Output::Push(Push::All) => events.invalidate_all(),
                        Output::Push(Push::Keys(keys)) => {
                            keys.iter().for_each(|k| events.invalidate(k))
                        }
                        Output::Reply(_) => panic!(),
                    }
                }
            }
            for _ in 0..20 {
                let Some(action) = self.lane.poll_action(self.io.now()) else {
                    break;
                };
                match action {
                    Action::Connect { connection } if self.down => {
                        let error = Error::new(ErrorKind::Retry, "down");
                        self.lane.handle_connect_failed(connection, error, now);
                    }
                    Action::Connect { connection } => {
                        let events = Events::new(connection, self.cache.pod().clone());
                        self.link = Some((connection, self.server.connect(), events));
                        self.lane.handle_connected(connection, now);
                    }
                    Action::Send {
                        batch,
                        line: Line::Lane,
                        ops,
                    } => {
                        let Some((_, conn, events)) = self.link.clone() else {
                            continue;
                        };
                        let reply = self.batch(conn, Some(events), &ops);
                        let due = self.io.now().saturating_add(self.rtt);
                        self.later.push_back((due, batch, reply));
                    }
                    Action::Send {
                        batch,
                        line: Line::Side(Side { id, may_open, .. }),
                        ops,
                    } => {
                        if may_open && !self.sides.contains_key(&id) {
                            let conn = self.server.connect();
                            self.sides.insert(id, conn);
                        }
                        match self.sides.get(&id).copied() {
                            Some(_) if self.hold_side => {}
                            Some(conn) => {
                                let reply = self.batch(conn, None, &ops);
                                self.lane.handle_reply(batch, Ok(reply), now);
                            }
                            None => self.lane.handle_reply(
                                batch,
                                Err(Error::new(ErrorKind::Retry, "gone")),
                                now,
                            ),
                        }
                    }
                    Action::CloseSide(id) => {
                        self.sides.remove(&id);
                    }
                    Action::Disconnect { .. } => self.link = None,
                    Action::Report(_) => {}
                }
            }
        }
    }

    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2000 {
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return value;
            }
            self.settle();
            self.pass(1);
        }
        panic!("never ends");
    }
}

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
