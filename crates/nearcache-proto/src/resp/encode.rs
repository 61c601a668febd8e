//! How an [`Op`] is written as a contiguous group of commands.

use std::time::Duration;

use bytes::Bytes;

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

/// Appends the commands of `op` to `out`, each as name and arguments. They must reach the server
/// contiguously. `resting_db` is the database the connection is in between ops.
///
/// # Cost
/// A list per command and a few words; keys and values are shared, not copied, and the words of an
/// [`Op::Command`] are taken out of it.
pub fn encode(op: &mut Op, resting_db: u32, out: &mut Vec<Vec<Bytes>>) -> Span {
    let first = out.len();
    let db = op.db();
    let visited = db.filter(|db| *db != resting_db && *db != Op::AS_IS);
    if let Some(db) = visited {
        out.push(select(db));
    }
    body(op, resting_db, out);
    if visited.is_some() {
        out.push(select(resting_db));
    }
    Span {
        replies: out.len() - first,
        wrapped: visited.is_some(),
    }
}

fn body(op: &mut Op, resting_db: u32, out: &mut Vec<Vec<Bytes>>) {
    match op {
        Op::Read { key, tracked, .. } => {
            read(vec![word("GET"), key.clone()], *tracked, out);
        }
        Op::ReadWith { argv, tracked, .. } => read(argv.clone(), *tracked, out),
        Op::Set {
            key,
            value,
            ttl,
            if_absent,
            ..
        } => {
            let mut argv = vec![word("SET"), key.clone(), value.clone()];
            if let Some(ttl) = ttl {
                argv.push(word("PX"));
                argv.push(millis(*ttl));
            }
            if *if_absent {
                argv.push(word("NX"));
            }
            out.push(argv);
        }
        Op::Replace {
            key,
            old,
            value,
            ttl,
            ..
        } => {
            let script = if ttl.is_some() { REPLACE_PX } else { REPLACE };
            let mut argv = vec![word("EVAL"), word(script), word("1"), key.clone()];
            argv.extend([old.clone(), value.clone()]);
            argv.extend(ttl.map(millis));
            out.push(argv);
        }
        Op::Delete { key, .. } => out.push(vec![word("DEL"), key.clone()]),
        // Nothing of it is needed to read its reply.
        Op::Command { argv, .. } => out.push(std::mem::take(argv)),
        Op::Transaction { commands, .. } => {
            out.push(words(&["MULTI"]));
            out.extend(commands.iter().cloned());
            out.push(words(&["EXEC"]));
        }
        Op::Fence { nonce } => out.push(echo(*nonce)),
        Op::FenceOf { .. } | Op::Heartbeat => out.push(words(&["HELLO"])),
        Op::ProbeDb { db } => {
            out.push(select(*db));
            out.push(select(resting_db));
        }
        Op::Handshake { canary, nonce } => {
            out.push(words(&["CLIENT", "TRACKING", "ON", "OPTIN"]));
            out.push(words(&["CLIENT", "NO-EVICT", "ON"]));
            out.push(words(&["HELLO"]));
            out.push(vec![
                word("HPTTL"),
                canary.clone(),
                word("FIELDS"),
                word("1"),
                word("x"),
            ]);
            out.push(words(&["ACL", "WHOAMI"]));
            // Refused, EXEC ends what MULTI began all the same.
            out.push(words(&["MULTI"]));
            out.push(words(&["EXEC"]));
            out.push(words(&["CLIENT", "CACHING", "YES"]));
            out.push(vec![word("GET"), canary.clone()]);
            out.push(vec![word("PTTL"), canary.clone()]);
            out.push(vec![
                word("SET"),
                canary.clone(),
                word("x"),
                word("PX"),
                // Its end is no news: whoever asked for news of the key has had them with the SET.
                word("1"),
            ]);
            out.push(echo(*nonce));
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
fn read(argv: Vec<Bytes>, tracked: bool, out: &mut Vec<Vec<Bytes>>) {
    let (begin, end) = match tracked {
        true => (&["CLIENT", "CACHING", "YES"][..], None),
        false => (&["MULTI"][..], Some("EXEC")),
    };
    let key = argv.get(1).cloned().unwrap_or_default();
    out.push(words(begin));
    out.push(argv);
    out.push(vec![word("PTTL"), key]);
    out.extend(end.map(|end| words(&[end])));
}

/// What an `ECHO` of `nonce` must come back with.
pub(super) fn nonce_text(nonce: u64) -> String {
    format!("{nonce:016x}")
}

fn echo(nonce: u64) -> Vec<Bytes> {
    vec![word("ECHO"), Bytes::from(nonce_text(nonce))]
}

fn select(db: u32) -> Vec<Bytes> {
    vec![word("SELECT"), Bytes::from(db.to_string())]
}

/// A server refuses `PX 0` and sums that overflow; the nearest life it takes is meant instead.
fn millis(ttl: Duration) -> Bytes {
    const LONGEST: u128 = 1 << 62;
    Bytes::from(ttl.as_millis().clamp(1, LONGEST).to_string())
}

fn words(text: &[&'static str]) -> Vec<Bytes> {
    text.iter().copied().map(word).collect()
}

fn word(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
