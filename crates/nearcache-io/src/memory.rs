//! The embedded store as an L2: no server, no IO, the same order of replies and pushes.
//!
//! Never hands a reply over before the pushes that come before it on the same connection.

mod outbox;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nearcache_l1::Timestamp;
use nearcache_memory::{ConnId, MemoryServer};
use nearcache_proto::resp::Batch;
use nearcache_proto::{
    BatchReply, BoxFuture, Connection, Endpoint, Error, ErrorKind, Events, L2, Op, Protocol,
    Tracking,
};

use crate::{Executor, InOrder, PerProcess, clock};
use outbox::Outbox;

/// A store inside this process, shared by all clones: several pods of one process stay coherent
/// through it as they would through a server. In a forked child it is another, and empty at first.
///
/// # Time
/// Keys expire by the clock that leases are measured with, or by one of a test's own ([`with_clock`](Self::with_clock),
/// [`on_tokio_time`](Self::on_tokio_time)).
///
#[doc = include_str!("memory/commands.md")]
#[derive(Clone)]
pub struct MemoryL2 {
    shared: Arc<PerProcess<Arc<Shared>>>,
}

impl MemoryL2 {
    /// An empty store.
    pub fn new() -> Self {
        Self::on(Arc::new(clock::now))
    }

    /// An empty store whose keys expire by a test's own clock: `clock` says how much time has passed on it. It must not
    /// go back. After it was moved, [`tick`](Self::tick) lets expire what has to.
    ///
    /// Only what is *in the store* follows it. The pods in front of it keep real time: heartbeats, leases, deadlines of
    /// calls, `max_staleness` and `negative_ttl`, and the longest life of a copy in L1. A copy goes with its key in the
    /// store, by the push that `tick` delivers before it returns.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # use std::time::Duration;
    /// # use nearcache_io::MemoryL2;
    /// let seconds = Arc::new(AtomicU64::new(0));
    /// let time = seconds.clone();
    /// let l2 = MemoryL2::with_clock(move || Duration::from_secs(time.load(Ordering::Relaxed)));
    /// // ... a cache on it, and a key that lives for a minute
    /// seconds.store(61, Ordering::Relaxed);
    /// l2.tick(); // it is gone, in the store and in every pod
    /// ```
    pub fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let micros = move || u64::try_from(clock().as_micros()).unwrap_or(u64::MAX);
        Self::on(Arc::new(move || Timestamp::from_micros(micros())))
    }

    /// The same with the clock of the tokio runtime that this is called in, which a test may have paused
    /// (`#[tokio::test(start_paused = true)]`): `tokio::time::advance(..).await`, then [`tick`](Self::tick).
    ///
    /// Tokio moves a paused clock by itself to the next timer when all tasks wait, also while one waits for an answer of
    /// this cache, which comes from another thread: a `timeout` around a call would end it at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn on_tokio_time() -> Self {
        let (runtime, start) = (
            tokio::runtime::Handle::current(),
            tokio::time::Instant::now(),
        );
        Self::with_clock(move || {
            // The store works on other threads, too, where tokio's clock is another.
            let _inside = runtime.enter();
            start.elapsed()
        })
    }

    fn on(clock: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        let make = move || Arc::new(Shared::new(clock.clone()));
        Self {
            shared: Arc::new(PerProcess::new(make(), make)),
        }
    }

    /// Lets expire what has to by now, without waiting for the next request. What that pushes is delivered before this
    /// returns.
    pub fn tick(&self) {
        self.with_server(|_| ());
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
                let con = MemoryConnection {
                    shared: shared.clone(),
                    id,
                    outbox,
                };
                Ok(Box::new(InOrder::new(con)) as Box<dyn Connection>)
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

    fn is_local(&self) -> bool {
        true
    }

    fn connect(
        &self,
        _: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.open(Some(events))
    }

    fn connect_side(
        &self,
        _: &Endpoint,
        _: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.open(None)
    }
}

// Concurrency: `state` orders everything the store does. While it is held, what came out is put into
// each connection's outbox in that order; nothing is delivered under it. Delivery comes after, one
// outbox at a time, under that outbox's own lock (see `Outbox`). Lock order: `state`, then an outbox's
// queue; an outbox's delivery lock, then its queue. No thread holds two delivery locks or a delivery
// lock and `state`, so none can wait in a circle, unless a listener calls into the store.
struct Shared {
    state: Mutex<State>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

struct State {
    server: MemoryServer,
    outboxes: HashMap<ConnId, Arc<Outbox>>,
    refusing: bool,
}

impl Shared {
    fn new(clock: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        let mut server = MemoryServer::new();
        // For commands that name a date, such as EXPIREAT; nothing else looks at the calendar.
        let calendar = SystemTime::now().duration_since(UNIX_EPOCH);
        server.set_unix_time(clock(), calendar.unwrap_or_default());
        let state = State {
            server,
            outboxes: HashMap::new(),
            refusing: false,
        };
        Self {
            state: Mutex::new(state),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the store, first letting expire what has to, and delivers what came of it.
    fn run<R>(&self, work: impl FnOnce(&mut MemoryServer) -> R) -> R {
        let now = (self.clock)();
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

impl Executor for MemoryConnection {
    fn execute(&mut self, mut ops: Vec<Op>) -> BoxFuture<Result<BatchReply, Error>> {
        let mut answers = Vec::with_capacity(ops.len());
        // The order of push and echo is looked at behind the last reply of a group.
        while let Some(at) = Batch::handshake(&ops) {
            let rest = ops.split_off(at + 1);
            match self.execute_group(std::mem::replace(&mut ops, rest)) {
                Ok(group) => answers.extend(group),
                Err(error) => return Box::pin(std::future::ready(Err(error))),
            }
        }
        let result = self.execute_group(ops).map(|group| {
            answers.extend(group);
            answers
        });
        Box::pin(std::future::ready(result))
    }

    fn ended(&self) -> BoxFuture<()> {
        let mut end = self.outbox.end();
        Box::pin(async move {
            // Dropped, it is over as well.
            let _ = end.wait_for(|closed| *closed).await;
        })
    }
}

impl MemoryConnection {
    fn execute_group(&mut self, ops: Vec<Op>) -> Result<BatchReply, Error> {
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
        let clock = &self.shared.clock;
        self.shared.run(|server| {
            for argv in &commands {
                server.execute(id, argv, clock());
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// What the documentation says of commands, made from the table of the store.
    fn page() -> String {
        let names: BTreeSet<_> = nearcache_memory::command_names().collect();
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        format!(
            "# Commands\n\
             The embedded store answers the commands below as Redis and Valkey do; any other is an unknown command to it. \
             Of `CLIENT` it knows what clients and tracking need, of `SCRIPT` `LOAD`, `EXISTS` and `FLUSH`, of `ZRANGE` \
             all but `BYLEX`. Scripts may hold `redis.call`, `if` and `return`, without variables, loops or arithmetic. \
             This list is made from its table: `UPDATE_DOCS=1 cargo test -p nearcache-io --lib commands` writes it \
             anew.\n\n{}\n",
            names.join(", ")
        )
    }

    #[test]
    fn the_list_of_commands_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/memory/commands.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).expect("the page can be written");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, page(), "run it with UPDATE_DOCS=1");
    }
}
