//! What an answer means: complete, renew, or give the connection up. Those to reads are in `fill`.

use nearcache_l1::Timestamp;

use super::answer::Answer;
use super::{Action, Lane, Sent, SentCommand, SentWork, SentWrite, SideAnswer};
use crate::error::{Error, ErrorKind, WriteOutcome};
use crate::fill::is_of_reply;
use crate::op::{BatchId, BatchReply, Line, OpError, OpReply};
use crate::request::{Effect, Request, Work};
use crate::resp::Reply;
use crate::rights;

impl Lane {
    /// The answer to a batch: its results in order, or why the connection it was sent on is gone.
    pub fn handle_reply(
        &mut self,
        batch: BatchId,
        result: Result<BatchReply, Error>,
        now: Timestamp,
    ) {
        let Some(sent) = self.sent.get(batch) else {
            return;
        };
        let results = match (result, sent.line) {
            (Ok(results), _) => results,
            (Err(error), Line::Lane(_)) => {
                match self.phase {
                    super::Phase::Up { .. } => self.lost(&error.to_string(), now),
                    _ => self.connect_failed(error, now),
                }
                return;
            }
            (Err(error), Line::Side(_)) => {
                if let Some(sent) = self.sent.remove(batch) {
                    self.fail_sent(sent, &error, now);
                }
                return;
            }
        };
        let Some(sent) = self.sent.remove(batch) else {
            return;
        };
        // Not just anything that comes right behind the handshake: a proxy may cut it then.
        let useful = matches!(sent.work, SentWork::Heartbeat);
        match sent.line {
            Line::Lane(_) => {
                self.not_stalled();
                // Before any caller resumes: later readers must not join what was sent before this.
                self.primary.coherence.note_answered(batch);
            }
            Line::Side(side) => self.shared.answered(side.id, now),
        }
        if let Some(why) = self.dispatch(sent, results, now) {
            self.lost(&why, now);
        } else if useful && !self.proven {
            self.proven = true;
            self.backoff.reset();
        }
    }

    /// The driver has no side connection for a batch, and could or may not open one: nothing of it was sent.
    pub fn handle_unsent(&mut self, batch: BatchId, error: &Error, now: Timestamp) {
        let Some(sent) = self.sent.remove(batch) else {
            return;
        };
        match sent.work {
            SentWork::Command(command) => {
                let error = error.for_write(WriteOutcome::NotSent);
                command.done.complete(Err(error));
            }
            _ => self.fail_sent(sent, error, now),
        }
    }

    /// Hands results to their owners; returns why the connection must be given up, if it must.
    fn dispatch(&mut self, sent: Sent, results: BatchReply, now: Timestamp) -> Option<String> {
        let results = match sent.work {
            SentWork::Handshake | SentWork::Retest => self.visit_ended(results),
            _ => results,
        };
        let broken = results.iter().find_map(|result| match result {
            Err(error @ (OpError::Protocol(_) | OpError::TrackingLost(_))) => {
                Some(error.to_string())
            }
            _ => None,
        });
        if broken.is_some()
            && let Line::Side(side) = sent.line
        {
            // What it answers next may be for somebody else, or of another db.
            self.close_side(side.id);
        }
        let broken = broken.filter(|_| matches!(sent.line, Line::Lane(_)));
        if broken.is_some() {
            self.distrust();
        }
        let mut results = results.into_iter();
        match sent.work {
            SentWork::Handshake => {
                self.handshaken(results.next(), sent.history, sent.sent_at, now);
                return None;
            }
            SentWork::Retest => match results.next() {
                Some(Ok(OpReply::Handshake {
                    primary,
                    tracking,
                    traits,
                })) => {
                    self.primary.note_traits(&traits);
                    if primary && tracking.is_ok() && !self.primary.is_tracked() {
                        // What was read untracked must not pass for tracked from now on.
                        self.primary.coherence.bump_history();
                        let history = self.primary.coherence.history();
                        self.primary.coherence.renew(history, sent.sent_at);
                    }
                    self.note_tracking(tracking, &traits, now);
                }
                _ => self.retest_later(now),
            },
            SentWork::Heartbeat => {
                self.heartbeats_out = self.heartbeats_out.saturating_sub(1);
                let role = self.role(results.next(), sent.history, sent.sent_at, now);
                self.end_renewal(role.as_ref().map_err(Clone::clone).copied());
                return role.err().map(|error| error.to_string()).or(broken);
            }
            SentWork::Fence { role: true, done } => {
                let role = self.role(results.next(), sent.history, sent.sent_at, now);
                done.complete(role.clone());
                return role.err().map(|error| error.to_string()).or(broken);
            }
            SentWork::Fence { role: false, done } => done.complete(match results.next() {
                Some(Ok(OpReply::Fenced)) => Ok(()),
                Some(Err(error)) => Err(op_error(&error)),
                _ => Err(crate::error::unexpected()),
            }),
            SentWork::ProbeDb(db) => self.db_probed(db, results.next()),
            SentWork::Fill {
                guards, estimate, ..
            } => {
                self.pace.ended(estimate);
                for (guard, result) in guards.into_iter().zip(results) {
                    match &result {
                        refused if refused_queue(refused) => {
                            self.read_unkept(guard, sent.deadline, now);
                        }
                        _ => self.finish_fill(guard, result, sent.sent_at, now),
                    }
                }
            }
            SentWork::Bulk(guard) if results.as_slice().first().is_some_and(refused_queue) => {
                self.read_unkept(guard, sent.deadline, now);
            }
            SentWork::Bulk(guard) => {
                self.bulk_read(guard, results.next(), (sent.sent_at, sent.deadline), now);
            }
            SentWork::Unkept(guard) => {
                let answer = match results.next() {
                    Some(Ok(reply)) => Answer::unkept(reply, is_of_reply(&guard)),
                    Some(Err(error)) => Err(op_error(&error)),
                    None => Err(crate::error::unexpected()),
                };
                guard.complete(answer.map(|read| read.fetched(sent.sent_at, sent.sent_at)));
            }
            SentWork::BulkFence { guard, outcome } => {
                self.fenced(results.next());
                guard.complete(outcome);
            }
            SentWork::Write(write) => self.finish_write(write, results.next()),
            SentWork::Command(command) => self.finish_command(command, results, sent.line),
            SentWork::SideFence(answers) => {
                self.fenced(results.next());
                self.hand_over(answers);
            }
        }
        broken
    }

    /// The answer to a fence behind a command that has been executed. When the server refused the
    /// fence (it runs a script, say), nothing filled before may be served instead.
    fn fenced(&self, result: Option<Result<OpReply, OpError>>) {
        if !matches!(result, Some(Ok(OpReply::Fenced))) {
            self.primary.coherence.bump_flush();
        }
    }

    /// Renews the lease when a primary answered; else says why this connection is of no use any more.
    fn role(
        &mut self,
        result: Option<Result<OpReply, OpError>>,
        history: u32,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Error> {
        match result {
            Some(Ok(OpReply::Role { primary })) if primary || off!(Role) => {
                if let Some(used) = self.primary.lease_used(now) {
                    let longest = &self.pod.counters.lease_age_max_us;
                    longest.raise_to(used.as_micros() as u64);
                }
                let from = if off!(SentAt) { now } else { sent_at };
                self.primary.coherence.renew(history, from);
                Ok(())
            }
            Some(Ok(OpReply::Role { .. })) => {
                self.distrust();
                self.pod.counters.demoted_total.bump();
                Err(Error::new(
                    ErrorKind::Retry,
                    "the server is no longer the primary",
                ))
            }
            Some(Err(error)) => Err(op_error(&error)),
            _ => Err(crate::error::unexpected()),
        }
    }

    /// The lane's life is over, and it is before anybody is told: who was must not find a copy fresh.
    fn distrust(&self) {
        if let super::Phase::Up { connection } = self.phase {
            self.pod.connection_lost(connection);
        }
    }

    /// Sends a fence whose answer lets a side answer through; when the lane is down there is nothing
    /// left that the answer could be older than.
    pub(super) fn fence_behind(&mut self, work: SentWork, deadline: Timestamp, now: Timestamp) {
        let fence = self.fence();
        let action = self.batch(work, self.line(), vec![fence], deadline, now);
        match (&self.phase, action) {
            (super::Phase::Up { .. }, action) => self.actions.push_back(action),
            (_, super::Action::Send { batch, .. }) => {
                if let Some(sent) = self.sent.remove(batch) {
                    self.fail_sent(sent, &Error::closed(), now);
                }
            }
            _ => {}
        }
    }

    /// One fence for all side answers that came since the last: what they have written is pushed when it is back.
    pub(super) fn fence_sides(&mut self, now: Timestamp) -> Option<Action> {
        if self.side_answers.is_empty() {
            return None;
        }
        let work = SentWork::SideFence(std::mem::take(&mut self.side_answers));
        let fence = self.fence();
        // No deadline: the commands have been executed, and the lane answers or is lost.
        Some(self.batch(work, self.line(), vec![fence], Timestamp::MAX, now))
    }

    /// With the lane down there is nothing left that a side answer could be older than.
    pub(super) fn hand_over_sides(&mut self) {
        let answers = std::mem::take(&mut self.side_answers);
        if !answers.is_empty() {
            self.hand_over(answers);
        }
    }

    fn hand_over(&self, answers: Vec<SideAnswer>) {
        self.unseen_writes();
        for SideAnswer { done, replies } in answers {
            done.complete(Ok(replies));
        }
    }

    fn finish_write(&mut self, write: SentWrite, result: Option<Result<OpReply, OpError>>) {
        // A second time, before the caller resumes: a fill may have come in between. What a loader returned and the server
        // refused has changed nothing, and may be lent.
        let refused = write.loaded && matches!(result, Some(Err(OpError::Server { .. })));
        if !off!(SecondEvict) && !refused {
            self.pod.invalidate_local(&write.key);
        }
        write.done.complete(
            match result.map(|result| verbatim(write.verbatim, result)) {
                Some(Ok(reply)) => {
                    if matches!(&reply, OpReply::Value(Reply::Error { .. })) {
                        self.pod.counters.write_errors_total.bump();
                    }
                    Ok(reply)
                }
                Some(Err(error)) => {
                    self.pod.counters.write_errors_total.bump();
                    Err(op_error(&error).for_write(outcome(&error)))
                }
                None => Err(crate::error::unexpected().for_write(WriteOutcome::Unknown)),
            },
        );
    }

    fn finish_command(
        &mut self,
        command: SentCommand,
        mut results: impl Iterator<Item = Result<OpReply, OpError>>,
        line: Line,
    ) {
        let wanted = command.wanted;
        let (mut replies, mut failed) = (Vec::with_capacity(wanted), None);
        for result in results.by_ref().take(wanted) {
            match verbatim(command.verbatim, result) {
                Ok(reply) => replies.push(reply),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if command.effect == Effect::Fenced && !off!(HiddenWrite) {
            self.fenced(results.next());
            self.unseen_writes();
        }
        match failed {
            Some(failed) => {
                let error = op_error(&failed);
                let error = match command.effect {
                    Effect::None => error,
                    Effect::Fenced | Effect::Side(_) | Effect::Shared(_) => {
                        error.for_write(outcome(&failed))
                    }
                };
                command.done.complete(Err(error));
            }
            None if matches!(line, Line::Side(_)) && !off!(SideFence) => {
                let done = command.done;
                self.side_answers.push(SideAnswer { done, replies });
            }
            None => command.done.complete(Ok(replies)),
        }
    }

    /// Keys we cannot name may have been written. The pushes before the fence have told us which,
    /// unless the store does not push: then nothing filled before may be served.
    pub(super) fn unseen_writes(&self) {
        if !self.primary.is_tracked() {
            self.primary.coherence.bump_flush();
        }
    }

    fn db_probed(&mut self, db: u32, result: Option<Result<OpReply, OpError>>) {
        self.probing.remove(&db);
        let (ready, held): (Vec<_>, Vec<_>) = self
            .held
            .drain(..)
            .partition(|request| request.db() == Some(db));
        self.held = held;
        let failed = match result {
            Some(Ok(_)) => {
                self.dbs.insert(db);
                None
            }
            Some(Err(error)) => {
                let error = op_error(&error);
                let kind = match error.kind() {
                    kind @ (ErrorKind::Configuration | ErrorKind::Retry) => kind,
                    _ => ErrorKind::Usage,
                };
                Some(Error::new(
                    kind,
                    format!("db {db} cannot be selected: {error}"),
                ))
            }
            None => Some(crate::error::unexpected()),
        };
        for request in ready {
            match &failed {
                Some(error) => request.reject(error),
                None => self.enqueue(request),
            }
        }
    }

    /// What waited for the answer about its db goes back in line: that answer will not come.
    pub(super) fn put_back_held(&mut self) {
        for request in std::mem::take(&mut self.held) {
            self.enqueue(request);
        }
    }

    pub(super) fn enqueue(&mut self, request: Request) {
        match request.work {
            Work::Fill(_) => self.fills.push_back(request),
            Work::FillAhead(_) => self.ahead.push_back(request),
            _ => self.urgent.push_back(request),
        }
    }

    /// Ends a batch whose connection is gone.
    pub(super) fn fail_sent(&mut self, sent: Sent, error: &Error, _now: Timestamp) {
        match sent.work {
            SentWork::Handshake | SentWork::Retest | SentWork::Heartbeat | SentWork::ProbeDb(_) => {
            }
            SentWork::Fill {
                guards, estimate, ..
            } => {
                self.pace.ended(estimate);
                self.pod.counters.fill_errors_total.add(guards.len() as u64);
                for guard in guards {
                    guard.complete(Err(error.clone()));
                }
            }
            SentWork::Bulk(guard) | SentWork::Unkept(guard) => guard.complete(Err(error.clone())),
            SentWork::Fence { done, .. } => done.complete(Err(error.clone())),
            SentWork::Write(write) => {
                self.pod.counters.write_errors_total.bump();
                self.pod.invalidate_local(&write.key);
                write
                    .done
                    .complete(Err(error.for_write(WriteOutcome::Unknown)));
            }
            SentWork::Command(command) => {
                if command.effect != Effect::None {
                    self.unseen_writes();
                }
                let error = match command.effect {
                    Effect::None => error.clone(),
                    Effect::Fenced | Effect::Side(_) | Effect::Shared(_) => {
                        error.for_write(WriteOutcome::Unknown)
                    }
                };
                command.done.complete(Err(error));
            }
            // The side answer is in, and the history it had to be fenced against is over.
            SentWork::BulkFence { guard, outcome } => guard.complete(outcome),
            SentWork::SideFence(answers) => self.hand_over(answers),
        }
    }
}

/// Redis 7.0 queues nothing between `MULTI` and `EXEC` while it is out of memory, not even reads.
fn refused_queue(result: &Result<OpReply, OpError>) -> bool {
    matches!(result, Err(OpError::Server { code, message })
        if code == "EXECABORT" && message.contains("OOM command not allowed"))
}

/// A command of the user's own is answered by whatever the server said, an error too.
fn verbatim(verbatim: bool, result: Result<OpReply, OpError>) -> Result<OpReply, OpError> {
    match result {
        Err(OpError::Server { code, message }) if verbatim => {
            Ok(OpReply::Value(Reply::Error { code, message }))
        }
        result => result,
    }
}

/// What an error in place of a write's answer says about the write.
fn outcome(error: &OpError) -> WriteOutcome {
    match error {
        OpError::Server { .. } | OpError::Unsupported(_) => WriteOutcome::Refused,
        // It may be the answer to something else.
        OpError::Protocol(_) | OpError::TrackingLost(_) => WriteOutcome::Unknown,
    }
}

/// What an error of the server means for the caller.
pub(crate) fn op_error(error: &OpError) -> Error {
    let kind = match error {
        OpError::Server { code, .. } => match code.as_str() {
            "LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" | "MASTERDOWN" | "READONLY" | "OOM"
            | "MISCONF" | "NOREPLICAS" | "UNBLOCKED" => ErrorKind::Retry,
            "NOPERM" | "NOAUTH" | "WRONGPASS" | "DENIED" => ErrorKind::Configuration,
            _ => ErrorKind::Usage,
        },
        OpError::TrackingLost(_) | OpError::Protocol(_) => ErrorKind::Retry,
        OpError::Unsupported(_) => ErrorKind::Usage,
    };
    // A server quotes arguments of commands it does not know: values do not belong in errors.
    let text = error.to_string();
    let text = text.split(", with args beginning with").next();
    let text = text.unwrap_or_default();
    let told = match error {
        OpError::Server { code, message } if code == "NOPERM" => {
            Error::new(kind, format!("{text}: {}", rights::advice(message)))
        }
        _ => Error::new(kind, text),
    };
    match error {
        OpError::Server { code, message } => told.of_server(code, message),
        _ => told,
    }
}
