//! The calls of one pod: what they need, and the read policies. Reading is in `read`, writing in
//! `write`, loading in `load`; all are plain futures that any executor, or none, can drive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use crate::admission::Permit;
use crate::entry_key::EntryKey;
use crate::error::{Error, ErrorKind, Reason, WriteOutcome, crowded, no_room};
use crate::op::{Op, OpReply, PrimaryId};
use crate::pod::Pod;
use crate::request::{Answer, CommandWork, Done, Effect, Request, Work};

/// How often a call starts over (a leader was cancelled, a key crowded, a lease lapsed) before it gives up.
pub(crate) const ROUNDS: usize = 16;

/// The clock and the way to the lane: what turns the protocol into a running pod.
pub trait Io: Send + Sync + 'static {
    /// Microseconds on a clock that goes on while the machine is suspended and never goes back.
    fn now(&self) -> Timestamp;

    /// Puts a request in line for the lane, or [rejects](Request::reject) it. Never blocks.
    fn submit(&self, request: Request);
}

/// What a read does when its freshness cannot be proven from L1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadPolicy {
    /// Ask L2, and fail if L2 does.
    #[default]
    PassThrough,
    /// Fail at once instead of waiting for a heartbeat.
    Error,
    /// Serve the resident value, marked stale, unless it was last known to be fresh longer ago than `max`.
    ServeStale {
        /// The hard maximum.
        max: Duration,
    },
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<V = Bytes> {
    /// The value; `None`: there is no such key.
    pub value: Option<V>,
    /// Whether it reflects every write that L2 executed before `max_staleness` ago.
    pub freshness: Freshness,
    /// Where it came from.
    pub source: Source,
}

impl<V> Read<V> {
    /// The same answer with another form of its value.
    pub fn with_value<W>(self, value: Option<W>) -> Read<W> {
        Read {
            value,
            freshness: self.freshness,
            source: self.source,
        }
    }
}

/// Whether a read kept the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Within `max_staleness`.
    Fresh,
    /// Last known to be fresh this long ago.
    Stale(Duration),
}

/// Who answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This process.
    L1,
    /// The shared store.
    L2,
    /// A loader of this process.
    Origin,
}

/// What a call does while L2 is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhileAway {
    /// It fails at once.
    #[default]
    Fail,
    /// It waits for L2, until its own time (`operation_timeout`) is up: reads, and writes that were not sent. A read
    /// whose connection is lost is sent again; a write that was sent never is.
    Wait,
}

/// The calls of one pod, on the clock and lane of `I`.
pub struct Cache<I> {
    pub(crate) pod: Arc<Pod>,
    pub(crate) io: Arc<I>,
    /// How long a call may wait for L2.
    timeout: Duration,
    while_away: WhileAway,
}

impl<I> Clone for Cache<I> {
    fn clone(&self) -> Self {
        Self {
            pod: self.pod.clone(),
            io: self.io.clone(),
            ..*self
        }
    }
}

impl<I: Io> Cache<I> {
    /// The calls of `pod`, which fail at once while L2 is away.
    pub fn new(pod: Arc<Pod>, io: Arc<I>) -> Self {
        Self {
            timeout: pod.config.operation_timeout,
            while_away: WhileAway::Fail,
            pod,
            io,
        }
    }

    /// The same calls, which do this while L2 is away.
    #[must_use]
    pub fn with_while_away(mut self, while_away: WhileAway) -> Self {
        self.while_away = while_away;
        self
    }

    /// The same calls, each of which may wait so long for L2, in place of `operation_timeout`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What its calls do while L2 is away.
    pub fn while_away(&self) -> WhileAway {
        self.while_away
    }

    /// The pod.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The clock and the way to the lane.
    pub fn io(&self) -> &Arc<I> {
        &self.io
    }

    /// Resolves when the lane is up. For as long as `patience`, attempts that failed in a way that can heal
    /// are followed by others; with none, the first one decides. It needs no runtime: the lane answers.
    ///
    /// # Errors
    /// Why the last attempt to connect failed: at once when that cannot heal
    /// ([`ErrorKind::Configuration`]), else when patience is at its end.
    ///
    /// # Cancellation
    /// The lane goes on trying whether or not anybody waits.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        let until = self.io.now().saturating_add(patience);
        for primary in self.pod.route.all() {
            self.ready_at(primary.id(), until).await?;
        }
        Ok(())
    }

    async fn ready_at(&self, primary: PrimaryId, until: Timestamp) -> Result<(), Error> {
        let (done, answer): (_, Answer<()>) = Done::new();
        let mut permit = self.pod.admission.permit();
        // The end of this wait is the lane's to say, whatever other calls do while it is down.
        match self
            .in_line(&mut permit, self.call_deadline().max(until), true)
            .await
        {
            Ok(()) => self.submit_with(permit, primary, until, Work::Ready(done)),
            Err(error) => done.complete(Err(error)),
        }
        answer.future().await
    }

    /// Drops this pod's copy of one key of one db, and every kept reply about it. L2 is not told.
    pub fn forget(&self, db: u32, key: &[u8]) -> bool {
        // What is being loaded was asked of the origin before.
        self.pod.bump_epoch(key);
        let (value, load) = (EntryKey::value(db, key), EntryKey::load(db, key));
        let replies = self.pod.store.forget(value.head().filed());
        self.pod.store.forget(load.filed());
        self.pod.store.forget(value.filed()) | replies
    }

    pub(crate) fn call_deadline(&self) -> Timestamp {
        self.io.now().saturating_add(self.timeout)
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.while_away == WhileAway::Wait
    }

    /// Whether a read goes on after this error: its connection was lost or L2 is away, and it may wait.
    pub(crate) fn waits_out(&self, error: &Error, deadline: Timestamp) -> bool {
        self.is_patient()
            && matches!(
                error.reason(),
                Some(Reason::Interrupted | Reason::Unavailable)
            )
            && error.server_error().is_none()
            && self.io.now() < deadline
    }

    /// Submits work that takes no room in line: there is one of its kind at a time.
    pub(crate) fn submit(&self, primary: PrimaryId, deadline: Timestamp, work: Work) {
        self.submit_with(self.pod.admission.permit(), primary, deadline, work);
    }

    pub(crate) fn submit_with(
        &self,
        permit: Permit,
        primary: PrimaryId,
        deadline: Timestamp,
        work: Work,
    ) {
        let patient_until = match self.while_away {
            WhileAway::Fail => Timestamp::ZERO,
            // What blocks has no deadline, but does not wait for ever to be sent.
            WhileAway::Wait if deadline == Timestamp::MAX => self.call_deadline(),
            WhileAway::Wait => deadline,
        };
        self.io.submit(Request {
            primary,
            deadline,
            patient_until,
            permit,
            work,
        });
    }

    /// Adds one to a permit, in line with everybody else.
    ///
    /// # Errors
    /// There was no room until `deadline`, or nothing is sent at present.
    pub(crate) async fn admit(
        &self,
        permit: &mut Permit,
        deadline: Timestamp,
    ) -> Result<(), Error> {
        let until = deadline.min(self.call_deadline());
        self.in_line(permit, until, self.is_patient()).await
    }

    async fn in_line(
        &self,
        permit: &mut Permit,
        until: Timestamp,
        patient: bool,
    ) -> Result<(), Error> {
        if permit.try_take() {
            return Ok(());
        }
        self.pod.counters.queue_waits_total.bump();
        let Some(one) = permit.get_in_line(until, patient)?.await? else {
            self.pod.counters.rejected_total.bump();
            return Err(no_room());
        };
        permit.merge(one);
        Ok(())
    }

    /// Submits the work that `make` builds around a promise, when there is room for it, and waits for its answer.
    pub(crate) async fn ask<T: Clone + Send + 'static>(
        &self,
        primary: PrimaryId,
        deadline: Timestamp,
        make: impl FnOnce(Done<T>) -> Work,
    ) -> Result<T, Error> {
        let (done, answer): (_, Answer<T>) = Done::new();
        let work = make(done);
        let mut permit = self.pod.admission.permit();
        match self.admit(&mut permit, deadline).await {
            Ok(()) => self.submit_with(permit, primary, deadline, work),
            Err(error) => work.fail(&error, WriteOutcome::NotSent),
        }
        answer.future().await
    }
}

impl<I: Io> Cache<I> {
    /// Sends ops as one batch, in line with everything else, and returns their answers. Reads whose connection is lost are
    /// sent again, for callers that wait; what may write never is.
    pub(crate) async fn send(
        &self,
        primary: PrimaryId,
        deadline: Timestamp,
        ops: Vec<Op>,
        effect: Effect,
    ) -> Result<Vec<OpReply>, Error> {
        let again = (effect == Effect::None && self.is_patient()).then(|| ops.clone());
        let mut ops = Some(ops);
        for _ in 0..ROUNDS {
            let sent = ops.take().unwrap_or_default();
            let answer = self
                .ask(primary, deadline, |done| {
                    Work::Command(CommandWork {
                        ops: sent,
                        effect,
                        done,
                    })
                })
                .await;
            match (answer, &again) {
                (Err(error), Some(again)) if self.waits_out(&error, deadline) => {
                    ops = Some(again.clone());
                }
                (answer, _) => return answer,
            }
        }
        Err(crowded())
    }
}

/// A key longer than L2 accepts would be refused there with a broken connection.
pub(crate) fn check_sizes(key: &[u8], value: usize) -> Result<(), Error> {
    const LIMIT: usize = 512 << 20;
    if key.len() > LIMIT || value > LIMIT {
        return Err(Error::new(
            ErrorKind::Usage,
            "a key or value is longer than 512 MiB, which no Redis or Valkey accepts: split it",
        ));
    }
    Ok(())
}
