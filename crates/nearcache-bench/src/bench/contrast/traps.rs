//! The traps themselves, each the same calls for every client: a copy is made, something happens that the client must
//! heed, and then it is asked until it answers rightly or five seconds are over. Knows no client by name.

use std::future::Future;
use std::time::{Duration, Instant};

use nearcache_cli::outcome::Failure;
use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue, RedisResult, cmd, pipe};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::fleet::proxy::Proxy;

/// For how long a client is asked.
const WATCHED: Duration = Duration::from_secs(5);
/// How long an answer may take until it counts as none.
const PATIENCE: Duration = Duration::from_millis(300);
/// From one question to the next.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the network or the server stands still.
const STALL: Duration = Duration::from_secs(3);
/// Time enough for a push on loopback.
const SETTLED: Duration = Duration::from_millis(100);

/// What can go wrong with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trap {
    OwnWrite,
    ForeignWrite,
    HalfOpen,
    LateFill,
    Flush,
    Killed,
    Pipeline,
    Multi,
    SecondKey,
    Databases,
    ServerStop,
}

/// All of them, in the order in which they are told.
pub(super) const ALL: [Trap; 11] = [
    Trap::OwnWrite,
    Trap::ForeignWrite,
    Trap::HalfOpen,
    Trap::LateFill,
    Trap::Flush,
    Trap::Killed,
    Trap::Pipeline,
    Trap::Multi,
    Trap::SecondKey,
    Trap::Databases,
    Trap::ServerStop,
];

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Finding {
    /// Milliseconds after the event at which the old answer was last given; `None`: never.
    pub(super) old_until_ms: Option<u64>,
    /// Whether the right answer came in the end.
    pub(super) right: bool,
    /// Questions without an answer.
    pub(super) errors: u64,
}

/// A client, the way it goes, and a connection beside it.
pub(super) struct Subject<'a, C> {
    /// Under test.
    pub(super) client: C,
    /// What it talks through.
    pub(super) proxy: &'a Proxy,
    /// An ordinary connection of somebody else's, straight to the server.
    pub(super) other: &'a mut redis::Connection,
    /// The server's process.
    pub(super) server: u32,
    /// What names begin with.
    pub(super) prefix: String,
}

impl Trap {
    /// What happens, in a few words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OwnWrite => "own write, then read",
            Self::ForeignWrite => "another client's write",
            Self::HalfOpen => "half-open connection for 3 s, another's write",
            Self::LateFill => "written while the read is under way, both arrive together",
            Self::Flush => "FLUSHALL by another client",
            Self::Killed => "connection closed by the server, another's write",
            Self::Pipeline => "SET and GET in one pipeline",
            Self::Multi => "MULTI, then GET (must be QUEUED)",
            Self::SecondKey => "SUNION of two keys, the second is written",
            Self::Databases => "SELECT of another db, same key",
            Self::ServerStop => "server stopped for 3 s: hits without proof",
        }
    }

    /// Tries it.
    pub(super) async fn try_on<C: ConnectionLike>(
        self,
        mut on: Subject<'_, C>,
    ) -> Result<Finding, Failure> {
        let key = format!("{}key", on.prefix);
        let second = format!("{}second", on.prefix);
        let get = cmd("GET").arg(&key).to_owned();
        let set = |value: &str| cmd("SET").arg(&key).arg(value).to_owned();
        on.beside(&set("old"))?;
        if self != Self::LateFill {
            on.keep(&get, "old").await?;
        }
        match self {
            Self::OwnWrite => {
                on.must::<()>(&set("new")).await?;
                Ok(on.ask(&get, "new", Instant::now(), Duration::ZERO).await)
            }
            Self::ForeignWrite => {
                on.beside(&set("new"))?;
                Ok(on.ask(&get, "new", Instant::now(), Duration::ZERO).await)
            }
            Self::HalfOpen => {
                on.proxy.stall(true);
                on.beside(&set("new"))?;
                let since = Instant::now();
                let proxy = on.proxy;
                let asked = on.ask(&get, "new", since, STALL);
                let released = async {
                    sleep(STALL).await;
                    proxy.stall(false);
                };
                Ok(both(asked, released).await)
            }
            Self::LateFill => {
                on.proxy.stall(true);
                let other = &mut *on.other;
                let proxy = on.proxy;
                let read = get.query_async::<Option<String>>(&mut on.client);
                let written = async {
                    sleep(SETTLED).await;
                    let done = set("new").exec(other);
                    sleep(SETTLED).await;
                    proxy.stall(false);
                    done
                };
                let (_, done) = tokio::join!(read, written);
                done.map_err(|error| beside(&error))?;
                sleep(SETTLED).await;
                Ok(on.ask(&get, "new", Instant::now(), Duration::ZERO).await)
            }
            Self::Flush => {
                on.beside(&cmd("FLUSHALL"))?;
                Ok(on.ask(&get, "", Instant::now(), Duration::ZERO).await)
            }
            Self::Killed => {
                on.beside(
                    cmd("CLIENT")
                        .arg("KILL")
                        .arg("TYPE")
                        .arg("normal")
                        .arg("SKIPME")
                        .arg("yes"),
                )?;
                on.beside(&set("new"))?;
                Ok(on.ask(&get, "new", Instant::now(), Duration::ZERO).await)
            }
            Self::Pipeline => {
                let mut both = pipe();
                both.add_command(set("new"))
                    .ignore()
                    .add_command(get.clone());
                let read = both.query_async::<(Option<String>,)>(&mut on.client).await;
                Ok(at_once(read.map(|(value,)| value), "new"))
            }
            Self::Multi => {
                on.must::<()>(&cmd("MULTI")).await?;
                let read = get.query_async::<Option<String>>(&mut on.client).await;
                let finding = at_once(read, "QUEUED");
                // Whoever holds that for an error has nothing to discard.
                let _ = cmd("DISCARD").exec_async(&mut on.client).await;
                Ok(finding)
            }
            Self::SecondKey => {
                let union = cmd("SUNION")
                    .arg(format!("{}set", on.prefix))
                    .arg(&second)
                    .to_owned();
                on.beside(cmd("SADD").arg(&second).arg("old"))?;
                on.keep(&union, "old").await?;
                on.beside(cmd("DEL").arg(&second))?;
                on.beside(cmd("SADD").arg(&second).arg("new"))?;
                Ok(on.ask(&union, "new", Instant::now(), Duration::ZERO).await)
            }
            Self::Databases => {
                on.beside(cmd("SELECT").arg(1))?;
                on.beside(&set("new"))?;
                on.beside(cmd("SELECT").arg(0))?;
                on.must::<()>(cmd("SELECT").arg(1)).await?;
                Ok(on.ask(&get, "new", Instant::now(), Duration::ZERO).await)
            }
            Self::ServerStop => {
                signal(on.server, Signal::STOP)?;
                let since = Instant::now();
                let server = on.server;
                // Nobody can write meanwhile: what is asked is for how long the client goes on without any word of L2.
                let asked = on.ask(&get, "new", since, STALL);
                let released = async {
                    sleep(STALL).await;
                    signal(server, Signal::CONT)
                };
                let (mut finding, continued) = tokio::join!(asked, released);
                continued?;
                finding.right = true;
                Ok(finding)
            }
        }
    }
}

impl<C: ConnectionLike> Subject<'_, C> {
    /// Something another client does.
    fn beside(&mut self, what: &Cmd) -> Result<(), Failure> {
        what.exec(self.other).map_err(|error| beside(&error))
    }

    /// Something the client under test must be able to do.
    async fn must<T: FromRedisValue>(&mut self, what: &Cmd) -> Result<T, Failure> {
        let done: RedisResult<T> = what.query_async(&mut self.client).await;
        done.map_err(|error| format!("the client does not do what it is told: {error}"))
    }

    /// Reads twice, so that there is a copy where the client makes any.
    async fn keep(&mut self, read: &Cmd, expected: &str) -> Result<(), Failure> {
        for _ in 0..2 {
            let value: redis::Value = self.must(read).await?;
            if text(&value) != expected {
                return Err("the client does not find what was written".to_owned());
            }
            sleep(SETTLED).await;
        }
        Ok(())
    }

    /// Asks until the answer is right or the time is over, but for at least `least`.
    async fn ask(
        &mut self,
        read: &Cmd,
        expected: &str,
        since: Instant,
        least: Duration,
    ) -> Finding {
        let mut finding = Finding::default();
        let end = if least.is_zero() {
            WATCHED
        } else {
            least + (WATCHED - STALL)
        };
        while since.elapsed() < end {
            let asked = since.elapsed();
            match timeout(PATIENCE, read.query_async::<redis::Value>(&mut self.client)).await {
                Ok(Ok(value)) if text(&value) == expected => {
                    finding.right = true;
                    break;
                }
                // What was asked before the network stood still again may be old.
                Ok(Ok(_)) if least.is_zero() || asked < least => {
                    finding.old_until_ms = Some(since.elapsed().as_millis() as u64);
                }
                Ok(Ok(_)) => break,
                Ok(Err(_)) | Err(_) => finding.errors += 1,
            }
            sleep(PAUSE).await;
        }
        finding
    }
}

async fn both(asked: impl Future<Output = Finding>, released: impl Future<Output = ()>) -> Finding {
    tokio::join!(asked, released).0
}

/// A single answer, right or wrong for good.
fn at_once(read: RedisResult<Option<String>>, expected: &str) -> Finding {
    match read {
        Ok(Some(value)) if value == expected => Finding {
            right: true,
            ..Finding::default()
        },
        Ok(_) => Finding {
            old_until_ms: Some(0),
            ..Finding::default()
        },
        Err(_) => Finding {
            errors: 1,
            ..Finding::default()
        },
    }
}

/// A value, or the members of a set of one.
fn text(value: &redis::Value) -> String {
    if let Ok(one) = redis::from_redis_value::<Option<String>>(value.clone()) {
        return one.unwrap_or_default();
    }
    let many = redis::from_redis_value::<Vec<String>>(value.clone());
    many.unwrap_or_default().concat()
}

fn signal(id: u32, what: Signal) -> Result<(), Failure> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    kill_process(id.ok_or("a process has no number")?, what)
        .map_err(|error| format!("cannot signal the server: {error}"))
}

fn beside(error: &redis::RedisError) -> Failure {
    format!("the server does not do what it is told: {error}")
}
