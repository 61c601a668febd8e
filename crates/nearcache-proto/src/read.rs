//! Reads: hit, join, lead, publish.
//!
//! A hit is the lines of `resident`; everything below is for misses, and boxed, so that a hit's
//! future stays small.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::RemovalCause::Expired;
use nearcache_l1::{Entrance, Hit, Landed, Timestamp};

use crate::admission::Permit;
use crate::cache::{Cache, Freshness, Io, ROUNDS, Read, ReadPolicy, Source, check_sizes};
use crate::entry_key::{EntryKey, Kind};
use crate::error::{Error, ErrorKind, Reason, crowded};
use crate::fill::Guard;
use crate::fill::{FillMeta, PodFlight};
use crate::pod::{Found, Pod};
use crate::primary::{LaneState, Primary, Verdict};
use crate::request::{RenewTicket, Work};

impl<I: Io> Cache<I> {
    /// The fresh copy in this pod, if there is one. Sends nothing.
    ///
    /// # Cost
    /// One shared lock, one clock reading, one reference count; no allocation.
    #[inline]
    pub fn get_resident(&self, db: u32, key: &[u8]) -> Option<Hit> {
        let found = self
            .pod
            .resident(EntryKey::value(db, key), || self.io.now())?;
        matches!(found.verdict, Verdict::Fresh).then(|| {
            self.pod.count_hit(EntryKey::value(db, key));
            found.hit
        })
    }

    /// Reads a key: from L1 when that is provably fresh, else from L2.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] when L2 does not answer, [`ErrorKind::Usage`] when the key holds another
    /// type, [`ErrorKind::Unproven`] under [`ReadPolicy::Error`].
    ///
    /// # Cancellation
    /// Dropping the future leaves the fetch running for others.
    pub async fn read(&self, db: u32, key: &[u8], policy: ReadPolicy) -> Result<Read, Error> {
        if let Some(hit) = self.get_resident(db, key) {
            return Ok(from_l1(hit.value));
        }
        Box::pin(self.read_missed(EntryKey::value(db, key), policy)).await
    }

    /// Reads a value or a reply that was not found at the first look.
    pub(crate) async fn read_missed(
        &self,
        entry: EntryKey<'_>,
        policy: ReadPolicy,
    ) -> Result<Read, Error> {
        let began = self.io.now();
        let deadline = self.call_deadline();
        let mut share = Share::Any;
        let mut failed = None;
        for _ in 0..ROUNDS {
            if let Some(found) = self.pod.look(entry, || self.io.now()) {
                match found.verdict {
                    Verdict::Fresh => {
                        self.pod.count_hit(entry);
                        return Ok(from_l1(found.hit.value));
                    }
                    // L2 is slower than L: the lease is over when it comes. But its heartbeat was sent within
                    // this call, so the copy reflects every write before the call began.
                    Verdict::Lapsed if found.is_of_lease_since(began) => {
                        self.pod.count_hit(entry);
                        return Ok(from_l1(found.hit.value));
                    }
                    Verdict::Lapsed => {
                        if let Some(answer) = self.lapsed(&found, policy) {
                            return answer;
                        }
                        match self.renew(entry, deadline).await {
                            Ok(()) => continue,
                            Err(error) => match self.failed(entry, policy, error) {
                                Err(error) if self.waits_out(&error, deadline) => {
                                    failed = Some(error);
                                    continue;
                                }
                                answer => return answer,
                            },
                        }
                    }
                    Verdict::Old if !self.holds_lease_of(entry, found.now) => {
                        if let Some(stale) = self.stale(&found, policy) {
                            return Ok(stale);
                        }
                    }
                    Verdict::Dead if found.now >= found.hit.deadline => {
                        self.pod
                            .store
                            .remove_entry(entry.filed(), found.hit.id, Expired);
                    }
                    Verdict::Old | Verdict::Dead => {}
                }
            }
            match self.fetch(entry, deadline, share).await? {
                Fetch::Hit(hit) => return Ok(from_l1(hit.value)),
                // Nobody may join a fetch of it, and its readers may be many.
                Fetch::Crowded(_) if self.pod.is_bypassed(entry.subject().bytes) => {
                    return self.read_beside(entry).await;
                }
                Fetch::Crowded(flight) => {
                    flight.wait_landed().await;
                }
                Fetch::Led(flight) | Fetch::Joined(flight) => match flight.wait_landed().await {
                    // Joined, and expired before this call began: only a younger flight will do.
                    Landed::Done(Ok(fetched))
                        if fetched.expired_before(began) && !off!(JoinExpired) =>
                    {
                        share = Share::SentAfter(began);
                    }
                    Landed::Done(Ok(fetched)) => return Ok(from_l2(fetched.value)),
                    Landed::Done(Err(error)) => match self.failed(entry, policy, error) {
                        Err(error) if self.waits_out(&error, deadline) => failed = Some(error),
                        answer => return answer,
                    },
                    Landed::Abandoned => {}
                },
            }
        }
        Err(failed.unwrap_or_else(crowded))
    }

    /// Joins or leads the fetch of one key, as soon as there is room for it in line.
    pub(crate) async fn fetch(
        &self,
        entry: EntryKey<'_>,
        deadline: Timestamp,
        share: Share,
    ) -> Result<Fetch, Error> {
        let mut led = Led::new(&self.pod);
        loop {
            if let Some(fetch) = self.enter(entry, share, &mut led)? {
                self.submit_led(led, deadline);
                return Ok(fetch);
            }
            self.admit(&mut led.permit, deadline).await?;
        }
    }

    /// Sends for the keys that are led, if there are any.
    pub(crate) fn submit_led(&self, led: Led, deadline: Timestamp) {
        let Led { guards, mut permit } = led;
        if guards.is_empty() {
            return;
        }
        self.pod.route.part(guards, |primary, guards| {
            let permit = permit.split(guards.len());
            self.submit_with(permit, primary, deadline, Work::Fill(guards));
        });
    }

    /// Hit, join or lead. What is led is added to `led`, to be submitted with others; `None`: there is no room in line
    /// for one more.
    pub(crate) fn enter(
        &self,
        entry: EntryKey<'_>,
        share: Share,
        led: &mut Led,
    ) -> Result<Option<Fetch>, Error> {
        check_sizes(entry.bytes, 0)?;
        // Before the entry, as under its lock the store cannot be asked.
        let head = (entry.kind == Kind::Reply).then(|| self.pod.head(entry));
        let patient = self.is_patient();
        let entrance = self.pod.store.enter_if(
            entry.filed(),
            |hit| {
                let (filed, lease) = match head {
                    None => (true, self.pod.lease_of(hit.stamp)),
                    Some((head, lease)) => (self.pod.is_filed(hit, head), lease),
                };
                filed
                    && !matches!(share, Share::Validated(_))
                    && matches!(
                        self.pod
                            .judge(lease, hit.stamp, hit.deadline, || self.io.now()),
                        (Verdict::Fresh, _)
                    )
            },
            |meta: &FillMeta| {
                // What may have to wait for L2 is not for callers that will not, nor the other way round.
                let alike = meta.patient == patient || meta.sent_at().is_some();
                alike && share.allows(meta) && self.pod.may_join(entry, meta, self.io.now())
            },
            || {
                led.take_room()
                    .then(|| self.pod.fill_meta_for(entry, patient))
            },
        );
        Ok(Some(match entrance {
            Entrance::Hit(hit) => {
                self.pod.count_hit(entry);
                Fetch::Hit(hit)
            }
            Entrance::Join(flight) => {
                self.pod.count_miss(entry);
                self.pod.counters.joined_total.bump();
                Fetch::Joined(flight)
            }
            Entrance::Lead(guard) => {
                self.pod.count_miss(entry);
                let flight = guard.flight().clone();
                led.guards.push(guard);
                Fetch::Led(flight)
            }
            Entrance::Crowded(flight) => Fetch::Crowded(flight),
            Entrance::Declined => return Ok(None),
            Entrance::Full => {
                return Err(Error::retry(
                    Reason::Overloaded,
                    "the fetches of this key, or the loads of all keys, are as many as they may be (flights_per_key, \
                     max_loads): L2 or the origin is slow, try again later",
                ));
            }
        }))
    }

    /// Whether the lease of the entry's owner holds.
    pub(crate) fn holds_lease_of(&self, entry: EntryKey<'_>, now: Timestamp) -> bool {
        self.pod.route.of(entry.subject().bytes).lease_holds(now)
    }

    /// Waits for the answer to a heartbeat of the entry's owner, together with everyone else who needs one.
    pub(crate) async fn renew(
        &self,
        entry: EntryKey<'_>,
        deadline: Timestamp,
    ) -> Result<(), Error> {
        let primary = self.pod.route.of(entry.subject().bytes);
        self.renew_of(primary, deadline).await
    }

    /// Waits for the answer to a heartbeat of this primary.
    pub(crate) async fn renew_of(
        &self,
        primary: &Arc<Primary>,
        deadline: Timestamp,
    ) -> Result<(), Error> {
        self.pod.counters.lapsed_total.bump();
        let (promise, first) = primary.want_renewal();
        if first {
            let ticket = RenewTicket::new(primary.clone());
            self.submit(primary.id(), deadline, Work::Renew(ticket));
        }
        promise.future().await
    }

    /// What a lapsed entry is worth without asking L2.
    fn lapsed(&self, found: &Found, policy: ReadPolicy) -> Option<Result<Read, Error>> {
        match policy {
            ReadPolicy::PassThrough => None,
            ReadPolicy::Error => {
                self.pod.counters.unproven_total.bump();
                Some(Err(Error::new(
                    ErrorKind::Unproven,
                    "the copy in this process cannot be proven fresh: L2 has not answered a heartbeat in time",
                )))
            }
            ReadPolicy::ServeStale { .. } => self.stale(found, policy).map(Ok),
        }
    }

    fn stale(&self, found: &Found, policy: ReadPolicy) -> Option<Read> {
        let age = self.stale_age(found, policy)?;
        self.pod.counters.stale_total.bump();
        Some(Read {
            value: found.hit.value.clone(),
            freshness: Freshness::Stale(age),
            source: Source::L1,
        })
    }

    /// How stale a copy may be, if the policy serves it.
    fn stale_age(&self, found: &Found, policy: ReadPolicy) -> Option<Duration> {
        let ReadPolicy::ServeStale { max } = policy else {
            return None;
        };
        if self.pod.route.by_stamp(found.hit.stamp).state() == LaneState::Closed {
            return None;
        }
        let age = self.pod.staleness(&found.hit, found.now);
        (age <= max).then_some(age)
    }

    /// The copy that a policy serves although it cannot be proven fresh. Counts nothing.
    pub(crate) fn stale_copy(
        &self,
        entry: EntryKey<'_>,
        policy: ReadPolicy,
    ) -> Option<(Hit, Duration)> {
        let found = self.pod.look(entry, || self.io.now())?;
        match found.verdict {
            Verdict::Lapsed => {}
            Verdict::Old if !self.holds_lease_of(entry, found.now) => {}
            _ => return None,
        }
        let age = self.stale_age(&found, policy)?;
        Some((found.hit, age))
    }

    /// L2 failed: the last resort of `serve_stale`, judged again because time has passed.
    fn failed(&self, entry: EntryKey<'_>, policy: ReadPolicy, error: Error) -> Result<Read, Error> {
        if error.kind() != ErrorKind::Retry {
            return Err(error);
        }
        let Some(found) = self.pod.look(entry, || self.io.now()) else {
            return Err(error);
        };
        match found.verdict {
            Verdict::Fresh => Ok(from_l1(found.hit.value)),
            Verdict::Lapsed | Verdict::Old => self.stale(&found, policy).ok_or(error),
            Verdict::Dead => Err(error),
        }
    }

    /// Reads a key so that the answer reflects every write that L2 acknowledged before the call.
    ///
    /// # Cost
    /// One round trip; the value crosses the network only when it is not resident.
    ///
    /// # Errors
    /// As [`read`](Self::read); the local copy is never returned when the fence failed.
    pub async fn get_validated(&self, db: u32, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let deadline = self.call_deadline();
        let mut failed = None;
        for _ in 0..ROUNDS {
            match self.validated(EntryKey::value(db, key), deadline).await {
                Err(error) if self.waits_out(&error, deadline) => failed = Some(error),
                answer => return answer,
            }
        }
        Err(failed.unwrap_or_else(crowded))
    }

    async fn validated(
        &self,
        entry: EntryKey<'_>,
        deadline: Timestamp,
    ) -> Result<Option<Bytes>, Error> {
        let start = self.io.now();
        let primary = self.pod.route.of(entry.bytes);
        let fence = |done| Work::Fence { role: true, done };
        let fenced = self.ask(primary.id(), deadline, fence);
        if off!(SharedFence) {
            self.renew(entry, deadline).await?;
        } else if !off!(Fence) {
            fenced.await?;
        }
        // Everything that was executed before the fence has been applied by now. The copy must be of
        // a life of the lane that is still on: of this one, or filled after the fence by a later one.
        if primary.is_tracked()
            && let Some(found) = self.pod.resident(entry, || self.io.now())
            && matches!(found.verdict, Verdict::Fresh | Verdict::Lapsed)
        {
            self.pod.count_hit(entry);
            return Ok(found.hit.value);
        }
        for _ in 0..ROUNDS {
            match self.fetch(entry, deadline, Share::Validated(start)).await? {
                Fetch::Hit(_) => unreachable!("no hit is usable here"),
                Fetch::Crowded(_) if self.pod.is_bypassed(entry.bytes) => {
                    return Ok(self.read_beside(entry).await?.value);
                }
                Fetch::Crowded(flight) => {
                    flight.wait_landed().await;
                }
                Fetch::Led(flight) | Fetch::Joined(flight) => match flight.wait_landed().await {
                    Landed::Done(outcome) => return outcome.map(|fetched| fetched.value),
                    Landed::Abandoned => {}
                },
            }
        }
        Err(crowded())
    }
}

/// The keys that a caller is about to send for, and its room in line for them.
pub(crate) struct Led {
    pub(crate) guards: Vec<Guard>,
    /// For each of them, and maybe one to come.
    pub(crate) permit: Permit,
}

impl Led {
    pub(crate) fn new(pod: &Pod) -> Self {
        Self {
            guards: Vec::new(),
            permit: pod.admission.permit(),
        }
    }

    /// Takes room for one more key, if there is some.
    fn take_room(&mut self) -> bool {
        self.permit.count() > self.guards.len() || self.permit.try_take()
    }
}

/// What a read may share with others.
#[derive(Clone, Copy)]
pub(crate) enum Share {
    /// Fresh copies and flights that may be joined.
    Any,
    /// The same, less flights that were sent before.
    SentAfter(Timestamp),
    /// Flights sent after only, and no copy.
    Validated(Timestamp),
}

impl Share {
    fn allows(self, meta: &FillMeta) -> bool {
        match self {
            Self::Any => true,
            Self::SentAfter(start) | Self::Validated(start) => {
                meta.sent_at().is_none_or(|sent_at| sent_at > start)
            }
        }
    }
}

/// How a read of one key goes on.
pub(crate) enum Fetch {
    Hit(Hit),
    /// Ours: its outcome is of our own request.
    Led(std::sync::Arc<PodFlight>),
    /// Somebody else's, sent before we began.
    Joined(std::sync::Arc<PodFlight>),
    /// Wait for it, then start over.
    Crowded(std::sync::Arc<PodFlight>),
}

pub(crate) fn from_l1(value: Option<Bytes>) -> Read {
    Read {
        value,
        freshness: Freshness::Fresh,
        source: Source::L1,
    }
}

pub(crate) fn from_l2(value: Option<Bytes>) -> Read {
    Read {
        value,
        freshness: Freshness::Fresh,
        source: Source::L2,
    }
}

pub(crate) fn from_origin(value: Option<Bytes>) -> Read {
    Read {
        value,
        freshness: Freshness::Fresh,
        source: Source::Origin,
    }
}
