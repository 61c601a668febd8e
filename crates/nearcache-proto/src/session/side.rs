//! What runs beside the lane: on any of the shared connections, or, where it blocks, concerns the connection or is part of
//! a transaction command by command, on the session's own.
//!
//! Never sends on a connection whose state is not known: it is given up, and the caller told.

use std::mem::take;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::{Session, as_is, db_number, is_select};
use crate::cache::{Cache, Io};
use crate::commands::{Class, Place, Resp2, Step, classify, resp2};
use crate::error::{Error, ErrorKind, Reason, WriteOutcome};
use crate::op::{Op, PrimaryId, Protocol, Side};
use crate::request::{Effect, Work};
use crate::resp::{Reply, to_resp2};

/// Commands between `MULTI` and `EXEC`; the server holds them, too.
const MOST_QUEUED: usize = 1 << 20;

/// What is known of a session's side connection.
pub(super) struct SideState {
    /// To whom it leads, for as long as it lives.
    primary: PrimaryId,
    id: u64,
    /// From `MULTI` or `WATCH` to their end every command goes to the side connection.
    in_multi: bool,
    watching: bool,
    /// The server remembers something else of the connection.
    kept: bool,
    /// The commands between `MULTI` and `EXEC`.
    queued: Vec<Queued>,
    /// The db it is in; `None`: none was ever opened.
    db: Option<u32>,
    /// A `SWAPDB` waits for its `EXEC`.
    swapping: bool,
    /// A command between `MULTI` and `EXEC` was refused, so the whole is.
    spoilt: bool,
    /// A command was sent and its answer not seen: if its call was dropped, what state the connection is
    /// in is not known.
    pending: bool,
}

/// What must be known of a queued command when its reply comes.
pub(super) struct Queued {
    shape: Resp2,
    /// The db it selects.
    selects: Option<u32>,
    /// The server remembers it.
    keeps: bool,
}

impl SideState {
    pub(super) fn new(primary: PrimaryId, id: u64) -> Self {
        Self {
            primary,
            id,
            in_multi: false,
            watching: false,
            kept: false,
            queued: Vec::new(),
            db: None,
            swapping: false,
            spoilt: false,
            pending: false,
        }
    }

    /// A command was refused without asking the server: as an error of the server would, that ends a transaction.
    pub(super) fn spoil(&mut self) {
        self.spoilt = self.in_multi;
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.in_multi || self.watching
    }

    /// Whether the server remembers something of the connection besides.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) fn in_multi(&self) -> bool {
        self.in_multi
    }

    /// A transaction was executed or given up by the server.
    pub(super) fn unwatch(&mut self) {
        self.watching = false;
    }
}

impl Queued {
    pub(super) fn of(argv: &[Bytes]) -> Self {
        Self {
            shape: argv.first().map_or(Resp2::Plain, |name| resp2(name)),
            selects: is_select(argv).then(|| db_number(&argv[1])).flatten(),
            keeps: classify(argv) == Class::Side(Place::Kept),
        }
    }
}

impl<I: Io> Session<I> {
    /// A command that does not belong on the lane, outside of a transaction.
    pub(super) async fn beside(&mut self, place: Place, argv: Vec<Bytes>) -> Result<Reply, Error> {
        self.drop_written(&argv);
        if place == Place::Shared && !self.side.kept {
            let op = Op::Command { db: self.db, argv };
            return self.run(op, Effect::Shared(self.protocol)).await;
        }
        let quits = argv[0].eq_ignore_ascii_case(b"QUIT");
        let reply = self.on_side(as_is(argv)).await?;
        let accepted = !matches!(reply, Reply::Error { .. });
        self.side.kept |= place == Place::Kept && accepted;
        if quits {
            // Its state ends with it, as was asked for.
            self.drop_side();
        }
        Ok(reply)
    }

    /// A command of a transaction that is sent command by command, its begin and end among them.
    pub(super) async fn in_transaction_call(
        &mut self,
        class: Class,
        argv: Vec<Bytes>,
    ) -> Result<Reply, Error> {
        let step = match class {
            Class::Transaction(step) => Some(step),
            _ => None,
        };
        let queued = Queued::of(&argv);
        let name = argv.first().cloned().unwrap_or_default();
        let was_open = self.side.in_multi;
        if self.side.spoilt && name.eq_ignore_ascii_case(b"EXEC") {
            return self.abort().await;
        }
        self.drop_written(&argv);
        let reply = self.on_side(as_is(argv)).await?;
        let accepted = !matches!(reply, Reply::Error { .. });
        let reply = match step {
            Some(Step::Begin) if accepted => {
                self.side.in_multi = true;
                reply
            }
            Some(Step::Watch) if accepted => {
                self.side.watching = true;
                reply
            }
            Some(Step::Unwatch) if accepted && !was_open => {
                self.side.watching = false;
                reply
            }
            // Refused without a MULTI: whatever is watched still is.
            Some(Step::End) if was_open => self.ended(&name, reply),
            None if was_open && accepted => {
                if self.side.queued.len() >= MOST_QUEUED {
                    self.drop_side();
                    let why = "the transaction has too many commands and was given up: divide it";
                    return Err(Error::new(ErrorKind::Usage, why));
                }
                self.side.queued.push(queued);
                reply
            }
            // Watching: it was executed, and is answered as usual.
            _ => {
                self.side.kept |= queued.keeps && accepted && !was_open;
                if let Some(db) = queued.selects.filter(|_| accepted && !was_open) {
                    (self.db, self.side.db) = (db, Some(db));
                }
                self.shaped(reply, &name)
            }
        };
        self.swapped();
        Ok(reply)
    }

    /// In place of the `EXEC` of a transaction one of whose commands was refused.
    async fn abort(&mut self) -> Result<Reply, Error> {
        let discard = as_is(vec![Bytes::from_static(b"DISCARD")]);
        let reply = self.on_side(discard).await?;
        self.ended(b"DISCARD", reply);
        self.swapped();
        let why = "EXECABORT Transaction discarded because of previous errors.";
        Ok(Reply::error(why))
    }

    /// `EXEC` or `DISCARD` was answered.
    fn ended(&mut self, name: &[u8], reply: Reply) -> Reply {
        let queued = take(&mut self.side.queued);
        match &reply {
            // Whether the server is still in the transaction is not known.
            Reply::Error { code, .. } if code != "EXECABORT" => self.drop_side(),
            _ => {
                (self.side.in_multi, self.side.watching) = (false, false);
                self.side.spoilt = false;
            }
        }
        match name.eq_ignore_ascii_case(b"EXEC") {
            true => self.executed(&queued, reply),
            false => reply,
        }
    }

    /// The reply to `EXEC`, each part in its shape; a `SELECT` among them takes effect here.
    pub(super) fn executed(&mut self, queued: &[Queued], reply: Reply) -> Reply {
        let Reply::Array(replies) = reply else {
            return reply;
        };
        for (queued, reply) in queued.iter().zip(&replies) {
            if let Some(db) = queued.selects.filter(|_| reply.is_ok()) {
                (self.db, self.side.db) = (db, Some(db));
            }
            self.side.kept |= queued.keeps && !matches!(reply, Reply::Error { .. });
        }
        if self.protocol == Protocol::Resp3 {
            return Reply::Array(replies);
        }
        let doubles = self.cache.pod.route.unkeyed().doubles();
        let shapes = queued.iter().map(|queued| queued.shape);
        let shapes = shapes.chain(std::iter::repeat(Resp2::Plain));
        let shaped = replies.into_iter().zip(shapes);
        Reply::Array(
            shaped
                .map(|(reply, shape)| to_resp2(reply, shape, doubles))
                .collect(),
        )
    }

    /// Gives the side connection up if what was sent on it last was dropped before its answer came: it may still
    /// wait there, and take what nobody receives.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if !self.side.pending {
            return Ok(());
        }
        let lost = self.side.in_transaction();
        self.drop_side();
        match lost {
            // On a new connection it would run outside the transaction.
            true => Err(abandoned()),
            false => Ok(()),
        }
    }

    /// Sends on the side connection, in the session's db. There is no deadline: a blocking command
    /// waits as long as it was told to.
    pub(super) async fn on_side(&mut self, op: Op) -> Result<Reply, Error> {
        self.settle()?;
        if names_swapdb(&op) {
            // No server announces it: whatever this pod holds may be in another db now.
            self.side.swapping = true;
        }
        if self.side.db.is_some_and(|db| db != self.db) && !self.side.in_multi {
            // Alone and first: had it failed in one batch with the command, that would have run elsewhere.
            let db = Bytes::from(self.db.to_string());
            let select = as_is(vec![Bytes::from_static(b"SELECT"), db]);
            if let reply @ Reply::Error { .. } = self.side_batch(select).await? {
                self.drop_side();
                return Ok(reply);
            }
        }
        if !self.side.in_multi {
            // One that has to be opened is put there first.
            self.side.db = Some(self.db);
        }
        let reply = self.side_batch(op).await;
        self.swapped();
        reply
    }

    async fn side_batch(&mut self, op: Op) -> Result<Reply, Error> {
        let effect = Effect::Side(Side {
            primary: self.side.primary,
            id: self.side.id,
            may_open: !self.side.in_transaction() && !self.side.kept,
            protocol: self.protocol,
            db: self.db,
        });
        self.side.pending = true;
        let wait = Wait::on(&self.cache, (self.side.primary, self.side.id));
        let result = self.send(Timestamp::MAX, vec![op], effect).await;
        wait.over();
        self.side.pending = false;
        if result.is_err() {
            self.drop_side();
        }
        result?.pop().ok_or_else(crate::error::unexpected)
    }

    /// After a `SWAPDB` nothing filled before may be served.
    fn swapped(&mut self) {
        if self.side.swapping && !self.side.in_multi {
            self.side.swapping = false;
            self.cache.pod.flush_all();
        }
    }

    /// Gives the side connection up with all its state, and never meets it again.
    pub(super) fn drop_side(&mut self) {
        if self.side.swapping {
            self.cache.pod.flush_all();
        }
        let new = SideState::new(self.primary(), self.cache.pod.next_session());
        let old = std::mem::replace(&mut self.side, new);
        let work = Work::EndSession(old.id);
        self.cache.submit(old.primary, Timestamp::MAX, work);
    }
}

impl<I: Io> Drop for Session<I> {
    fn drop(&mut self) {
        if self.side.db.is_some() || self.side.pending {
            self.drop_side();
        }
    }
}

/// A call that waits for its answer. Dropped before that, it ends the side connection at once: a blocking command that
/// nobody waits for any more would take what nobody receives.
struct Wait<'a, I: Io> {
    cache: &'a Cache<I>,
    side: Option<(PrimaryId, u64)>,
}

impl<'a, I: Io> Wait<'a, I> {
    fn on(cache: &'a Cache<I>, side: (PrimaryId, u64)) -> Self {
        let side = Some(side);
        Self { cache, side }
    }

    fn over(mut self) {
        self.side = None;
    }
}

impl<I: Io> Drop for Wait<'_, I> {
    fn drop(&mut self) {
        if let Some((primary, side)) = self.side {
            self.cache
                .submit(primary, Timestamp::MAX, Work::EndSession(side));
        }
    }
}

fn names_swapdb(op: &Op) -> bool {
    let is = |argv: &Vec<Bytes>| {
        argv.first()
            .is_some_and(|name| name.eq_ignore_ascii_case(b"SWAPDB"))
    };
    match op {
        Op::Command { argv, .. } => is(argv),
        Op::Transaction { commands, .. } => commands.iter().any(is),
        _ => false,
    }
}

#[cold]
fn abandoned() -> Error {
    let why = "a call of this transaction was dropped before its answer came, so the transaction was given up: begin again";
    Error::retry(Reason::Interrupted, why).for_write(WriteOutcome::NotSent)
}
