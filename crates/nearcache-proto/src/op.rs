//! What the lane asks of a store, and the trait a store implements: the edge between the protocol and IO.
//!
//! Nothing here does IO. An [`L2`] opens connections; a [`Connection`] answers batches in order.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::resp::{DoubleText, Reply};
use crate::rights::Rights;

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One request to L2. The redis driver writes each as a contiguous group of commands.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Reads a string key with its remaining life. With `tracked`, the connection must from now on
    /// report the next change of the key (`[CLIENT CACHING YES][GET][PTTL]`).
    Read {
        /// Database number.
        db: u32,
        /// The key.
        key: Bytes,
        /// Whether to register interest in the key.
        tracked: bool,
    },
    /// Reads one key with a read-only command of which it is the first argument, with its remaining
    /// life; `tracked` as for [`Read`](Self::Read).
    ReadWith {
        /// Database number.
        db: u32,
        /// Name, key and further arguments.
        argv: Vec<Bytes>,
        /// Whether to register interest in the key.
        tracked: bool,
    },
    /// Writes a string key.
    Set {
        /// Database number.
        db: u32,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// Time to live, millisecond resolution; `None`: until deleted.
        ttl: Option<Duration>,
        /// Only when the key does not exist.
        if_absent: bool,
    },
    /// Writes a string key in the place of a value that its reader could make nothing of, if it still holds that.
    Replace {
        /// Database number.
        db: u32,
        /// The key.
        key: Bytes,
        /// What it must hold.
        old: Bytes,
        /// The value.
        value: Bytes,
        /// Time to live, as in [`Set`](Self::Set).
        ttl: Option<Duration>,
    },
    /// Deletes a key of any type.
    Delete {
        /// Database number.
        db: u32,
        /// The key.
        key: Bytes,
    },
    /// One command as the user gave it.
    Command {
        /// Database number.
        db: u32,
        /// Name and arguments.
        argv: Vec<Bytes>,
    },
    /// `MULTI`, these commands, `EXEC`: answered by the reply of `EXEC`.
    Transaction {
        /// Database number.
        db: u32,
        /// The commands between `MULTI` and `EXEC`.
        commands: Vec<Vec<Bytes>>,
    },
    /// Comes back with the same nonce once everything sent before it was executed (`ECHO`).
    Fence {
        /// Must be echoed.
        nonce: u64,
    },
    /// The same for a user who may not use `ECHO`: `HELLO` without arguments, whose reply must be of this connection.
    FenceOf {
        /// The number that the server gave the connection.
        connection: i64,
    },
    /// Asks for the role of the server (`HELLO` without arguments).
    Heartbeat,
    /// Checks that `db` can be selected on this connection, and goes back to the resting one.
    ProbeDb {
        /// Database number.
        db: u32,
    },
    /// Turns tracking on and proves it, trying each command that the lane depends on: a push of `canary` must come
    /// before the echo of `nonce`, or its refusal
    /// (`[CLIENT TRACKING ON OPTIN][CLIENT NO-EVICT ON][HELLO][HPTTL canary FIELDS 1 x][ACL WHOAMI][MULTI][EXEC]`, then
    /// `[CLIENT CACHING YES][GET canary][PTTL canary][SET canary x PX 1][ECHO nonce]`).
    Handshake {
        /// A key of this pod's own.
        canary: Bytes,
        /// Must be echoed.
        nonce: u64,
    },
}

impl Op {
    /// In place of a db number: whichever the connection is in. For side connections, whose session
    /// selects for itself.
    pub const AS_IS: u32 = u32::MAX;

    /// Bytes of its keys, values and arguments.
    pub fn bytes(&self) -> u64 {
        let all = |argv: &[Bytes]| argv.iter().map(|arg| arg.len() as u64).sum::<u64>();
        match self {
            Self::Read { key, .. } | Self::Delete { key, .. } => key.len() as u64,
            Self::Set { key, value, .. } => (key.len() + value.len()) as u64,
            Self::Replace {
                key, old, value, ..
            } => (key.len() + old.len() + value.len()) as u64,
            Self::Command { argv, .. } | Self::ReadWith { argv, .. } => all(argv),
            Self::Transaction { commands, .. } => commands.iter().map(|argv| all(argv)).sum(),
            Self::Fence { .. }
            | Self::FenceOf { .. }
            | Self::Heartbeat
            | Self::ProbeDb { .. }
            | Self::Handshake { .. } => 0,
        }
    }

    /// Whether it is a command of the user's own, which is answered by whatever the server says.
    pub(crate) fn is_verbatim(&self) -> bool {
        matches!(self, Self::Command { .. } | Self::Transaction { .. })
    }

    /// The database it runs in, if it runs in one.
    pub fn db(&self) -> Option<u32> {
        match self {
            Self::Read { db, .. }
            | Self::ReadWith { db, .. }
            | Self::Set { db, .. }
            | Self::Replace { db, .. }
            | Self::Delete { db, .. }
            | Self::Command { db, .. }
            | Self::Transaction { db, .. } => Some(*db),
            Self::Fence { .. }
            | Self::FenceOf { .. }
            | Self::Heartbeat
            | Self::ProbeDb { .. }
            | Self::Handshake { .. } => None,
        }
    }
}

/// The kind of op and its numbers: never a key, a value or an argument.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Read { tracked: true, .. } => "Read(tracked)",
            Self::Read { .. } => "Read",
            Self::ReadWith { tracked: true, .. } => "ReadWith(tracked)",
            Self::ReadWith { .. } => "ReadWith",
            Self::Set { .. } => "Set",
            Self::Replace { .. } => "Replace",
            Self::Delete { .. } => "Delete",
            Self::Command { .. } => "Command",
            Self::Transaction { .. } => "Transaction",
            Self::Fence { .. } => "Fence",
            Self::FenceOf { .. } => "FenceOf",
            Self::Heartbeat => "Heartbeat",
            Self::ProbeDb { db } => return write!(f, "ProbeDb({db})"),
            Self::Handshake { .. } => "Handshake",
        };
        f.write_str(name)
    }
}

/// The answer to one [`Op`].
#[derive(Clone, Debug, PartialEq)]
pub enum OpReply {
    /// To [`Op::Read`].
    Read {
        /// The value; `None`: the key does not exist.
        value: Option<Bytes>,
        /// Remaining life, at least; `None`: no expiry (or no such key).
        ttl: Option<Duration>,
        /// Whether the next change of the key will be pushed.
        tracked: bool,
    },
    /// To [`Op::ReadWith`].
    ReadWith {
        /// The reply; never an error.
        reply: Reply,
        /// Remaining life of the key, at least; `None`: no expiry, or no such key and the reply of one.
        ttl: Option<Duration>,
        /// Whether the key exists.
        exists: bool,
        /// Whether the next change of the key will be pushed.
        tracked: bool,
    },
    /// To [`Op::Set`] and [`Op::Replace`]: `false` when the key did not hold what they expect.
    Stored(bool),
    /// To [`Op::Delete`]: whether it existed.
    Deleted(bool),
    /// To [`Op::Command`] and [`Op::Transaction`]: the reply, server errors inside a transaction included.
    Value(Reply),
    /// To [`Op::Fence`], with the right nonce, and to [`Op::FenceOf`], of the right connection.
    Fenced,
    /// To [`Op::Heartbeat`].
    Role {
        /// Whether the server accepts writes (`role` is `master`).
        primary: bool,
    },
    /// To [`Op::ProbeDb`]: it can be selected.
    Selectable,
    /// To [`Op::Handshake`].
    Handshake {
        /// Whether the server accepts writes.
        primary: bool,
        /// `Err` says why invalidations cannot be relied upon.
        tracking: Result<(), String>,
        /// What kind of server it is, and what its user may do.
        traits: Traits,
    },
}

/// What must be known of a server, and of its user, to serve what it would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Whether fields of a hash can expire by themselves, which is announced late.
    pub field_expiry: bool,
    /// How it prints floating point numbers on RESP2 connections.
    pub doubles: DoubleText,
    /// What the user may not do.
    pub rights: Rights,
    /// For [`Op::FenceOf`], where `ECHO` is refused.
    pub connection: Option<i64>,
}

/// Number of a primary, of those that one pod holds values of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrimaryId(pub u16);

impl PrimaryId {
    /// The only one, where one primary owns all keys.
    pub const FIRST: Self = Self(0);
}

/// Where a primary is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// At the address that the store was made with.
    Given,
}

/// One connection of a lane, of those that were opened to its primary one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// To whom.
    pub primary: PrimaryId,
    /// Counted from 1.
    pub number: u64,
}

/// Number of a batch: the order in which batches were sent.
pub type BatchId = u64;

/// Which connection a batch goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// The tracked one to this primary.
    Lane(PrimaryId),
    /// An untracked one.
    Side(Side),
}

/// A side connection. With `may_open` it is opened when it is not there; without, the batch fails then,
/// because its caller relies on state (`MULTI`, `AUTH`) that a new connection would not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// To whom it leads.
    pub primary: PrimaryId,
    /// Its number: 0 is for the primary's large values, the others belong to a session or are shared by all of them.
    pub id: u64,
    /// Whether a new connection will do.
    pub may_open: bool,
    /// What a new one speaks.
    pub protocol: Protocol,
    /// The db that a new one is put in before anything else is sent; [`Op::AS_IS`]: the store's resting db.
    pub db: u32,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP2.
    Resp2,
    /// RESP3.
    #[default]
    Resp3,
}

/// Why one [`Op`] of a batch failed while the connection lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpError {
    /// The server answered with an error: `code` is its first word (`WRONGTYPE`, `NOPERM`, `OOM`, `ERR`, ...).
    Server {
        /// First word of the error.
        code: String,
        /// The rest.
        message: String,
    },
    /// The read was answered but not registered, or a right that the lane was opened with is gone: nothing of this
    /// connection can be relied upon.
    TrackingLost(String),
    /// The reply has a shape this op cannot have, or a wrong nonce: replies may be shifted, drop the connection.
    Protocol(String),
    /// The store does not know this op.
    Unsupported(String),
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { code, message } => write!(f, "{code} {message}"),
            Self::TrackingLost(why) => write!(f, "tracking lost: {why}"),
            Self::Protocol(what) => write!(f, "unexpected reply: {what}"),
            Self::Unsupported(what) => write!(f, "not supported by this store: {what}"),
        }
    }
}

/// What a batch was answered: one result per op, in order.
pub type BatchReply = Vec<Result<OpReply, OpError>>;

/// How a store tells of changes made by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// It reports every change of a key that was read with `tracked`, in order with its replies.
    Pushes,
    /// It reports nothing: what is read from it lives in L1 for at most `max_staleness`.
    None,
}

/// A shared store behind the near cache. Redis and Valkey are one, the embedded store is one, and so is
/// anything else that can answer [`Op`]s.
pub trait L2: Send + Sync + 'static {
    /// Whether changes made by others are reported.
    fn tracking(&self) -> Tracking;

    /// Where it is, for logs and statistics; without credentials.
    fn describe(&self) -> String;

    /// The db that its connections are in between ops, and that calls go to unless told otherwise.
    fn resting_db(&self) -> u32 {
        0
    }

    /// As whom its connections log in, for messages about permissions.
    fn user(&self) -> Option<String> {
        None
    }

    /// Whether it lies in this process, where no other service can use it.
    fn is_local(&self) -> bool {
        false
    }

    /// Whose shapes replies to commands have where nobody says otherwise.
    fn protocol(&self) -> Protocol {
        Protocol::Resp2
    }

    /// Opens the ordered connection to a primary that its lane runs on.
    ///
    /// Everything the store reports goes to `events`, on whatever thread, **before** any reply that
    /// the server sent later is handed over.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when trying again cannot help
    /// (bad credentials), else [`ErrorKind::Retry`](crate::ErrorKind::Retry).
    fn connect(
        &self,
        endpoint: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>>;

    /// Opens an untracked connection to a primary, with state of its own, for commands the lane must not carry. A store
    /// that knows no protocols, or only one, may ignore `protocol`.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    fn connect_side(
        &self,
        endpoint: &Endpoint,
        protocol: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>>;
}

/// One connection: executes and answers batches in the order of the calls. Only polled, it does IO; whoever holds it polls it
/// after each [`send`](Self::send) and whenever it was woken.
pub trait Connection: Send {
    /// Puts a batch in line, behind those before it. It is sent at the next poll.
    fn send(&mut self, ops: Vec<Op>);

    /// Sends what is in line, takes in what has come, and hands over the answer to the oldest batch that has had none yet,
    /// once the last of its ops is answered. Pushes that came before that answer have been reported by then.
    ///
    /// # Errors
    /// The connection is gone, and must not be polled any more. Whether batches without an answer were executed is not
    /// known.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<BatchReply, Error>>;

    /// Whether it is still there, as far as this machine knows: asked of a side connection that lay idle, before anything
    /// is sent on it. A store that cannot tell may leave it as it is.
    fn is_open(&mut self) -> bool {
        true
    }
}

impl dyn Connection + '_ {
    /// Sends one batch and waits for its answer, on a connection that owes no other.
    ///
    /// # Errors
    /// As for [`poll_answer`](Connection::poll_answer).
    pub async fn ask(&mut self, ops: Vec<Op>) -> Result<BatchReply, Error> {
        self.send(ops);
        poll_fn(|cx| self.poll_answer(cx)).await
    }
}

/// Who hears about changes: implemented by the pod.
pub trait Invalidations: Send + Sync + 'static {
    /// Somebody changed `key`, in some db.
    fn invalidate(&self, connection: ConnectionId, key: &[u8]);
    /// Somebody changed everything (`FLUSHALL`, `FLUSHDB`, a full tracking table).
    fn invalidate_all(&self, connection: ConnectionId);
    /// The connection is gone, or its reports can no longer be trusted.
    fn disconnected(&self, connection: ConnectionId);
}

/// Where one connection reports what the store pushes. Cheap to clone; never panics, never blocks for long.
#[derive(Clone)]
pub struct Events {
    connection: ConnectionId,
    target: Arc<dyn Invalidations>,
}

impl Events {
    /// Events of this connection, for `target`.
    pub fn new(connection: ConnectionId, target: Arc<dyn Invalidations>) -> Self {
        Self { connection, target }
    }

    /// The connection these belong to.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// See [`Invalidations::invalidate`].
    pub fn invalidate(&self, key: &[u8]) {
        self.target.invalidate(self.connection, key);
    }

    /// See [`Invalidations::invalidate_all`].
    pub fn invalidate_all(&self) {
        self.target.invalidate_all(self.connection);
    }

    /// See [`Invalidations::disconnected`].
    pub fn disconnected(&self) {
        self.target.disconnected(self.connection);
    }
}
