//! Strings.

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::args::{Outcome, bulk, count, flag, int, is, syntax_error, too_long, wrong_arity};
use super::expiry::Clock;
use super::keyspace::Keyspace;
use super::value::Value;
use nearcache_proto::resp::Reply;

/// The longest string, in bytes.
const LONGEST: usize = 512 << 20;

pub(super) fn get(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    space.text(&argv[1]).map(bulk)
}

pub(super) fn set(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let key = &argv[1];
    let (mut nx, mut xx, mut get, mut keep) = (false, false, false, false);
    let mut deadline = None;
    let mut options = argv[3..].iter();
    while let Some(option) = options.next() {
        if is(option, "NX") {
            nx = true;
        } else if is(option, "XX") {
            xx = true;
        } else if is(option, "GET") {
            get = true;
        } else if is(option, "KEEPTTL") {
            keep = true;
        } else if let Some(clock) = Clock::option(option)
            && let (Some(text), None) = (options.next(), deadline)
        {
            deadline = Some((clock, text));
        } else {
            return Err(syntax_error());
        }
    }
    if (nx && xx) || (keep && deadline.is_some()) {
        return Err(syntax_error());
    }
    let mut deadline = match deadline {
        Some((clock, text)) => Some(clock.positive_deadline(space, text, "set")?),
        None => None,
    };
    let old = if get { space.text(key)? } else { None };
    let existing = space.entry(key).map(|entry| entry.deadline);
    let written = if existing.is_some() { !nx } else { !xx };
    if written {
        if keep {
            deadline = existing.flatten();
        }
        space.put(key, Value::Text(argv[2].clone()), deadline);
    }
    Ok(match (get, written) {
        (true, _) => bulk(old),
        (false, true) => Reply::ok(),
        (false, false) => Reply::Nil,
    })
}

pub(super) fn setex(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let deadline = Clock::SECONDS.positive_deadline(space, &argv[2], "setex")?;
    space.put(&argv[1], Value::Text(argv[3].clone()), Some(deadline));
    Ok(Reply::ok())
}

pub(super) fn psetex(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let deadline = Clock::MILLIS.positive_deadline(space, &argv[2], "psetex")?;
    space.put(&argv[1], Value::Text(argv[3].clone()), Some(deadline));
    Ok(Reply::ok())
}

pub(super) fn setnx(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let absent = space.entry(&argv[1]).is_none();
    if absent {
        space.put(&argv[1], Value::Text(argv[2].clone()), None);
    }
    Ok(flag(absent))
}

pub(super) fn getset(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let old = space.text(&argv[1])?;
    space.put(&argv[1], Value::Text(argv[2].clone()), None);
    Ok(bulk(old))
}

pub(super) fn getdel(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let old = space.text(&argv[1])?;
    space.take(&argv[1]);
    Ok(bulk(old))
}

pub(super) fn getex(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let key = &argv[1];
    let new: Option<Option<Timestamp>> = match &argv[2..] {
        [] => None,
        [option] if is(option, "PERSIST") => Some(None),
        [option, text] => {
            let clock = Clock::option(option).ok_or_else(syntax_error)?;
            Some(Some(clock.positive_deadline(space, text, "getex")?))
        }
        _ => return Err(syntax_error()),
    };
    let value = space.text(key)?;
    let expires = space.entry(key).is_some_and(|e| e.deadline.is_some());
    match new {
        _ if value.is_none() => {}
        Some(Some(deadline)) if deadline <= space.now() => {
            space.take(key);
        }
        Some(Some(deadline)) => space.set_deadline(key, Some(deadline)),
        Some(None) if expires => space.set_deadline(key, None),
        Some(None) | None => {}
    }
    Ok(bulk(value))
}

pub(super) fn mget(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    // A key of another type reads as missing.
    let values = argv[1..].iter().map(|key| match space.text(key) {
        Ok(value) => bulk(value),
        Err(_) => Reply::Nil,
    });
    Ok(Reply::Array(values.collect()))
}

pub(super) fn mset(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (pairs, rest) = argv[1..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong_arity("mset"));
    }
    for [key, value] in pairs {
        space.put(key, Value::Text(value.clone()), None);
    }
    Ok(Reply::ok())
}

pub(super) fn msetnx(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (pairs, rest) = argv[1..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong_arity("msetnx"));
    }
    let free = pairs.iter().all(|[key, _]| space.entry(key).is_none());
    if free {
        for [key, value] in pairs {
            space.put(key, Value::Text(value.clone()), None);
        }
    }
    Ok(flag(free))
}

pub(super) fn strlen(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let value = space.text(&argv[1])?;
    Ok(count(value.map_or(0, |value| value.len())))
}

pub(super) fn getrange(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (from, to) = (int(&argv[2])?, int(&argv[3])?);
    let value = space.text(&argv[1])?.unwrap_or_default();
    Ok(Reply::Bulk(value.slice(range(from, to, value.len()))))
}

pub(super) fn setrange(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (key, patch) = (&argv[1], &argv[3]);
    let offset =
        usize::try_from(int(&argv[2])?).map_err(|_| Reply::error("ERR offset is out of range"))?;
    let (old, deadline) = text_and_deadline(space, key)?;
    if patch.is_empty() {
        return Ok(count(old.len()));
    }
    let end = offset
        .checked_add(patch.len())
        .filter(|end| *end <= LONGEST)
        .ok_or_else(too_long)?;
    space.check_room(end.saturating_sub(old.len()))?;
    let mut text = old.to_vec();
    text.resize(text.len().max(end), 0);
    text[offset..end].copy_from_slice(patch);
    let length = count(text.len());
    space.put(key, Value::Text(Bytes::from(text)), deadline);
    Ok(length)
}

pub(super) fn append(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (key, tail) = (&argv[1], &argv[2]);
    let (old, deadline) = text_and_deadline(space, key)?;
    if old.len().saturating_add(tail.len()) > LONGEST {
        return Err(too_long());
    }
    let mut text = Vec::with_capacity(old.len() + tail.len());
    text.extend_from_slice(&old);
    text.extend_from_slice(tail);
    let length = count(text.len());
    space.put(key, Value::Text(Bytes::from(text)), deadline);
    Ok(length)
}

fn text_and_deadline(
    space: &mut Keyspace,
    key: &[u8],
) -> Result<(Bytes, Option<Timestamp>), Reply> {
    match space.entry(key) {
        None => Ok((Bytes::new(), None)),
        Some(entry) => Ok((entry.value.text()?.clone(), entry.deadline)),
    }
}

/// The elements from `from` to `to`, both included, negative ones counted from the end.
pub(super) fn range(from: i64, to: i64, length: usize) -> std::ops::Range<usize> {
    let signed = i64::try_from(length).unwrap_or(i64::MAX);
    let index = |i: i64| if i < 0 { signed.saturating_add(i) } else { i };
    let from = index(from).clamp(0, signed);
    let to = index(to).saturating_add(1).clamp(from, signed);
    // Both are between 0 and the length now.
    let unsigned = |i: i64| usize::try_from(i).unwrap_or(0);
    unsigned(from)..unsigned(to)
}
