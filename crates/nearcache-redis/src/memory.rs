//! The embedded store as an L2: no server, no IO, the same order of replies and pushes.
//!
//! Never hands a reply over before the pushes that come before it on the same connection.

mod outbox;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nearcache_proto::memory::{ConnId, MemoryServer};
use nearcache_proto::resp::Batch;
use nearcache_proto::{
    BatchReply, BoxFuture, Connection, Error, ErrorKind, Events, L2, Op, Protocol, Tracking,
};

use crate::{PerProcess, clock};
use outbox::Outbox;

/// A store inside this process, shared by all clones: several pods of one process stay coherent
/// through it as they would through a server. In a forked child it is another, and empty at first.
#[derive(Clone)]
pub struct MemoryL2 {
    shared: Arc<PerProcess<Arc<Shared>>>,
}

impl MemoryL2 {
    /// An empty store.
    pub fn new() -> Self {
        let make = Arc::<Shared>::default;
        Self {
            shared: Arc::new(PerProcess::new(make(), make)),
        }
    }

    /// Works on the store itself, as an operator or a test does: set a memory limit, change its role,
    /// let it refuse tracking. What that pushes is delivered before this returns.
    ///
    /// `work` must not use the store in another way.
    pub fn with_server<R>(&self, work: impl FnOnce(&mut MemoryServer) -> R) -> R {
        self.shared.get().run(work)
    }

    /// Ends every open connection, as a server that is stopped.
    pub fn disconnect_all(&self) {
        let gone = {
            let mut state = self.shared.get().lock();
            let gone = std::mem::take(&mut state.outboxes);
            for id in gone.keys() {
                state.server.disconnect(*id);
            }
            gone
        };
        for outbox in gone.values() {
            outbox.close();
        }
    }

    /// Whether new connections are refused from now on.
    pub fn refuse_connections(&self, refuse: bool) {
        self.shared.get().lock().refusing = refuse;
    }

    fn open(&self, events: Option<Events>) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let shared = self.shared.get();
        let opened = {
            let mut state = shared.lock();
            if state.refusing {
                Err(Error::new(
                    ErrorKind::Retry,
                    "the embedded store refuses connections at present",
                ))
            } else {
                let id = state.server.connect();
                let outbox = Arc::new(Outbox::new(events));
                state.outboxes.insert(id, outbox.clone());
                Ok(Box::new(MemoryConnection {
                    shared: shared.clone(),
                    id,
                    outbox,
                }) as Box<dyn Connection>)
            }
        };
        Box::pin(std::future::ready(opened))
    }
}

impl Default for MemoryL2 {
    fn default() -> Self {
        Self::new()
    }
}

impl L2 for MemoryL2 {
    fn tracking(&self) -> Tracking {
        Tracking::Pushes
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }

    fn connect(&self, events: Events) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.open(Some(events))
    }

    fn connect_side(&self, _protocol: Protocol) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.open(None)
    }
}

// Concurrency: `state` orders everything the store does. While it is held, what came out is put into
// each connection's outbox in that order; nothing is delivered under it. Delivery comes after, one
// outbox at a time, under that outbox's own lock (see `Outbox`). Lock order: `state`, then an outbox's
// queue; an outbox's delivery lock, then its queue. No thread holds two delivery locks or a delivery
// lock and `state`, so none can wait in a circle, unless a listener calls into the store.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

struct State {
    server: MemoryServer,
    outboxes: HashMap<ConnId, Arc<Outbox>>,
    refusing: bool,
}

impl Default for State {
    fn default() -> Self {
        let mut server = MemoryServer::new();
        // For commands that name a date, such as EXPIREAT; nothing else looks at the calendar.
        let calendar = SystemTime::now().duration_since(UNIX_EPOCH);
        server.set_unix_time(clock::now(), calendar.unwrap_or_default());
        Self {
            server,
            outboxes: HashMap::new(),
            refusing: false,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the store, first letting expire what has to, and delivers what came of it.
    fn run<R>(&self, work: impl FnOnce(&mut MemoryServer) -> R) -> R {
        let now = clock::now();
        let (result, touched) = {
            let mut state = self.lock();
            if state.server.next_expiry().is_some_and(|at| at <= now) {
                state.server.tick(now);
            }
            let result = work(&mut state.server);
            let State {
                server, outboxes, ..
            } = &mut *state;
            let mut touched = Vec::new();
            for id in server.ready() {
                let outputs = server.drain(id);
                if let Some(outbox) = outboxes.get(&id) {
                    outbox.put(outputs);
                    touched.push(outbox.clone());
                }
            }
            (result, touched)
        };
        for outbox in touched {
            outbox.deliver();
        }
        result
    }
}

struct MemoryConnection {
    shared: Arc<Shared>,
    id: ConnId,
    outbox: Arc<Outbox>,
}

impl Connection for MemoryConnection {
    fn send(&mut self, mut ops: Vec<Op>) -> BoxFuture<Result<BatchReply, Error>> {
        let mut answers = Vec::with_capacity(ops.len());
        // The order of push and echo is looked at behind the last reply of a group.
        while let Some(at) = Batch::handshake(&ops) {
            let rest = ops.split_off(at + 1);
            match self.execute(std::mem::replace(&mut ops, rest)) {
                Ok(group) => answers.extend(group),
                Err(error) => return Box::pin(std::future::ready(Err(error))),
            }
        }
        let result = self.execute(ops).map(|group| {
            answers.extend(group);
            answers
        });
        Box::pin(std::future::ready(result))
    }
}

impl MemoryConnection {
    fn execute(&mut self, ops: Vec<Op>) -> Result<BatchReply, Error> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(Op::Handshake { canary, .. }) = ops.last() {
            self.outbox.watch_for(canary.clone());
        }
        let mut commands = Vec::with_capacity(ops.len() * 3);
        let batch = Batch::encode(ops, 0, &mut commands);
        if self.outbox.is_closed() {
            return Err(Error::new(
                ErrorKind::Retry,
                "the connection to the embedded store was ended; it is opened again by itself",
            ));
        }
        let id = self.id;
        self.shared.run(|server| {
            for argv in &commands {
                server.execute(id, argv, clock::now());
            }
        });
        let (replies, pushed_in_time) = self.outbox.take_replies();
        let mut answers = batch.decode(replies);
        Batch::judge_handshake(&mut answers, pushed_in_time);
        Ok(answers)
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.server.disconnect(self.id);
            state.outboxes.remove(&self.id);
        }
        self.outbox.close();
    }
}
