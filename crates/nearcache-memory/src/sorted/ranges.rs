//! Ranges of sorted sets, by place and by score: read, counted, removed, and taken from either end.

use std::ops::Range;

use bytes::Bytes;

use super::{Score, SortedSet, float, sorted};
use crate::args::{Outcome, count, int, is, syntax_error};
use crate::keyspace::Keyspace;
use crate::strings::range;
use crate::value::Value;
use nearcache_proto::resp::Reply;

/// Which members are meant.
enum Span {
    /// By place, negative ones from the end.
    Places(i64, i64),
    /// By score.
    Scores(Bound, Bound),
}

/// One end of a range of scores.
struct Bound {
    score: f64,
    excluded: bool,
}

impl Bound {
    fn read(text: &[u8]) -> Result<Self, Reply> {
        let (excluded, number) = match text {
            [b'(', number @ ..] => (true, number),
            number => (false, number),
        };
        let score = float(number).ok_or_else(|| Reply::error("ERR min or max is not a float"))?;
        Ok(Self { score, excluded })
    }

    fn is_above(&self, score: f64) -> bool {
        score < self.score || self.excluded && score == self.score
    }

    fn is_below(&self, score: f64) -> bool {
        score > self.score || self.excluded && score == self.score
    }
}

impl Span {
    fn scores(min: &[u8], max: &[u8]) -> Result<Self, Reply> {
        Ok(Self::Scores(Bound::read(min)?, Bound::read(max)?))
    }

    fn places(from: &[u8], to: &[u8]) -> Result<Self, Reply> {
        Ok(Self::Places(int(from)?, int(to)?))
    }

    /// The places that are meant, counted from the end with `backwards`.
    fn of(&self, set: &SortedSet, backwards: bool) -> Range<usize> {
        let length = set.scores.len();
        match self {
            Self::Places(from, to) => range(*from, *to, length),
            Self::Scores(min, max) => {
                let low = set
                    .in_order()
                    .take_while(|(_, score)| min.is_above(*score))
                    .count();
                let high = set
                    .in_order()
                    .rev()
                    .take_while(|(_, score)| max.is_below(*score));
                let high = length - high.count();
                let (low, high) = match backwards {
                    true => (length - high, length - low.min(length)),
                    false => (low, high),
                };
                low..high.max(low)
            }
        }
    }
}

/// How a range is read.
#[derive(Default)]
struct Query {
    backwards: bool,
    with_scores: bool,
    /// Members to leave out, and how many to give; negative: all.
    limit: Option<(i64, i64)>,
}

impl Query {
    fn read(&self, space: &mut Keyspace, key: &[u8], span: &Span) -> Outcome {
        let Some(set) = sorted(space, key)? else {
            return Ok(Reply::Array(Vec::new()));
        };
        let mut range = span.of(set, self.backwards);
        if let Some((skip, most)) = self.limit {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            range.start = range.start.saturating_add(skip).min(range.end);
            range.end = range.end.min(range.start.saturating_add(most));
        }
        let pick = |members: &mut dyn Iterator<Item = (&Bytes, f64)>| {
            let members = members.skip(range.start).take(range.len());
            members
                .map(|(member, score)| self.show(member, score))
                .collect()
        };
        Ok(Reply::Array(match self.backwards {
            true => pick(&mut set.in_order().rev()),
            false => pick(&mut set.in_order()),
        }))
    }

    fn show(&self, member: &Bytes, score: f64) -> Reply {
        match self.with_scores {
            true => pair(member, score),
            false => Reply::Bulk(member.clone()),
        }
    }

    /// `WITHSCORES` and `LIMIT`, in any order.
    fn options(&mut self, mut words: &[Bytes]) -> Result<(), Reply> {
        loop {
            words = match words {
                [] => return Ok(()),
                [word, rest @ ..] if is(word, "WITHSCORES") => {
                    self.with_scores = true;
                    rest
                }
                [word, skip, most, rest @ ..] if is(word, "LIMIT") => {
                    self.limit = Some((int(skip)?, int(most)?));
                    rest
                }
                _ => return Err(syntax_error()),
            }
        }
    }
}

fn pair(member: &Bytes, score: f64) -> Reply {
    Reply::Array(vec![Reply::Bulk(member.clone()), Reply::Double(score)])
}

pub(crate) fn zrange(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (mut query, mut by_score, mut rest) = (Query::default(), false, Vec::new());
    for word in &argv[4..] {
        match word {
            word if is(word, "REV") => query.backwards = true,
            word if is(word, "BYSCORE") => by_score = true,
            word if is(word, "BYLEX") => {
                let why = "ERR syntax error: the embedded store knows no BYLEX";
                return Err(Reply::error(why));
            }
            word => rest.push(word.clone()),
        }
    }
    query.options(&rest)?;
    if query.limit.is_some() && !by_score {
        let why =
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
        return Err(Reply::error(why));
    }
    let span = match (by_score, query.backwards) {
        (false, _) => Span::places(&argv[2], &argv[3])?,
        (true, false) => Span::scores(&argv[2], &argv[3])?,
        (true, true) => Span::scores(&argv[3], &argv[2])?,
    };
    query.read(space, &argv[1], &span)
}

pub(crate) fn zrevrange(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let mut query = Query {
        backwards: true,
        ..Query::default()
    };
    query.options(&argv[4..])?;
    if query.limit.is_some() {
        return Err(syntax_error());
    }
    query.read(space, &argv[1], &Span::places(&argv[2], &argv[3])?)
}

pub(crate) fn zrangebyscore(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let span = Span::scores(&argv[2], &argv[3]);
    by_score(space, argv, span, false)
}

pub(crate) fn zrevrangebyscore(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let span = Span::scores(&argv[3], &argv[2]);
    by_score(space, argv, span, true)
}

fn by_score(
    space: &mut Keyspace,
    argv: &[Bytes],
    span: Result<Span, Reply>,
    backwards: bool,
) -> Outcome {
    let mut query = Query {
        backwards,
        ..Query::default()
    };
    query.options(&argv[4..])?;
    query.read(space, &argv[1], &span?)
}

pub(crate) fn zcount(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let span = Span::scores(&argv[2], &argv[3])?;
    let set = sorted(space, &argv[1])?;
    Ok(count(set.map_or(0, |set| span.of(set, false).len())))
}

pub(crate) fn zremrangebyrank(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let span = Span::places(&argv[2], &argv[3])?;
    remove(space, &argv[1], &span)
}

pub(crate) fn zremrangebyscore(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let span = Span::scores(&argv[2], &argv[3])?;
    remove(space, &argv[1], &span)
}

fn remove(space: &mut Keyspace, key: &[u8], span: &Span) -> Outcome {
    let empty = Value::Sorted(SortedSet::default());
    let gone = space.edit(key, empty, |value| {
        let set = value.sorted()?;
        let range = span.of(set, false);
        let meant = set.in_order().skip(range.start).take(range.len());
        let meant: Vec<Bytes> = meant.map(|(member, _)| member.clone()).collect();
        Ok(set.take_out(&meant))
    })?;
    Ok(Reply::Int(gone))
}

pub(crate) fn zpopmin(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    pop(space, argv, |set| set.order.first().cloned())
}

pub(crate) fn zpopmax(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    pop(space, argv, |set| set.order.last().cloned())
}

fn pop(
    space: &mut Keyspace,
    argv: &[Bytes],
    next: fn(&SortedSet) -> Option<(Score, Bytes)>,
) -> Outcome {
    let most = match argv.get(2..).unwrap_or_default() {
        [] => None,
        [most] => Some(
            usize::try_from(int(most)?)
                .map_err(|_| Reply::error("ERR value is out of range, must be positive"))?,
        ),
        _ => return Err(syntax_error()),
    };
    let mut taken = Vec::new();
    let empty = Value::Sorted(SortedSet::default());
    space.edit(&argv[1], empty, |value| {
        let set = value.sorted()?;
        let mut edit = set.take_out([]);
        while taken.len() < most.unwrap_or(1)
            && let Some((score, member)) = next(set)
        {
            let one = set.take_out([&member]);
            edit.removed += one.removed;
            edit.changed = true;
            taken.push((member, score.0));
        }
        Ok(edit)
    })?;
    Ok(Reply::Array(match (most, &taken[..]) {
        // Asked for one, it is given as it is, not as one of a list.
        (None, [(member, score)]) => vec![Reply::Bulk(member.clone()), Reply::Double(*score)],
        (_, taken) => taken
            .iter()
            .map(|(member, score)| pair(member, *score))
            .collect(),
    }))
}
