//! Read-through: one loader per key and pod, a bounded number of them at a time, and no wait without an end.
//!
//! The way of a call is [`Cache::get_or_load`]: look, lead or join, run, keep. A loader runs in the task of the caller
//! that leads (`run`); its turn and its place are in `turn` and `table`; what becomes of its value in `keep`.

mod keep;
mod run;
mod table;
mod turn;

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Entrance, Hit, Key, Landed, Timestamp};

use crate::cache::{Cache, Io, Read, ReadPolicy};
use crate::error::{Error, ErrorKind, causes};
use crate::pod::{FillMeta, FillOutcome, LaneState, PodFlight, Purpose};
use crate::read::{crowded, from_l1, from_origin};
use crate::request::{AlarmTicket, Work};
use crate::slots;
use keep::Keep;
use run::{Ended, run};
use table::{Place, Wait};
use turn::{Lead, Seat, is_inside, is_nested};

pub(crate) use table::Loads;

/// How often a caller starts over (a loader was cancelled, a key changed) before it gives up.
const ROUNDS: usize = 16;

/// What a loader returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The value.
    pub value: Bytes,
    /// How long L2 is to keep it, at least a millisecond; `None`: until it is deleted.
    pub ttl: Option<Duration>,
}

/// What a call with a loader does when L2 does not answer and no copy may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnL2Down {
    /// Runs the loader all the same. Its value is shared with callers of this pod that come within `max_staleness` of
    /// its start, and kept nowhere.
    #[default]
    Load,
    /// Fails, which protects an origin that could not bear the load of all pods.
    Error,
}

/// How a call with a loader reads, and when its loader runs.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LoadPolicy {
    /// How it reads; [`ReadPolicy::Error`] counts as [`ReadPolicy::PassThrough`], since there is better than to fail.
    pub on_unproven: ReadPolicy,
    /// What it does when L2 does not answer.
    pub on_l2_down: OnL2Down,
    /// How long this pod believes a loader that there is no value; `None`: it asks again at once.
    pub negative_ttl: Option<Duration>,
}

impl LoadPolicy {
    /// The same with another way to read.
    #[must_use]
    pub fn on_unproven(self, on_unproven: ReadPolicy) -> Self {
        Self {
            on_unproven,
            ..self
        }
    }

    /// The same with another answer to L2's absence.
    #[must_use]
    pub fn on_l2_down(self, on_l2_down: OnL2Down) -> Self {
        Self { on_l2_down, ..self }
    }

    /// The same with another time for which an absence is believed.
    #[must_use]
    pub fn negative_ttl(self, negative_ttl: Option<Duration>) -> Self {
        Self {
            negative_ttl,
            ..self
        }
    }
}

/// One call with a loader, less its loader.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Database number.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// How it reads and loads.
    pub policy: LoadPolicy,
    /// Whether "there is none" is an answer, or only a value is.
    pub optional: bool,
}

impl<I: Io> Cache<I> {
    /// Reads a key; when L2 has none, or none that is `usable`, runs `loader`, writes its value to L2 unless another
    /// writer was first, and returns it. Concurrent callers of this pod share one loader.
    ///
    /// # Errors
    /// - [`ErrorKind::Loader`] for everyone who waits when the loader fails, panics (the panic itself goes on in its
    ///   caller) or takes longer than `load_timeout`; the next caller tries again.
    /// - [`ErrorKind::Retry`] when the call waited for `load_timeout` for a place among `max_loads`, or for another
    ///   caller's loader; and when L2 does not answer, under [`OnL2Down::Error`].
    /// - [`ErrorKind::Usage`] when it is called inside the loader of the same key.
    ///
    /// # Cancellation
    /// When the caller that runs the loader is dropped, or no longer polled, a waiter runs its own.
    pub async fn get_or_load<F, Fut, E>(
        &self,
        call: Call<'_>,
        mut usable: impl FnMut(&Bytes) -> bool + Send,
        loader: F,
    ) -> Result<Read, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Loaded>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        if let Some(hit) = self.get_resident(call.db, call.key)
            && hit.value.as_ref().is_some_and(&mut usable)
        {
            return Ok(from_l1(hit.value));
        }
        Box::pin(self.load_missed(call, &mut usable, loader)).await
    }

    async fn load_missed<F, Fut, E>(
        &self,
        call: Call<'_>,
        usable: &mut (dyn FnMut(&Bytes) -> bool + Send),
        loader: F,
    ) -> Result<Read, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Loaded>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let came = self.io.now();
        let wait_until = came.saturating_add(self.load_timeout() + self.grace());
        let mut seat = None;
        // How often what others load was of no use to this caller.
        let mut misfits = 0;
        for _ in 0..ROUNDS {
            let before = self.pod.coherence.token(call.key);
            let keep = match self.look(&call, usable).await? {
                Look::Found(read) => return Ok(read),
                Look::Load(keep) => keep,
            };
            match self.enter_load(&call, &keep, misfits > 1) {
                Entrance::Hit(hit) => {
                    if hit.value.as_ref().is_none_or(&mut *usable) {
                        self.pod.counters.loads_lent_total.bump();
                        return Ok(from_origin(hit.value));
                    }
                    misfits += 1;
                }
                // Somebody wrote the key, or loaded it, since we found it absent: look again.
                Entrance::Lead(guard) if guard.meta().token != before => drop(guard),
                Entrance::Lead(guard) => {
                    let patience = wait_until.saturating_add(self.load_timeout());
                    let seat = seat.get_or_insert_with(|| Seat::new(&self.pod));
                    let lead = seat.lead(guard);
                    self.expect(seat, patience);
                    self.take_place(seat, wait_until).await?;
                    if seat.turn.is_given_up() {
                        return Err(self.no_place());
                    }
                    if !self.pod.coherence.unchanged(call.key, &lead.token) {
                        // What it would load could not be kept. The place is ours all the same.
                        drop(seat.take());
                        continue;
                    }
                    return self
                        .lead_load(seat, lead, &call, keep, usable, loader)
                        .await;
                }
                Entrance::Join(flight) => {
                    let proven = self.pod.is_tracked() && self.pod.lease_holds(self.io.now());
                    match self.wait_for(&flight, wait_until).await? {
                        // It is older than what this caller may be given: only the next will do.
                        Landed::Done(Ok(_)) if !proven && self.is_late(&flight, came) => {}
                        Landed::Done(outcome) => match outcome?.value {
                            None if call.optional => return Ok(from_origin(None)),
                            Some(value) if usable(&value) => return Ok(from_origin(Some(value))),
                            None | Some(_) => misfits += 1,
                        },
                        Landed::Abandoned => {}
                    }
                }
                Entrance::Crowded(flight) => {
                    self.wait_for(&flight, wait_until).await?;
                }
                Entrance::Full => {
                    return Err(Error::new(
                        ErrorKind::Retry,
                        "too many keys are being loaded at once: the origin or L2 is slow, try again",
                    ));
                }
            }
        }
        Err(crowded())
    }

    /// What there is without a loader, and where the value of one would belong.
    async fn look(
        &self,
        call: &Call<'_>,
        usable: &mut (dyn FnMut(&Bytes) -> bool + Send),
    ) -> Result<Look, Error> {
        let policy = match call.policy.on_unproven {
            ReadPolicy::Error => ReadPolicy::PassThrough,
            policy => policy,
        };
        match self.read(call.db, call.key, policy).await {
            Ok(read) => match &read.value {
                Some(value) if usable(value) => Ok(Look::Found(read)),
                Some(value) => {
                    self.pod.counters.undecodable_total.bump();
                    Ok(Look::Load(Keep::InPlaceOf(value.clone())))
                }
                None => Ok(Look::Load(Keep::IfAbsent)),
            },
            Err(error) if self.is_down(&error) && call.policy.on_l2_down == OnL2Down::Load => {
                Ok(Look::Load(Keep::Nowhere))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether L2 as a whole is what failed, and not this key. A lane that is refused (its password was changed, say)
    /// is of no more use than one that is down.
    fn is_down(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Retry => true,
            ErrorKind::Configuration => matches!(self.pod.state(), LaneState::Down(_)),
            _ => false,
        }
    }

    /// What lies there for callers of this pod, a load to join, or one to lead.
    fn enter_load(
        &self,
        call: &Call<'_>,
        keep: &Keep,
        alone: bool,
    ) -> Entrance<FillMeta, FillOutcome> {
        self.pod.store.enter(
            slots::loads(Key::new(call.db, call.key)),
            |hit| !alone && self.may_take(hit, call, keep),
            |meta: &FillMeta| !alone && self.pod.may_join_load(call.key, meta),
            || {
                let key = Key::new(call.db, call.key);
                self.pod.fill_meta(key, true, Purpose::Demand)
            },
        )
    }

    /// Whether what the origin said to another caller is good for this one. A value is only while L2 cannot have it.
    fn may_take(&self, hit: &Hit, call: &Call<'_>, keep: &Keep) -> bool {
        let current = hit.stamp == self.pod.coherence.token(call.key).stamp;
        let fits = match hit.value {
            Some(_) => !matches!(keep, Keep::IfAbsent),
            None => call.optional,
        };
        current && fits && self.io.now() < hit.deadline
    }

    /// Whether a caller came too long after the start of a load for its value.
    fn is_late(&self, flight: &Arc<PodFlight>, came: Timestamp) -> bool {
        let started = flight.meta().sent_at();
        started.is_some_and(|started| came.saturating_since(started) >= self.pod.lease_time())
            && !off!(OriginLife)
    }

    /// Waits for a place among `max_loads`, in line.
    async fn take_place(&self, seat: &Seat, until: Timestamp) -> Result<(), Error> {
        if seat.turn.has_place() || is_nested(&self.pod) || off!(Places) {
            return Ok(());
        }
        let Place::Wait(mut given) = self.pod.loads.place(&seat.turn) else {
            return Ok(());
        };
        self.pod.counters.loads_queued_total.bump();
        let mut wait = self.wait(until);
        let over = poll_fn(|cx| match pin!(&mut given).poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => pin!(&mut wait.over).poll(cx).map(Err),
        });
        match over.await {
            Ok(()) => Ok(()),
            Err(Err(error)) => Err(error),
            Err(Ok(())) => Err(self.no_place()),
        }
    }

    #[cold]
    fn no_place(&self) -> Error {
        self.pod.counters.load_waits_expired_total.bump();
        Error::new(
            ErrorKind::Retry,
            "too many loaders run at once (max_loads), and none ended for too long (load_timeout): the origin is slow, \
             try again later",
        )
    }

    /// Waits for somebody else's load.
    async fn wait_for(
        &self,
        flight: &Arc<PodFlight>,
        until: Timestamp,
    ) -> Result<Landed<FillOutcome>, Error> {
        if is_inside(flight) && !off!(Recursion) {
            return Err(Error::new(
                ErrorKind::Usage,
                "a loader asks for the key that it loads: it would wait for itself; read the origin there, or load \
                 another key",
            ));
        }
        let mut landing = flight.wait_landed();
        let mut wait = self.wait(until);
        poll_fn(|cx| {
            if let Poll::Ready(landed) = pin!(&mut landing).poll(cx) {
                return Poll::Ready(Ok(landed));
            }
            match pin!(&mut wait.over).poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    self.pod.counters.load_waits_expired_total.bump();
                    Poll::Ready(Err(Error::new(
                        ErrorKind::Retry,
                        "another caller still loads this key (load_timeout): the origin is slow, or loaders wait for \
                         each other's keys",
                    )))
                }
            }
        })
        .await
    }

    async fn lead_load<F, Fut, E>(
        &self,
        seat: &Seat,
        lead: Lead,
        call: &Call<'_>,
        keep: Keep,
        usable: &mut (dyn FnMut(&Bytes) -> bool + Send),
        loader: F,
    ) -> Result<Read, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Loaded>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let counters = &self.pod.counters;
        counters.loads_total.bump();
        if matches!(keep, Keep::Nowhere) {
            counters.loads_l2_down_total.bump();
        }
        let started = self.io.now();
        lead.flight.meta().sent(0, started);
        let until = started.saturating_add(self.load_timeout());
        self.expect(seat, until);
        let loader = async move { loader().await.map_err(failed) };
        let loaded = match run(seat, &lead, self.wait(until), loader).await {
            Ok(loaded) => loaded,
            Err(Ended::TimedOut) => {
                counters.load_timeouts_total.bump();
                Err(too_slow())
            }
            Err(Ended::Closed(error)) => Err(error),
            Err(Ended::Panicked(panic)) => {
                counters.load_errors_total.bump();
                let why = "the loader panicked in another caller";
                seat.land(Err(Error::new(ErrorKind::Loader, why)));
                resume_unwind(panic);
            }
        };
        // What is left is up to L2.
        let requests = self.pod.config.operation_timeout * 2;
        self.expect(seat, self.io.now().saturating_add(requests));
        let kept = match loaded {
            Ok(Some(loaded)) => {
                self.keep(call, (&lead, started), keep, loaded, usable)
                    .await
            }
            Ok(None) => Ok(self.keep_absence(call, started, &keep)),
            Err(error) => {
                counters.load_errors_total.bump();
                Err(error)
            }
        };
        match kept {
            Ok(kept) => {
                self.land(seat, &lead, started, &kept);
                Ok(kept.read)
            }
            Err(error) => {
                seat.land(Err(error.clone()));
                Err(error)
            }
        }
    }

    /// Believes this caller to be at its turn until then, and for as long again as a sign of life may take.
    fn expect(&self, seat: &Seat, until: Timestamp) {
        let overdue = until.saturating_add(self.grace());
        if self.pod.loads.expect(&seat.turn, overdue) {
            self.tell_the_lane();
        }
    }

    fn wait(&self, until: Timestamp) -> Wait {
        let (wait, tell) = Loads::wait(&self.pod, until);
        if tell {
            self.tell_the_lane();
        }
        wait
    }

    /// The lane tells the time: it must hear of the next moment that something waits for.
    fn tell_the_lane(&self) {
        let ticket = AlarmTicket::new(self.pod.clone());
        self.submit(Timestamp::MAX, Work::Alarm(ticket));
    }

    fn load_timeout(&self) -> Duration {
        self.pod.config.load_timeout
    }

    /// What a caller that is woken may take to be polled.
    fn grace(&self) -> Duration {
        self.load_timeout() / 8
    }
}

/// The loader's own words are its user's: they are passed on, whatever they quote.
fn failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    let error = error.into();
    let message = format!("the loader failed: {}", causes(&*error));
    Error::with_source(ErrorKind::Loader, message, error)
}

#[cold]
fn too_slow() -> Error {
    Error::new(
        ErrorKind::Loader,
        "the loader did not end in time (load_timeout): the origin is slow, or the loader waits for a key whose loader \
         waits for this one",
    )
}

/// What a call finds before it loads.
enum Look {
    Found(Read),
    Load(Keep),
}
