//! A handle for commands: each goes where the table of commands says, and none can disturb the lane.
//!
//! Commands that change or occupy a connection run on a side connection of the session's own; what
//! they wrote is fenced on the lane before their caller resumes.

use bytes::Bytes;
use nearcache_l1::Timestamp;

use crate::cache::{Cache, Io, check_sizes};
use crate::commands::{Class, Step, classify};
use crate::error::{Error, ErrorKind, WriteOutcome};
use crate::op::{Op, OpReply};
use crate::request::{CommandWork, Effect, Work};
use crate::resp::Reply;
use crate::write::unexpected;

/// Commands of one caller, with a connection state (`MULTI`, `WATCH`, `SELECT`) of their own.
pub struct Session<I: Io> {
    cache: Cache<I>,
    id: u64,
    db: u32,
    /// From `MULTI` or `WATCH` to their end every command goes to the side connection.
    in_multi: bool,
    watching: bool,
    /// The db the side connection is in; `None`: there is no side connection.
    side_db: Option<u32>,
    /// A `SWAPDB` waits for its `EXEC`.
    swapping: bool,
    /// A side command was sent and its answer not seen: if its call was dropped, what state the
    /// connection is in is not known.
    pending: bool,
}

impl<I: Io> Session<I> {
    /// A session that starts in `db`. Opens nothing yet.
    pub fn new(cache: Cache<I>, db: u32) -> Self {
        let id = cache.pod.next_session();
        Self {
            cache,
            id,
            db,
            in_multi: false,
            watching: false,
            side_db: None,
            swapping: false,
            pending: false,
        }
    }

    /// Sends one command and returns its reply. L1 neither answers it nor keeps its reply, but reads
    /// through the cache that start after the answer see what it wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for commands that are refused and for errors the server answers with;
    /// for writes [`Error::write_outcome`] says whether it was sent.
    ///
    /// # Cancellation
    /// Dropping the future of a command that runs on the side connection closes that connection, with
    /// any transaction on it, at the next call or when the session is dropped.
    pub async fn command(&mut self, argv: &[impl AsRef<[u8]>]) -> Result<Reply, Error> {
        for arg in argv {
            check_sizes(arg.as_ref(), 0)?;
        }
        let argv: Vec<Bytes> = argv
            .iter()
            .map(|arg| Bytes::copy_from_slice(arg.as_ref()))
            .collect();
        let Some(name) = argv.first() else {
            return Err(Error::new(ErrorKind::Usage, "the command is empty"));
        };
        if name.eq_ignore_ascii_case(b"SELECT") && argv.len() == 2 {
            return self.select(&argv[1]).await;
        }
        let class = classify(&argv);
        if let Class::Refused(why) = class {
            return Err(refused(name, why));
        }
        if self.in_multi || self.watching || matches!(class, Class::Transaction(_)) {
            return self.in_transaction(class, argv).await;
        }
        if matches!(class, Class::Side) {
            return self.on_side(as_is(argv)).await;
        }
        let op = Op::Command { db: self.db, argv };
        match (class, op) {
            (Class::Write { key }, Op::Command { db, argv }) if key < argv.len() => {
                let name = argv[key].clone();
                let op = Op::Command { db, argv };
                value(self.cache.write(&name, op).await?)
            }
            (Class::Read, op) => self.run(op, Effect::None).await,
            (_, op) => self.run(op, Effect::Fenced).await,
        }
    }

    /// Sends commands as one atomic `MULTI`..`EXEC` on the lane; `None` replies are errors inside it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when one of them cannot run inside a transaction here.
    pub async fn transaction(&mut self, commands: Vec<Vec<Bytes>>) -> Result<Reply, Error> {
        for argv in &commands {
            for arg in argv {
                check_sizes(arg, 0)?;
            }
            let class = classify(argv);
            if !matches!(class, Class::Read | Class::Write { .. } | Class::Fenced) {
                let name = argv.first().map_or(&b""[..], |name| name);
                return Err(refused(name, "it cannot be part of a transaction"));
            }
        }
        if self.in_multi {
            return Err(refused(b"MULTI", "the session is inside a transaction"));
        }
        if self.watching {
            // What is watched is watched by the side connection.
            let db = Op::AS_IS;
            let result = self.on_side(Op::Transaction { db, commands }).await;
            self.watching = false;
            return result;
        }
        let op = Op::Transaction {
            db: self.db,
            commands,
        };
        self.run(op, Effect::Fenced).await
    }

    async fn select(&mut self, db: &[u8]) -> Result<Reply, Error> {
        if self.in_multi {
            return Err(refused(b"SELECT", "it cannot be part of a transaction"));
        }
        let db = std::str::from_utf8(db)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|db| *db < crate::pod::LOADS)
            .ok_or_else(|| Error::new(ErrorKind::Usage, "the db is not a number"))?;
        let probe = self.cache.ask(self.cache.call_deadline(), |done| {
            Work::Command(CommandWork {
                ops: vec![Op::ProbeDb { db }],
                effect: Effect::None,
                done,
            })
        });
        probe.await?;
        self.db = db;
        Ok(Reply::Simple("OK".to_owned()))
    }

    async fn in_transaction(&mut self, class: Class, argv: Vec<Bytes>) -> Result<Reply, Error> {
        let executes = argv
            .first()
            .is_some_and(|name| name.eq_ignore_ascii_case(b"EXEC"));
        let result = self.on_side(as_is(argv)).await;
        match (class, &result) {
            // A DISCARD that was refused: whether the server is still in the transaction is not known.
            (Class::Transaction(Step::End), Err(_)) if !executes => self.drop_side(),
            // Answered with an error or not, it is over; lost, it is too.
            (Class::Transaction(Step::End), _) => (self.in_multi, self.watching) = (false, false),
            (Class::Transaction(Step::Begin), Ok(_)) => self.in_multi = true,
            (Class::Transaction(Step::Watch), Ok(_)) => self.watching = true,
            (Class::Transaction(Step::Unwatch), Ok(_)) if !self.in_multi => self.watching = false,
            _ => {}
        }
        self.swapped();
        result
    }

    /// Sends on the side connection, in the session's db. There is no deadline: a blocking command
    /// waits as long as it was told to.
    async fn on_side(&mut self, op: Op) -> Result<Reply, Error> {
        if self.pending {
            let lost = self.in_multi || self.watching;
            self.drop_side();
            if lost {
                // On a new connection it would run outside the transaction.
                return Err(abandoned());
            }
        }
        if let Op::Command { argv, .. } = &op {
            // No server announces a SWAPDB: whatever this pod holds may be in another db now.
            let name = argv.first();
            self.swapping |= name.is_some_and(|name| name.eq_ignore_ascii_case(b"SWAPDB"));
        }
        if self.side_db != Some(self.db) && !self.in_multi {
            // Alone and first: had it failed in one batch with the command, that would have run elsewhere.
            let db = Bytes::from(self.db.to_string());
            let select = as_is(vec![Bytes::from_static(b"SELECT"), db]);
            if let Err(error) = self.side_batch(select).await {
                self.drop_side();
                return Err(error);
            }
            self.side_db = Some(self.db);
        }
        let result = self.side_batch(op).await;
        self.swapped();
        result
    }

    async fn side_batch(&mut self, op: Op) -> Result<Reply, Error> {
        let effect = Effect::Side {
            id: self.id,
            may_open: self.side_db.is_none(),
        };
        self.pending = true;
        let result = self.send(Timestamp::MAX, vec![op], effect).await;
        self.pending = false;
        match &result {
            Ok(_) => {}
            // The server refused this command; the connection is as it was.
            Err(error) if error.write_outcome() == Some(WriteOutcome::Refused) => {}
            Err(_) => self.drop_side(),
        }
        result
    }

    /// After a `SWAPDB` nothing filled before may be served.
    fn swapped(&mut self) {
        if self.swapping && !self.in_multi {
            self.swapping = false;
            self.cache.pod.coherence.bump_flush();
        }
    }

    /// Gives the side connection up with all its state, and never meets it again.
    fn drop_side(&mut self) {
        if std::mem::take(&mut self.swapping) {
            self.cache.pod.coherence.bump_flush();
        }
        (self.in_multi, self.watching, self.pending) = (false, false, false);
        self.side_db = None;
        let old = std::mem::replace(&mut self.id, self.cache.pod.next_session());
        self.cache.submit(Timestamp::MAX, Work::EndSession(old));
    }

    async fn run(&self, op: Op, effect: Effect) -> Result<Reply, Error> {
        self.send(self.cache.call_deadline(), vec![op], effect)
            .await
    }

    /// Sends ops as one batch and returns the reply to the last.
    async fn send(
        &self,
        deadline: Timestamp,
        ops: Vec<Op>,
        effect: Effect,
    ) -> Result<Reply, Error> {
        let work = self.cache.ask(deadline, |done| {
            Work::Command(CommandWork { ops, effect, done })
        });
        match work.await?.pop() {
            Some(reply) => value(reply),
            None => Err(unexpected()),
        }
    }
}

impl<I: Io> Drop for Session<I> {
    fn drop(&mut self) {
        if self.side_db.is_some() || self.pending {
            self.drop_side();
        }
    }
}

fn as_is(argv: Vec<Bytes>) -> Op {
    Op::Command {
        db: Op::AS_IS,
        argv,
    }
}

fn value(reply: OpReply) -> Result<Reply, Error> {
    match reply {
        OpReply::Value(reply) => Ok(reply),
        _ => Err(unexpected()),
    }
}

#[cold]
fn abandoned() -> Error {
    let why = "a call of this transaction was dropped before its answer came, so the transaction was given up: begin again";
    Error::new(ErrorKind::Retry, why).for_write(WriteOutcome::NotSent)
}

#[cold]
fn refused(name: &[u8], why: &str) -> Error {
    let name = String::from_utf8_lossy(&name[..name.len().min(32)]).to_uppercase();
    Error::new(ErrorKind::Usage, format!("{name} is refused: {why}"))
}
