//! A handle for commands: each goes where the table of commands says, and none can disturb the lane.
//!
//! What L1 may answer is in `replies`; here is what else there is: single commands (this file), several
//! at once (`pipeline`), and the side connection of the session's own (`side`).

mod pipeline;
mod side;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use crate::cache::{Cache, Io, ReadPolicy, check_sizes};
use crate::commands::{self, Class, Step, classify, resp2};
use crate::entry_key::DBS;
use crate::error::unexpected;
use crate::error::{Error, ErrorKind, WriteOutcome};
use crate::lane::op_error;
use crate::op::{Op, OpReply, PrimaryId, Protocol};
use crate::replies::in_place;
use crate::request::Effect;
use crate::resp::{Reply, to_resp2};
use side::SideState;

/// Commands of one caller, with a connection state (`MULTI`, `WATCH`, `SELECT`) of their own.
pub struct Session<I: Io> {
    cache: Cache<I>,
    db: u32,
    /// Whose shapes its replies have.
    protocol: Protocol,
    /// Whether L1 answers what it can, and how when freshness cannot be proven.
    l1: Option<ReadPolicy>,
    side: SideState,
}

impl<I: Io> Session<I> {
    /// A session that starts in `db`, whose commands L1 neither answers nor keeps the replies of. Opens
    /// nothing yet.
    pub fn new(cache: Cache<I>, db: u32) -> Self {
        Self::serving(cache, db, Protocol::Resp3, None)
    }

    /// The same with replies in the shapes of `protocol`; with `l1`, L1 answers the commands it can.
    pub fn serving(cache: Cache<I>, db: u32, protocol: Protocol, l1: Option<ReadPolicy>) -> Self {
        let primary = cache.pod.route.unkeyed().id();
        let side = SideState::new(primary, cache.pod.next_session());
        Self {
            cache,
            db,
            protocol,
            l1,
            side,
        }
    }

    /// Another session like this one, in the same db, with a connection state of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::serving(self.cache.clone(), self.db, self.protocol, self.l1)
    }

    /// The db its commands go to.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// Whether it is between `MULTI` or `WATCH` and their end.
    pub fn in_transaction(&self) -> bool {
        self.side.in_transaction()
    }

    /// Whether L1 answers its commands.
    pub fn set_l1(&mut self, l1: Option<ReadPolicy>) {
        self.l1 = l1;
    }

    /// Sends one command and returns its reply. Reads through the cache that start after the answer see
    /// what it wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for commands that are refused and for errors the server answers with;
    /// for writes [`Error::write_outcome`] says whether it was sent.
    ///
    /// # Cancellation
    /// Dropping the future of a command that runs on the session's own side connection closes that connection at
    /// once, with any transaction on it: a blocking command takes nothing once the server has seen the close. What it
    /// had taken before is lost, as it is when a connection breaks. Of any other command the server may or may not have
    /// seen it: it goes on.
    pub async fn command(&mut self, argv: &[impl AsRef<[u8]>]) -> Result<Reply, Error> {
        let reads = matches!(classify(argv), Class::Read | Class::Serve(_));
        match self.call(owned(argv)).await? {
            Reply::Error { code, message } => Err(server_error(&code, &message, reads)),
            reply => Ok(reply),
        }
    }

    /// The reply from L1, if it can be given without asking anybody.
    ///
    /// # Cost
    /// As [`Cache::resident_reply`].
    pub fn resident(&self, argv: &[impl AsRef<[u8]>]) -> Option<Reply> {
        if self.l1.is_none() || self.side.in_transaction() {
            return None;
        }
        let reply = self.cache.resident_reply(self.db, argv)?;
        Some(self.shaped(reply, argv[0].as_ref()))
    }

    /// As [`command`](Self::command), with errors of the server as replies.
    ///
    /// # Errors
    /// As there, less what the server answers.
    ///
    /// # Cancellation
    /// As there.
    pub async fn call(&mut self, argv: Vec<Bytes>) -> Result<Reply, Error> {
        for arg in &argv {
            check_sizes(arg, 0)?;
        }
        let Some(name) = argv.first().cloned() else {
            return Err(Error::new(ErrorKind::Usage, "the command is empty"));
        };
        self.settle()?;
        let class = classify(&argv);
        if let Class::Refused(why) = class {
            self.side.spoil();
            return Err(refused(&name, why));
        }
        if off!(Multi)
            && let Some(reply) = self.cache.resident_reply(self.db, &argv)
        {
            return Ok(self.shaped(reply, &name));
        }
        if off!(RawMulti) && matches!(class, Class::Transaction(_)) {
            return self.on_lane(class, argv).await;
        }
        if class == Class::Transaction(Step::Unwatch)
            && argv.len() == 1
            && !self.side.in_transaction()
        {
            // Pools say it to every handle that they take back.
            return Ok(Reply::ok());
        }
        if self.side.in_transaction() || matches!(class, Class::Transaction(_)) {
            return self.in_transaction_call(class, argv).await;
        }
        if is_select(&argv) {
            return self.select(&argv[1]).await;
        }
        let reply = match class {
            Class::Serve(_) if self.l1.is_some() => self.served(argv).await?,
            Class::Side(place) => self.beside(place, argv).await?,
            class => self.on_lane(class, argv).await?,
        };
        Ok(self.shaped(reply, &name))
    }

    /// A command that L1 may answer.
    async fn served(&self, argv: Vec<Bytes>) -> Result<Reply, Error> {
        let policy = self.l1.unwrap_or_default();
        let made = self.cache.reply(self.db, &argv, policy).await;
        match made.or_else(|error| in_place(&error).map(Some)) {
            Ok(Some(reply)) => Ok(reply),
            // A store that knows commands, but not how to keep their replies.
            Err(error) if error.kind() != ErrorKind::Usage => Err(error),
            Ok(None) | Err(_) => self.on_lane(Class::Read, argv).await,
        }
    }

    async fn on_lane(&self, class: Class, argv: Vec<Bytes>) -> Result<Reply, Error> {
        let db = self.db;
        match class {
            Class::Write { key } if key < argv.len() => {
                let key = argv[key].clone();
                value(self.cache.write(key, Op::Command { db, argv }).await?)
            }
            Class::Read | Class::Serve(_) => self.run(Op::Command { db, argv }, Effect::None).await,
            _ => {
                self.drop_written(&argv);
                self.run(Op::Command { db, argv }, Effect::Fenced).await
            }
        }
    }

    /// Drops the copies of the keys that a command names as written, and ends what is being loaded of them. What it writes
    /// besides is pushed, unless it deletes a key that is not there.
    fn drop_written(&self, argv: &[Bytes]) {
        for key in commands::written(argv) {
            self.cache.pod.invalidate_local(key);
        }
    }

    async fn select(&mut self, db: &[u8]) -> Result<Reply, Error> {
        // What is no number, or none that L1 has room for, the server is to refuse in its own words.
        let Some(number) = db_number(db) else {
            let argv = vec![Bytes::from_static(b"SELECT"), Bytes::copy_from_slice(db)];
            return match self.on_side(as_is(argv)).await? {
                refusal @ Reply::Error { .. } => Ok(refusal),
                _ => {
                    self.drop_side();
                    Err(Error::new(ErrorKind::Usage, "the db is not a number"))
                }
            };
        };
        let probe = vec![Op::ProbeDb { db: number }];
        let deadline = self.cache.call_deadline();
        let primary = self.primary();
        match self
            .cache
            .send(primary, deadline, probe, Effect::None)
            .await
        {
            Ok(_) => self.db = number,
            Err(error) => return in_place(&error),
        }
        Ok(Reply::ok())
    }

    /// Where its commands go, but for writes of one key: one primary for all of them, whatever keys they name.
    fn primary(&self) -> PrimaryId {
        self.cache.pod.route.unkeyed().id()
    }

    /// A reply in the shapes of the session's protocol.
    fn shaped(&self, reply: Reply, name: &[u8]) -> Reply {
        match (self.protocol, &reply) {
            (Protocol::Resp3, _) | (_, Reply::Bulk(_) | Reply::Nil | Reply::Int(_)) => reply,
            (Protocol::Resp2, _) => {
                to_resp2(reply, resp2(name), self.cache.pod.route.unkeyed().doubles())
            }
        }
    }

    async fn run(&self, op: Op, effect: Effect) -> Result<Reply, Error> {
        let deadline = self.cache.call_deadline();
        let replies = self.send(deadline, vec![op], effect).await?;
        replies.into_iter().next().ok_or_else(unexpected)
    }

    /// Sends ops as one batch and returns their replies.
    async fn send(
        &self,
        deadline: Timestamp,
        ops: Vec<Op>,
        effect: Effect,
    ) -> Result<Vec<Reply>, Error> {
        let primary = self.primary();
        let replies = self.cache.send(primary, deadline, ops, effect).await?;
        replies.into_iter().map(value).collect()
    }
}

fn owned(argv: &[impl AsRef<[u8]>]) -> Vec<Bytes> {
    argv.iter()
        .map(|arg| Bytes::copy_from_slice(arg.as_ref()))
        .collect()
}

fn as_is(argv: Vec<Bytes>) -> Op {
    Op::Command {
        db: Op::AS_IS,
        argv,
    }
}

fn is_select(argv: &[Bytes]) -> bool {
    argv.len() == 2 && argv[0].eq_ignore_ascii_case(b"SELECT")
}

fn db_number(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let number: u32 = text.parse().ok()?;
    // As servers do, which take no zeros and no sign in front.
    (number < DBS && number.to_string() == text).then_some(number)
}

fn value(reply: OpReply) -> Result<Reply, Error> {
    match reply {
        OpReply::Value(reply) => Ok(reply),
        _ => Err(unexpected()),
    }
}

fn server_error(code: &str, message: &str, reads: bool) -> Error {
    let error = op_error(&crate::op::OpError::Server {
        code: code.to_owned(),
        message: message.to_owned(),
    });
    match reads {
        true => error,
        false => error.for_write(WriteOutcome::Refused),
    }
}

#[cold]
fn refused(name: &[u8], why: &str) -> Error {
    let name = String::from_utf8_lossy(&name[..name.len().min(32)]).to_uppercase();
    Error::new(ErrorKind::Usage, format!("{name} is refused: {why}"))
}
