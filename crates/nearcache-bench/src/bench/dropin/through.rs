//! What a command costs that L1 has no part in: many tasks on clones of one connection, as a service's handlers are.
//! Judges nothing; the same tasks ask the same of redis-rs and of the drop-in.

use std::time::{Duration, Instant};

use nearcache_cli::outcome::Failure;
use redis::aio::ConnectionLike;
use redis::{AsyncCommands, RedisResult, Value, pipe};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::band::{Band, Spread, Spreads, ratio};
use super::clients::Clients;
use super::data::{SMALL, SMALLS, counter, written};
use crate::zipf::Rng;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Set,
    Get,
    Incr,
    Pipeline,
}

/// One case: the same for both clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) command: Command,
    pub(super) tasks: usize,
}

/// What one client did in one slice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    per_second: f64,
    spread: Spread,
}

/// What one client did in one case.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) command: &'static str,
    pub(super) tasks: usize,
    pub(super) client: &'static str,
    pub(super) per_second: Band,
    #[serde(flatten)]
    pub(super) spreads: Spreads,
}

/// Calls a second through the drop-in, by those through redis-rs.
#[derive(Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) command: &'static str,
    pub(super) tasks: usize,
    pub(super) times: Band,
}

const CLIENTS: [&str; 2] = ["redis-rs", "drop-in"];
const COMMANDS: [Command; 4] = [Command::Set, Command::Get, Command::Incr, Command::Pipeline];
const TASKS: [usize; 3] = [1, 16, 64];

/// All cases.
pub(super) fn cases() -> Vec<Case> {
    let case = |command, tasks| Case { command, tasks };
    let all = COMMANDS.map(|command| TASKS.map(|tasks| case(command, tasks)));
    all.concat()
}

impl Command {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Set => "SET 100 B",
            Self::Get => "GET 100 B",
            Self::Incr => "INCR",
            Self::Pipeline => "5 SET, 5 GET",
        }
    }

    async fn send<C: ConnectionLike + Send + Sync>(
        self,
        con: &mut C,
        number: u32,
    ) -> RedisResult<()> {
        const VALUE: [u8; SMALL] = [b'w'; SMALL];
        match self {
            Self::Set => con.set(written(number), &VALUE[..]).await,
            Self::Get => con.get::<_, Vec<u8>>(written(number)).await.map(drop),
            Self::Incr => con.incr::<_, _, i64>(counter(number), 1).await.map(drop),
            Self::Pipeline => {
                let mut pipeline = pipe();
                for step in 0..5 {
                    let name = written((number + step) % SMALLS);
                    pipeline.set(&name, &VALUE[..]).get(name);
                }
                pipeline.query_async::<Vec<Value>>(con).await.map(drop)
            }
        }
    }
}

/// One slice of the client with this number.
pub(super) fn measure(
    clients: &Clients,
    runtime: &Runtime,
    client: usize,
    case: Case,
    seed: u64,
    time: Duration,
) -> Result<Slice, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("{} by {}: {error}", case.command.name(), CLIENTS[client])
    };
    let slice = match client {
        0 => runtime.block_on(slice(&clients.plain, case, seed, time)),
        _ => {
            let through = clients.drop_in.pass_through();
            runtime.block_on(slice(&through, case, seed, time))
        }
    };
    slice
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))
}

async fn slice<C>(
    con: &C,
    case: Case,
    seed: u64,
    time: Duration,
) -> Result<RedisResult<Slice>, tokio::task::JoinError>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    let began = Instant::now();
    let tasks: Vec<_> = (0..case.tasks)
        .map(|task| {
            let con = con.clone();
            let rng = Rng::new(seed, task as u64 + 1);
            tokio::spawn(calls(con, case.command, rng, began + time))
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        match task.await? {
            Ok(mut more) => times.append(&mut more),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Slice {
        per_second: times.len() as f64 / began.elapsed().as_secs_f64(),
        spread: Spread::of(times),
    }))
}

/// What one task sends, one call after the other: their latencies.
async fn calls<C: ConnectionLike + Send + Sync>(
    mut con: C,
    command: Command,
    mut rng: Rng,
    end: Instant,
) -> RedisResult<Vec<u32>> {
    let mut times = Vec::new();
    let mut last = Instant::now();
    while last < end {
        command.send(&mut con, rng.below(SMALLS)).await?;
        let now = Instant::now();
        let time = now.duration_since(last).as_nanos();
        times.push(u32::try_from(time).unwrap_or(u32::MAX));
        last = now;
    }
    Ok(times)
}

/// What all rounds of one case come to. `rounds[client]` has a slice for each.
pub(super) fn sum_up(case: Case, rounds: &[Vec<Slice>; 2]) -> (Vec<Row>, Ratio) {
    let speeds = |client: usize| -> Vec<f64> {
        let slices = rounds[client].iter();
        slices.map(|slice| slice.per_second).collect()
    };
    let rows = (0..2).map(|client| {
        let spreads: Vec<Spread> = rounds[client].iter().map(|slice| slice.spread).collect();
        Row {
            command: case.command.name(),
            tasks: case.tasks,
            client: CLIENTS[client],
            per_second: Band::of(speeds(client)),
            spreads: Spreads::of(&spreads),
        }
    });
    let ratio = Ratio {
        command: case.command.name(),
        tasks: case.tasks,
        times: ratio(&speeds(1), &speeds(0)),
    };
    (rows.collect(), ratio)
}
