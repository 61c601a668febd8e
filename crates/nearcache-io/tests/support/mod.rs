//! A listener that records what a connection reports, and words for ops.
//!
//! Shared by the tests of both L2s; each uses part of it.
#![allow(dead_code, unreachable_pub)]

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_io::IoThread;
use nearcache_l1::StoreConfig;
use nearcache_proto::{
    BatchReply, Cache, Connection, ConnectionId, Endpoint, Error, Events, Invalidations, L2,
    LaneConfig, Op, OpError, OpReply, Pod, PodConfig, PrimaryId,
};

/// Everything that was reported, in order: `key`, `*` for everything, `end`.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Vec<String>>,
}

impl Log {
    fn add(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    /// What was reported so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until `line` was reported, by a connection that owes no answer.
    pub async fn wait_for(&self, con: &mut dyn Connection, line: &str) {
        let mut over = false;
        let found = poll_fn(|cx| {
            over = over || con.poll_answer(cx).is_ready();
            match self.lines().iter().any(|l| l == line) {
                true => Poll::Ready(()),
                // Reported from elsewhere, nobody may wake this.
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        });
        if tokio::time::timeout(Duration::from_secs(30), found)
            .await
            .is_err()
        {
            panic!("{line:?} was never reported, only {:?}", self.lines());
        }
    }
}

impl Invalidations for Log {
    fn invalidate(&self, _: ConnectionId, key: &[u8]) {
        self.add(String::from_utf8_lossy(key).into_owned());
    }
    fn invalidate_all(&self, _: ConnectionId) {
        self.add("*".to_owned());
    }
    fn disconnected(&self, _: ConnectionId) {
        self.add("end".to_owned());
    }
}

/// Opens a lane whose reports go to a new log.
pub async fn lane(l2: &dyn L2) -> (Box<dyn Connection>, Arc<Log>) {
    let log = Arc::new(Log::default());
    let con = l2
        .connect(
            &Endpoint::Given,
            Events::new(
                ConnectionId {
                    primary: PrimaryId::FIRST,
                    number: 1,
                },
                log.clone(),
            ),
        )
        .await
        .unwrap();
    (con, log)
}

/// Sends one batch and waits for its answer, with a bound.
pub async fn send(con: &mut dyn Connection, ops: Vec<Op>) -> Result<BatchReply, Error> {
    tokio::time::timeout(Duration::from_secs(30), con.ask(ops))
        .await
        .expect("no answer")
}

/// Sends one op that must succeed.
pub async fn ask(con: &mut dyn Connection, op: Op) -> Result<OpReply, OpError> {
    let mut replies = send(con, vec![op]).await.unwrap();
    assert_eq!(replies.len(), 1);
    replies.remove(0)
}

/// Whether a handshake found a primary that announces changes.
pub fn proven(handshake: Result<OpReply, OpError>) -> bool {
    let tracking = Ok(());
    matches!(handshake, Ok(OpReply::Handshake { primary: true, tracking: told, .. }) if told == tracking)
}

/// Proves tracking on a lane.
pub async fn handshake(con: &mut dyn Connection) -> Result<OpReply, OpError> {
    let canary = Bytes::from_static(b"nearcache:canary:test");
    ask(con, Op::Handshake { canary, nonce: 1 }).await
}

pub fn read(db: u32, key: &str) -> Op {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Op::Read {
        db,
        key,
        tracked: true,
    }
}

pub fn set(key: &str, value: &str) -> Op {
    Op::Set {
        db: 0,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ttl: None,
        if_absent: false,
    }
}

pub fn command(db: u32, words: &[&str]) -> Op {
    let argv = words
        .iter()
        .map(|w| Bytes::copy_from_slice(w.as_bytes()))
        .collect();
    Op::Command { db, argv }
}

/// The value of a read.
pub fn value(reply: &Result<OpReply, OpError>) -> Option<Bytes> {
    match reply {
        Ok(OpReply::Read { value, .. }) => value.clone(),
        other => panic!("not a read: {other:?}"),
    }
}

/// A pod on `l2` with its IO thread.
pub fn pod(l2: impl L2) -> (Cache<IoThread>, Arc<IoThread>) {
    pod_with(Arc::new(l2), PodConfig::default())
}

/// The same with settings of its own.
pub fn pod_with(l2: Arc<dyn L2>, config: PodConfig) -> (Cache<IoThread>, Arc<IoThread>) {
    let pod = Arc::new(Pod::new(StoreConfig::new(16 << 20), config).unwrap());
    let lane = LaneConfig {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(20),
        ..LaneConfig::default()
    };
    let io = IoThread::new(pod.clone(), l2, lane, 7);
    (Cache::new(pod, io.clone()), io)
}

/// Waits for `future` on this thread without any runtime, as a synchronous caller does.
pub fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let start = std::time::Instant::now();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(1)),
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it hangs");
    }
}

/// Something that answers whatever it is asked with these words, and closes the connection.
pub fn answering(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming().take(2) {
            let mut socket = socket.unwrap();
            let _ = socket.read(&mut [0; 1024]);
            // Once for each command that sets a connection up.
            let _ = socket.write_all(&words.repeat(5));
            let _ = socket.shutdown(Shutdown::Write);
            // Closed with something unread, it would reset the connection, and the words be lost.
            let _ = socket.read_to_end(&mut Vec::new());
        }
    });
    url
}
