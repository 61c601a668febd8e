//! Sorted sets: the commands that write them, and the type. Their reads are in `ranges`.

mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::args::{Outcome, count, is, syntax_error, wrong_type};
use super::keyspace::{Edit, Keyspace};
use super::value::{Value, element_weight};
use nearcache_proto::resp::Reply;
pub(super) use ranges::{
    zcount, zpopmax, zpopmin, zrange, zrangebyscore, zremrangebyrank, zremrangebyscore, zrevrange,
    zrevrangebyscore,
};

/// Members with their scores, by name and in order.
#[derive(Clone, Debug, Default)]
pub(super) struct SortedSet {
    scores: BTreeMap<Bytes, f64>,
    order: BTreeSet<(Score, Bytes)>,
}

/// A score that orders. Never NaN.
#[derive(Clone, Copy, Debug)]
struct Score(f64);

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl SortedSet {
    pub(super) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(super) fn weight(&self) -> usize {
        self.scores
            .keys()
            .map(|member| element_weight(member))
            .sum()
    }

    /// Gives a member a score; the one it had.
    fn set(&mut self, member: &Bytes, score: f64) -> Option<f64> {
        // Two zeros are one score.
        let score = score + 0.0;
        let old = self.scores.insert(member.clone(), score);
        if let Some(old) = old {
            self.order.remove(&(Score(old), member.clone()));
        }
        self.order.insert((Score(score), member.clone()));
        old
    }

    fn remove(&mut self, member: &Bytes) -> bool {
        let Some(score) = self.scores.remove(member) else {
            return false;
        };
        self.order.remove(&(Score(score), member.clone()))
    }

    /// Removes members; what an edit made of it.
    fn take_out<'a>(&mut self, members: impl IntoIterator<Item = &'a Bytes>) -> Edit {
        let (mut gone, mut removed) = (0, 0);
        for member in members {
            if self.remove(member) {
                gone += 1;
                removed += element_weight(member);
            }
        }
        Edit {
            reply: gone,
            added: 0,
            removed,
            changed: gone > 0,
        }
    }

    fn in_order(&self) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> + ExactSizeIterator {
        self.order.iter().map(|(score, member)| (member, score.0))
    }
}

/// What `ZADD` says before the pairs.
#[derive(Default)]
struct Options {
    only_new: bool,
    only_old: bool,
    greater: bool,
    less: bool,
    changed: bool,
    increment: bool,
}

impl Options {
    /// Whether a member may go from one score to another.
    fn allow(&self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.only_old,
            Some(old) => !(self.only_new || self.greater && new <= old || self.less && new >= old),
        }
    }
}

pub(super) fn zadd(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (mut options, mut pairs) = (Options::default(), &argv[2..]);
    while let [word, rest @ ..] = pairs {
        let flag = match word {
            word if is(word, "NX") => &mut options.only_new,
            word if is(word, "XX") => &mut options.only_old,
            word if is(word, "GT") => &mut options.greater,
            word if is(word, "LT") => &mut options.less,
            word if is(word, "CH") => &mut options.changed,
            word if is(word, "INCR") => &mut options.increment,
            _ => break,
        };
        *flag = true;
        pairs = rest;
    }
    let (pairs, odd) = pairs.as_chunks::<2>();
    if !odd.is_empty() || pairs.is_empty() {
        return Err(syntax_error());
    }
    let Options {
        only_new,
        only_old,
        greater,
        less,
        ..
    } = options;
    if only_new && only_old {
        let why = "ERR XX and NX options at the same time are not compatible";
        return Err(Reply::error(why));
    }
    if greater && less || only_new && (greater || less) {
        let why = "ERR GT, LT, and/or NX options at the same time are not compatible";
        return Err(Reply::error(why));
    }
    if options.increment && pairs.len() > 1 {
        let why = "ERR INCR option supports a single increment-element pair";
        return Err(Reply::error(why));
    }
    add(space, &argv[1], pairs, &options)
}

pub(super) fn zincrby(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let options = Options {
        increment: true,
        ..Options::default()
    };
    add(
        space,
        &argv[1],
        &[[argv[2].clone(), argv[3].clone()]],
        &options,
    )
}

fn add(space: &mut Keyspace, key: &[u8], pairs: &[[Bytes; 2]], options: &Options) -> Outcome {
    let scores: Result<Vec<f64>, Reply> = pairs.iter().map(|[text, _]| score(text)).collect();
    let scores = scores?;
    let mut incremented = None;
    let told = space.edit(key, Value::Sorted(SortedSet::default()), |value| {
        let set = value.sorted()?;
        let (mut new, mut updated, mut added) = (0, 0, 0);
        for ([_, member], given) in pairs.iter().zip(scores) {
            let old = set.scores.get(member).copied();
            let score = match options.increment {
                true => old.unwrap_or(0.0) + given,
                false => given,
            };
            if score.is_nan() {
                let why = "ERR resulting score is not a number (NaN)";
                return Err(Reply::error(why));
            }
            if !options.allow(old, score) {
                continue;
            }
            incremented = Some(score);
            set.set(member, score);
            match old {
                None => {
                    new += 1;
                    added += element_weight(member);
                }
                Some(old) => updated += i64::from(old != score),
            }
        }
        Ok(Edit {
            reply: new + if options.changed { updated } else { 0 },
            added,
            removed: 0,
            changed: new + updated > 0,
        })
    })?;
    match options.increment {
        true => Ok(incremented.map_or(Reply::Nil, Reply::Double)),
        false => Ok(Reply::Int(told)),
    }
}

pub(super) fn zrem(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let empty = Value::Sorted(SortedSet::default());
    let gone = space.edit(&argv[1], empty, |value| {
        Ok(value.sorted()?.take_out(&argv[2..]))
    })?;
    Ok(Reply::Int(gone))
}

pub(super) fn zcard(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    Ok(count(
        sorted(space, &argv[1])?.map_or(0, |set| set.scores.len()),
    ))
}

pub(super) fn zscore(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let set = sorted(space, &argv[1])?;
    let score = set.and_then(|set| set.scores.get(&argv[2]));
    Ok(score.map_or(Reply::Nil, |score| Reply::Double(*score)))
}

pub(super) fn zmscore(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let set = sorted(space, &argv[1])?;
    let score = |member| set.and_then(|set| set.scores.get(member));
    let scores = argv[2..].iter().map(score);
    let reply = |score: Option<&f64>| score.map_or(Reply::Nil, |score| Reply::Double(*score));
    Ok(Reply::Array(scores.map(reply).collect()))
}

pub(super) fn zrank(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    rank(space, argv, false)
}

pub(super) fn zrevrank(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    rank(space, argv, true)
}

fn rank(space: &mut Keyspace, argv: &[Bytes], backwards: bool) -> Outcome {
    if argv.len() > 3 {
        // WITHSCORE is younger than the oldest server.
        return Err(syntax_error());
    }
    let set = sorted(space, &argv[1])?;
    let place = set.and_then(|set| {
        let place = set.in_order().position(|(member, _)| *member == argv[2])?;
        Some(if backwards {
            set.scores.len() - 1 - place
        } else {
            place
        })
    });
    Ok(place.map_or(Reply::Nil, count))
}

fn sorted<'a>(space: &'a mut Keyspace, key: &[u8]) -> Result<Option<&'a SortedSet>, Reply> {
    match space.value(key) {
        None => Ok(None),
        Some(Value::Sorted(set)) => Ok(Some(set)),
        Some(_) => Err(wrong_type()),
    }
}

/// A score as an argument.
fn score(text: &[u8]) -> Result<f64, Reply> {
    float(text).ok_or_else(|| Reply::error("ERR value is not a valid float"))
}

fn float(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!number.is_nan()).then_some(number)
}
