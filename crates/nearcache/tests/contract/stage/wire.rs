//! One connection of a pod to the embedded store: what was sent and what is to be heard, in order, with
//! the faults of the network in between.
//!
//! Replies and pushes never change places here, as on a socket.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use nearcache::bytes::Bytes;
use nearcache::l2::{
    BatchReply, BoxFuture, Connection, ConnectionId, Events, Executor, InOrder, Invalidations, Op,
};
use nearcache::{Error, ErrorKind};
use nearcache_l1::Promise;

use super::Net;
use super::embedded::Shared;

type Answer = Promise<Result<BatchReply, Error>>;

/// Both directions of one connection.
//
// Concurrency: `up` is held while requests are executed, so that they keep their order, and `down` while
// something is handed over. Executing on one wire hands pushes to others, so `up` comes before `down`, and
// nothing that is called under `down` executes anything.
pub(super) struct Wire {
    shared: Arc<Shared>,
    events: Option<Events>,
    closed: AtomicBool,
    end: Promise<()>,
    up: Mutex<Up>,
    down: Mutex<Down>,
}

#[derive(Default)]
struct Up {
    con: Option<Box<dyn Connection>>,
    waiting: VecDeque<(Vec<Op>, Answer)>,
    /// Bytes were lost: nothing that comes later makes sense to the other side.
    lost: bool,
    /// Nobody will answer these.
    limbo: Vec<Answer>,
}

#[derive(Default)]
struct Down {
    waiting: VecDeque<Heard>,
    /// What the command that is being executed pushes to its own connection.
    own: Option<Vec<Heard>>,
    lost: bool,
    limbo: Vec<Answer>,
}

enum Heard {
    Key(Bytes),
    Everything,
    Reply(Answer, Result<BatchReply, Error>),
}

impl Wire {
    pub(super) fn new(shared: Arc<Shared>, events: Option<Events>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            events,
            closed: AtomicBool::new(false),
            end: Promise::new(),
            up: Mutex::default(),
            down: Mutex::default(),
        })
    }

    pub(super) fn open(self: &Arc<Self>, con: Box<dyn Connection>) -> Box<dyn Connection> {
        lock(&self.up).con = Some(con);
        Box::new(Checked(self.clone(), InOrder::new(PodEnd(self.clone()))))
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    /// Lets through what the network lets through now.
    pub(super) fn pump(&self) {
        let mut up = lock(&self.up);
        while let Some((ops, answer)) = up.waiting.pop_front() {
            match self.shared.net() {
                Net::Stall => {
                    up.waiting.push_front((ops, answer));
                    break;
                }
                Net::HalfOpen => up.lost = true,
                Net::Pass | Net::StallReplies | Net::LatePushes | Net::Drip(_) => {}
            }
            let Up { con, lost, .. } = &mut *up;
            match con.as_mut().filter(|_| !*lost) {
                Some(con) => {
                    let names = ops.iter().flat_map(names).collect();
                    // The store hands over a command's own pushes before its reply; a server sends them behind it.
                    let behind = ops.len() == 1 && self.shared.net() == Net::LatePushes;
                    lock(&self.down).own = behind.then(Vec::new);
                    let result = pollster::block_on(con.ask(ops));
                    self.shared.count(names);
                    let own = lock(&self.down).own.take().unwrap_or_default();
                    self.hear(Heard::Reply(answer, result));
                    own.into_iter().for_each(|push| self.hear(push));
                }
                None => up.limbo.push(answer),
            }
        }
        drop(up);
        self.deliver(&mut lock(&self.down));
    }

    fn hear(&self, heard: Heard) {
        let mut down = lock(&self.down);
        if let Some(own) = &mut down.own {
            own.push(heard);
            return;
        }
        down.waiting.push_back(heard);
        self.deliver(&mut down);
    }

    fn deliver(&self, down: &mut Down) {
        match self.shared.net() {
            Net::Stall | Net::StallReplies => return,
            Net::HalfOpen => down.lost |= !down.waiting.is_empty(),
            Net::Pass | Net::LatePushes | Net::Drip(_) => {}
        }
        let is_reply = |heard: &Heard| matches!(heard, Heard::Reply(..));
        let ready = match self.shared.net() {
            Net::LatePushes => down
                .waiting
                .iter()
                .rposition(is_reply)
                .map_or(0, |at| at + 1),
            _ => down.waiting.len(),
        };
        for heard in down.waiting.drain(..ready).collect::<Vec<_>>() {
            match (heard, &self.events) {
                (Heard::Reply(answer, _), _) if down.lost => down.limbo.push(answer),
                (Heard::Reply(answer, result), _) => {
                    answer.complete(result);
                }
                (Heard::Key(key), Some(events)) if !down.lost => events.invalidate(&key),
                (Heard::Everything, Some(events)) if !down.lost => events.invalidate_all(),
                _ => {}
            }
        }
    }

    fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(events) = &self.events {
            events.disconnected();
        }
        self.end.complete(());
        let mut unanswered = Vec::new();
        {
            let mut up = lock(&self.up);
            unanswered.append(&mut up.limbo);
            unanswered.extend(up.waiting.drain(..).map(|(_, answer)| answer));
        }
        {
            let mut down = lock(&self.down);
            unanswered.append(&mut down.limbo);
            unanswered.extend(down.waiting.drain(..).filter_map(|heard| match heard {
                Heard::Reply(answer, _) => Some(answer),
                _ => None,
            }));
        }
        for answer in unanswered {
            answer.complete(Err(gone()));
        }
    }
}

impl Invalidations for Wire {
    fn invalidate(&self, _: ConnectionId, key: &[u8]) {
        self.hear(Heard::Key(Bytes::copy_from_slice(key)));
    }

    fn invalidate_all(&self, _: ConnectionId) {
        self.hear(Heard::Everything);
    }

    fn disconnected(&self, _: ConnectionId) {
        self.close();
    }
}

/// The pod's end of the wire.
struct PodEnd(Arc<Wire>);

impl Executor for PodEnd {
    fn execute(&mut self, ops: Vec<Op>) -> BoxFuture<Result<BatchReply, Error>> {
        let answer = Answer::new();
        if self.0.is_open() {
            lock(&self.0.up).waiting.push_back((ops, answer.clone()));
            self.0.pump();
        } else {
            answer.complete(Err(gone()));
        }
        Box::pin(answer.future())
    }

    fn ended(&self) -> BoxFuture<()> {
        Box::pin(self.0.end.clone().future())
    }
}

/// The same as a connection, which looks at the other end before it is used.
struct Checked(Arc<Wire>, InOrder<PodEnd>);

impl Connection for Checked {
    fn send(&mut self, ops: Vec<Op>) {
        self.1.send(ops);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<BatchReply, Error>> {
        self.1.poll_answer(cx)
    }

    fn is_open(&mut self) -> bool {
        let mut up = lock(&self.0.up);
        self.1.is_open() && up.con.as_mut().is_some_and(|con| con.is_open())
    }
}

impl Drop for PodEnd {
    fn drop(&mut self) {
        let con = lock(&self.0.up).con.take();
        drop(con);
        self.0.close();
    }
}

/// The commands that a server would execute for an op.
fn names(op: &Op) -> Vec<String> {
    let fixed = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let of = |argv: &Vec<Bytes>| {
        argv.first()
            .map(|name| String::from_utf8_lossy(name).to_lowercase())
    };
    match op {
        Op::Read { tracked: true, .. } => fixed(&["client|caching", "get", "pttl"]),
        Op::Read { tracked: false, .. } => fixed(&["multi", "get", "pttl", "exec"]),
        Op::ReadWith { argv, tracked, .. } => {
            let [before, after] = match tracked {
                true => [&["client|caching"][..], &["pttl"]],
                false => [&["multi"][..], &["pttl", "exec"]],
            };
            let mut names = fixed(before);
            names.extend(of(argv));
            names.extend(fixed(after));
            names
        }
        Op::Set { .. } => fixed(&["set"]),
        Op::Replace { .. } => fixed(&["eval"]),
        Op::Delete { .. } => fixed(&["del"]),
        Op::Command { argv, .. } => of(argv).into_iter().collect(),
        Op::Transaction { commands, .. } => commands.iter().filter_map(of).collect(),
        Op::Fence { .. } => fixed(&["echo"]),
        Op::FenceOf { .. } | Op::Heartbeat => fixed(&["hello"]),
        Op::ProbeDb { .. } => fixed(&["select", "select"]),
        Op::Handshake { .. } => fixed(&[
            "hello",
            "hpttl",
            "multi",
            "exec",
            "client|caching",
            "get",
            "pttl",
            "set",
            "echo",
        ]),
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Retry, "the connection of the test was cut")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
