//! The lane: the one tracked connection to the primary, as a state machine.
//!
//! Owns what is queued and what is in flight, the heartbeat, reconnects and every deadline. Does no
//! IO: a driver feeds it time, replies and ends of connections, and carries out its [`Action`]s.

mod answer;
mod connect;
mod fill;
mod in_flight;
mod large;
mod pace;
mod ready;
mod reply;
mod report;
mod send;
mod shared;
mod sweep;
#[cfg(all(test, not(nearcache_loom)))]
mod tests;
mod told;
mod visit;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use nearcache_l1::Timestamp;

use crate::config::LaneConfig;
use crate::error::{Error, ErrorKind, Reason};
use crate::fill::FillOutcome;
use crate::fill::Guard;
use crate::op::{BatchId, ConnectionId, Line, Op, OpReply, PrimaryId, Protocol, Side};
use crate::pod::Pod;
use crate::primary::LaneState;
use crate::primary::Primary;
use crate::request::{Done, Effect, Request, Work};
use in_flight::InFlight;
pub use large::TooLargeFor;
use large::{Oversize, Tally};
use pace::{Backoff, FillPace};
use ready::Waiter;
pub(crate) use reply::op_error;
pub use report::{Condition, Report};
use shared::Shared;
use told::Told;

/// Number of the side connection for large values.
const BULK: u64 = 0;

/// What the driver must do next.
pub enum Action {
    /// Open this connection of the lane.
    Connect {
        /// Which, for [`Events`](crate::Events).
        connection: ConnectionId,
    },
    /// Send these ops as one batch and hand the answer to [`Lane::handle_reply`].
    Send {
        /// The number to answer with.
        batch: BatchId,
        /// Where to.
        line: Line,
        /// What.
        ops: Vec<Op>,
    },
    /// Close a side connection. Its unanswered batches are answered with an error.
    CloseSide {
        /// To whom it leads.
        primary: PrimaryId,
        /// Its number.
        side: u64,
    },
    /// Close the lane's connection and forget its unanswered batches.
    Disconnect {
        /// Which.
        connection: ConnectionId,
    },
    /// Tell the operator.
    Report {
        /// Of whose lane.
        primary: PrimaryId,
        /// What.
        report: Report,
    },
}

/// The state machine. Not shared: its driver owns it.
pub struct Lane {
    pod: Arc<Pod>,
    primary: Arc<Primary>,
    config: LaneConfig,
    phase: Phase,
    connections: u64,
    batches: BatchId,
    ready: Vec<Waiter>,
    /// Fences, writes and commands: short, so they go before fills.
    urgent: VecDeque<Request>,
    fills: VecDeque<Request>,
    /// Fills that nobody waits for: sent when nothing else can be, one batch at a time.
    ahead: VecDeque<Request>,
    /// Held by the batch of those that is in flight.
    ahead_out: Arc<()>,
    /// Requests of a db that is being probed.
    held: Vec<Request>,
    /// Bytes of the commands in flight on the lane.
    bytes_out: Arc<AtomicU64>,
    /// In flight, oldest first.
    sent: InFlight,
    dbs: BTreeSet<u32>,
    probing: BTreeSet<u32>,
    heartbeat_at: Timestamp,
    heartbeats_out: usize,
    retest_at: Option<Timestamp>,
    renew_by: Option<Timestamp>,
    sweep_at: Option<Timestamp>,
    /// The server owes an answer for longer than a call may wait: calls fail at once.
    stalled: bool,
    /// This connection has answered more than its handshake.
    proven: bool,
    /// The connection's number at the server, where that is what fences are checked by.
    fence_by: Option<i64>,
    /// Reads that nobody would tell changes of are sent alone, and kept nowhere: their lives may not be asked for, or
    /// the user's rights do not suffice for copies to be relied upon.
    bare: bool,
    backoff: Backoff,
    pace: FillPace,
    shared: Shared,
    /// They came since the last fence for such was sent.
    side_answers: Vec<SideAnswer>,
    oversize: Oversize,
    large_inline: Tally,
    large_entries: Tally,
    told: Told,
    actions: VecDeque<Action>,
}

enum Phase {
    /// Connect at `until`. `failed`: why the last attempt did not succeed.
    Waiting {
        until: Timestamp,
        failed: Option<Error>,
    },
    Connecting {
        connection: ConnectionId,
        since: Timestamp,
        failed: Option<Error>,
    },
    Handshaking {
        connection: ConnectionId,
        since: Timestamp,
        failed: Option<Error>,
    },
    Up {
        connection: ConnectionId,
    },
    Closed,
}

/// What a batch adds to the bytes in flight, for as long as it is.
struct Out {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Out {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A batch in flight.
struct Sent {
    _out: Out,
    work: SentWork,
    line: Line,
    sent_at: Timestamp,
    deadline: Timestamp,
    /// The history it was sent in.
    history: u32,
    /// Its caller was told that time is up; the answer is still due.
    expired: bool,
}

enum SentWork {
    Handshake,
    Retest,
    Heartbeat,
    ProbeDb(u32),
    Fill {
        guards: Vec<Guard>,
        estimate: usize,
        /// There when nobody waits for it.
        _ahead: Option<Arc<()>>,
    },
    Bulk(Guard),
    /// A read without the life of its key, for servers that refuse the transaction which tells both.
    Unkept(Guard),
    /// A side answer that may be handed over when the lane has caught up with it.
    BulkFence {
        guard: Guard,
        outcome: FillOutcome,
    },
    Fence {
        role: bool,
        done: Done<()>,
    },
    Write(SentWrite),
    Command(SentCommand),
    SideFence(Vec<SideAnswer>),
}

/// What came over a side connection, to be handed over when the lane has caught up with it.
struct SideAnswer {
    done: Done<Vec<OpReply>>,
    replies: Vec<OpReply>,
}

/// A write of one key that is on its way.
struct SentWrite {
    key: Bytes,
    done: Done<OpReply>,
    /// Whether it is a command of the user's own, answered by whatever the server says.
    verbatim: bool,
    /// Of what a loader returned.
    loaded: bool,
}

/// Ops that are on their way.
struct SentCommand {
    /// How many there are.
    wanted: usize,
    /// Whether all are commands of the user's own.
    verbatim: bool,
    effect: Effect,
    done: Done<Vec<OpReply>>,
    /// Its place on a shared connection.
    _seat: Option<Arc<()>>,
}

impl Lane {
    /// The lane of `pod` to one of its [primaries](Pod::primaries), which will connect at its first
    /// [`poll_action`](Self::poll_action). `seed` drives jitter and nonces. `None`: the pod knows no such primary.
    pub fn new(pod: Arc<Pod>, primary: PrimaryId, config: LaneConfig, seed: u64) -> Option<Self> {
        let primary = pod.route.get(primary)?.clone();
        let backoff = Backoff::new(config.backoff_min, config.backoff_max, seed);
        let pace = FillPace::new(config.inflight_bytes);
        pod.admission.set_away(None);
        Some(Self {
            config,
            phase: Phase::Waiting {
                until: Timestamp::ZERO,
                failed: None,
            },
            connections: 0,
            // Above what an earlier lane of this pod was answered, or no flight could be joined.
            batches: primary.coherence.answered(),
            ready: Vec::new(),
            urgent: VecDeque::new(),
            fills: VecDeque::new(),
            ahead: VecDeque::new(),
            ahead_out: Arc::new(()),
            held: Vec::new(),
            bytes_out: Arc::new(AtomicU64::new(0)),
            sent: InFlight::default(),
            dbs: BTreeSet::new(),
            probing: BTreeSet::new(),
            heartbeat_at: Timestamp::ZERO,
            heartbeats_out: 0,
            retest_at: None,
            renew_by: None,
            sweep_at: None,
            stalled: false,
            proven: false,
            fence_by: None,
            bare: false,
            backoff,
            pace,
            shared: Shared::default(),
            side_answers: Vec::new(),
            oversize: Oversize::default(),
            large_inline: Tally::default(),
            large_entries: Tally::default(),
            told: Told::default(),
            actions: VecDeque::new(),
            primary,
            pod,
        })
    }

    /// To whom it leads.
    pub fn primary(&self) -> PrimaryId {
        self.primary.id()
    }

    /// Takes a request: queues it, or ends it at once when the lane is down or stalled and its caller does not wait for
    /// that. How many may be queued is the callers' business, before they submit.
    pub fn submit(&mut self, request: Request, now: Timestamp) {
        let request = match request.work {
            Work::EndSession(id) => return self.end_session(id),
            // However the lane is: only its clock is asked for.
            Work::Alarm(ticket) if !matches!(self.phase, Phase::Closed) => return ticket.accept(),
            _ => request,
        };
        if let Some(error) = self.unavailable()
            && !self.is_patient(&request, &error, now)
        {
            return request.reject(&error);
        }
        match request.work {
            Work::Ready(done) => self.wait_ready(done, request.permit, request.deadline, now),
            Work::Renew(ticket) => {
                ticket.accept();
                self.renew_by.get_or_insert(request.deadline);
            }
            _ => self.enqueue(request),
        }
        self.want_sweep(now);
    }

    /// Closes a session's connection, however the lane is. What the session has in line must not open
    /// another.
    fn end_session(&mut self, session: u64) {
        let of_session = |request: &Request| {
            matches!(&request.work, Work::Command(command)
                if matches!(command.effect, Effect::Side(side) if side.id == session))
        };
        let (ended, urgent): (Vec<_>, Vec<_>) = self.urgent.drain(..).partition(of_session);
        self.urgent = urgent.into();
        for request in ended {
            request.reject(&Error::retry(Reason::Interrupted, "its session has ended"));
        }
        self.close(session);
    }

    /// Ends everything: calls in flight fail with [`ErrorKind::Closed`], the connection is closed.
    pub fn shutdown(&mut self, now: Timestamp) {
        if let Some(connection) = self.connection() {
            self.primary.connection_ended(connection);
        }
        self.end(&Error::closed(), now);
        self.primary.set_state(LaneState::Closed);
    }

    /// Ends everything with `error`, for a driver that cannot go on; another lane may take the pod over.
    pub fn abandon(&mut self, error: &Error, now: Timestamp) {
        self.end(error, now);
        self.primary.set_state(LaneState::Down(error.to_string()));
    }

    fn end(&mut self, error: &Error, now: Timestamp) {
        if let Some(connection) = self.connection() {
            self.pod.connection_lost(connection);
            self.actions.push_back(Action::Disconnect { connection });
        }
        self.phase = Phase::Closed;
        // Before there is room again for those who wait for it.
        self.pod.admission.end(error);
        self.fail_all(error, now);
        self.pod.loads.fail_waits(error);
    }

    /// The next thing to do; call until `None` after every other call.
    pub fn poll_action(&mut self, now: Timestamp) -> Option<Action> {
        if let Phase::Up { connection } = self.phase
            && !self.primary.is_current(connection)
        {
            // Its end was reported to the pod first: nothing more may go out in the name of the new history.
            self.lost("the connection was closed", now);
        }
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        match &self.phase {
            Phase::Waiting { until, .. } if now >= *until => Some(self.start_connect(now)),
            Phase::Up { .. } => self.fence_sides(now).or_else(|| self.next_batch(now)),
            _ => {
                self.hand_over_sides();
                None
            }
        }
    }

    /// Why a request cannot be served now.
    fn unavailable(&self) -> Option<Error> {
        match (&self.phase, self.failed()) {
            (Phase::Closed, _) => Some(Error::closed()),
            (_, Some(error)) => Some(error.clone()),
            _ if self.stalled => Some(Error::retry(
                Reason::Timeout,
                "L2 has stopped answering: calls fail at once until it does",
            )),
            _ => None,
        }
    }

    /// The lane's connection, whatever its phase.
    fn connection(&self) -> Option<ConnectionId> {
        match self.phase {
            Phase::Connecting { connection, .. }
            | Phase::Handshaking { connection, .. }
            | Phase::Up { connection } => Some(connection),
            Phase::Waiting { .. } | Phase::Closed => None,
        }
    }

    /// Ends everything that waits, and everything in flight on any line.
    fn fail_all(&mut self, error: &Error, now: Timestamp) {
        self.fail_queued(error, Timestamp::MAX);
        self.end_ready(&Err(error.clone()));
        for sent in self.sent.take(|_| true) {
            self.fail_sent(sent, error, now);
        }
    }

    /// Ends everything that was not sent, unless it waits for the end of this trouble. Who waits for the lane itself goes on.
    fn fail_queued(&mut self, error: &Error, now: Timestamp) {
        self.pod.admission.set_away(Some(error.clone()));
        let heals = error.kind() == ErrorKind::Retry;
        let waits = |request: &Request| heals && now < request.patient_until;
        self.put_back_held();
        for queue in [&mut self.urgent, &mut self.fills, &mut self.ahead] {
            let (kept, ended): (Vec<_>, Vec<_>) = queue.drain(..).partition(waits);
            queue.extend(kept);
            ended.into_iter().for_each(|request| request.reject(error));
        }
        self.end_renewal(Err(error.clone()));
    }

    /// Where the batches of the lane go.
    fn line(&self) -> Line {
        Line::Lane(self.primary.id())
    }

    /// The side connection for large values.
    fn bulk(&self) -> Side {
        Side {
            primary: self.primary.id(),
            id: BULK,
            may_open: true,
            protocol: Protocol::Resp3,
            db: Op::AS_IS,
        }
    }

    /// Has a side connection closed.
    fn close(&mut self, side: u64) {
        let primary = self.primary.id();
        self.actions.push_back(Action::CloseSide { primary, side });
    }

    fn report(&mut self, report: impl IntoIterator<Item = Report>) {
        let primary = self.primary.id();
        let reports = report.into_iter();
        let reports = reports.map(|report| Action::Report { primary, report });
        self.actions.extend(reports);
    }

    fn end_renewal(&mut self, result: Result<(), Error>) {
        self.renew_by = None;
        self.primary.end_renewal(result);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            self.shutdown(Timestamp::ZERO);
        }
    }
}
