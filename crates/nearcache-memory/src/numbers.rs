//! Counters.

use bytes::Bytes;

use super::args::{Outcome, int};
use super::keyspace::Keyspace;
use super::value::Value;
use nearcache_proto::resp::Reply;

pub(super) fn incr(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    add(space, &argv[1], 1)
}

pub(super) fn decr(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    add(space, &argv[1], -1)
}

pub(super) fn incrby(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    add(space, &argv[1], int(&argv[2])?)
}

pub(super) fn decrby(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let by = int(&argv[2])?
        .checked_neg()
        .ok_or_else(|| Reply::error("ERR decrement would overflow"))?;
    add(space, &argv[1], by)
}

fn add(space: &mut Keyspace, key: &[u8], by: i64) -> Outcome {
    let (old, deadline) = match space.entry(key) {
        None => (0, None),
        Some(entry) => (int(entry.value.text()?)?, entry.deadline),
    };
    let new = old
        .checked_add(by)
        .ok_or_else(|| Reply::error("ERR increment or decrement would overflow"))?;
    space.put(key, Value::Text(Bytes::from(new.to_string())), deadline);
    Ok(Reply::Int(new))
}
