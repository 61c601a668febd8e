//! Time: what is overdue is ended, a silent server is noticed, a dead one is given up.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use nearcache_l1::{Key, RemovalCause, Timestamp};

use super::{BULK, Lane, Phase, Sent, SentWork};
use crate::error::{Error, ErrorKind, Reason, WriteOutcome, no_room, timed_out};
use crate::op::Line;
use crate::pod::Pod;
use crate::request::{Effect, Request};

impl Lane {
    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; `None`: not before something else happens.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let phase = match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Connecting { .. } | Phase::Handshaking { .. } => self.impatient(),
            Phase::Up { .. } => self.heartbeat_possible().then_some(self.heartbeat_at),
            Phase::Closed => return None,
        };
        let (patient, tell) = (self.patient_until(), self.tell_large_at());
        let loads = self.pod.loads.next();
        let others = [
            self.sweep_at,
            self.renew_by,
            self.retest_at,
            patient,
            tell,
            self.told.due(),
            loads,
            self.shared.due(),
        ];
        others.into_iter().chain([phase]).flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.impatient().is_some_and(|at| now >= at) {
            let why = "L2 did not accept the connection in time (connect_timeout): check the address and the network";
            self.connect_failed(Error::new(ErrorKind::Retry, why), now);
        }
        if let Some(error) = self.failed().cloned() {
            self.end_impatient(&error, now);
        }
        self.tell_large(now);
        let summary = self.told.summary(now);
        self.report(summary);
        if self.renew_by.is_some_and(|by| now >= by) {
            self.pod.counters.timeouts_total.bump();
            self.end_renewal(Err(timed_out()));
        }
        let pod = &self.pod;
        let expire = |filed: Key<'_>, id| {
            pod.store.remove_entry(filed, id, RemovalCause::Expired);
        };
        pod.loads.end_overdue(now, &pod.counters, expire);
        let idle = self.shared.idle(now);
        idle.into_iter().for_each(|side| self.close(side));
        if self.sweep_at.is_some_and(|at| now >= at) {
            self.sweep_at = None;
            self.sweep(now);
            self.want_sweep(now);
        }
    }

    /// When an attempt to connect is given up. The store bounds its own part by `connect_timeout`;
    /// twice that bounds a store that does not. The handshake has the same time again.
    fn impatient(&self) -> Option<Timestamp> {
        let timeout = self.config.connect_timeout;
        match self.phase {
            Phase::Connecting { since, .. } => Some(since.saturating_add(timeout * 2)),
            Phase::Handshaking { since, .. } => Some(since.saturating_add(timeout)),
            _ => None,
        }
    }

    pub(super) fn want_sweep(&mut self, now: Timestamp) {
        let idle = self.sent.is_empty()
            && self.urgent.is_empty()
            && self.fills.is_empty()
            && self.ahead.is_empty()
            && self.held.is_empty()
            && !self.pod.admission.is_contended();
        if self.sweep_at.is_none() && !idle {
            let pause = (self.pod.config.operation_timeout / 8).max(Duration::from_millis(1));
            self.sweep_at = Some(now.saturating_add(pause));
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        let (why, is_up) = (self.overdue(), matches!(self.phase, Phase::Up { .. }));
        let is_over = |request: &Request| {
            // What blocks has no deadline, but waits no longer than others to be sent.
            let impatient = !is_up && request.patient_until > Timestamp::ZERO;
            now >= request.deadline || (impatient && now >= request.patient_until)
        };
        for queue in [&mut self.urgent, &mut self.fills, &mut self.ahead] {
            expire(queue, is_over, &why, &self.pod);
        }
        let mut held = std::mem::take(&mut self.held).into();
        expire(&mut held, is_over, &why, &self.pod);
        self.held = held.into();
        let unplaced = self.pod.admission.expire(now, || match why.reason() {
            Some(Reason::Timeout) if !self.stalled => no_room(),
            _ => why.clone(),
        });
        self.pod.counters.rejected_total.add(unplaced as u64);

        let mut sent = std::mem::take(&mut self.sent);
        for entry in sent.values_mut() {
            if now >= entry.deadline && !entry.expired {
                entry.expired = true;
                self.expire_sent(entry);
            }
        }
        let oldest = sent
            .values()
            .filter(|entry| matches!(entry.line, Line::Lane(_)))
            .map(|entry| entry.sent_at)
            .min();
        self.sent = sent;
        self.sweep_shared(now);
        if !matches!(self.phase, Phase::Up { .. }) {
            return self.give_up_sides(self.config.dead_after, now);
        }
        let Some(oldest) = oldest else {
            return;
        };
        let silent = now.saturating_since(oldest);
        if silent >= self.config.dead_after {
            self.lost("it owed an answer for too long (dead_after)", now);
            self.give_up_sides(Duration::ZERO, now);
        } else if silent >= self.pod.config.operation_timeout && !self.stalled {
            self.stalled = true;
            self.fail_queued(&timed_out(), now);
        }
    }

    /// Gives a side connection up that belongs to no session when it owes an answer for too long: nothing on it takes
    /// that long by design, and the next who needs one opens another.
    fn sweep_shared(&mut self, now: Timestamp) {
        let dead_after = self.config.dead_after;
        let shared = |entry: &Sent| match entry.line {
            Line::Side(side) if side.id == BULK || self.shared.has(side.id) => Some(side.id),
            _ => None,
        };
        let silent = |entry: &&Sent| now.saturating_since(entry.sent_at) >= dead_after;
        let dead: BTreeSet<u64> = self
            .sent
            .values()
            .filter(silent)
            .filter_map(shared)
            .collect();
        if dead.is_empty() {
            return;
        }
        let why =
            "a connection beside the lane owed an answer for too long (dead_after); try again";
        let error = Error::retry(Reason::Interrupted, why);
        let gone = self
            .sent
            .take(|entry| matches!(entry.line, Line::Side(side) if dead.contains(&side.id)));
        for id in dead {
            self.close_side(id);
        }
        for entry in gone {
            self.fail_sent(entry, &error, now);
        }
    }

    pub(super) fn close_side(&mut self, id: u64) {
        self.shared.forget(id);
        self.close(id);
    }

    /// Commands on side connections of sessions have no deadline, as some wait for long: what ends them is that the
    /// lane to the same server is dead, or could not be opened again for as long as they have waited.
    fn give_up_sides(&mut self, waited: Duration, now: Timestamp) {
        let error = Error::retry(
            Reason::Interrupted,
            "L2 was lost: it owed an answer for too long (dead_after); try again",
        );
        let dead = |sent: &Sent| {
            matches!(sent.line, Line::Side(_)) && now.saturating_since(sent.sent_at) >= waited
        };
        for sent in self.sent.take(dead) {
            if let Line::Side(side) = sent.line {
                self.close_side(side.id);
            }
            self.fail_sent(sent, &error, now);
        }
    }

    /// Why a request was not sent while there was time.
    fn overdue(&self) -> Error {
        match (&self.phase, self.failed()) {
            (_, Some(error)) => error.given_up("it was waited for until operation_timeout"),
            (Phase::Up { .. }, None) => timed_out(),
            _ => Error::new(
                ErrorKind::Retry,
                "L2 was lost and is not back yet (operation_timeout): try again",
            ),
        }
    }

    /// Tells the callers of a batch that time is up. The batch stays: its answer is still due, and a
    /// write whose answer comes later is applied to L1 once more.
    fn expire_sent(&mut self, sent: &mut Sent) {
        self.pod.counters.timeouts_total.bump();
        let error = timed_out();
        if let Line::Side(side) = sent.line {
            self.shared.late(side.id);
        }
        match &mut sent.work {
            SentWork::Fill { guards, .. } => {
                for guard in guards {
                    guard.settle(Err(error.clone()));
                }
            }
            SentWork::Bulk(guard) | SentWork::Unkept(guard) | SentWork::BulkFence { guard, .. } => {
                guard.settle(Err(error))
            }
            SentWork::Fence { done, .. } => done.complete(Err(error)),
            SentWork::Write(write) => {
                self.pod.invalidate_local(&write.key);
                write
                    .done
                    .complete(Err(error.for_write(WriteOutcome::Unknown)));
            }
            SentWork::Command(command) => {
                let error = match command.effect {
                    Effect::None => error,
                    Effect::Fenced | Effect::Side(_) | Effect::Shared(_) => {
                        self.unseen_writes();
                        error.for_write(WriteOutcome::Unknown)
                    }
                };
                command.done.complete(Err(error));
            }
            SentWork::SideFence(_)
            | SentWork::Handshake
            | SentWork::Retest
            | SentWork::Heartbeat
            | SentWork::ProbeDb(_) => {}
        }
    }
}

fn expire(
    queue: &mut VecDeque<Request>,
    is_over: impl Fn(&Request) -> bool,
    why: &Error,
    pod: &Pod,
) {
    let (over, kept): (Vec<_>, Vec<_>) = queue.drain(..).partition(is_over);
    queue.extend(kept);
    for request in over {
        pod.counters.timeouts_total.bump();
        request.reject(why);
    }
}
