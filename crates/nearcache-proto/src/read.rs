//! Reads: hit, join, lead, publish.
//!
//! A hit is the lines of `resident`; everything below is for misses, and boxed, so that a hit's
//! future stays small.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::RemovalCause::Expired;
use nearcache_l1::{Entrance, Hit, Key, Landed, Timestamp};

use crate::cache::{Cache, Freshness, Io, Read, ReadPolicy, Source, check_sizes};
use crate::error::{Error, ErrorKind};
use crate::pod::{FillMeta, LaneState, PodFlight, Purpose, Verdict};
use crate::request::{Guard, RenewTicket, Work};
use crate::slots::{REPLIES, subject};

/// How often a read starts over (a leader was cancelled, a key crowded, a lease lapsed) before it gives up.
const ROUNDS: usize = 16;

impl<I: Io> Cache<I> {
    /// The fresh copy in this pod, if there is one. Sends nothing.
    ///
    /// # Cost
    /// One shared lock, one clock reading, one reference count; no allocation.
    #[inline]
    pub fn get_resident(&self, db: u32, key: &[u8]) -> Option<Hit> {
        let (hit, verdict, _) = self.pod.resident(Key::new(db, key), || self.io.now())?;
        match verdict {
            Verdict::Fresh => {
                self.pod.count_hit(Key::new(db, key));
                Some(hit)
            }
            _ => None,
        }
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
        Box::pin(self.read_missed(Key::new(db, key), policy)).await
    }

    /// Reads a value or a reply that was not found at the first look.
    pub(crate) async fn read_missed(
        &self,
        slot: Key<'_>,
        policy: ReadPolicy,
    ) -> Result<Read, Error> {
        let began = self.io.now();
        let deadline = self.call_deadline();
        let mut share = Share::Any;
        for _ in 0..ROUNDS {
            // Before the entry, as on the hit path.
            let lease = self.pod.coherence.lease();
            let flight = match self.pod.look(slot, || self.io.now()) {
                Some((hit, Verdict::Fresh, _)) => {
                    self.pod.count_hit(slot);
                    return Ok(from_l1(hit.value));
                }
                // L2 is slower than L: the lease is over when it comes. But its heartbeat was sent within
                // this call, so the copy reflects every write before the call began.
                Some((hit, Verdict::Lapsed, now))
                    if lease.history() == hit.stamp.history
                        && lease.age(now) <= now.saturating_since(began) =>
                {
                    self.pod.count_hit(slot);
                    return Ok(from_l1(hit.value));
                }
                Some((hit, Verdict::Lapsed, now)) => {
                    if let Some(answer) = self.lapsed(&hit, policy, now) {
                        return answer;
                    }
                    match self.renew(deadline).await {
                        Ok(()) => continue,
                        Err(error) => return self.failed(slot, policy, error),
                    }
                }
                Some((hit, Verdict::Old, now)) if !self.pod.lease_holds(now) => {
                    if let Some(stale) = self.stale(&hit, policy, now) {
                        return Ok(stale);
                    }
                    self.fetch(slot, deadline, share)
                }
                Some((hit, Verdict::Dead, now)) => {
                    if now >= hit.deadline {
                        self.pod.store.remove_entry(slot, hit.id, Expired);
                    }
                    self.fetch(slot, deadline, share)
                }
                _ => self.fetch(slot, deadline, share),
            };
            match flight? {
                Fetch::Hit(hit) => return Ok(from_l1(hit.value)),
                // Nobody may join a fetch of it, and its readers may be many.
                Fetch::Crowded(_) if self.pod.is_bypassed(subject(slot).bytes) => {
                    return self.read_beside(slot).await;
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
                    Landed::Done(Err(error)) => return self.failed(slot, policy, error),
                    Landed::Abandoned => {}
                },
            }
        }
        Err(crowded())
    }

    /// Joins or leads the fetch of one key.
    pub(crate) fn fetch(
        &self,
        slot: Key<'_>,
        deadline: Timestamp,
        share: Share,
    ) -> Result<Fetch, Error> {
        let mut led = None;
        let fetch = self.enter(slot, share, |fill| led = Some(fill))?;
        if let Some(fill) = led {
            self.submit(deadline, Work::Fill(vec![fill]));
        }
        Ok(fetch)
    }

    /// Hit, join or lead. A led fill is handed to `lead`, to be submitted with others.
    pub(crate) fn enter(
        &self,
        slot: Key<'_>,
        share: Share,
        lead: impl FnOnce(Guard),
    ) -> Result<Fetch, Error> {
        check_sizes(slot.bytes, 0)?;
        let lease = self.pod.coherence.lease();
        // Before the entry, as under its lock the store cannot be asked.
        let head = match slot.db & REPLIES {
            0 => None,
            _ => Some(self.pod.head(slot)),
        };
        let entrance = self.pod.store.enter(
            slot,
            |hit| {
                !matches!(share, Share::Validated(_))
                    && head.is_none_or(|head| self.pod.is_filed(hit, head))
                    && matches!(
                        self.pod
                            .judge(lease, hit.stamp, hit.deadline, || self.io.now()),
                        (Verdict::Fresh, _)
                    )
            },
            |meta: &FillMeta| share.allows(meta) && self.pod.may_join(slot, meta, self.io.now()),
            || {
                self.pod
                    .fill_meta(slot, self.pod.admit(slot), Purpose::Demand)
            },
        );
        match entrance {
            Entrance::Hit(hit) => {
                self.pod.count_hit(slot);
                Ok(Fetch::Hit(hit))
            }
            Entrance::Join(flight) => {
                self.pod.count_miss(slot);
                self.pod.counters.joined_total.bump();
                Ok(Fetch::Joined(flight))
            }
            Entrance::Lead(guard) => {
                self.pod.count_miss(slot);
                let flight = guard.flight().clone();
                lead(guard);
                Ok(Fetch::Led(flight))
            }
            Entrance::Crowded(flight) => Ok(Fetch::Crowded(flight)),
            Entrance::Full => Err(Error::overloaded(
                "too many keys are being fetched at once: L2 is slow or the load is too high, try again",
            )),
        }
    }

    /// Waits for a heartbeat's answer, together with everyone else who needs one.
    pub(crate) async fn renew(&self, deadline: Timestamp) -> Result<(), Error> {
        self.pod.counters.lapsed_total.bump();
        let (promise, first) = self.pod.want_renewal();
        if first {
            let ticket = RenewTicket::new(self.pod.clone());
            self.submit(deadline, Work::Renew(ticket));
        }
        promise.future().await
    }

    /// What a lapsed entry is worth without asking L2.
    fn lapsed(&self, hit: &Hit, policy: ReadPolicy, now: Timestamp) -> Option<Result<Read, Error>> {
        match policy {
            ReadPolicy::PassThrough => None,
            ReadPolicy::Error => {
                self.pod.counters.unproven_total.bump();
                Some(Err(Error::new(
                    ErrorKind::Unproven,
                    "the copy in this process cannot be proven fresh: L2 has not answered a heartbeat in time",
                )))
            }
            ReadPolicy::ServeStale { .. } => self.stale(hit, policy, now).map(Ok),
        }
    }

    fn stale(&self, hit: &Hit, policy: ReadPolicy, now: Timestamp) -> Option<Read> {
        let age = self.stale_age(hit, policy, now)?;
        self.pod.counters.stale_total.bump();
        Some(Read {
            value: hit.value.clone(),
            freshness: Freshness::Stale(age),
            source: Source::L1,
        })
    }

    /// How stale a copy may be, if the policy serves it.
    fn stale_age(&self, hit: &Hit, policy: ReadPolicy, now: Timestamp) -> Option<Duration> {
        let ReadPolicy::ServeStale { max } = policy else {
            return None;
        };
        if self.pod.state() == LaneState::Closed {
            return None;
        }
        let age = self.pod.staleness(hit, now);
        (age <= max).then_some(age)
    }

    /// The copy that a policy serves although it cannot be proven fresh. Counts nothing.
    pub(crate) fn stale_copy(&self, slot: Key<'_>, policy: ReadPolicy) -> Option<(Hit, Duration)> {
        let (hit, now) = match self.pod.look(slot, || self.io.now())? {
            (hit, Verdict::Lapsed, now) => (hit, now),
            (hit, Verdict::Old, now) if !self.pod.lease_holds(now) => (hit, now),
            _ => return None,
        };
        let age = self.stale_age(&hit, policy, now)?;
        Some((hit, age))
    }

    /// L2 failed: the last resort of `serve_stale`, judged again because time has passed.
    fn failed(&self, slot: Key<'_>, policy: ReadPolicy, error: Error) -> Result<Read, Error> {
        if error.kind() != ErrorKind::Retry {
            return Err(error);
        }
        let stale = match self.pod.look(slot, || self.io.now()) {
            Some((hit, Verdict::Fresh, _)) => return Ok(from_l1(hit.value)),
            Some((hit, Verdict::Lapsed | Verdict::Old, now)) => self.stale(&hit, policy, now),
            _ => None,
        };
        stale.ok_or(error)
    }

    /// Reads a key so that the answer reflects every write that L2 acknowledged before the call.
    ///
    /// # Cost
    /// One round trip; the value crosses the network only when it is not resident.
    ///
    /// # Errors
    /// As [`read`](Self::read); the local copy is never returned when the fence failed.
    pub async fn get_validated(&self, db: u32, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let slot = Key::new(db, key);
        let deadline = self.call_deadline();
        let start = self.io.now();
        let fenced = self.ask(deadline, |done| Work::Fence { role: true, done });
        if off!(SharedFence) {
            self.renew(deadline).await?;
        } else if !off!(Fence) {
            fenced.await?;
        }
        // Everything that was executed before the fence has been applied by now. The copy must be of
        // a life of the lane that is still on: of this one, or filled after the fence by a later one.
        if self.pod.is_tracked()
            && let Some((hit, Verdict::Fresh | Verdict::Lapsed, _)) =
                self.pod.resident(slot, || self.io.now())
        {
            self.pod.count_hit(slot);
            return Ok(hit.value);
        }
        for _ in 0..ROUNDS {
            match self.fetch(slot, deadline, Share::Validated(start))? {
                Fetch::Hit(_) => unreachable!("no hit is usable here"),
                Fetch::Crowded(_) if self.pod.is_bypassed(key) => {
                    return Ok(self.read_beside(slot).await?.value);
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

#[cold]
pub(crate) fn crowded() -> Error {
    Error::overloaded(
        "the key changes faster than it can be read, or its readers are cancelled: try again",
    )
}
