//! One pod on the embedded server, run to a standstill after every step, on a clock that the test moves.

#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{StoreConfig, Timestamp};
use nearcache_memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp;
use nearcache_proto::*;

pub struct TestIo {
    pub clock: AtomicU64,
    pub inbox: Mutex<Vec<Request>>,
}

impl Io for TestIo {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::Relaxed))
    }
    fn submit(&self, request: Request) {
        self.inbox.lock().unwrap().push(request);
    }
}

pub struct Harness {
    pub server: MemoryServer,
    pub io: Arc<TestIo>,
    pub lane: Lane,
    pub cache: Cache<TestIo>,
    pub link: Option<(ConnectionId, ConnId, Events)>,
    pub sides: BTreeMap<u64, ConnId>,
    pub down: bool,
    /// As what a connection fails while it is down; [`ErrorKind::Retry`] unless said.
    pub refusal: Option<ErrorKind>,
    /// Batches on side lines are not answered: these.
    pub hold_side: bool,
    pub held_side: Vec<(u64, BatchId)>,
    /// Time that each batch of the lane takes.
    pub rtt: Duration,
    pub writer: ConnId,
    pub later: VecDeque<(Timestamp, BatchId, BatchReply)>,
}

/// The only lane of a pod.
pub fn lane(pod: &Arc<Pod>, seed: u64) -> Lane {
    Lane::new(pod.clone(), PrimaryId::FIRST, LaneConfig::default(), seed).expect("there is one")
}

impl Harness {
    pub fn new(config: PodConfig) -> Self {
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
            lane: lane(&pod, 1),
            cache: Cache::new(pod, io.clone()),
            io,
            link: None,
            sides: BTreeMap::new(),
            down: false,
            refusal: None,
            hold_side: false,
            held_side: Vec::new(),
            rtt: Duration::ZERO,
            later: VecDeque::new(),
        }
    }

    pub fn pass(&self, ms: u64) {
        self.io.clock.fetch_add(ms * 1000, Ordering::Relaxed);
    }

    /// Runs this pod for a while on the server and at the time of another one.
    pub fn share(&mut self, other: &mut Self, run: impl FnOnce(&mut Self)) {
        let now = other.io.clock.load(Ordering::Relaxed);
        self.io.clock.store(now, Ordering::Relaxed);
        std::mem::swap(&mut self.server, &mut other.server);
        run(self);
        std::mem::swap(&mut self.server, &mut other.server);
        let now = self.io.clock.load(Ordering::Relaxed);
        other.io.clock.store(now, Ordering::Relaxed);
    }

    pub fn foreign(&mut self, line: &str) {
        let argv: Vec<Bytes> = line.split(' ').map(|w| Bytes::from(w.to_owned())).collect();
        let now = self.io.now();
        self.server.execute(self.writer, &argv, now);
        self.server.drain(self.writer);
    }

    fn batch(&mut self, conn: ConnId, events: Option<Events>, ops: &[Op]) -> BatchReply {
        let mut commands: Vec<Vec<Bytes>> = Vec::new();
        let spans: Vec<_> = ops
            .iter()
            .map(|op| resp::encode(op, 0, &mut commands))
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

    pub fn settle(&mut self) {
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
                        let kind = self.refusal.unwrap_or(ErrorKind::Retry);
                        let error = Error::new(kind, "down");
                        self.lane.handle_connect_failed(connection, error, now);
                    }
                    Action::Connect { connection } => {
                        let events = Events::new(connection, self.cache.pod().clone());
                        self.link = Some((connection, self.server.connect(), events));
                        self.lane.handle_connected(connection, now);
                    }
                    Action::Send {
                        batch,
                        line: Line::Lane(_),
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
                        line:
                            Line::Side(Side {
                                id, may_open, db, ..
                            }),
                        ops,
                    } => {
                        if may_open && !self.sides.contains_key(&id) {
                            let conn = self.server.connect();
                            if let Some(refusal) = self.enter(conn, db) {
                                let refused = vec![Err(refusal); ops.len()];
                                self.lane.handle_reply(batch, Ok(refused), now);
                                continue;
                            }
                            self.sides.insert(id, conn);
                        }
                        match self.sides.get(&id).copied() {
                            Some(_) if self.hold_side => self.held_side.push((id, batch)),
                            Some(conn) => {
                                let reply = self.batch(conn, None, &ops);
                                self.lane.handle_reply(batch, Ok(reply), now);
                            }
                            None => {
                                let gone = Error::new(ErrorKind::Retry, "gone");
                                self.lane.handle_unsent(batch, &gone, now);
                            }
                        }
                    }
                    Action::CloseSide { side, .. } => {
                        self.sides.remove(&side);
                    }
                    Action::Disconnect { .. } => self.link = None,
                    Action::Report { .. } => {}
                }
            }
        }
    }

    /// Puts a new side connection in a db.
    fn enter(&mut self, conn: ConnId, db: u32) -> Option<OpError> {
        if db == 0 || db == Op::AS_IS {
            return None;
        }
        let argv = vec![Bytes::from_static(b"SELECT"), Bytes::from(db.to_string())];
        let select = Op::Command {
            db: Op::AS_IS,
            argv,
        };
        self.batch(conn, None, &[select]).remove(0).err()
    }

    pub fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
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
