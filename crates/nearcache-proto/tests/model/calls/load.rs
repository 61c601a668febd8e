//! Calls with a loader, and what may go wrong in one: it fails, panics, hangs, asks for its own key; and its caller's
//! task may panic elsewhere, or do something else for good.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use nearcache_proto::{Cache, Call as LoadCall, Io as _, LoadPolicy, Loaded, Read};

use super::{CallFuture, Outcome, Pauses, decode, encode, key};
use crate::io::SimIo;
use crate::oracle::Name;
use crate::world::LOAD_TIMEOUT;

/// How a loader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Value,
    /// There is none.
    Absence,
    Error,
    Panic,
    /// Never, by itself.
    Hang,
    /// As a value, after it has asked for its own key.
    Recursion,
    /// As a value, but for the panic of something else in its caller's task.
    PanicElsewhere,
}

/// One call with a loader.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub name: Name,
    /// What its loader returns.
    pub value: u64,
    pub pauses: usize,
    pub ending: Ending,
    pub policy: LoadPolicy,
    pub optional: bool,
    /// Whether values of another release are of no use to it.
    pub picky: bool,
}

/// Whether a value was written by a release that some callers cannot read.
pub fn is_of_another_release(value: u64) -> bool {
    value.is_multiple_of(3)
}

/// What a loader panics with.
pub struct LoaderPanic;

/// A loader that runs, until it is over or dropped.
struct Running<'a>(&'a SimIo, u64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.ends(self.1);
    }
}

// Without the hook, which would print it.
fn panic() -> ! {
    std::panic::resume_unwind(Box::new(LoaderPanic))
}

/// Never ends, and must not be polled again once the lane could tell that its time is over.
async fn hang<T>(io: &SimIo) -> T {
    let began = io.now();
    let over = began.saturating_add(LOAD_TIMEOUT).as_micros();
    let mut told_before = 0;
    poll_fn(|_| {
        assert!(
            told_before < over,
            "C8: a loader runs on after load_timeout"
        );
        told_before = io.told.load(std::sync::atomic::Ordering::Relaxed);
        std::task::Poll::Pending
    })
    .await
}

impl Load {
    fn call(self, key: &[u8]) -> LoadCall<'_> {
        LoadCall {
            db: self.name.0,
            key,
            policy: self.policy,
            optional: self.optional,
        }
    }

    pub fn future(self, cache: Cache<SimIo>) -> CallFuture {
        let Self { name, ending, .. } = self;
        let mut polls = 0;
        let mut call: Option<CallFuture> = Some(Box::pin(async move {
            let read = self.run(&cache).await?;
            let value = read.value.as_ref().map(|_| decode(read.value.as_ref()));
            Ok(match value.flatten() {
                Some(value) => Outcome::Loaded(name, value, read.freshness, read.source),
                None => Outcome::NoneLoaded,
            })
        }));
        Box::pin(poll_fn(move |cx| {
            let polled = call.as_mut().expect("not polled again").as_mut().poll(cx);
            polls += 1;
            if ending == Ending::PanicElsewhere && polls > 12 && polled.is_pending() {
                let _dropped_by_the_panic = call.take();
                panic();
            }
            polled
        }))
    }

    async fn run(self, cache: &Cache<SimIo>) -> Result<Read, nearcache_proto::Error> {
        let Self { name, value, .. } = self;
        let io = cache.io();
        let key = key(name);
        let usable =
            |bytes: &Bytes| !(self.picky && decode(Some(bytes)).is_some_and(is_of_another_release));
        let loader = || async {
            let l2_down = cache.pod().totals().loads_l2_down_total;
            io.begins(name, value, cache.pod().token(&key), l2_down);
            let _running = Running(io, value);
            if self.ending == Ending::Recursion {
                self.ask_again(cache).await;
            }
            Pauses(self.pauses).await;
            let loaded = Ok(Some(Loaded {
                value: encode(value),
                ttl: None,
            }));
            match self.ending {
                Ending::Value | Ending::PanicElsewhere | Ending::Recursion => loaded,
                Ending::Absence => Ok(None),
                Ending::Error => {
                    io.failed(name);
                    Err("the origin is away")
                }
                Ending::Panic => {
                    io.failed(name);
                    panic()
                }
                Ending::Hang => {
                    io.failed(name);
                    hang(io).await
                }
            }
        };
        cache.get_or_load(self.call(&key), usable, loader).await
    }

    /// Asks, inside its loader, for its own key: told so as soon as it would wait for the loader's end. It may wait for
    /// the end of another's, once the key was changed or its own time is over.
    async fn ask_again(self, cache: &Cache<SimIo>) {
        let key = key(self.name);
        let io = cache.io();
        let joined = || cache.pod().store_stats().joins - cache.pod().totals().joined_total;
        let token = cache.pod().token(&key);
        let began = io.now();
        let late = || io.now().saturating_since(began) >= LOAD_TIMEOUT;
        let mut again = Box::pin(cache.get_or_load(
            self.call(&key),
            |_| true,
            || async { Ok::<_, std::convert::Infallible>(None) },
        ));
        let answer = poll_fn(|cx| {
            let before = joined();
            let polled = again.as_mut().poll(cx);
            // It may have been the one to load, once the key was changed.
            io.knows_of(cache.pod().totals().loads_l2_down_total);
            let now = joined();
            assert!(
                polled.is_ready() || now == before || token != cache.pod().token(&key) || late(),
                "C8: a loader waits for itself"
            );
            polled
        });
        drop(answer.await);
    }
}
