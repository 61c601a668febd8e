//! Calls in flight: what was asked, what the oracle must know about when it began, and its future. Those that need
//! a session are in `session`, those with a loader in `load`.

mod load;
mod session;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;
use nearcache_proto::resp::Reply;
use nearcache_proto::warm::Purpose;
use nearcache_proto::{Cache, Error, Freshness, Read, ReadPolicy, Source};

use crate::coverage::{FAULTS, Operation};
use crate::io::SimIo;
use crate::oracle::{Name, Seen};
use crate::world::View;

pub use load::{Ending, Load, LoaderPanic, is_of_another_release};
pub use session::{exec, hidden_write, mixed, switched, watched};

/// What a call did, for the oracle.
#[derive(Debug)]
pub enum Outcome {
    Read(Name, Seen, Freshness, Source),
    Many(Vec<(Name, Seen)>),
    /// Several that were all true at one moment.
    Together(Vec<(Name, Seen)>),
    /// As new as the server was during the call.
    Validated(Name, Seen),
    /// A value, of whoever gave it.
    Loaded(Name, u64, Freshness, Source),
    /// The origin has none.
    NoneLoaded,
    /// A write, a command or a fence.
    Done,
    /// Something was fetched that nobody had asked for.
    FetchedAhead,
    /// A write, with what was read before it and after it.
    Around {
        before: Option<Seen>,
        after: Seen,
    },
    /// What was read under `WATCH`; whether the write that relies on it took place.
    Watched(Seen, bool),
}

pub type CallFuture = Pin<Box<dyn Future<Output = Result<Outcome, Error>>>>;

pub struct Call {
    pub number: u64,
    pub operation: Operation,
    pub name: Name,
    pub future: CallFuture,
    /// What it may count on.
    pub view: View,
    /// What a write writes.
    pub writes: Option<u64>,
    /// Times the lane had been lost when a write of a known key began.
    pub losses: Option<u64>,
    /// By key: whether it would have been a hit when the call began.
    pub resident: Vec<bool>,
    /// When it first read the clock in its last turn.
    pub read_at: Timestamp,
    /// It was polled before.
    pub polled: bool,
    /// It asked the lane for something after its first poll.
    pub asked_again: bool,
    /// The news of its key when it began, and how often this pod had written it.
    pub news: (u64, u64),
    /// Its task does something else, and does not come back to it until everything is over.
    pub parked: bool,
    /// In its last turn it was given what another caller's loader had returned before.
    pub lent: bool,
    /// Nothing is wrong any more: it must not fail.
    pub must: bool,
    /// How a call with a loader was made.
    pub load: Option<Load>,
    /// How often each fault had struck when it began.
    pub strikes: [u32; FAULTS],
}

impl Call {
    /// Whether it is about a write.
    pub fn is_write(&self) -> bool {
        use Operation::*;
        matches!(
            self.operation,
            Set | Delete | Script | Multi | Exec | Watch | Mixed
        )
    }
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
        let reads = cache
            .get_many(names[0].0, &keys, ReadPolicy::PassThrough)
            .await;
        let reads = reads.into_iter().collect::<Result<Vec<_>, Error>>()?;
        let seen = reads.iter().map(|read| decode(read.value.as_ref()));
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
        Ok(
            match cache
                .replies(names[0].0, &commands, ReadPolicy::PassThrough)
                .await?
            {
                Some(replies) => {
                    let seen = replies.iter().map(decode_reply);
                    Outcome::Together(names.into_iter().zip(seen).collect())
                }
                // They change too fast, or nobody tells of changes: they would be sent as they are.
                None => Outcome::Many(Vec::new()),
            },
        )
    })
}

/// Values of several keys as one command.
pub fn mget(cache: Cache<SimIo>, names: Vec<Name>) -> CallFuture {
    Box::pin(async move {
        let mut argv = vec![Bytes::from_static(b"MGET")];
        argv.extend(names.iter().map(|name| Bytes::from(key(*name))));
        let reply = match cache.resident_reply(names[0].0, &argv) {
            Some(reply) => Some(reply),
            None => {
                cache
                    .reply(names[0].0, &argv, ReadPolicy::PassThrough)
                    .await?
            }
        };
        Ok(match reply {
            Some(Reply::Array(values)) => {
                let seen = values.iter().map(decode_reply);
                Outcome::Together(names.into_iter().zip(seen).collect())
            }
            Some(other) => panic!("MGET gives a list, not {other:?}"),
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

pub fn fence(cache: Cache<SimIo>) -> CallFuture {
    Box::pin(async move {
        cache.fence().await?;
        Ok(Outcome::Done)
    })
}

/// Fetches ahead of demand, as values or as kept replies.
pub fn ahead(
    cache: Cache<SimIo>,
    name: Name,
    as_reply: bool,
    purpose: Purpose,
    patience: Duration,
) -> CallFuture {
    Box::pin(async move {
        let argv = match as_reply {
            true => whole(&key(name)),
            false => vec![Bytes::from_static(b"GET"), Bytes::from(key(name))],
        };
        let fetched = cache.fetch_by_hand(name.0, &argv, purpose, patience);
        fetched.await;
        Ok(Outcome::FetchedAhead)
    })
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
