//! Hashes, lists and sets: enough of them to hold what a cache must not take for a string.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::args::{Outcome, bulk, count, int, wrong_arity, wrong_type};
use super::keyspace::{Edit, Keyspace};
use super::strings::range;
use super::value::{Value, element_weight};
use nearcache_proto::resp::Reply;

pub(super) fn hset(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (pairs, rest) = argv[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong_arity("hset"));
    }
    let new = space.edit(&argv[1], Value::Hash(BTreeMap::new()), |value| {
        let hash = value.hash()?;
        let (mut new, mut added, mut removed) = (0, 0, 0);
        for [field, value] in pairs {
            added += value.len();
            match hash.insert(field.clone(), value.clone()) {
                Some(old) => removed += old.len(),
                None => {
                    new += 1;
                    added += element_weight(field);
                }
            }
        }
        Ok(Edit {
            reply: new,
            added,
            removed,
            changed: true,
        })
    })?;
    Ok(Reply::Int(new))
}

pub(super) fn hget(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let hash = hash(space, &argv[1])?;
    Ok(bulk(hash.and_then(|hash| hash.get(&argv[2])).cloned()))
}

pub(super) fn hdel(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let gone = space.edit(&argv[1], Value::Hash(BTreeMap::new()), |value| {
        let hash = value.hash()?;
        let (mut gone, mut removed) = (0, 0);
        for field in &argv[2..] {
            if let Some(old) = hash.remove(field) {
                gone += 1;
                removed += element_weight(field) + old.len();
            }
        }
        Ok(Edit {
            reply: gone,
            added: 0,
            removed,
            changed: gone > 0,
        })
    })?;
    Ok(Reply::Int(gone))
}

pub(super) fn hgetall(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let pairs = hash(space, &argv[1])?.into_iter().flatten();
    let pairs = pairs.map(|(f, v)| (Reply::Bulk(f.clone()), Reply::Bulk(v.clone())));
    Ok(Reply::Map(pairs.collect()))
}

pub(super) fn hlen(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    Ok(count(hash(space, &argv[1])?.map_or(0, BTreeMap::len)))
}

pub(super) fn lpush(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    list_push(space, argv, VecDeque::push_front)
}

pub(super) fn rpush(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    list_push(space, argv, VecDeque::push_back)
}

pub(super) fn lrange(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (from, to) = (int(&argv[2])?, int(&argv[3])?);
    let elements = list(space, &argv[1])?.map(|list| {
        let range = range(from, to, list.len());
        list.range(range).cloned().map(Reply::Bulk).collect()
    });
    Ok(Reply::Array(elements.unwrap_or_default()))
}

pub(super) fn llen(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    Ok(count(list(space, &argv[1])?.map_or(0, VecDeque::len)))
}

pub(super) fn sadd(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let new = space.edit(&argv[1], Value::Set(BTreeSet::new()), |value| {
        let set = value.set()?;
        let (mut new, mut added) = (0, 0);
        for member in &argv[2..] {
            if set.insert(member.clone()) {
                new += 1;
                added += element_weight(member);
            }
        }
        Ok(Edit {
            reply: new,
            added,
            removed: 0,
            changed: new > 0,
        })
    })?;
    Ok(Reply::Int(new))
}

pub(super) fn smembers(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let members = match space.value(&argv[1]) {
        None => Vec::new(),
        Some(Value::Set(set)) => set.iter().cloned().map(Reply::Bulk).collect(),
        Some(_) => return Err(wrong_type()),
    };
    Ok(Reply::Set(members))
}

fn list_push(
    space: &mut Keyspace,
    argv: &[Bytes],
    push: fn(&mut VecDeque<Bytes>, Bytes),
) -> Outcome {
    let length = space.edit(&argv[1], Value::List(VecDeque::new()), |value| {
        let list = value.list()?;
        for element in &argv[2..] {
            push(list, element.clone());
        }
        Ok(Edit {
            reply: i64::try_from(list.len()).unwrap_or(i64::MAX),
            added: argv[2..].iter().map(|e| element_weight(e)).sum(),
            removed: 0,
            changed: true,
        })
    })?;
    Ok(Reply::Int(length))
}

fn hash<'a>(
    space: &'a mut Keyspace,
    key: &[u8],
) -> Result<Option<&'a BTreeMap<Bytes, Bytes>>, Reply> {
    match space.value(key) {
        None => Ok(None),
        Some(Value::Hash(hash)) => Ok(Some(hash)),
        Some(_) => Err(wrong_type()),
    }
}

fn list<'a>(space: &'a mut Keyspace, key: &[u8]) -> Result<Option<&'a VecDeque<Bytes>>, Reply> {
    match space.value(key) {
        None => Ok(None),
        Some(Value::List(list)) => Ok(Some(list)),
        Some(_) => Err(wrong_type()),
    }
}
