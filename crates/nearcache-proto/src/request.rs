//! What callers ask of the lane, with the promise each one waits on.
//!
//! A request owns what must happen when it ends: dropping one unanswered fails its callers.

use std::sync::Arc;

use bytes::Bytes;
use nearcache_l1::{Promise, Timestamp};

use crate::admission::Permit;
use crate::entry_key::subject;
use crate::epochs::FillToken;
use crate::error::{Error, WriteOutcome};
use crate::fill::Guard;
use crate::op::{Op, OpReply, PrimaryId, Protocol, Side};
use crate::pod::Pod;
use crate::primary::Primary;

/// A promise of an answer, or of the error that came instead.
pub(crate) type Answer<T> = Promise<Result<T, Error>>;

/// The end of a promise that must be kept: dropped unanswered, it answers that the cache is gone.
pub(crate) struct Done<T: Clone>(Answer<T>);

impl<T: Clone> Done<T> {
    pub(crate) fn new() -> (Self, Answer<T>) {
        let answer = Promise::new();
        (Self(answer.clone()), answer)
    }

    pub(crate) fn complete(&self, result: Result<T, Error>) {
        self.0.complete(result);
    }
}

impl<T: Clone> Drop for Done<T> {
    fn drop(&mut self) {
        if !self.0.is_complete() {
            self.0.complete(Err(Error::closed()));
        }
    }
}

/// One request for the lane: made by a [`Cache`](crate::Cache), driven by the [`Lane`](crate::Lane).
pub struct Request {
    /// Whose lane it is for.
    pub(crate) primary: PrimaryId,
    /// When its caller stops waiting; of [`Work::Ready`], when it stops waiting for another attempt.
    pub(crate) deadline: Timestamp,
    /// Until when it waits to be sent while L2 is away; zero: not at all.
    pub(crate) patient_until: Timestamp,
    /// Free for others once it was sent.
    pub(crate) permit: Permit,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    /// Read these keys, all of the primary's, and complete their flights.
    Fill(Vec<Guard>),
    /// The same, for the pod itself: whoever needs one of these keys meanwhile fetches it without waiting.
    FillAhead(Vec<Guard>),
    /// A heartbeat now: the lease ran out while entries are resident. Its end is the primary's renewal.
    Renew(RenewTicket),
    /// Come back when everything executed so far has been pushed. `role`: only a primary's answer counts.
    Fence { role: bool, done: Done<()> },
    /// A write whose one key is known.
    Write(Write),
    /// Ops that may write keys we cannot name, or that read without caching.
    Command(CommandWork),
    /// Resolves when the lane is up, or with the reason why it is not.
    Ready(Done<()>),
    /// Close the side connection of a session.
    EndSession(u64),
    /// Look when the next load or wait for one is over.
    Alarm(AlarmTicket),
}

/// A wish for a heartbeat, on behalf of everyone who waits for the primary's renewal: dropped before the
/// lane takes it over, it ends their wait.
pub(crate) struct RenewTicket(Option<Arc<Primary>>);

impl RenewTicket {
    pub(crate) fn new(primary: Arc<Primary>) -> Self {
        Self(Some(primary))
    }

    /// The lane will end the renewal.
    pub(crate) fn accept(mut self) {
        self.0 = None;
    }

    fn refuse(mut self, error: &Error) {
        if let Some(primary) = self.0.take() {
            primary.end_renewal(Err(error.clone()));
        }
    }
}

impl Drop for RenewTicket {
    fn drop(&mut self) {
        if let Some(primary) = self.0.take() {
            primary.end_renewal(Err(Error::closed()));
        }
    }
}

/// A wish to be told the time, on behalf of everyone who waits for a load: dropped before the lane takes it over, it ends
/// their waits.
pub(crate) struct AlarmTicket(Option<Arc<Pod>>);

impl AlarmTicket {
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        Self(Some(pod))
    }

    /// The lane tells the time.
    pub(crate) fn accept(mut self) {
        self.0 = None;
    }

    fn refuse(mut self, error: &Error) {
        if let Some(pod) = self.0.take() {
            pod.loads.fail_waits(error);
        }
    }
}

impl Drop for AlarmTicket {
    fn drop(&mut self) {
        if let Some(pod) = self.0.take() {
            pod.loads.fail_waits(&Error::closed());
        }
    }
}

pub(crate) struct Write {
    pub(crate) op: Op,
    pub(crate) key: Bytes,
    /// Send only while this token is unchanged: a loader's result must not overwrite what came later.
    pub(crate) only_if: Option<FillToken>,
    pub(crate) done: Done<OpReply>,
}

pub(crate) struct CommandWork {
    pub(crate) ops: Vec<Op>,
    pub(crate) effect: Effect,
    pub(crate) done: Done<Vec<OpReply>>,
}

/// What must be true before the caller of a command resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A read on the lane: nothing to wait for.
    None,
    /// May have written keys we cannot name: an `ECHO` behind it on the lane.
    Fenced,
    /// Runs on the side connection of this session, then a lane fence.
    Side(Side),
    /// Runs on any of the side connections that speak this and belong to no session, then a lane fence.
    Shared(Protocol),
}

impl Request {
    /// Whose lane it is for.
    pub fn primary(&self) -> PrimaryId {
        self.primary
    }

    /// Ends the request with `error`, as never sent.
    pub fn reject(self, error: &Error) {
        self.work.fail(error, WriteOutcome::NotSent);
    }

    /// Bytes of what it would send, without what the protocol adds.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.work {
            Work::Write(write) => write.op.bytes(),
            Work::Command(command) => command.ops.iter().map(Op::bytes).sum(),
            _ => 0,
        }
    }

    /// The db whose number must be known to be selectable before this is sent.
    pub(crate) fn db(&self) -> Option<u32> {
        match &self.work {
            Work::Fill(guards) | Work::FillAhead(guards) => {
                guards.first().map(|guard| subject(guard.key()).db)
            }
            Work::Write(write) => write.op.db(),
            Work::Command(command) if !matches!(command.effect, Effect::Side(_)) => {
                command.ops.first().and_then(Op::db)
            }
            _ => None,
        }
    }
}

impl Work {
    /// Ends everything in it with `error`.
    pub(crate) fn fail(self, error: &Error, outcome: WriteOutcome) {
        match self {
            Self::Fill(fills) | Self::FillAhead(fills) => {
                for guard in fills {
                    guard.complete(Err(error.clone()));
                }
            }
            Self::Renew(ticket) => ticket.refuse(error),
            Self::EndSession(_) => {}
            Self::Alarm(ticket) => ticket.refuse(error),
            Self::Fence { done, .. } => {
                done.complete(Err(error.clone()));
            }
            Self::Write(write) => {
                write.done.complete(Err(error.for_write(outcome)));
            }
            Self::Command(command) => {
                let error = match command.effect {
                    Effect::None => error.clone(),
                    Effect::Fenced | Effect::Side(_) | Effect::Shared(_) => {
                        error.for_write(outcome)
                    }
                };
                command.done.complete(Err(error));
            }
            Self::Ready(done) => {
                done.complete(Err(error.clone()));
            }
        }
    }
}
