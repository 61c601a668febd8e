//! What was written into a pipe, in the pieces that a session runs at a time.
//!
//! Commands that came together run together where that holds no reply back; those of the side connection may wait for
//! long, so each of them runs alone.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use nearcache_proto::commands::{Class, Step as Mark, classify};
use nearcache_proto::resp::Reply;
use nearcache_proto::{Protocol, Session};

use super::Outcome;
use super::wire::{self, Malformed};
use nearcache_io::{IoThread, Owned};

type Command = Vec<Bytes>;

/// What was written and has not begun.
#[derive(Default)]
pub(super) struct Steps {
    input: BytesMut,
    commands: VecDeque<Command>,
    /// Of the commands.
    bytes: usize,
}

/// What is run at a time.
pub(super) enum Step {
    One(Command),
    Several(Vec<Command>),
    /// What stood between `MULTI` and `EXEC`.
    Atomic(Vec<Command>),
}

impl Steps {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.input.len() + self.bytes
    }

    /// The next step, if all of it is here. `in_transaction`: one that is sent command by command is open.
    pub(super) fn next(&mut self, in_transaction: bool) -> Result<Option<Step>, Malformed> {
        while let Some(command) = wire::command(&mut self.input)? {
            self.bytes += length(&command);
            self.commands.push_back(command);
        }
        let Some(first) = self.commands.front() else {
            return Ok(None);
        };
        let step = if in_transaction {
            self.one()
        } else if let Some(end) = self.transaction() {
            let mut commands = self.take(end + 1);
            commands.pop();
            commands.remove(0);
            Some(Step::Atomic(commands))
        } else if runs_together(first) {
            let together = self.commands.iter().take_while(|argv| runs_together(argv));
            match together.count() {
                1 => self.one(),
                count => Some(Step::Several(self.take(count))),
            }
        } else {
            self.one()
        };
        Ok(step)
    }

    /// Where the transaction ends that begins here and is here as a whole. One with a command that cannot be part of it
    /// goes command by command, so that the error stands where a server would say it.
    fn transaction(&self) -> Option<usize> {
        let is = |command: &Command, mark: Mark, name: &[u8]| {
            classify(command) == Class::Transaction(mark)
                && command.len() == 1
                && command[0].eq_ignore_ascii_case(name)
        };
        is(self.commands.front()?, Mark::Begin, b"MULTI").then_some(())?;
        let inside = self.commands.iter().skip(1);
        let inside = inside
            .take_while(|argv| runs_together(argv) || matches!(classify(argv), Class::Side(_)));
        let end = 1 + inside.count();
        is(self.commands.get(end)?, Mark::End, b"EXEC").then_some(end)
    }

    fn one(&mut self) -> Option<Step> {
        self.take(1).pop().map(Step::One)
    }

    fn take(&mut self, count: usize) -> Vec<Command> {
        let taken: Vec<_> = self.commands.drain(..count).collect();
        self.bytes -= taken.iter().map(length).sum::<usize>();
        taken
    }
}

#[allow(clippy::ptr_arg, reason = "an element of what holds commands")]
fn length(command: &Command) -> usize {
    command.iter().map(Bytes::len).sum()
}

fn runs_together(command: &[Bytes]) -> bool {
    matches!(
        classify(command),
        Class::Read | Class::Serve(_) | Class::Write { .. } | Class::Fenced
    )
}

impl Step {
    /// How many replies it is owed.
    pub(super) fn replies(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(commands) => commands.len(),
            Self::Atomic(commands) => commands.len() + 2,
        }
    }

    /// The reply that nobody has to be asked for.
    pub(super) fn at_once(
        &self,
        session: &mut Session<IoThread>,
        protocol: Protocol,
    ) -> Option<Reply> {
        let Self::One(argv) = self else {
            return None;
        };
        if session.in_transaction() {
            return None;
        }
        let name = argv.first()?;
        match &argv[1..] {
            // How redis-rs begins a connection.
            [version] if name.eq_ignore_ascii_case(b"HELLO") => {
                (version[..] == *number(protocol)).then(|| greeting(protocol))
            }
            [db] if name.eq_ignore_ascii_case(b"SELECT") => {
                (db[..] == *session.db().to_string().as_bytes()).then(Reply::ok)
            }
            _ => session.resident(argv),
        }
    }

    pub(super) async fn run(
        self,
        mut session: Owned<Session<IoThread>>,
    ) -> (Owned<Session<IoThread>>, Outcome) {
        let outcome = match self {
            Self::One(argv) => session.call(argv).await.map(|reply| vec![reply]),
            Self::Several(commands) => session.pipeline(commands).await,
            Self::Atomic(commands) => atomic(&mut session, commands).await,
        };
        (session, outcome)
    }
}

async fn atomic(session: &mut Session<IoThread>, commands: Vec<Command>) -> Outcome {
    let count = commands.len();
    let executed = session.transaction(commands.clone()).await;
    let (code, message) = match &executed {
        Ok(Reply::Error { code, message }) => (code.as_str(), message.as_str()),
        Ok(_) => return executed.map(|reply| queued(count).chain([reply]).collect()),
        Err(error) => match error.server_error() {
            Some(said) => said,
            None => return executed.map(|reply| vec![reply]),
        },
    };
    let error = Reply::Error {
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let refusals = match code {
        "EXECABORT" => refusals(session, commands).await,
        _ => None,
    };
    Ok(refusals.unwrap_or_else(|| aborted(count, error)))
}

/// What the server says to each command of a transaction that it gave up because of one of them. It is asked again, and
/// told to forget it: nothing is executed.
async fn refusals(session: &mut Session<IoThread>, commands: Vec<Command>) -> Option<Vec<Reply>> {
    let word = |word: &'static [u8]| vec![Bytes::from_static(word)];
    let mut replies = vec![session.call(word(b"MULTI")).await.ok()?];
    for command in commands {
        replies.push(session.call(command).await.ok()?);
    }
    session.call(word(b"DISCARD")).await.ok()?;
    let refused = replies
        .iter()
        .any(|reply| matches!(reply, Reply::Error { .. }));
    replies.push(Reply::error(ABORTED));
    refused.then_some(replies)
}

const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

/// The replies to `MULTI` and the commands behind it.
fn queued(count: usize) -> impl Iterator<Item = Reply> {
    let queued = std::iter::repeat_n(Reply::Simple("QUEUED".to_owned()), count);
    std::iter::once(Reply::ok()).chain(queued)
}

/// The replies to a transaction of `count` commands that failed as a whole. redis-rs sees no error in that to `EXEC`.
pub(super) fn aborted(count: usize, error: Reply) -> Vec<Reply> {
    let mut replies: Vec<_> = queued(count).collect();
    match replies.get_mut(1) {
        Some(first) => {
            *first = error;
            replies.push(Reply::error(ABORTED));
        }
        None => replies.push(error),
    }
    replies
}

fn number(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Resp2 => b"2",
        Protocol::Resp3 => b"3",
    }
}

/// In place of a server's.
fn greeting(protocol: Protocol) -> Reply {
    let text = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
    let proto = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let fields = [
        ("server", text("nearcache")),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("proto", Reply::Int(proto)),
        ("id", Reply::Int(0)),
        ("mode", text("standalone")),
        ("role", text("master")),
        ("modules", Reply::Array(Vec::new())),
    ];
    let fields = fields.into_iter().map(|(name, value)| (text(name), value));
    match protocol {
        Protocol::Resp2 => Reply::Array(fields.flat_map(|(name, value)| [name, value]).collect()),
        Protocol::Resp3 => Reply::Map(fields.collect()),
    }
}
