//! How an [`Op`] is written as a contiguous group of commands.

use std::time::Duration;

use bytes::Bytes;

use super::wire::Commands;
use crate::op::Op;

/// What [`encode`] wrote for one op, and so what [`decode`](super::decode) has to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    replies: usize,
    wrapped: bool,
}

impl Span {
    /// How many replies the server will send.
    pub fn replies(&self) -> usize {
        self.replies
    }

    /// Whether the first and the last of them answer a `SELECT`.
    pub(super) fn wrapped(&self) -> bool {
        self.wrapped
    }
}

/// Appends the commands of `op` to `out`. They must reach the server contiguously. `resting_db` is the database the
/// connection is in between ops.
///
/// # Cost
/// What `out` makes of them: for bytes a copy, for lists an allocation each and no copy of keys and values.
pub fn encode<C: Commands>(op: &Op, resting_db: u32, out: &mut C) -> Span {
    let db = op.db();
    let visited = db.filter(|db| *db != resting_db && *db != Op::AS_IS);
    if let Some(db) = visited {
        select(db, out);
    }
    let replies = body(op, resting_db, out);
    if visited.is_some() {
        select(resting_db, out);
    }
    Span {
        replies: replies + if visited.is_some() { 2 } else { 0 },
        wrapped: visited.is_some(),
    }
}

/// The same without the way to its db and back: how many commands it were.
fn body<C: Commands>(op: &Op, resting_db: u32, out: &mut C) -> usize {
    match op {
        Op::Read { key, tracked, .. } => read(key, *tracked, out, |out| {
            out.begin(2);
            out.word("GET");
            out.shared(key);
        }),
        Op::ReadWith { argv, tracked, .. } => {
            let key = argv.get(1).cloned().unwrap_or_default();
            read(&key, *tracked, out, |out| out.command(argv))
        }
        Op::Set {
            key,
            value,
            ttl,
            if_absent,
            ..
        } => {
            let more = 2 * usize::from(ttl.is_some()) + usize::from(*if_absent);
            out.begin(3 + more);
            out.word("SET");
            out.shared(key);
            out.shared(value);
            if let Some(ttl) = ttl {
                out.word("PX");
                out.text(&millis(*ttl));
            }
            if *if_absent {
                out.word("NX");
            }
            1
        }
        Op::Replace {
            key,
            old,
            value,
            ttl,
            ..
        } => {
            out.begin(6 + usize::from(ttl.is_some()));
            out.word("EVAL");
            out.word(if ttl.is_some() { REPLACE_PX } else { REPLACE });
            out.word("1");
            for word in [key, old, value] {
                out.shared(word);
            }
            if let Some(ttl) = ttl {
                out.text(&millis(*ttl));
            }
            1
        }
        Op::Delete { key, .. } => {
            out.begin(2);
            out.word("DEL");
            out.shared(key);
            1
        }
        Op::Command { argv, .. } => {
            out.command(argv);
            1
        }
        Op::Transaction { commands, .. } => {
            out.words(&["MULTI"]);
            commands.iter().for_each(|argv| out.command(argv));
            out.words(&["EXEC"]);
            commands.len() + 2
        }
        Op::Fence { nonce } => {
            echo(*nonce, out);
            1
        }
        Op::FenceOf { .. } | Op::Heartbeat => {
            out.words(&["HELLO"]);
            1
        }
        Op::ProbeDb { db } => {
            select(*db, out);
            select(resting_db, out);
            2
        }
        Op::Handshake { canary, nonce } => {
            out.words(&["CLIENT", "TRACKING", "ON", "OPTIN"]);
            out.words(&["CLIENT", "NO-EVICT", "ON"]);
            out.words(&["HELLO"]);
            let about = |name, more: &[&'static str], out: &mut C| {
                out.begin(2 + more.len());
                out.word(name);
                out.shared(canary);
                more.iter().for_each(|word| out.word(word));
            };
            about("HPTTL", &["FIELDS", "1", "x"], out);
            out.words(&["ACL", "WHOAMI"]);
            // Refused, EXEC ends what MULTI began all the same.
            out.words(&["MULTI"]);
            out.words(&["EXEC"]);
            out.words(&["CLIENT", "CACHING", "YES"]);
            about("GET", &[], out);
            about("PTTL", &[], out);
            // Its end is no news: whoever asked for news of the key has had them with the SET.
            about("SET", &["x", "PX", "1"], out);
            echo(*nonce, out);
            12
        }
    }
}

/// No command of all supported servers compares a value before it replaces it.
const REPLACE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                       redis.call('SET', KEYS[1], ARGV[2]) return 1";
const REPLACE_PX: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                          redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";

/// A change between the command and PTTL is pushed when the read is tracked. When it is not, the two must
/// be one, or a value could be kept past the end of its own life.
fn read<C: Commands>(
    key: &Bytes,
    tracked: bool,
    out: &mut C,
    command: impl FnOnce(&mut C),
) -> usize {
    match tracked {
        true => out.words(&["CLIENT", "CACHING", "YES"]),
        false => out.words(&["MULTI"]),
    }
    command(out);
    out.begin(2);
    out.word("PTTL");
    out.shared(key);
    if tracked {
        return 3;
    }
    out.words(&["EXEC"]);
    4
}

/// What an `ECHO` of `nonce` must come back with.
pub(super) fn nonce_text(nonce: u64) -> String {
    format!("{nonce:016x}")
}

fn echo<C: Commands>(nonce: u64, out: &mut C) {
    out.begin(2);
    out.word("ECHO");
    out.text(&nonce_text(nonce));
}

fn select<C: Commands>(db: u32, out: &mut C) {
    out.begin(2);
    out.word("SELECT");
    out.text(&db.to_string());
}

/// A server refuses `PX 0` and sums that overflow; the nearest life it takes is meant instead.
fn millis(ttl: Duration) -> String {
    const LONGEST: u128 = 1 << 62;
    ttl.as_millis().clamp(1, LONGEST).to_string()
}
