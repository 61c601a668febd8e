//! Commands about keys of any type, and about whole databases.

use bytes::Bytes;

use super::args::{Outcome, count, database, flag, int, is, syntax_error};
use super::keyspace::{DATABASES, Keyspace};
use nearcache_proto::resp::Reply;

pub(super) fn del(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let gone = argv[1..].iter().filter(|key| space.take(key).is_some());
    Ok(count(gone.count()))
}

pub(super) fn exists(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let found = argv[1..].iter().filter(|key| space.entry(key).is_some());
    Ok(count(found.count()))
}

pub(super) fn type_of(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let name = space.value(&argv[1]).map_or("none", |v| v.type_name());
    Ok(Reply::Simple(name.to_owned()))
}

pub(super) fn rename(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    move_key(space, &argv[1], &argv[2], true)?;
    Ok(Reply::ok())
}

pub(super) fn renamenx(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    move_key(space, &argv[1], &argv[2], false).map(flag)
}

fn move_key(space: &mut Keyspace, from: &Bytes, to: &Bytes, replace: bool) -> Result<bool, Reply> {
    if space.entry(from).is_none() {
        return Err(Reply::error("ERR no such key"));
    }
    if from == to {
        return Ok(replace);
    }
    if !replace && space.entry(to).is_some() {
        return Ok(false);
    }
    if let Some(entry) = space.take(from) {
        space.put(to, entry.value, entry.deadline);
    }
    Ok(true)
}

pub(super) fn copy(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (from, to) = (&argv[1], &argv[2]);
    let (source, mut target, mut replace) = (space.db(), space.db(), false);
    let mut options = &argv[3..];
    while let [option, rest @ ..] = options {
        options = match rest {
            rest if is(option, "REPLACE") => {
                replace = true;
                rest
            }
            [db, rest @ ..] if is(option, "DB") => {
                target = database(db, DATABASES)?;
                rest
            }
            _ => return Err(syntax_error()),
        };
    }
    if source == target && from == to {
        return Err(same_object());
    }
    let Some(entry) = space.entry(from).cloned() else {
        return Ok(flag(false));
    };
    space.check_room(entry.weight)?;
    space.select(target);
    let free = replace || space.entry(to).is_none();
    if free {
        space.put(to, entry.value, entry.deadline);
    }
    space.select(source);
    Ok(flag(free))
}

pub(super) fn move_to(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let (key, source) = (&argv[1], space.db());
    let target = database(&argv[2], DATABASES)?;
    if source == target {
        return Err(same_object());
    }
    if space.entry(key).is_none() {
        return Ok(flag(false));
    }
    space.select(target);
    let free = space.entry(key).is_none();
    space.select(source);
    if free && let Some(entry) = space.take(key) {
        space.select(target);
        space.put(key, entry.value, entry.deadline);
        space.select(source);
    }
    Ok(flag(free))
}

pub(super) fn flushdb(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    check_flush(argv)?;
    space.flush(Some(space.db()));
    Ok(Reply::ok())
}

pub(super) fn flushall(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    check_flush(argv)?;
    space.flush(None);
    Ok(Reply::ok())
}

pub(super) fn swapdb(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let number = |text: &[u8], which: &str| {
        int(text).map_err(|_| Reply::error(&format!("ERR invalid {which} DB index")))
    };
    number(&argv[1], "first")?;
    number(&argv[2], "second")?;
    let (a, b) = (
        database(&argv[1], DATABASES)?,
        database(&argv[2], DATABASES)?,
    );
    if a != b {
        space.swap(a, b);
    }
    Ok(Reply::ok())
}

pub(super) fn dbsize(space: &mut Keyspace, _: &[Bytes]) -> Outcome {
    Ok(count(space.len()))
}

pub(super) fn keys(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let found = space.live_keys().filter(|key| matches(&argv[1], key));
    Ok(Reply::Array(found.cloned().map(Reply::Bulk).collect()))
}

fn check_flush(argv: &[Bytes]) -> Result<(), Reply> {
    match &argv[1..] {
        [] => Ok(()),
        [how] if is(how, "SYNC") || is(how, "ASYNC") => Ok(()),
        _ => Err(syntax_error()),
    }
}

fn same_object() -> Reply {
    Reply::error("ERR source and destination objects are the same")
}

/// Whether `text` matches the glob `pattern` (`*`, `?`, `[a-z]`, `[^a]`, `\x`). Takes at most the
/// product of both lengths: only the last star is ever tried again.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        let step = match text.get(t) {
            None => return pattern[p..].iter().all(|c| *c == b'*'),
            Some(byte) => one(&pattern[p..], *byte),
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((after, from))) => {
                p = after;
                t = from + 1;
                star = Some((after, t));
            }
            (None, None) => return false,
        }
    }
}

/// How long the part of `pattern` is that matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    let (length, fits) = match pattern {
        [] => return None,
        [b'?', ..] => (1, true),
        [b'\\', escaped, ..] => (2, *escaped == byte),
        [b'[', class @ ..] => {
            let (length, fits) = member(class, byte);
            (length + 1, fits)
        }
        [literal, ..] => (1, *literal == byte),
    };
    fits.then_some(length)
}

/// The length of a character class (without its opening bracket), and whether `byte` is in it.
fn member(class: &[u8], byte: u8) -> (usize, bool) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at.min(class.len())..] {
            [] => return (class.len(), found != negated),
            [b']', ..] => return (at + 1, found != negated),
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]", "b", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[", "a", false),
            ("[^", "a", true),
            ("[a\\]]", "]", true),
            ("a\\", "a\\", true),
            ("**a*", "bab", true),
            ("", "a", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, fits, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
    }
}
