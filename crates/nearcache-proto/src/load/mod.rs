//! Read-through: one loader per key and pod, a bounded number of them at a time, and no wait without an end.
//!
//! The way of a call is [`Cache::get_or_load`]: look, lead or join, run, keep. A loader runs in the task of the caller
//! that leads (`run`); its turn and its place are in `turn` and `table`; what becomes of its value in `keep`.

mod call;
mod keep;
mod run;
mod seat;
pub(crate) mod table;
mod turn;
mod wait;

use std::error::Error as StdError;
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use nearcache_l1::{Entrance, Hit, Landed, Timestamp};

use crate::cache::{Cache, Io, ROUNDS, Read, ReadPolicy, WhileAway};
use crate::entry_key::EntryKey;
use crate::error::{Error, ErrorKind, Reason, causes, crowded};
use crate::fill::{FillMeta, FillOutcome, PodFlight, Purpose};
use crate::primary::LaneState;
use crate::read::{from_l1, from_origin};
use keep::Keep;
use run::{Ended, run};
use seat::{Lead, Seat};
use wait::parked;

pub use call::{Call, LoadPolicy, Loaded, OnL2Down};

/// In the place of a batch number: a load whose leader had found L2 to have none, and would hear of a change.
const ASKED: u64 = 1;

impl<I: Io> Cache<I> {
    /// Reads a key; when L2 has none, or none that is `usable`, runs `loader`, writes its value to L2 unless another
    /// writer was first, and returns it. Concurrent callers of this pod share one loader.
    ///
    /// # Errors
    /// - [`ErrorKind::Loader`] for everyone who waits when the loader fails, panics (the panic itself goes on in its
    ///   caller) or takes longer than `load_timeout`; the next caller tries again.
    /// - [`ErrorKind::Retry`] when the call has waited in vain: for a place among `max_loads` up to `load_timeout` and an
    ///   eighth of it, counted from when its own look at L2 was over; for another caller's load, which has to look and to
    ///   write as well, two `operation_timeout`s longer. And when L2 does not answer, under [`OnL2Down::Error`].
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
        let entry = EntryKey::value(call.db, call.key);
        if let Some(hit) = self.copy(entry)
            && hit.value.as_ref().is_some_and(&mut usable)
        {
            self.pod.count_hit(entry);
            return Ok(from_l1(hit.value));
        }
        if self.is_patient() && call.policy.on_l2_down == OnL2Down::Load {
            // The origin is nearer than the end of an outage.
            let hasty = self.clone().with_while_away(WhileAway::Fail);
            return Box::pin(hasty.load_missed(call, &mut usable, loader)).await;
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
        let mut patience = None;
        let mut seat = None;
        // What lies there for callers of this pod was of no use to this one.
        let mut misfit = false;
        for _ in 0..ROUNDS {
            let before = self.pod.fill_token(call.key);
            let keep = match self.look(&call, usable).await? {
                Look::Found(read) => return Ok(read),
                Look::Load(keep) => keep,
            };
            // What L2 takes to answer, or to be given up, is no time of the loaders': it may be what hangs.
            let wait_until = *patience.get_or_insert_with(|| {
                let time = self.load_timeout() + self.grace();
                self.io.now().saturating_add(time)
            });
            let landed_by = wait_until.saturating_add(self.requests());
            match self.enter_load(&call, &keep, misfit) {
                Entrance::Hit(hit) => {
                    if hit.value.as_ref().is_none_or(&mut *usable) {
                        self.pod.counters.loads_lent_total.bump();
                        return Ok(from_origin(hit.value));
                    }
                    misfit = true;
                }
                // Somebody wrote the key, or loaded it, since we found it absent: look again.
                Entrance::Lead(guard) if guard.meta().token != before => drop(guard),
                Entrance::Lead(guard) => {
                    let seat = seat.get_or_insert_with(|| Seat::new(&self.pod.loads));
                    let lead = seat.lead(guard);
                    self.expect(seat, wait_until);
                    self.take_place(seat, wait_until).await?;
                    if seat.turn.is_given_up() {
                        return Err(parked());
                    }
                    if !self.pod.unchanged(call.key, &lead.token) {
                        // What it would load could not be kept. The place is ours all the same.
                        drop(seat.take());
                        continue;
                    }
                    return self
                        .lead_load(seat, lead, &call, keep, usable, loader)
                        .await;
                }
                Entrance::Join(flight) => {
                    // Whoever leads may need the place of one who waits.
                    seat = None;
                    let proven = self.hears_of_changes(&flight);
                    match self.wait_for(&flight, landed_by).await? {
                        // It is older than what this caller may be given: only the next will do.
                        Landed::Done(Ok(_)) if !proven && self.is_late(&flight, came) => {}
                        Landed::Done(outcome) => match outcome?.value {
                            None if call.optional => return Ok(from_origin(None)),
                            Some(value) if usable(&value) => return Ok(from_origin(Some(value))),
                            // Of no use to this caller: it may be the next to lead.
                            None | Some(_) => {}
                        },
                        Landed::Abandoned => {}
                    }
                }
                Entrance::Crowded(flight) => {
                    seat = None;
                    self.wait_for(&flight, landed_by).await?;
                }
                Entrance::Full | Entrance::Declined => {
                    return Err(Error::retry(
                        Reason::Overloaded,
                        "too many loads wait for one of max_loads places: the origin is slow, try again later",
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

    /// Whether L2 is what failed, and neither this key nor a limit of this pod. A lane that is refused (its password was
    /// changed, say) is of no more use than one that is down.
    fn is_down(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Retry => error.reason() != Some(Reason::Overloaded),
            ErrorKind::Configuration => matches!(self.pod.state(), LaneState::Down(_)),
            _ => false,
        }
    }

    /// What lies there for callers of this pod, a load to join, or one to lead.
    fn enter_load(
        &self,
        call: &Call<'_>,
        keep: &Keep,
        misfit: bool,
    ) -> Entrance<FillMeta, FillOutcome> {
        self.pod.store.enter(
            EntryKey::load(call.db, call.key).filed(),
            |hit| !misfit && self.may_take(hit, call, keep),
            |meta: &FillMeta| self.pod.may_join_load(call.key, meta),
            || {
                let key = EntryKey::value(call.db, call.key);
                self.pod.fill_meta(key, true, Purpose::Demand)
            },
        )
    }

    /// Whether what the origin said to another caller is good for this one. That there is none is believed for longer
    /// only while L2 says so as well.
    fn may_take(&self, hit: &Hit, call: &Call<'_>, keep: &Keep) -> bool {
        let now = self.io.now();
        let current = hit.stamp == self.pod.fill_token(call.key).stamp;
        let fits = match (&hit.value, keep) {
            (Some(_), _) => true,
            (None, Keep::IfAbsent) => call.optional,
            (None, _) => call.optional && now < self.lend_until(hit.filled_at),
        };
        current && fits && now < hit.deadline
    }

    /// Whether a change of the key since the start of a load would have been told: its leader had asked L2, which tells
    /// of changes and was heard of within L.
    fn hears_of_changes(&self, flight: &PodFlight) -> bool {
        flight.meta().seq() == ASKED && self.tells_of(flight.key().bytes)
    }

    fn tells_of(&self, key: &[u8]) -> bool {
        let pod = &self.pod;
        let registers = pod.config.admit_after <= 1 && !pod.is_bypassed(key);
        let owner = pod.route.of(key);
        registers && owner.is_tracked() && owner.lease_holds(self.io.now())
    }

    /// Whether a caller came too long after the start of a load for its value.
    fn is_late(&self, flight: &Arc<PodFlight>, came: Timestamp) -> bool {
        let started = flight.meta().sent_at();
        started.is_some_and(|started| came.saturating_since(started) >= self.pod.lease_time())
            && !off!(OriginLife)
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
        let asked = !matches!(keep, Keep::Nowhere) && self.tells_of(call.key);
        let seq = if asked { ASKED } else { 0 };
        lead.flight.meta().sent(seq, started);
        let until = started.saturating_add(self.load_timeout());
        self.expect(seat, until);
        let loader = async move { loader().await.map_err(failed) };
        let loaded = match run(seat, &lead, || self.wait(until), loader).await {
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
        self.expect(seat, self.io.now().saturating_add(self.requests()));
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
