//! Calls in flight: what was asked, what the oracle must know about when it began, and its future.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use nearcache_proto::resp::Reply;
use nearcache_proto::{
    Cache, Error, ErrorKind, Freshness, Read, ReadPolicy, Session, Source, WriteOutcome,
};

use crate::io::SimIo;
use crate::oracle::{Name, Seen};
use crate::world::View;

/// What a call did, for the oracle.
#[derive(Debug)]
pub enum Outcome {
    Read(Name, Seen, Freshness, Source),
    Many(Vec<(Name, Seen)>),
    /// Several that were all true at one moment.
    Together(Vec<(Name, Seen)>),
    Validated(Name, Seen),
    Loaded(Name, u64),
    /// A write, a command or a fence.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Load,
}

pub type CallFuture = Pin<Box<dyn Future<Output = Result<Outcome, Error>>>>;

pub struct Call {
    pub number: u64,
    pub kind: Kind,
    pub future: CallFuture,
    /// What it may count on.
    pub view: View,
    /// What a write writes.
    pub writes: Option<(Name, u64)>,
    /// Times the lane had been lost when a write of a known key began.
    pub losses: Option<u64>,
    /// By key: whether it would have been a hit when the call began.
    pub resident: Vec<bool>,
    /// It asked the lane for something after its first poll.
    pub asked_again: bool,
    /// The news of its key when it began.
    pub news: u64,
}

/// A name's key as bytes.
pub fn key(name: Name) -> Vec<u8> {
    format!("k{}", name.1).into_bytes()
}

/// The number of a key.
pub fn number(key: &[u8]) -> Option<usize> {
    match key {
        [b'k', digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// Longer values are not kept: each of these is either well below or above.
pub const MAX_INLINE: usize = 32;

pub fn encode(value: u64) -> Bytes {
    let large = value.is_multiple_of(6);
    Bytes::from(match large {
        true => format!("{value:040}"),
        false => value.to_string(),
    })
}

pub fn decode(value: Option<&Bytes>) -> Seen {
    value.map(|bytes| {
        std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("only numbers are ever written")
    })
}

pub fn read(cache: Cache<SimIo>, name: Name, policy: ReadPolicy) -> CallFuture {
    Box::pin(async move {
        let Read {
            value,
            freshness,
            source,
        } = cache.read(name.0, &key(name), policy).await?;
        Ok(Outcome::Read(
            name,
            decode(value.as_ref()),
            freshness,
            source,
        ))
    })
}

pub fn many(cache: Cache<SimIo>, names: Vec<Name>) -> CallFuture {
    Box::pin(async move {
        let keys: Vec<Vec<u8>> = names.iter().map(|name| key(*name)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let values = cache.get_many(names[0].0, &keys).await?;
        let seen = values.iter().map(|value| decode(value.as_ref()));
        Ok(Outcome::Many(names.into_iter().zip(seen).collect()))
    })
}

/// The command whose reply is a whole value, and is kept as a reply.
pub fn whole(key: &[u8]) -> Vec<Bytes> {
    let words: [&[u8]; 4] = [b"GETRANGE", key, b"0", b"-1"];
    words.map(Bytes::copy_from_slice).to_vec()
}

pub fn decode_reply(reply: &Reply) -> Seen {
    match reply {
        Reply::Nil => None,
        // No value is empty.
        Reply::Bulk(bytes) if bytes.is_empty() => None,
        Reply::Bulk(bytes) => decode(Some(bytes)),
        other => panic!("no value: {other:?}"),
    }
}

/// The same read as a command.
pub fn reply(cache: Cache<SimIo>, name: Name, policy: ReadPolicy) -> CallFuture {
    Box::pin(async move {
        let argv = whole(&key(name));
        let (reply, source) = match cache.resident_reply(name.0, &argv) {
            Some(reply) => (reply, Source::L1),
            None => {
                let reply = cache.reply(name.0, &argv, policy).await?;
                (reply.expect("L1 answers it"), Source::L2)
            }
        };
        let seen = decode_reply(&reply);
        Ok(Outcome::Read(name, seen, Freshness::Fresh, source))
    })
}

/// Reads of several keys as a pipeline, in turn as values and as commands.
pub fn pipeline(cache: Cache<SimIo>, names: Vec<Name>) -> CallFuture {
    Box::pin(async move {
        let command = |(place, name): (usize, &Name)| match place % 2 {
            0 => whole(&key(*name)),
            _ => vec![Bytes::from_static(b"GET"), Bytes::from(key(*name))],
        };
        let commands: Vec<_> = names.iter().enumerate().map(command).collect();
        Ok(match cache.replies(names[0].0, &commands).await? {
            Some(replies) => {
                let seen = replies.iter().map(decode_reply);
                Outcome::Together(names.into_iter().zip(seen).collect())
            }
            // They change too fast, or nobody tells of changes: they would be sent as they are.
            None => Outcome::Many(Vec::new()),
        })
    })
}

pub fn validated(cache: Cache<SimIo>, name: Name) -> CallFuture {
    Box::pin(async move {
        let value = cache.get_validated(name.0, &key(name)).await?;
        Ok(Outcome::Validated(name, decode(value.as_ref())))
    })
}

pub fn set(cache: Cache<SimIo>, name: Name, value: u64, ttl: Option<Duration>) -> CallFuture {
    Box::pin(async move {
        cache.set(name.0, &key(name), encode(value), ttl).await?;
        Ok(Outcome::Done)
    })
}

pub fn delete(cache: Cache<SimIo>, name: Name) -> CallFuture {
    Box::pin(async move {
        cache.delete(name.0, &key(name)).await?;
        Ok(Outcome::Done)
    })
}

pub fn load(cache: Cache<SimIo>, name: Name, value: u64, pauses: usize, fails: bool) -> CallFuture {
    Box::pin(async move {
        let io = cache.io().clone();
        let loader = move || async move {
            let news = io.news[name.1].load(Ordering::Relaxed);
            io.loading.lock().expect("one thread").insert(value, news);
            Pauses(pauses).await;
            if fails {
                return Err("the origin is away");
            }
            Ok(encode(value))
        };
        let loaded = cache.get_or_load(name.0, &key(name), None, loader).await?;
        Ok(Outcome::Loaded(
            name,
            decode(Some(&loaded)).expect("a value"),
        ))
    })
}

pub fn fence(cache: Cache<SimIo>) -> CallFuture {
    Box::pin(async move {
        cache.fence().await?;
        Ok(Outcome::Done)
    })
}

/// Writes through a command whose keys cannot be seen: a script, or a transaction on the side connection.
pub fn hidden_write(cache: Cache<SimIo>, name: Name, value: u64, script: bool) -> CallFuture {
    Box::pin(async move {
        let mut session = Session::new(cache, name.0);
        let number = value;
        let (key, value) = (key(name), encode(value).to_vec());
        if script {
            let text = b"return redis.call('set', KEYS[1], ARGV[1])".to_vec();
            let argv = [b"EVAL".to_vec(), text, b"1".to_vec(), key, value];
            if number.is_multiple_of(2) {
                session.command(&argv).await?;
            } else {
                let reads = vec![Bytes::from_static(b"DBSIZE")];
                let pipeline = vec![argv.map(Bytes::from).to_vec(), reads];
                let replies = session.pipeline(pipeline).await?;
                if let Reply::Error { message, .. } = &replies[0] {
                    // As `command` says it.
                    return Err(Error::new(ErrorKind::Usage, message.clone()));
                }
            }
        } else if let Err(error) = transaction(&mut session, key, value).await {
            usable(&mut session).await;
            return Err(error);
        }
        Ok(Outcome::Done)
    })
}

async fn transaction(
    session: &mut Session<SimIo>,
    key: Vec<u8>,
    value: Vec<u8>,
) -> Result<(), Error> {
    session.command(&[b"MULTI".to_vec()]).await?;
    let set = session.command(&[b"SET".to_vec(), key, value]).await;
    if let Ok(set) = &set {
        assert_eq!(*set, Reply::Simple("QUEUED".into()), "C16: no transaction");
    } else if !refused(&set) {
        return set.map(drop);
    }
    let exec = session.command(&[b"EXEC".to_vec()]).await;
    set.and(exec).map(drop)
}

/// Whatever became of a session's transaction, it is over.
async fn usable(session: &mut Session<SimIo>) {
    for line in [&["SELECT", "1"][..], &["MULTI"], &["DISCARD"]] {
        let result = session.command(line).await;
        assert!(!refused(&result), "C16: {line:?} gave {result:?}");
        if result.is_err() {
            return;
        }
    }
}

/// Whether the server or the session said no, rather than nothing.
fn refused(result: &Result<Reply, Error>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::Usage
        || error.write_outcome() == Some(WriteOutcome::Refused))
}

/// Stays pending for some polls.
struct Pauses(usize);

impl Future for Pauses {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
