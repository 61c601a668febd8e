//! What a fetch under way must know, and what it ends with.

use nearcache_l1::{Flight, FlightGuard, Timestamp};

use crate::entry_key::{EntryKey, Kind};
use crate::epochs::FillToken;
use crate::error::Error;
use crate::shim::{AtomicU64, Ordering};

/// What a fill or load ends with, for everyone who waits for it.
pub(crate) type FillOutcome = Result<Fetched, Error>;

/// What L2 or a loader gave.
#[derive(Clone)]
pub(crate) struct Fetched {
    /// A value, `None` when L2 has no such key; or a [held](crate::held) reply.
    pub(crate) value: Option<bytes::Bytes>,
    /// From when on it has expired: a caller that began later must not get it.
    pub(crate) deadline: Timestamp,
    /// When it was asked for; who asked began no later.
    pub(crate) sent_at: Timestamp,
    /// Whether a change of the key since then would have been told.
    pub(crate) tracked: bool,
}

impl Fetched {
    /// Whether a caller that began at `began`, and did not ask for it, came too late for it.
    pub(crate) fn expired_before(&self, began: Timestamp) -> bool {
        began > self.sent_at && self.deadline <= began
    }
}

/// A flight of this pod.
pub(crate) type PodFlight = Flight<FillMeta, FillOutcome>;

/// The guard of a fill or a load: its holder must publish, complete or abandon the flight.
pub(crate) type Guard = FlightGuard<FillMeta, FillOutcome>;

/// What a flight is about.
pub(crate) fn entry_of(guard: &Guard) -> EntryKey<'_> {
    EntryKey::of(guard.key())
}

/// Whether it is about a reply.
pub(crate) fn is_of_reply(guard: &Guard) -> bool {
    entry_of(guard).kind == Kind::Reply
}

/// What a flight must know so that later callers can tell whether they may join it.
pub(crate) struct FillMeta {
    pub(crate) token: FillToken,
    /// Whether its value may be kept; what is not kept is never joined.
    pub(crate) admitted: bool,
    /// Who wants it.
    pub(crate) purpose: Purpose,
    /// Whether it waits to be sent while L2 is away.
    pub(crate) patient: bool,
    /// Number of the lane batch; `u64::MAX` until sent.
    seq: AtomicU64,
    /// Microseconds; `u64::MAX` until sent.
    sent_at: AtomicU64,
}

impl FillMeta {
    /// Of a flight about to start, which does not wait for L2 while that is away.
    pub(crate) fn new(token: FillToken, admitted: bool, purpose: Purpose) -> Self {
        Self {
            token,
            admitted,
            purpose,
            patient: false,
            seq: AtomicU64::new(u64::MAX),
            sent_at: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn sent(&self, seq: u64, now: Timestamp) {
        self.sent_at.store(now.as_micros(), Ordering::Release);
        self.seq.store(seq, Ordering::Release);
    }

    /// What [`sent`](Self::sent) said.
    pub(crate) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    pub(crate) fn sent_at(&self) -> Option<Timestamp> {
        match self.sent_at.load(Ordering::Acquire) {
            u64::MAX => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }
}

/// Who wants what a flight brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A caller, who waits for it.
    Demand,
    /// The warm start: nothing is to be evicted for it.
    WarmStart,
    /// The pod itself, while it serves: it has to earn its place like everything else.
    Background,
    /// The pod itself, in the place of a copy that ends soon and is being read.
    Refresh,
}
