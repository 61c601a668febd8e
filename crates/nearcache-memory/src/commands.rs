//! The table of the commands the embedded store knows.

use bytes::Bytes;

use super::args::Outcome;
use super::keyspace::Keyspace;
use super::server::MemoryServer;
use super::session::ConnId;
use super::{
    collections, connections, expiry, keys, numbers, script, sorted, strings, transaction,
};

/// Registers its keys for tracking, and may run in read-only scripts.
const READ: u8 = 1;
/// Refused by a replica and by read-only scripts.
const WRITE: u8 = 2;
/// Refused when memory is full.
const GROW: u8 = 4;
/// Not for scripts.
const ALONE: u8 = 8;
/// Executed at once even between `MULTI` and `EXEC`.
const AT_ONCE: u8 = 16;

const FILL: u8 = WRITE | GROW;

/// What one command is.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// Number of words, the name included; negative: at least that many.
    arity: i8,
    flags: u8,
    /// First key, last key (negative: from the end) and step; zeros: none.
    keys: (usize, isize, usize),
    pub(super) run: Run,
}

/// How it is executed.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// On the data alone.
    Data(fn(&mut Keyspace, &[Bytes]) -> Outcome),
    /// On the connection's state too.
    Session(fn(&mut MemoryServer, ConnId, &[Bytes]) -> Outcome),
}

/// The names of all commands that the embedded store knows, in upper case.
pub fn command_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|command| command.name)
}

impl Command {
    /// The command called `name`, in any case.
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        TABLE
            .iter()
            .find(|command| name.eq_ignore_ascii_case(command.name.as_bytes()))
    }

    pub(super) fn takes(&self, words: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 {
            words >= wanted
        } else {
            words == wanted
        }
    }

    pub(super) fn is_write(&self) -> bool {
        self.flags & WRITE != 0
    }

    pub(super) fn grows(&self) -> bool {
        self.flags & GROW != 0
    }

    pub(super) fn runs_in_scripts(&self) -> bool {
        self.flags & ALONE == 0
    }

    pub(super) fn is_immediate(&self) -> bool {
        self.flags & AT_ONCE != 0
    }

    /// The keys that a read registers.
    pub(super) fn read_keys<'a>(&self, argv: &'a [Bytes]) -> impl Iterator<Item = &'a Bytes> {
        let reads = self.flags & READ != 0;
        self.keys(argv).take_while(move |_| reads)
    }

    /// The keys that it names, the first of them where it writes.
    pub(super) fn keys<'a>(&self, argv: &'a [Bytes]) -> impl Iterator<Item = &'a Bytes> {
        let (first, last, step) = self.keys;
        let end = if last < 0 {
            argv.len().saturating_sub(last.unsigned_abs() - 1)
        } else {
            argv.len().min(last.unsigned_abs() + 1)
        };
        let keys = if first > 0 {
            argv.get(first..end).unwrap_or_default()
        } else {
            &[]
        };
        keys.iter().step_by(step.max(1))
    }
}

const fn data(
    name: &'static str,
    arity: i8,
    flags: u8,
    run: fn(&mut Keyspace, &[Bytes]) -> Outcome,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: (1, 1, 1),
        run: Run::Data(run),
    }
}

const fn session(
    name: &'static str,
    arity: i8,
    flags: u8,
    run: fn(&mut MemoryServer, ConnId, &[Bytes]) -> Outcome,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: (0, 0, 0),
        run: Run::Session(run),
    }
}

const fn keys(command: Command, first: usize, last: isize) -> Command {
    Command {
        keys: (first, last, 1),
        ..command
    }
}

/// The most frequent first.
static TABLE: &[Command] = &[
    data("GET", 2, READ, strings::get),
    data("PTTL", 2, READ, expiry::pttl),
    session("CLIENT", -2, ALONE, connections::client),
    data("SET", -3, FILL, strings::set),
    session("ECHO", 2, 0, connections::echo),
    session("SELECT", 2, ALONE, connections::select),
    session("HELLO", -1, ALONE, connections::hello),
    data("DEL", -2, WRITE, keys::del),
    keys(data("MGET", -2, READ, strings::mget), 1, -1),
    session("PING", -1, 0, connections::ping),
    session("AUTH", -2, ALONE, connections::auth),
    session("MULTI", 1, ALONE | AT_ONCE, transaction::multi),
    session("EXEC", 1, ALONE | AT_ONCE, transaction::exec),
    session("DISCARD", 1, ALONE | AT_ONCE, transaction::discard),
    session("WATCH", -2, ALONE | AT_ONCE, transaction::watch),
    session("UNWATCH", 1, ALONE, transaction::unwatch),
    session("EVAL", -3, ALONE, script::eval),
    session("EVAL_RO", -3, ALONE, script::eval_ro),
    session("EVALSHA", -3, ALONE, script::evalsha),
    session("EVALSHA_RO", -3, ALONE, script::evalsha_ro),
    session("SCRIPT", -2, ALONE, script::script),
    data("SETEX", 4, FILL, strings::setex),
    data("PSETEX", 4, FILL, strings::psetex),
    data("SETNX", 3, FILL, strings::setnx),
    data("GETSET", 3, FILL, strings::getset),
    data("GETDEL", 2, WRITE, strings::getdel),
    data("GETEX", -2, WRITE, strings::getex),
    data("MSET", -3, FILL, strings::mset),
    data("MSETNX", -3, FILL, strings::msetnx),
    data("STRLEN", 2, READ, strings::strlen),
    data("GETRANGE", 4, READ, strings::getrange),
    data("SETRANGE", 4, FILL, strings::setrange),
    data("APPEND", 3, FILL, strings::append),
    data("INCR", 2, FILL, numbers::incr),
    data("DECR", 2, FILL, numbers::decr),
    data("INCRBY", 3, FILL, numbers::incrby),
    data("DECRBY", 3, FILL, numbers::decrby),
    data("UNLINK", -2, WRITE, keys::del),
    keys(data("EXISTS", -2, READ, keys::exists), 1, -1),
    keys(data("TOUCH", -2, READ, keys::exists), 1, -1),
    data("TYPE", 2, READ, keys::type_of),
    data("EXPIRE", -3, WRITE, expiry::expire),
    data("PEXPIRE", -3, WRITE, expiry::pexpire),
    data("EXPIREAT", -3, WRITE, expiry::expireat),
    data("PEXPIREAT", -3, WRITE, expiry::pexpireat),
    data("PERSIST", 2, WRITE, expiry::persist),
    data("TTL", 2, READ, expiry::ttl),
    data("EXPIRETIME", 2, READ, expiry::expiretime),
    data("PEXPIRETIME", 2, READ, expiry::pexpiretime),
    data("RENAME", 3, WRITE, keys::rename),
    data("RENAMENX", 3, WRITE, keys::renamenx),
    data("COPY", -3, FILL, keys::copy),
    data("MOVE", 3, WRITE, keys::move_to),
    data("FLUSHDB", -1, WRITE, keys::flushdb),
    data("FLUSHALL", -1, WRITE, keys::flushall),
    data("SWAPDB", 3, WRITE, keys::swapdb),
    keys(data("DBSIZE", 1, READ, keys::dbsize), 0, 0),
    keys(data("KEYS", 2, READ, keys::keys), 0, 0),
    data("HSET", -4, FILL, collections::hset),
    data("HGET", 3, READ, collections::hget),
    data("HDEL", -3, WRITE, collections::hdel),
    data("HGETALL", 2, READ, collections::hgetall),
    data("HLEN", 2, READ, collections::hlen),
    data("LPUSH", -3, FILL, collections::lpush),
    data("RPUSH", -3, FILL, collections::rpush),
    data("LRANGE", 4, READ, collections::lrange),
    data("LLEN", 2, READ, collections::llen),
    data("SADD", -3, FILL, collections::sadd),
    data("SMEMBERS", 2, READ, collections::smembers),
    data("ZADD", -4, FILL, sorted::zadd),
    data("ZINCRBY", 4, FILL, sorted::zincrby),
    data("ZREM", -3, WRITE, sorted::zrem),
    data("ZCARD", 2, READ, sorted::zcard),
    data("ZSCORE", 3, READ, sorted::zscore),
    data("ZMSCORE", -3, READ, sorted::zmscore),
    data("ZRANK", -3, READ, sorted::zrank),
    data("ZREVRANK", -3, READ, sorted::zrevrank),
    data("ZCOUNT", 4, READ, sorted::zcount),
    data("ZRANGE", -4, READ, sorted::zrange),
    data("ZREVRANGE", -4, READ, sorted::zrevrange),
    data("ZRANGEBYSCORE", -4, READ, sorted::zrangebyscore),
    data("ZREVRANGEBYSCORE", -4, READ, sorted::zrevrangebyscore),
    data("ZREMRANGEBYRANK", 4, WRITE, sorted::zremrangebyrank),
    data("ZREMRANGEBYSCORE", 4, WRITE, sorted::zremrangebyscore),
    data("ZPOPMIN", -2, WRITE, sorted::zpopmin),
    data("ZPOPMAX", -2, WRITE, sorted::zpopmax),
];
