//! One handle, async or blocking, and how it performs a step: by the calls of redis-rs that users make.

use std::sync::{Mutex, PoisonError};

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};

use crate::command::Command;
use crate::plain;
use crate::probe::Probe;
use crate::reply::Reply;
use crate::step::Step;
use crate::subject::{AsyncSubject, BlockingSubject, Subject};

/// Which of the two kinds of program is tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    Async,
    /// The same by a connection of redis-rs's own type.
    Multiplexed,
    Blocking,
}

/// A connection of either kind.
#[derive(Clone)]
pub enum Link<A, B> {
    Async(A),
    Blocking(B),
}

pub type SubjectLink = Link<AsyncSubject, BlockingSubject>;

pub type PlainLink = Link<plain::Async, plain::Blocking>;

/// Who else writes, and where: what a step needs besides its connection.
pub struct Beside<'a> {
    pub probe: &'a Mutex<Probe>,
    pub db: i64,
}

/// A transaction with one conflict needs two attempts; more than this many means that it never ends.
const ATTEMPTS_MAX: usize = 8;

impl<A, B> Link<A, B>
where
    A: Subject + redis::aio::ConnectionLike,
    B: Subject + redis::ConnectionLike,
{
    pub async fn open(style: Style, url: &str) -> Self {
        match style {
            Style::Async => A::open(url).await.map(Self::Async),
            Style::Multiplexed => match A::open(url).await {
                Ok(pod) => Ok(Self::Async(pod.multiplexed().await)),
                Err(error) => Err(error),
            },
            Style::Blocking => B::open(url).await.map(Self::Blocking),
        }
        .expect("the server is up")
    }

    pub async fn another(&self) -> Self {
        match self {
            Self::Async(connection) => Self::Async(connection.another().await),
            Self::Blocking(connection) => Self::Blocking(connection.another().await),
        }
    }

    pub async fn settle(&self) {
        match self {
            Self::Async(connection) => connection.settle().await,
            Self::Blocking(connection) => connection.settle().await,
        }
    }

    pub fn hits(&self) -> Option<u64> {
        match self {
            Self::Async(connection) => connection.hits(),
            Self::Blocking(connection) => connection.hits(),
        }
    }

    /// The replies of the step, one per command where it has commands.
    pub async fn perform(&mut self, step: &Step, beside: Beside<'_>) -> Vec<Reply> {
        match step {
            Step::One(command) | Step::Expire { command, .. } => {
                vec![self.command(&command.cmd()).await.into()]
            }
            Step::Pipe { atomic, commands } => {
                let mut pipe = redis::pipe();
                if *atomic {
                    pipe.atomic();
                }
                for command in commands {
                    pipe.add_command(command.cmd());
                }
                items(self.pipe(pipe.ignore_errors()).await)
            }
            Step::Script { code, keys, args } => vec![self.script(code, keys, args).await.into()],
            Step::Transaction {
                key,
                read,
                writes,
                conflict,
            } => {
                let call = Transaction {
                    read: read.cmd(),
                    writes,
                    conflict: conflict.as_ref(),
                    beside,
                    seen: Mutex::default(),
                };
                match self {
                    Self::Async(connection) => call.run_async(connection, key).await,
                    Self::Blocking(connection) => call.run(connection, key),
                }
            }
            Step::Restore { from, to, replace } => {
                let dump = Command::of(&[b"DUMP", &from[..]]).cmd();
                let Ok(Value::BulkString(payload)) = self.command(&dump).await else {
                    return vec![Value::Nil.into()];
                };
                let mut restore = redis::cmd("RESTORE");
                restore.arg(to).arg(0).arg(payload);
                if *replace {
                    restore.arg("REPLACE");
                }
                vec![self.command(&restore).await.into()]
            }
            Step::Renew => Vec::new(),
        }
    }

    async fn command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Async(connection) => connection.req_packed_command(cmd).await,
            Self::Blocking(connection) => connection.req_command(cmd),
        }
    }

    async fn pipe(&mut self, pipe: &Pipeline) -> RedisResult<Value> {
        match self {
            Self::Async(connection) => pipe.query_async(connection).await,
            Self::Blocking(connection) => pipe.query(connection),
        }
    }

    async fn script(
        &mut self,
        code: &str,
        keys: &[Vec<u8>],
        args: &[Vec<u8>],
    ) -> RedisResult<Value> {
        let script = redis::Script::new(code);
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for arg in args {
            call.arg(arg);
        }
        match self {
            Self::Async(connection) => call.invoke_async(connection).await,
            Self::Blocking(connection) => call.invoke(connection),
        }
    }
}

/// One `redis::transaction`, and what its attempts read.
struct Transaction<'a> {
    read: Cmd,
    writes: &'a [Command],
    conflict: Option<&'a Command>,
    beside: Beside<'a>,
    seen: Mutex<Vec<Reply>>,
}

impl Transaction<'_> {
    async fn run_async<C>(self, connection: &mut C, key: &[u8]) -> Vec<Reply>
    where
        C: redis::aio::ConnectionLike + Clone,
    {
        let this = &self;
        let attempt = |mut connection: C, mut pipe: Pipeline| async move {
            let value = connection.req_packed_command(&this.read).await;
            this.after_read(value, &mut pipe)?;
            pipe.query_async::<Option<Vec<Value>>>(&mut connection)
                .await
        };
        let result = redis::aio::transaction_async(connection.clone(), &[key], attempt).await;
        self.replies(result)
    }

    fn run<C: redis::ConnectionLike>(self, connection: &mut C, key: &[u8]) -> Vec<Reply> {
        let result = redis::transaction(connection, &[key], |connection, pipe| {
            self.after_read(connection.req_command(&self.read), pipe)?;
            pipe.query::<Option<Vec<Value>>>(connection)
        });
        self.replies(result)
    }

    /// Notes what was read, lets the other one write the first time, and fills the pipeline.
    fn after_read(&self, value: RedisResult<Value>, pipe: &mut Pipeline) -> RedisResult<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(value.into());
        if seen.len() > ATTEMPTS_MAX {
            return Err((ErrorKind::Client, "the transaction does not end").into());
        }
        if seen.len() == 1
            && let Some(conflict) = self.conflict
        {
            let mut probe = self
                .beside
                .probe
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            probe.run(self.beside.db, conflict);
        }
        for write in self.writes {
            pipe.add_command(write.cmd());
        }
        pipe.ignore_errors();
        Ok(())
    }

    fn replies(self, result: Result<Vec<Value>, RedisError>) -> Vec<Reply> {
        let mut replies = self
            .seen
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        replies.extend(items(result.map(Value::Array)));
        replies
    }
}

/// The replies in the reply of a pipeline.
fn items(result: RedisResult<Value>) -> Vec<Reply> {
    match result {
        Ok(Value::Array(items)) => items.into_iter().map(Reply::from).collect(),
        other => vec![other.into()],
    }
}
