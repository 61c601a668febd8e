//! Commands answered from L1: which copy a reply can be made from, and the read that brings one.
//!
//! Hit, join, lead and publish are those of `read` and `read_many`; only what lies in the entry differs.

use std::borrow::Cow;

use bytes::Bytes;
use nearcache_l1::{Hit, Timestamp};

use crate::cache::{Cache, Io, ReadPolicy};
use crate::commands::{self, Serve, Source};
use crate::derive;
use crate::entry_key::{self, EntryKey, Kind};
use crate::epochs::FillToken;
use crate::error::unexpected;
use crate::error::{Error, ErrorKind};
use crate::held;
use crate::read_many::{One, TOGETHER};
use crate::resp::Reply;

/// Rounds of a pipeline before all of it is read from L2.
const ROUNDS: usize = 3;

/// A command that L1 may answer.
#[derive(Clone, Copy)]
struct Served<'a, A> {
    /// In the table of commands.
    place: u16,
    serve: Serve,
    arguments: &'a [A],
}

/// A reply made from L1, and until when it is true.
struct Made {
    reply: Reply,
    until: Timestamp,
}

/// One command of several.
enum Part {
    Hit(Reply),
    /// The answers at these places make the reply.
    Asked {
        first: usize,
        count: usize,
    },
}

impl<'a, A: AsRef<[u8]>> Served<'a, A> {
    fn of(argv: &'a [A]) -> Option<Self> {
        let (place, mut serve) = commands::served(argv)?;
        if off!(FirstKey) && serve.source == Source::MGet {
            serve.source = Source::Own;
        }
        let arguments = &argv[1..];
        Some(Self {
            place,
            serve,
            arguments,
        })
    }

    fn key(&self) -> &'a [u8] {
        self.arguments[0].as_ref()
    }

    /// The keys it reads.
    fn keys(&self) -> &'a [A] {
        match self.serve.source {
            Source::MGet => self.arguments,
            _ => &self.arguments[..1],
        }
    }

    /// The entries its reply is made from; `None` when it is too long to be filed.
    fn entries(&self) -> Option<Vec<(Kind, Cow<'a, [u8]>)>> {
        match self.serve.source {
            Source::Get | Source::MGet => {
                let value = |key: &'a A| (Kind::Value, Cow::Borrowed(key.as_ref()));
                Some(self.arguments.iter().map(value).collect())
            }
            _ => {
                let name = entry_key::compose(self.place, self.arguments)?;
                Some(vec![(Kind::Reply, Cow::Owned(name))])
            }
        }
    }

    /// The reply made from the answers to its entries. A server's error about one key of `MGET` is a nil,
    /// as there.
    fn assemble(&self, ones: &mut dyn Iterator<Item = One>) -> Result<Reply, Error> {
        match self.serve.source {
            Source::Get => Ok(value(ones.next().ok_or_else(unexpected)??)),
            Source::MGet => ones
                .map(|one| match one {
                    Err(error) if is_wrong_type(&error) => Ok(Reply::Nil),
                    one => one.map(value),
                })
                .collect::<Result<_, _>>()
                .map(Reply::Array),
            _ => {
                let block = ones.next().ok_or_else(unexpected)??;
                let reply = block.as_ref().and_then(held::unpack);
                reply.ok_or_else(unexpected)
            }
        }
    }
}

/// The entries that the reply to a command is made from; `None` when L1 does not answer it.
pub(crate) fn entries_of<A: AsRef<[u8]>>(argv: &[A]) -> Option<Vec<(Kind, Vec<u8>)>> {
    let entries = Served::of(argv)?.entries()?;
    let whole = entries
        .into_iter()
        .map(|(kind, name)| (kind, name.into_owned()));
    Some(whole.collect())
}

impl<I: Io> Cache<I> {
    /// The reply to a command, if L1 has what it takes, provably fresh. Sends nothing.
    ///
    /// # Cost
    /// A look-up or three, one clock reading each; strings of the reply are views of what L1 holds.
    pub fn resident_reply<A: AsRef<[u8]>>(&self, db: u32, argv: &[A]) -> Option<Reply> {
        let made = self.resident_of(db, &Served::of(argv)?)?;
        Some(made.reply)
    }

    fn resident_of<A: AsRef<[u8]>>(&self, db: u32, command: &Served<'_, A>) -> Option<Made> {
        if command.serve.source == Source::MGet {
            return self.resident_values(db, command.arguments);
        }
        self.made_of(db, command, |entry| self.fresh(entry))
    }

    /// The reply from copies that a policy serves stale, or fresh ones where there are any.
    fn stale_reply<A: AsRef<[u8]>>(
        &self,
        db: u32,
        command: &Served<'_, A>,
        policy: ReadPolicy,
    ) -> Option<Reply> {
        let ReadPolicy::ServeStale { .. } = policy else {
            return None;
        };
        let copy = |entry: EntryKey<'_>| {
            self.copy(entry)
                .or_else(|| Some(self.stale_copy(entry, policy)?.0))
        };
        let reply = match command.serve.source {
            Source::MGet => {
                let values = command.arguments.iter().map(|key| {
                    let hit = copy(EntryKey::value(db, key.as_ref()))?;
                    Some(value(hit.value))
                });
                Reply::Array(values.collect::<Option<_>>()?)
            }
            _ => self.made_of(db, command, copy)?.reply,
        };
        self.pod.counters.stale_total.bump();
        Some(reply)
    }

    /// The reply to a command about one key, made from what `copy` finds.
    fn made_of<A: AsRef<[u8]>>(
        &self,
        db: u32,
        command: &Served<'_, A>,
        copy: impl Fn(EntryKey<'_>) -> Option<Hit>,
    ) -> Option<Made> {
        let source = command.serve.source;
        if (source == Source::Get || source.is_of_value())
            && let Some(hit) = copy(EntryKey::value(db, command.key()))
            && let Some(reply) = derive::of_value(source, hit.value, command.arguments)
        {
            let until = hit.deadline;
            return Some(Made { reply, until });
        }
        if source == Source::Get {
            return None;
        }
        if source.is_of_hash()
            && source != Source::HGetAll
            && let whole = entry_key::compose(commands::place("hgetall"), &command.arguments[..1])?
            && let Some(hit) = copy(EntryKey::reply(db, &whole))
            && let Some(reply) = derive::of_hash(source, &hit.value?, command.arguments)
        {
            let until = hit.deadline;
            return Some(Made { reply, until });
        }
        let name = entry_key::compose(command.place, command.arguments)?;
        let hit = copy(EntryKey::reply(db, &name))?;
        let reply = held::unpack(&hit.value?)?;
        let until = hit.deadline;
        Some(Made { reply, until })
    }

    /// All values, if they are resident and were true at one moment.
    fn resident_values<A: AsRef<[u8]>>(&self, db: u32, keys: &[A]) -> Option<Made> {
        let tokens = self.tokens(keys);
        let mut until = Timestamp::MAX;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let hit = self.copy(EntryKey::value(db, key.as_ref()))?;
            until = until.min(hit.deadline);
            values.push(value(hit.value));
        }
        let reply = Reply::Array(values);
        let made = Made { reply, until };
        let alone = keys.len() == 1;
        let together = alone || (self.pod.is_tracked() && self.hold(keys, &tokens, until));
        together.then(|| {
            keys.iter()
                .for_each(|key| self.pod.count_hit(EntryKey::value(db, key.as_ref())));
            made
        })
    }

    fn tokens<A: AsRef<[u8]>>(&self, keys: &[A]) -> Vec<FillToken> {
        let token = |key: &A| self.pod.fill_token(key.as_ref());
        keys.iter().map(token).collect()
    }

    /// Whether nothing was invalidated since the tokens were taken, and nothing has expired.
    fn hold<A: AsRef<[u8]>>(&self, keys: &[A], tokens: &[FillToken], until: Timestamp) -> bool {
        if off!(Compare) {
            return true;
        }
        self.io.now() < until
            && keys
                .iter()
                .zip(tokens)
                .all(|(key, token)| self.pod.unchanged(key.as_ref(), token))
    }

    /// The reply to a command, from L1 or through it; `None` when the command is not one that L1 answers,
    /// or not now, and has to be sent as it is.
    ///
    /// # Errors
    /// As [`read`](Self::read); an error of the server is in [`Error::server_error`].
    pub async fn reply<A: AsRef<[u8]>>(
        &self,
        db: u32,
        argv: &[A],
        policy: ReadPolicy,
    ) -> Result<Option<Reply>, Error> {
        let Some(command) = Served::of(argv).filter(|command| self.may_keep(command)) else {
            return Ok(None);
        };
        if let Some(made) = self.resident_of(db, &command) {
            return Ok(Some(made.reply));
        }
        if !self.pod.leases_hold(self.io.now())
            && let Some(stale) = self.stale_reply(db, &command, policy)
        {
            return Ok(Some(stale));
        }
        match self.reply_through(db, &command, policy).await {
            Err(error) if error.kind() == ErrorKind::Retry => {
                let stale = self.stale_reply(db, &command, policy);
                stale.map(Some).ok_or(error)
            }
            reply => reply,
        }
    }

    /// The reply to a command that L1 had nothing for.
    async fn reply_through<A: AsRef<[u8]>>(
        &self,
        db: u32,
        command: &Served<'_, A>,
        policy: ReadPolicy,
    ) -> Result<Option<Reply>, Error> {
        if command.serve.source == Source::MGet {
            return self.values(db, command).await;
        }
        let Some(entry) = command.entries().and_then(|mut entries| entries.pop()) else {
            return Ok(None);
        };
        let (kind, name) = entry;
        let read = self
            .read_missed(EntryKey::new(kind, db, &name), policy)
            .await?;
        let mut one = std::iter::once(Ok(read.value));
        command.assemble(&mut one).map(Some)
    }

    /// The values of several keys as they were at one moment, as `MGET` promises.
    async fn values<A: AsRef<[u8]>>(
        &self,
        db: u32,
        command: &Served<'_, A>,
    ) -> Result<Option<Reply>, Error> {
        let keys = command.arguments;
        if keys.len() > TOGETHER || !self.tells_all() {
            return Ok(None);
        }
        let entries: Vec<_> = keys
            .iter()
            .map(|key| EntryKey::value(db, key.as_ref()))
            .collect();
        match self.read_together(&entries, true).await? {
            Some(together) => {
                let mut ones = together.ones.into_iter();
                command.assemble(&mut ones).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The replies to several commands, all of which L1 may answer, as if they had been executed one
    /// after the other; `None` when they have to be sent as they are.
    ///
    /// # Errors
    /// L2 cannot be asked. Errors of the server stand in the places of their replies.
    pub async fn replies(
        &self,
        db: u32,
        pipeline: &[Vec<Bytes>],
        policy: ReadPolicy,
    ) -> Result<Option<Vec<Reply>>, Error> {
        let commands: Option<Vec<_>> = pipeline.iter().map(|argv| Served::of(argv)).collect();
        let Some(commands) = commands else {
            return Ok(None);
        };
        let stale = || -> Option<Vec<_>> {
            let each = |command| self.stale_reply(db, command, policy);
            let now = !self.pod.leases_hold(self.io.now());
            now.then(|| commands.iter().map(each).collect()).flatten()
        };
        if let Some(replies) = stale() {
            return Ok(Some(replies));
        }
        match self.replies_through(db, &commands).await {
            Err(error) if error.kind() == ErrorKind::Retry => stale().map(Some).ok_or(error),
            replies => replies,
        }
    }

    /// The replies to commands as they were at one moment.
    async fn replies_through(
        &self,
        db: u32,
        commands: &[Served<'_, Bytes>],
    ) -> Result<Option<Vec<Reply>>, Error> {
        let keys: Vec<&Bytes> = commands.iter().flat_map(|c| c.keys()).collect();
        // Where nobody tells of changes, one after the other cannot be proven.
        let apart = keys.len() > 1 && !self.pod.is_tracked();
        let all_kept = commands.iter().all(|command| self.may_keep(command));
        if apart || keys.len() > TOGETHER || !all_kept {
            return Ok(None);
        }
        for _ in 0..ROUNDS {
            let tokens = self.tokens(&keys);
            let mut until = Timestamp::MAX;
            let (mut entries, mut parts) = (Vec::new(), Vec::with_capacity(commands.len()));
            for command in commands {
                if let Some(made) = self.resident_of(db, command) {
                    until = until.min(made.until);
                    parts.push(Part::Hit(made.reply));
                    continue;
                }
                let Some(mut wanted) = command.entries() else {
                    return Ok(None);
                };
                let (first, count) = (entries.len(), wanted.len());
                entries.append(&mut wanted);
                parts.push(Part::Asked { first, count });
            }
            if !entries.is_empty() && keys.len() > 1 && !self.tells_all() {
                return Ok(None);
            }
            let entries: Vec<_> = entries
                .iter()
                .map(|(kind, name)| EntryKey::new(*kind, db, name))
                .collect();
            let ones = match entries.is_empty() {
                true => Vec::new(),
                false => match self.read_together(&entries, true).await? {
                    // What one command alone reads is as good as its reply.
                    Some(together) if together.tracked || keys.len() == 1 => {
                        until = until.min(together.until);
                        together.ones
                    }
                    Some(_) => return Ok(None),
                    None => return Ok(None),
                },
            };
            if keys.len() == 1 || self.hold(&keys, &tokens, until) {
                return Ok(Some(assemble(commands, parts, ones)?));
            }
        }
        Ok(None)
    }

    /// Whether every change of what is read here is told, so that it is known when several copies were true
    /// at one moment.
    fn tells_all(&self) -> bool {
        self.pod.is_tracked() && self.pod.config.admit_after <= 1
    }

    fn may_keep<A: AsRef<[u8]>>(&self, command: &Served<'_, A>) -> bool {
        let bypassed = |key: &A| self.pod.is_bypassed(key.as_ref());
        self.pod.config.bypass.is_empty() || !command.keys().iter().any(bypassed)
    }
}

fn assemble(
    commands: &[Served<'_, Bytes>],
    parts: Vec<Part>,
    ones: Vec<One>,
) -> Result<Vec<Reply>, Error> {
    let made = commands
        .iter()
        .zip(parts)
        .map(|(command, part)| match part {
            Part::Hit(reply) => Ok(reply),
            Part::Asked { first, count } => {
                let mut ones = ones[first..first + count].iter().cloned();
                command
                    .assemble(&mut ones)
                    .or_else(|error| in_place(&error))
            }
        });
    made.collect()
}

/// What the server said in place of a reply; any other error is one of the call.
pub(crate) fn in_place(error: &Error) -> Result<Reply, Error> {
    match error.server_error() {
        Some((code, message)) => Ok(Reply::Error {
            code: code.to_owned(),
            message: message.to_owned(),
        }),
        None => Err(error.clone()),
    }
}

fn is_wrong_type(error: &Error) -> bool {
    error
        .server_error()
        .is_some_and(|(code, _)| code == "WRONGTYPE")
}

fn value(value: Option<Bytes>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bulk)
}
