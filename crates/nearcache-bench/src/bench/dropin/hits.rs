//! What a read costs one caller who finds it in L1, beside the same read by redis-rs: one call after the other, each
//! timed. A slice whose reads were no hits is an error, never a figure.

use std::collections::HashMap;

use nearcache_cli::outcome::Failure;
use redis::{AsyncCommands, Commands, RedisError, RedisResult};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::band::{Band, Spread, Spreads, ratio};
use super::clients::Clients;
use super::data::{FIELDS, HASHES, LARGE, LARGES, SMALL, SMALLS, hash, large, small};
use super::watch::{Stopwatch, Until};
use crate::zipf::Rng;

/// One kind of read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    GetSmall,
    GetLarge,
    HGetAll,
    HGet,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Who {
    RedisRs,
    CacheAio,
    DropIn,
    RedisRsBlocking,
    DropInBlocking,
}

/// What one client did with one kind of read.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) read: &'static str,
    pub(super) client: Who,
    /// The share of its calls that were hits; 1 for redis-rs without a cache, where none is to be one.
    pub(super) hit_share: f64,
    #[serde(flatten)]
    pub(super) spreads: Spreads,
}

/// How many times longer the median read of another client takes than the drop-in's.
#[derive(Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) read: &'static str,
    pub(super) client: Who,
    pub(super) drop_in: Who,
    pub(super) times: Band,
}

pub(super) const READS: [Read; 4] = [Read::GetSmall, Read::GetLarge, Read::HGetAll, Read::HGet];
pub(super) const WHO: [Who; 5] = [
    Who::RedisRs,
    Who::CacheAio,
    Who::DropIn,
    Who::RedisRsBlocking,
    Who::DropInBlocking,
];
const PAIRS: [(Who, Who); 3] = [
    (Who::RedisRs, Who::DropIn),
    (Who::CacheAio, Who::DropIn),
    (Who::RedisRsBlocking, Who::DropInBlocking),
];

impl Read {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GetSmall => "GET 100 B",
            Self::GetLarge => "GET 200 KB",
            Self::HGetAll => "HGETALL 20 fields",
            Self::HGet => "HGET",
        }
    }

    /// Its keys, in the order in which a slice asks for them, over and over.
    fn keys(self, seed: u64) -> Vec<String> {
        let (name, keys): (fn(u32) -> String, u32) = match self {
            Self::GetSmall => (small, SMALLS),
            Self::GetLarge => (large, LARGES),
            Self::HGetAll | Self::HGet => (hash, HASHES),
        };
        let mut rng = Rng::new(seed, self as u64 + 1);
        let drawn = (0..4096).map(|_| rng.below(keys));
        // All of them first, so that a first pass leaves none out.
        (0..keys).chain(drawn).map(name).collect()
    }

    /// What every answer must count.
    fn size(self) -> usize {
        match self {
            Self::GetSmall | Self::HGet => SMALL,
            Self::GetLarge => LARGE,
            Self::HGetAll => FIELDS,
        }
    }

    async fn ask<C: AsyncCommands>(self, con: &mut C, key: &str) -> RedisResult<usize> {
        Ok(match self {
            Self::GetSmall | Self::GetLarge => con.get::<_, Vec<u8>>(key).await?.len(),
            Self::HGetAll => {
                let all: HashMap<String, Vec<u8>> = con.hgetall(key).await?;
                all.len()
            }
            Self::HGet => con.hget::<_, _, Vec<u8>>(key, "field:07").await?.len(),
        })
    }

    fn ask_blocking<C: Commands>(self, con: &mut C, key: &str) -> RedisResult<usize> {
        Ok(match self {
            Self::GetSmall | Self::GetLarge => con.get::<_, Vec<u8>>(key)?.len(),
            Self::HGetAll => {
                let all: HashMap<String, Vec<u8>> = con.hgetall(key)?;
                all.len()
            }
            Self::HGet => con.hget::<_, _, Vec<u8>>(key, "field:07")?.len(),
        })
    }
}

/// One client's slice.
async fn slice<C: AsyncCommands>(
    mut con: C,
    read: Read,
    keys: Vec<String>,
    until: Until,
) -> RedisResult<Vec<u32>> {
    let mut watch = Stopwatch::start(until, keys.len());
    for key in keys.iter().cycle() {
        let size = read.ask(&mut con, key).await?;
        if size != read.size() {
            return Err(wrong(read, size));
        }
        if !watch.lap() {
            break;
        }
    }
    Ok(watch.times)
}

fn slice_blocking<C: Commands>(
    con: &mut C,
    read: Read,
    keys: &[String],
    until: Until,
) -> RedisResult<Vec<u32>> {
    let mut watch = Stopwatch::start(until, keys.len());
    for key in keys.iter().cycle() {
        let size = read.ask_blocking(con, key)?;
        if size != read.size() {
            return Err(wrong(read, size));
        }
        if !watch.lap() {
            break;
        }
    }
    Ok(watch.times)
}

fn wrong(read: Read, size: usize) -> RedisError {
    let why = format!("{} answered {size} instead of {}", read.name(), read.size());
    RedisError::from((redis::ErrorKind::Client, "an answer is wrong", why))
}

/// One slice of one client, and a check that its answers came from where they should.
pub(super) fn measure(
    clients: &mut Clients,
    runtime: &Runtime,
    who: Who,
    read: Read,
    seed: u64,
    until: Until,
) -> Result<Spread, Failure> {
    let keys = read.keys(seed);
    let before = (clients.cache_aio_hits(), clients.drop_in_hits());
    // On a worker of the runtime, as the handler of a service is.
    let times = match who {
        Who::RedisRs => {
            let task = slice(clients.plain.clone(), read, keys, until);
            runtime.block_on(runtime.spawn(task))
        }
        Who::CacheAio => {
            let task = slice(clients.cache_aio.clone(), read, keys, until);
            runtime.block_on(runtime.spawn(task))
        }
        Who::DropIn => {
            let task = slice(clients.drop_in.clone(), read, keys, until);
            runtime.block_on(runtime.spawn(task))
        }
        Who::RedisRsBlocking => Ok(slice_blocking(
            &mut clients.plain_blocking,
            read,
            &keys,
            until,
        )),
        Who::DropInBlocking => Ok(slice_blocking(
            &mut clients.drop_in_blocking,
            read,
            &keys,
            until,
        )),
    };
    let failed = |why: String| format!("{} by {who:?}: {why}", read.name());
    let times = times
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    let hits = match who {
        Who::CacheAio => clients.cache_aio_hits() - before.0,
        Who::DropIn | Who::DropInBlocking => clients.drop_in_hits() - before.1,
        Who::RedisRs | Who::RedisRsBlocking => times.len() as u64,
    };
    // On a busy machine a heartbeat may come late and cost some; they are shown.
    if matches!(until, Until::Elapsed(_)) && hits < times.len() as u64 / 10 * 9 {
        return Err(failed(format!("{hits} hits in {} reads", times.len())));
    }
    Ok(Spread {
        hits,
        ..Spread::of(times)
    })
}

/// Reads everything with every client that keeps it.
pub(super) fn fill(clients: &mut Clients, runtime: &Runtime, seed: u64) -> Result<(), Failure> {
    for read in READS {
        for who in [Who::CacheAio, Who::DropIn] {
            measure(clients, runtime, who, read, seed, Until::Filled)?;
        }
    }
    Ok(())
}

/// What all rounds of one kind of read come to. `rounds[who]` has a spread for each.
pub(super) fn sum_up(read: Read, rounds: &[Vec<Spread>; 5]) -> (Vec<Row>, Vec<Ratio>) {
    let rows = WHO.iter().map(|who| {
        let spreads = Spreads::of(&rounds[*who as usize]);
        let hits: u64 = rounds[*who as usize].iter().map(|spread| spread.hits).sum();
        Row {
            read: read.name(),
            client: *who,
            hit_share: hits as f64 / spreads.calls.max(1) as f64,
            spreads,
        }
    });
    let medians = |who: Who| -> Vec<f64> {
        let spreads = rounds[who as usize].iter();
        spreads.map(|spread| spread.p50).collect()
    };
    let ratios = PAIRS.iter().map(|(client, drop_in)| Ratio {
        read: read.name(),
        client: *client,
        drop_in: *drop_in,
        times: ratio(&medians(*client), &medians(*drop_in)),
    });
    (rows.collect(), ratios.collect())
}
