//! A handle for code written for redis-rs: commands and pipelines in, values out, with L1 in between.
//!
//! Holds no rules: what L1 answers and where a command goes is decided in `nearcache-proto`.

mod words;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use nearcache_proto::resp::Reply;
use nearcache_proto::{Cache, Error, ErrorKind, Protocol, ReadPolicy, Session, WhileAway};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::Mutex;

use crate::convert::{call_error, value};
use crate::pipe::{self, Driver};
use nearcache_io::{IoThread, Owned, PerProcess, left_behind};
use words::{owned, owned_all, unpack, words};

/// One handle: a connection state of its own, on a shared L1 and lane.
///
/// A clone has a state of its own, too. Only one made between `WATCH` or `MULTI` and their end goes on with
/// the transaction, since that is what it is made for in redis-rs (`transaction_async`). In a forked child its
/// connection state is a new one in the same db: a transaction goes on in the parent alone.
pub struct Handle {
    seat: Arc<Seat>,
}

// Concurrency: `session` is held for a whole call. It is contended only between a handle and clones that
// were made in a transaction; an unshared handle does not lock.
struct Seat {
    session: Owned<Mutex<Session<IoThread>>>,
    in_transaction: AtomicBool,
    /// The db it is in, for clones.
    db: AtomicU32,
    make: Make,
}

/// What a new session is made of.
#[derive(Clone)]
struct Make {
    cache: Arc<PerProcess<Cache<IoThread>>>,
    /// The db the first handle started in.
    db: u32,
    protocol: Protocol,
    l1: Option<ReadPolicy>,
    while_away: WhileAway,
    /// In place of the cache's own.
    timeout: Option<Duration>,
}

impl Make {
    fn serving(&self, db: u32) -> Session<IoThread> {
        let cache = self.cache.get().clone().with_while_away(self.while_away);
        let cache = match self.timeout {
            Some(timeout) => cache.with_timeout(timeout),
            None => cache,
        };
        Session::serving(cache, db, self.protocol, self.l1)
    }

    fn session(&self, db: u32) -> Seat {
        let session = self.serving(db);
        Seat {
            session: Owned::new(Mutex::new(session)),
            in_transaction: AtomicBool::new(false),
            db: AtomicU32::new(db),
            make: self.clone(),
        }
    }
}

impl Handle {
    /// A handle that starts in `db`, with replies in the shapes of `protocol`; with `l1`, L1 answers what it
    /// can, and that policy says how when freshness cannot be proven. Its calls wait while L2 is away, as those of
    /// redis-rs's `ConnectionManager` do. Opens nothing yet.
    pub fn new(
        cache: Arc<PerProcess<Cache<IoThread>>>,
        db: u32,
        protocol: Protocol,
        l1: Option<ReadPolicy>,
    ) -> Self {
        Self::made(
            db,
            Make {
                cache,
                db,
                protocol,
                l1,
                while_away: WhileAway::Wait,
                timeout: None,
            },
        )
    }

    fn made(db: u32, make: Make) -> Self {
        let seat = Arc::new(make.session(db));
        Self { seat }
    }

    /// Another handle in the same db, with or without L1, outside of any transaction.
    #[must_use]
    pub fn with_l1(&self, l1: Option<ReadPolicy>) -> Self {
        let make = Make {
            l1,
            ..self.seat.make.clone()
        };
        Self::made(self.seat.db(), make)
    }

    /// Another handle in the same db, with replies in the shapes of `protocol`.
    #[must_use]
    pub fn with_protocol(&self, protocol: Protocol) -> Self {
        let make = Make {
            protocol,
            ..self.seat.make.clone()
        };
        Self::made(self.seat.db(), make)
    }

    /// Another handle in the same db, whose calls do this while L2 is away.
    #[must_use]
    pub fn with_while_away(&self, while_away: WhileAway) -> Self {
        let make = Make {
            while_away,
            ..self.seat.make.clone()
        };
        Self::made(self.seat.db(), make)
    }

    /// Another handle in the same db, each of whose calls may wait so long for L2.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let make = Make {
            timeout: Some(timeout),
            ..self.seat.make.clone()
        };
        Self::made(self.seat.db(), make)
    }

    /// A connection of redis-rs's own type in front of the same L1, in this handle's db and protocol, with a connection
    /// state of its own; and its driver, which runs it where it is spawned. No tokio is needed for that, unless `config`
    /// has timeouts.
    ///
    /// # Errors
    /// As redis-rs's for a `config` that does not go with the protocol, or that asks for what is refused.
    pub async fn multiplexed(
        &self,
        config: AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, Driver)> {
        let make = &self.seat.make;
        if make.cache.get().io().is_closed() {
            let why = "the cache was shut down";
            return Err(call_error(Error::new(ErrorKind::Closed, why)));
        }
        let session = make.serving(self.seat.db());
        pipe::connect(Owned::new(session), make.protocol, config).await
    }

    /// The same, driven by the tokio runtime it is called in, without timeouts of its own: those of the cache end calls.
    ///
    /// # Errors
    /// As [`multiplexed`](Self::multiplexed), and outside of tokio.
    pub async fn multiplexed_on_tokio(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let (con, driver) = self.multiplexed(config).await?;
        pipe::spawn(driver)?;
        Ok(con)
    }

    /// The db it started in. A `SELECT` goes by unseen here, as in redis-rs.
    pub fn db(&self) -> i64 {
        i64::from(self.seat.make.db)
    }

    /// One command.
    ///
    /// # Cost
    /// A hit boxes one future and copies the value, as the signature demands; nothing is awaited.
    pub fn command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let mut packed = Vec::new();
        let words = words(cmd, &mut packed);
        let mute = cmd.is_no_response();
        if let Some(reply) = self.resident(&words) {
            return Box::pin(ready(match mute {
                true => Ok(Value::Nil),
                false => one(Ok(reply)),
            }));
        }
        if words.is_empty() {
            return Box::pin(ready(Err(nothing())));
        }
        let argv = owned(&words);
        Box::pin(async move {
            let result = one(self.call(argv).await);
            match mute {
                true => Ok(Value::Nil),
                false => result,
            }
        })
    }

    /// Commands in redis-rs's own encoding, one of them.
    pub fn packed<'a>(&'a mut self, packed: &'a [u8]) -> RedisFuture<'a, Value> {
        let commands = match unpack(packed) {
            Ok(commands) if commands.len() == 1 => commands,
            Ok(commands) if commands.is_empty() => return Box::pin(ready(Err(nothing()))),
            Ok(_) => return Box::pin(ready(Err(not_one()))),
            Err(error) => return Box::pin(ready(Err(error))),
        };
        if let Some(reply) = self.resident(&commands[0]) {
            return Box::pin(ready(one(Ok(reply))));
        }
        let argv = owned(&commands[0]);
        Box::pin(async move { one(self.call(argv).await) })
    }

    /// A pipeline: `count` of its replies after the first `offset`.
    pub fn pipeline<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let mut buffers = vec![Vec::new(); pipeline.len()];
        let cmds = pipeline.cmd_iter().zip(&mut buffers);
        let commands: Vec<_> = cmds.map(|(cmd, buffer)| words(cmd, buffer)).collect();
        let commands = owned_all(&commands);
        let atomic = pipeline.is_transaction();
        Box::pin(async move { self.several(commands, atomic, offset, count).await })
    }

    /// A pipeline in redis-rs's own encoding.
    pub fn packed_pipeline<'a>(
        &'a mut self,
        packed: &'a [u8],
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut commands = owned_all(&unpack(packed)?);
            // So redis-rs asks for the reply of an EXEC that it has put at the end itself.
            let is = |argv: Option<&Vec<bytes::Bytes>>, name: &[u8]| {
                argv.is_some_and(|argv| argv.len() == 1 && argv[0] == name)
            };
            let atomic = count == 1
                && commands.len() >= 2
                && offset == commands.len() - 1
                && is(commands.first(), b"MULTI")
                && is(commands.last(), b"EXEC");
            if atomic {
                commands.pop();
                commands.remove(0);
            }
            self.several(commands, atomic, offset, count).await
        })
    }

    fn resident(&mut self, words: &[&[u8]]) -> Option<Reply> {
        if self.seat.session.is_inherited() {
            return None;
        }
        // Shared with a clone: it may be inside a transaction.
        let seat = Arc::get_mut(&mut self.seat)?;
        seat.session.get_mut().resident(words)
    }

    /// Whether it is between `MULTI` or `WATCH` and their end.
    pub fn in_transaction(&self) -> bool {
        !self.seat.session.is_inherited() && self.seat.in_transaction.load(Ordering::Acquire)
    }

    /// Gives up a transaction, and goes back to the db it started in; a side connection without such a state is kept.
    pub fn reset(&mut self) {
        let start = self.seat.make.db;
        let shared = Arc::strong_count(&self.seat) > 1;
        if shared || self.in_transaction() || self.seat.db() != start {
            *self = Self::made(start, self.seat.make.clone());
        }
    }

    /// A clone that was made in a transaction parts with the others when it is over, and a child with its parent.
    fn part(&mut self) -> Result<(), Error> {
        let inherited = self.seat.session.is_inherited();
        let lost = inherited && self.seat.in_transaction.load(Ordering::Acquire);
        if inherited || (Arc::strong_count(&self.seat) > 1 && !self.in_transaction()) {
            *self = Self::made(self.seat.db(), self.seat.make.clone());
        }
        match lost {
            true => Err(left_behind()),
            false => Ok(()),
        }
    }

    async fn call(&mut self, argv: Vec<bytes::Bytes>) -> Result<Reply, Error> {
        self.part()?;
        let mut session = self.seat.session.lock().await;
        let reply = session.call(argv).await;
        self.seat.note(&session);
        reply
    }

    async fn several(
        &mut self,
        commands: Vec<Vec<bytes::Bytes>>,
        atomic: bool,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        if commands.is_empty() && !atomic {
            return Err(nothing());
        }
        self.part().map_err(call_error)?;
        let mut session = self.seat.session.lock().await;
        let length = commands.len();
        let result = match atomic {
            false => session.pipeline(commands).await,
            true => session
                .transaction(commands)
                .await
                .map(|executed| vec![executed]),
        };
        self.seat.note(&session);
        drop(session);
        let mut replies = result.map_err(call_error)?;
        if atomic {
            if let Some(Reply::Error { .. }) = replies.first() {
                return one(Ok(replies.swap_remove(0))).map(|value| vec![value]);
            }
            // What MULTI and the commands between were answered.
            let queued = std::iter::repeat_n(Reply::Simple("QUEUED".to_owned()), length);
            replies.splice(..0, std::iter::once(Reply::ok()).chain(queued));
        }
        Ok(replies
            .into_iter()
            .skip(offset)
            .take(count)
            .map(value)
            .collect())
    }
}

impl Seat {
    fn db(&self) -> u32 {
        self.db.load(Ordering::Relaxed)
    }

    fn note(&self, session: &Session<IoThread>) {
        self.in_transaction
            .store(session.in_transaction(), Ordering::Release);
        self.db.store(session.db(), Ordering::Relaxed);
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        if self.in_transaction() {
            let seat = self.seat.clone();
            return Self { seat };
        }
        Self::made(self.seat.db(), self.seat.make.clone())
    }
}

/// The value of one reply; an error of the server is one of the call.
fn one(reply: Result<Reply, Error>) -> RedisResult<Value> {
    match value(reply.map_err(call_error)?) {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

fn not_one() -> RedisError {
    RedisError::from((
        redis::ErrorKind::Client,
        "exactly one command was expected in this buffer",
    ))
}

/// What redis-rs answers when there is nothing to send.
#[cold]
fn nothing() -> RedisError {
    RedisError::from((redis::ErrorKind::Client, "empty command"))
}
