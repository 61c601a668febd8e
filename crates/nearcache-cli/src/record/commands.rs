//! Which commands are requests of a cache, and where their keys and values stand.

use super::monitor::Arg;

/// What a command does to its keys, as a trace says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Get,
    Set,
    Del,
    /// Puts there what the same client has just missed.
    Fill,
}

impl Op {
    /// Its name in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Del => "del",
            Self::Fill => "fill",
        }
    }
}

/// Where the keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    /// The first argument.
    First,
    /// The first argument; the argument of this number becomes all of its value.
    Value(usize),
    /// All arguments.
    All,
    /// Keys and values in turn.
    Pairs,
}

/// Calls `each` with the operation and every key with the size of its new value, where that is known.
/// False: the command is none that is recorded.
pub(super) fn requests(args: &[Arg], mut each: impl FnMut(Op, &Arg, Option<u64>)) -> bool {
    let [name, rest @ ..] = args else {
        return false;
    };
    let Some((op, keys)) = name.whole().and_then(kind) else {
        return false;
    };
    match keys {
        Keys::First | Keys::Value(_) => {
            let value = match keys {
                Keys::Value(at) => args.get(at).map(|value| value.len),
                _ => None,
            };
            if let Some(key) = rest.first() {
                each(op, key, value);
            }
        }
        Keys::All => rest.iter().for_each(|key| each(op, key, None)),
        Keys::Pairs => {
            for pair in rest.chunks(2) {
                each(op, &pair[0], pair.get(1).map(|value| value.len));
            }
        }
    }
    true
}

/// How long the value lives that a command writes, in microseconds, where it says so.
pub(super) fn life_us(args: &[Arg]) -> Option<u64> {
    let word = |at: usize| Some(args.get(at)?.whole()?.to_ascii_uppercase());
    let number = |at: usize| str::from_utf8(args.get(at)?.whole()?).ok()?.parse().ok();
    let (unit, at) = match &word(0)?[..] {
        b"SETEX" | b"EXPIRE" => (1_000_000, 2),
        b"PSETEX" | b"PEXPIRE" => (1_000, 2),
        b"SET" => (3..args.len()).find_map(|at| match &word(at)?[..] {
            b"EX" => Some((1_000_000, at + 1)),
            b"PX" => Some((1_000, at + 1)),
            _ => None,
        })?,
        _ => return None,
    };
    number(at).map(|life: u64| life.saturating_mul(unit))
}

/// The key that a command gives an end and nothing else.
pub(super) fn ended(args: &[Arg]) -> Option<&Arg> {
    let name = args.first()?.whole()?.to_ascii_uppercase();
    let ends = matches!(&name[..], b"EXPIRE" | b"PEXPIRE");
    args.get(1).filter(|_| ends)
}

/// Whether a command deletes all keys.
pub(super) fn flushes(args: &[Arg]) -> bool {
    let name = args.first().and_then(Arg::whole).unwrap_or_default();
    name.eq_ignore_ascii_case(b"FLUSHALL") || name.eq_ignore_ascii_case(b"FLUSHDB")
}

fn kind(name: &[u8]) -> Option<(Op, Keys)> {
    let name = name.to_ascii_uppercase();
    Some(match &name[..] {
        b"MGET" => (Op::Get, Keys::All),
        b"GET" | b"STRLEN" | b"GETRANGE" | b"SUBSTR" | b"GETBIT" | b"BITCOUNT" | b"HGET"
        | b"HMGET" | b"HGETALL" | b"HKEYS" | b"HVALS" | b"HLEN" | b"HEXISTS" | b"HSTRLEN"
        | b"HSCAN" | b"LRANGE" | b"LINDEX" | b"LLEN" | b"SMEMBERS" | b"SISMEMBER"
        | b"SMISMEMBER" | b"SCARD" | b"SRANDMEMBER" | b"ZRANGE" | b"ZRANGEBYSCORE"
        | b"ZREVRANGE" | b"ZREVRANGEBYSCORE" | b"ZSCORE" | b"ZMSCORE" | b"ZRANK" | b"ZCARD"
        | b"ZCOUNT" | b"GETEX" => (Op::Get, Keys::First),
        b"SET" | b"SETNX" | b"GETSET" => (Op::Set, Keys::Value(2)),
        b"SETEX" | b"PSETEX" => (Op::Set, Keys::Value(3)),
        b"MSET" | b"MSETNX" => (Op::Set, Keys::Pairs),
        b"INCR" | b"INCRBY" | b"INCRBYFLOAT" | b"DECR" | b"DECRBY" | b"APPEND" | b"SETRANGE"
        | b"SETBIT" | b"HSET" | b"HSETNX" | b"HMSET" | b"HDEL" | b"HINCRBY" | b"HINCRBYFLOAT"
        | b"LPUSH" | b"RPUSH" | b"LPOP" | b"RPOP" | b"LSET" | b"LTRIM" | b"LREM" | b"SADD"
        | b"SREM" | b"SPOP" | b"ZADD" | b"ZREM" | b"ZINCRBY" => (Op::Set, Keys::First),
        b"DEL" | b"UNLINK" => (Op::Del, Keys::All),
        b"GETDEL" => (Op::Del, Keys::First),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::monitor::Parser;
    use super::*;

    fn found(command: &str) -> Option<String> {
        let mut found = None;
        let text = format!("+1.0 [0 a:1] {command}\r\n");
        Parser::new().feed(text.as_bytes(), &mut |line| {
            let mut text = String::new();
            let counted = requests(line.args, |op, key, size| {
                let key = String::from_utf8_lossy(key.whole().unwrap_or_default());
                let size = size.map(|size| size.to_string()).unwrap_or_default();
                text += &format!("{} {key} {size};", op.name());
            });
            found = counted.then_some(text);
        });
        found
    }

    #[test]
    fn keys_and_sizes_are_found() {
        for (command, expected) in [
            (r#""get" "k""#, "get k ;"),
            (r#""MGet" "a" "b""#, "get a ;get b ;"),
            (r#""set" "k" "four" "EX" "10""#, "set k 4;"),
            (r#""setex" "k" "10" "12345""#, "set k 5;"),
            (r#""mset" "a" "1" "b" "22""#, "set a 1;set b 2;"),
            (r#""mset" "a" "1" "b""#, "set a 1;set b ;"),
            (r#""hset" "h" "f" "v""#, "set h ;"),
            (r#""unlink" "a" "b""#, "del a ;del b ;"),
            (r#""getdel" "a""#, "del a ;"),
            (r#""get""#, ""),
            (r#""set" "k""#, "set k ;"),
        ] {
            assert_eq!(found(command).as_deref(), Some(expected), "{command}");
        }
        for (command, life) in [
            (r#""set" "k" "v" "NX" "px" "1500""#, Some(1_500_000)),
            (r#""set" "k" "EX" "EX" "2""#, Some(2_000_000)),
            (r#""set" "k" "v" "EX""#, None),
            (r#""set" "k" "v" "EX" "-1""#, None),
            (r#""psetex" "k" "10" "v""#, Some(10_000)),
            (r#""expire" "k" "3""#, Some(3_000_000)),
            (r#""hset" "k" "EX" "3""#, None),
        ] {
            let text = format!("+1.0 [0 a:1] {command}\r\n");
            Parser::new().feed(text.as_bytes(), &mut |line| {
                assert_eq!(life_us(line.args), life, "{command}");
            });
        }
        for command in [r#""ping""#, r#""evalsha" "x" "1" "k""#, r#""""#] {
            assert_eq!(found(command), None, "{command}");
        }
    }
}
