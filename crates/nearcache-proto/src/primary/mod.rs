//! One primary as a pod sees it: the lease of its lane, the connection that counts, what server it is, and the rule by
//! which copies of it may be served.
//!
//! Shared by all callers and the lane. Sends nothing and waits for nothing.
//!
//! Concurrency: see [`Coherence`] for the order of loads. `renewal`, `doubles`, `ending` and `state` are held for a few instructions
//! and never together with a lock of the store.

mod coherence;
mod route;

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::{Promise, Stamp, Timestamp};

use crate::error::Error;
use crate::op::{ConnectionId, Endpoint, PrimaryId, Traits};
use crate::resp::DoubleText;
use crate::shim::{AtomicBool, AtomicU64, Mutex, Ordering, lock};

pub(crate) use coherence::{Coherence, Histories, LaneLease};
pub(crate) use route::Route;

/// How a resident entry may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Reflects every write before `now - L`.
    Fresh,
    /// Would be fresh if the lease had not run out: one heartbeat decides.
    Lapsed,
    /// Of a history that is over: only for callers that accept stale values.
    Old,
    /// Flushed or expired: for nobody.
    Dead,
}

/// How a lane is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneState {
    /// Up, and invalidations are proven to arrive.
    Up,
    /// Up, but invalidations cannot be relied upon, for this reason: entries live for a bounded time, or nothing is kept.
    Degraded(String),
    /// Down, for this reason: resident entries follow the read policy.
    Down(String),
    /// Shut down.
    Closed,
}

/// The lane to one primary, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// Which primary.
    pub primary: PrimaryId,
    /// How the lane is.
    pub state: LaneState,
    /// Whether it ever was up.
    pub was_up: bool,
    /// How long ago the heartbeat was sent under which hits are served; `None`: none are.
    pub lease_age: Option<Duration>,
}

/// One primary.
pub(crate) struct Primary {
    id: PrimaryId,
    endpoint: Endpoint,
    pub(crate) coherence: Coherence,
    /// L less one per cent for the error of the clock's rate.
    lease_time: Duration,
    /// Number of the connection whose history is current; 0: none.
    connection: AtomicU64,
    /// Held while a connection is opened or ends.
    ending: Mutex<()>,
    /// Whether the current connection reports changes.
    tracked: AtomicBool,
    /// Whether the server knows expiries of single hash fields.
    field_expiry: AtomicBool,
    /// How the server prints doubles.
    doubles: Mutex<DoubleText>,
    renewal: Mutex<Renewal>,
    state: Mutex<LaneState>,
    was_up: AtomicBool,
}

struct Renewal {
    /// Ends with the next heartbeat's answer.
    promise: Promise<Result<(), Error>>,
    requested: bool,
}

impl Primary {
    pub(crate) fn new(
        id: PrimaryId,
        endpoint: Endpoint,
        histories: Arc<Histories>,
        lease_time: Duration,
    ) -> Self {
        Self {
            id,
            endpoint,
            coherence: Coherence::new(histories),
            lease_time,
            connection: AtomicU64::new(0),
            ending: Mutex::new(()),
            tracked: AtomicBool::new(false),
            field_expiry: AtomicBool::new(true),
            doubles: Mutex::new(DoubleText::default()),
            renewal: Mutex::new(Renewal {
                promise: Promise::new(),
                requested: false,
            }),
            state: Mutex::new(LaneState::Down("not connected yet".to_owned())),
            was_up: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self) -> PrimaryId {
        self.id
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Judges an entry by a lease that was loaded while it was there; loads the flush count, then the clock.
    #[inline]
    pub(crate) fn judge(
        &self,
        lease: LaneLease,
        stamp: Stamp,
        deadline: Timestamp,
        clock: impl FnOnce() -> Timestamp,
    ) -> (Verdict, Timestamp) {
        let flush = self.coherence.flush();
        let now = clock();
        let in_time = lease.age(now) < self.lease_time;
        let verdict = if stamp.flush != flush || now >= deadline {
            Verdict::Dead
        } else if stamp.history == lease.history() && in_time {
            Verdict::Fresh
        } else if stamp.history == self.coherence.history() {
            Verdict::Lapsed
        } else {
            Verdict::Old
        };
        #[cfg(nearcache_break)]
        let verdict = misjudge(verdict, in_time);
        (verdict, now)
    }

    /// Whether the lease holds now, so that freshness can be proven at all.
    pub(crate) fn lease_holds(&self, now: Timestamp) -> bool {
        self.lease_age(now).is_some_and(|age| age < self.lease_time)
    }

    /// How long ago the current lease's heartbeat was sent.
    pub(crate) fn lease_age(&self, now: Timestamp) -> Option<Duration> {
        let lease = self.coherence.lease();
        (lease.history() == self.coherence.history()).then(|| lease.age(now))
    }

    /// For how long hits were served under the current lease so far.
    pub(crate) fn lease_used(&self, now: Timestamp) -> Option<Duration> {
        Some(self.lease_age(now)?.min(self.lease_time))
    }

    /// The promise of the next heartbeat's answer, and whether the caller must ask for one.
    pub(crate) fn want_renewal(&self) -> (Promise<Result<(), Error>>, bool) {
        let mut renewal = lock(&self.renewal);
        let first = !renewal.requested;
        renewal.requested = true;
        (renewal.promise.clone(), first)
    }

    /// Ends the wait of everyone who wanted a renewal.
    pub(crate) fn end_renewal(&self, result: Result<(), Error>) {
        let done = {
            let mut renewal = lock(&self.renewal);
            renewal.requested = false;
            std::mem::replace(&mut renewal.promise, Promise::new())
        };
        done.complete(result);
    }

    /// The lane is about to open this connection: its events count from now on.
    pub(crate) fn connection_opened(&self, connection: ConnectionId) {
        let _whole = lock(&self.ending);
        self.connection.store(connection.number, Ordering::Release);
    }

    /// Whether it is the connection whose history is current.
    pub(crate) fn is_current(&self, connection: ConnectionId) -> bool {
        connection.primary == self.id
            && self.connection.load(Ordering::Acquire) == connection.number
    }

    /// Ends the current history, once per connection, whoever notices first; whether this was it.
    pub(crate) fn connection_ended(&self, connection: ConnectionId) -> bool {
        // Whole or not at all: a lane that finds it ended must not open another under the history that is about to end.
        let _whole = lock(&self.ending);
        let was_current = self.connection_failed(connection);
        if was_current {
            self.tracked.store(false, Ordering::Release);
            if !off!(History) {
                self.coherence.bump_history();
            }
        }
        was_current
    }

    /// The attempt to open the connection failed: nothing was filled through it.
    pub(crate) fn connection_failed(&self, connection: ConnectionId) -> bool {
        connection.primary == self.id
            && self
                .connection
                .compare_exchange(connection.number, 0, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    pub(crate) fn set_state(&self, state: LaneState) {
        if matches!(state, LaneState::Up | LaneState::Degraded(_)) {
            self.was_up.store(true, Ordering::Release);
        }
        *lock(&self.state) = state;
    }

    /// How the lane is.
    pub(crate) fn state(&self) -> LaneState {
        lock(&self.state).clone()
    }

    pub(crate) fn stats(&self, now: Timestamp) -> LaneStats {
        LaneStats {
            primary: self.id,
            state: self.state(),
            was_up: self.was_up.load(Ordering::Acquire),
            lease_age: self.lease_age(now),
        }
    }

    pub(crate) fn set_tracked(&self, tracked: bool) {
        self.tracked.store(tracked, Ordering::Release);
    }

    /// Whether the current connection reports changes; without it entries live for a bounded time.
    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked.load(Ordering::Acquire)
    }

    /// A handshake told what kind of server this is.
    pub(crate) fn note_traits(&self, traits: &Traits) {
        *lock(&self.doubles) = traits.doubles;
        self.field_expiry
            .store(traits.field_expiry, Ordering::Release);
    }

    /// Whether the server knows expiries of single hash fields.
    pub(crate) fn field_expiry(&self) -> bool {
        self.field_expiry.load(Ordering::Acquire)
    }

    /// How the server prints doubles.
    pub(crate) fn doubles(&self) -> DoubleText {
        *lock(&self.doubles)
    }
}

/// The verdict of a rule that leaves something out. `in_time`: the lease, of whatever history, is younger than L.
#[cfg(nearcache_break)]
fn misjudge(verdict: Verdict, in_time: bool) -> Verdict {
    let fresh = match verdict {
        _ if off!(Lease) => true,
        Verdict::Fresh | Verdict::Dead => false,
        Verdict::Lapsed | Verdict::Old if in_time && off!(SharedLease) => true,
        Verdict::Lapsed => off!(Lapsed),
        Verdict::Old => off!(OldHistory),
    };
    if fresh { Verdict::Fresh } else { verdict }
}
