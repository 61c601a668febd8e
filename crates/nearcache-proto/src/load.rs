//! Read-through: one loader per key and pod, and its result is kept only if nothing happened meanwhile.
//!
//! The loader runs in the task of the caller that leads; when that caller is cancelled, a waiter
//! takes over with its own loader and a new token.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Entrance, Key, Landed, Timestamp};

use crate::cache::{Cache, Io, ReadPolicy};
use crate::counters::Counter;
use crate::error::{Error, ErrorKind};
use crate::pod::{Fetched, FillMeta, FillOutcome, Purpose};
use crate::read::crowded;
use crate::request::Guard;
use crate::slots::LOADS;
use crate::write::set_op;

/// How often a caller waits for somebody else's loader that was cancelled before it gives up.
const ROUNDS: usize = 16;

impl<I: Io> Cache<I> {
    /// Reads a key; when L2 has none, runs `loader`, writes its value to L2 unless another writer was
    /// first, and returns it. Concurrent callers of this pod share one loader.
    ///
    /// # Errors
    /// [`ErrorKind::Loader`] for everyone who waits when the loader fails or panics (the panic itself
    /// goes on in its caller); the next caller tries again. As [`read`](Self::read) when L2 does not answer.
    ///
    /// # Cancellation
    /// When the caller that runs the loader is dropped, another waiter runs its own.
    pub async fn get_or_load<F, Fut, E>(
        &self,
        db: u32,
        key: &[u8],
        ttl: Option<Duration>,
        loader: F,
    ) -> Result<Bytes, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        // Before the loader runs, not after.
        set_op(db, &[], Bytes::new(), ttl, true)?;
        let mut loader = Some(loader);
        for _ in 0..ROUNDS {
            let before = self.pod.coherence.token(key);
            if let Some(value) = self.read(db, key, ReadPolicy::PassThrough).await?.value {
                return Ok(value);
            }
            let entrance = self.pod.store.enter(
                Key::new(db | LOADS, key),
                |_| false,
                |meta: &FillMeta| self.pod.may_join_load(key, meta),
                || self.pod.fill_meta(Key::new(db, key), true, Purpose::Demand),
            );
            match entrance {
                // Somebody wrote the key, or loaded it, since we found it absent: look again.
                Entrance::Lead(guard) if guard.meta().token != before => drop(guard),
                Entrance::Lead(guard) => {
                    let Some(loader) = loader.take() else { break };
                    let run = self.lead_load(guard, db, key, ttl, loader);
                    return Box::pin(run).await;
                }
                Entrance::Join(flight) => match flight.wait_landed().await {
                    Landed::Done(outcome) => return outcome?.value.ok_or_else(crowded),
                    Landed::Abandoned => {}
                },
                Entrance::Crowded(flight) => {
                    flight.wait_landed().await;
                }
                Entrance::Full | Entrance::Hit(_) => {
                    return Err(Error::new(
                        ErrorKind::Retry,
                        "too many keys are being loaded at once: the origin or L2 is slow, try again",
                    ));
                }
            }
        }
        Err(crowded())
    }

    async fn lead_load<F, Fut, E>(
        &self,
        guard: Guard,
        db: u32,
        key: &[u8],
        ttl: Option<Duration>,
        loader: F,
    ) -> Result<Bytes, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut lead = LoadLead {
            guard: Some(guard),
            errors: &self.pod.counters.load_errors_total,
        };
        self.pod.counters.loads_total.bump();
        let loaded = match loader().await {
            Ok(value) => self.keep_loaded(&lead, db, key, ttl, value).await,
            Err(error) => {
                self.pod.counters.load_errors_total.bump();
                Err(Error::with_source(
                    ErrorKind::Loader,
                    "the loader failed",
                    error,
                ))
            }
        };
        lead.complete(loaded.clone().map(|value| Fetched {
            value: Some(value),
            deadline: Timestamp::MAX,
            sent_at: Timestamp::ZERO,
            tracked: false,
        }));
        loaded
    }

    /// Writes what was loaded to L2, and answers with what L2 holds when somebody else was first.
    async fn keep_loaded(
        &self,
        lead: &LoadLead<'_>,
        db: u32,
        key: &[u8],
        ttl: Option<Duration>,
        value: Bytes,
    ) -> Result<Bytes, Error> {
        let Some(token) = lead.guard.as_ref().map(|guard| guard.meta().token) else {
            return Ok(value);
        };
        crate::cache::check_sizes(key, value.len())?;
        let op = set_op(db, key, value.clone(), ttl, true)?;
        match self.set_loaded(op, key, token).await {
            Ok(true) => Ok(value),
            Ok(false) => {
                let read = self.read(db, key, ReadPolicy::PassThrough).await?;
                Ok(read.value.unwrap_or(value))
            }
            // The value is good for whoever asked before the change; L2 does without it.
            Err(error) => {
                if error.kind() == ErrorKind::Closed {
                    return Err(error);
                }
                self.pod.counters.load_write_errors_total.bump();
                Ok(value)
            }
        }
    }
}

/// The lead of a load. Dropped by a cancelled caller it lets a waiter take over; dropped by a panic
/// it fails the waiters once.
struct LoadLead<'a> {
    guard: Option<Guard>,
    errors: &'a Counter,
}

impl LoadLead<'_> {
    fn complete(&mut self, outcome: FillOutcome) {
        if let Some(guard) = self.guard.take() {
            guard.complete(outcome);
        }
    }
}

impl Drop for LoadLead<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.guard.is_some() {
            self.errors.bump();
            self.complete(Err(Error::new(
                ErrorKind::Loader,
                "the loader panicked in another caller",
            )));
        }
    }
}
