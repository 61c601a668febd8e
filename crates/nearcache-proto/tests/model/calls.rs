//! Calls in flight: what was asked, what the oracle must know about when it began, and its future.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;
use nearcache_proto::{Cache, Error, Freshness, Io, Read, ReadPolicy, Request, Session, Source};

use crate::oracle::{Name, Seen};

/// The clock and inbox of a simulated pod.
pub struct SimIo {
    pub clock: Arc<AtomicU64>,
    pub inbox: std::sync::Mutex<Vec<Request>>,
}

impl Io for SimIo {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::Relaxed))
    }

    fn submit(&self, request: Request) {
        self.inbox.lock().expect("one thread").push(request);
    }
}

/// What a call did, for the oracle.
#[derive(Debug)]
pub enum Outcome {
    Read(Name, Seen, Freshness, Source),
    Many(Vec<(Name, Seen)>),
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
    pub pod: usize,
    pub kind: Kind,
    pub future: CallFuture,
    pub began_step: u64,
    pub began_at: Timestamp,
    /// What every fresh read of this call must reflect, by promise.
    pub floor: u64,
    pub key_floors: Vec<u64>,
    pub own: BTreeMap<Name, u64>,
    /// What a write writes.
    pub writes: Option<(Name, u64)>,
}

/// A name's key as bytes.
pub fn key(name: Name) -> Vec<u8> {
    format!("k{}", name.1).into_bytes()
}

pub fn encode(value: u64) -> Bytes {
    Bytes::from(value.to_string())
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
        let loader = move || async move {
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
        let (key, value) = (key(name), value.to_string().into_bytes());
        if script {
            let text = b"return redis.call('set', KEYS[1], ARGV[1])".to_vec();
            let argv = [b"EVAL".to_vec(), text, b"1".to_vec(), key, value];
            session.command(&argv).await?;
        } else {
            session.command(&[b"MULTI".to_vec()]).await?;
            session.command(&[b"SET".to_vec(), key, value]).await?;
            session.command(&[b"EXEC".to_vec()]).await?;
        }
        Ok(Outcome::Done)
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
