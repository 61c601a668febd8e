//! What the fuzz targets share: ways to make structured input of plain bytes, and what must be true of what was read.

use bytes::Bytes;
use nearcache_proto::commands::{Class, classify};
use nearcache_proto::resp::Reply;
use nearcache_proto::working_set::Item;

/// Calls `f` with the bytes as they are, and with the length and the checksum of a published frame made right: what
/// is behind the checksum would hardly ever be reached otherwise.
pub fn with_and_without_checksum(data: &[u8], mut f: impl FnMut(&[u8])) {
    f(data);
    let mut sealed = data.to_vec();
    if sealed.len() < 14 {
        return;
    }
    sealed[..4].copy_from_slice(b"NCWS");
    let length = sealed.len() as u32 + 4;
    sealed[8..12].copy_from_slice(&length.to_le_bytes());
    sealed.extend_from_slice(&crc32fast::hash(&sealed).to_le_bytes());
    f(&sealed);
}

/// What is true of items, whoever wrote them.
pub fn are_harmless(items: &[Item]) {
    for item in items {
        assert!((0.0..=1e18).contains(&item.score));
        let Some(slot) = item.key() else { continue };
        assert!(slot.bytes.len() <= 1024);
        // Dbs, or kept replies in dbs.
        assert!(slot.db & !(1 << 30) < 1 << 29);
        assert!(nearcache_proto::user_key(slot).is_some());
    }
}

/// Takes values off the front of bytes; zeros when there are none left.
pub struct Feed<'a>(pub &'a [u8]);

impl Feed<'_> {
    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Whether anything is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Eight bytes.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Up to 63 bytes, or one that is often a word of the protocol.
    pub fn word(&mut self) -> Bytes {
        let length = usize::from(self.byte());
        if let Some(word) = WORDS.get(length.wrapping_sub(64)) {
            return Bytes::from_static(word.as_bytes());
        }
        let (word, rest) = self.0.split_at(self.0.len().min(length % 64));
        self.0 = rest;
        Bytes::copy_from_slice(word)
    }

    /// A name and a few arguments.
    pub fn argv(&mut self) -> Vec<Bytes> {
        let count = usize::from(self.byte() % 9);
        (0..count).map(|_| self.word()).collect()
    }

    /// A reply, of lists nested `depth` deep at most.
    pub fn reply(&mut self, depth: usize) -> Reply {
        let text = |feed: &mut Self| String::from_utf8_lossy(&feed.word()).into_owned();
        let list = |feed: &mut Self| -> Vec<Reply> {
            let count = feed.byte() % 6;
            (0..count)
                .map(|_| feed.reply(depth.saturating_sub(1)))
                .collect()
        };
        match self.byte() % 16 {
            0 => Reply::Nil,
            1 => Reply::Int(self.number() as i64),
            2 => Reply::Int(i64::from(self.byte()) - 2),
            3 => Reply::Bulk(self.word()),
            4 => Reply::Simple(text(self)),
            5 => Reply::ok(),
            6 => Reply::Double(f64::from_bits(self.number())),
            7 => Reply::Bool(self.byte() & 1 == 1),
            8 => Reply::Verbatim("txt".to_owned(), text(self)),
            9 => Reply::BigNumber(text(self)),
            10 => Reply::error(&text(self)),
            11 => Reply::Simple("QUEUED".to_owned()),
            _ if depth == 0 => Reply::Nil,
            12 | 13 => Reply::Array(list(self)),
            14 => Reply::Set(list(self)),
            _ => {
                let items = list(self);
                Reply::Map(
                    items
                        .into_iter()
                        .map(|item| (item, self.reply(0)))
                        .collect(),
                )
            }
        }
    }
}

/// Whether L1 may answer a command.
pub fn is_served(argv: &[Bytes]) -> bool {
    matches!(classify(argv), Class::Serve(_))
}

/// Words that random bytes would take long to come upon.
const WORDS: &[&str] = &[
    "get",
    "set",
    "k",
    "l",
    "0",
    "1",
    "-1",
    "2",
    "10",
    "nx",
    "xx",
    "px",
    "ex",
    "keepttl",
    "get",
    "mget",
    "mset",
    "del",
    "unlink",
    "exists",
    "expire",
    "pexpire",
    "pexpireat",
    "persist",
    "pttl",
    "ttl",
    "type",
    "strlen",
    "getrange",
    "setrange",
    "append",
    "incr",
    "decr",
    "incrby",
    "incrbyfloat",
    "getset",
    "getdel",
    "getex",
    "copy",
    "rename",
    "renamenx",
    "move",
    "touch",
    "scan",
    "keys",
    "dbsize",
    "flushdb",
    "flushall",
    "swapdb",
    "select",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
    "client",
    "tracking",
    "on",
    "off",
    "optin",
    "caching",
    "yes",
    "no",
    "id",
    "hello",
    "3",
    "auth",
    "setname",
    "echo",
    "ping",
    "reset",
    "eval",
    "evalsha",
    "script",
    "load",
    "return 1",
    "return redis.call('get', KEYS[1])",
    "hset",
    "hget",
    "hgetall",
    "hdel",
    "hmget",
    "hlen",
    "hkeys",
    "hvals",
    "hexists",
    "lpush",
    "rpush",
    "lrange",
    "llen",
    "sadd",
    "smembers",
    "sismember",
    "scard",
    "zadd",
    "zrange",
    "zscore",
    "zcard",
    "withscores",
    "match",
    "count",
    "*",
    "object",
    "encoding",
    "info",
    "config",
    "command",
    "subscribe",
    "publish",
    "master",
    "replica",
    "role",
    "server",
    "redis",
    "valkey",
    "version",
    "8.0.0",
    "proto",
    "mode",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e308",
    "nan",
    "inf",
    "",
    "\0",
    "replace",
    "db",
    "async",
    "hpttl",
    "fields",
    "bitcount",
    "setbit",
    "getbit",
    "no-evict",
    "noloop",
    "bcast",
    "redirect",
];
