//! The lane's life: connect, prove the tracking, be lost, try again.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::{Action, Lane, Phase, SentWork};
use crate::error::{Error, ErrorKind, Reason};
use crate::fleet::fleet_key;
use crate::op::{ConnectionId, Line, Op, OpError, OpReply, Tracking, Traits};
use crate::primary::LaneState;
use crate::rights::Rights;

use super::BULK;
use super::reply::op_error;

/// How often a lane that runs without invalidations proves them again.
const RETEST: Duration = Duration::from_secs(30);

impl Lane {
    pub(super) fn start_connect(&mut self, now: Timestamp) -> Action {
        let failed = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Waiting { failed, .. } => failed,
            _ => None,
        };
        self.connections += 1;
        let connection = ConnectionId {
            primary: self.primary.id(),
            number: self.connections,
        };
        self.phase = Phase::Connecting {
            connection,
            since: now,
            failed,
        };
        self.primary.connection_opened(connection);
        Action::Connect { connection }
    }

    /// The driver opened the connection.
    pub fn handle_connected(&mut self, connection: ConnectionId, now: Timestamp) {
        let Phase::Connecting {
            connection: current,
            failed,
            ..
        } = &mut self.phase
        else {
            return;
        };
        if *current != connection {
            return;
        }
        let failed = failed.take();
        self.phase = Phase::Handshaking {
            connection,
            since: now,
            failed,
        };
        if self.primary.is_current(connection) {
            self.send_handshake(SentWork::Handshake, now);
        } else {
            self.connect_failed(lost_early(), now);
        }
    }

    /// The driver could not open the connection.
    pub fn handle_connect_failed(
        &mut self,
        connection: ConnectionId,
        error: Error,
        now: Timestamp,
    ) {
        if matches!(self.phase, Phase::Connecting { connection: current, .. } if current == connection)
        {
            self.connect_failed(error, now);
        }
    }

    /// The driver noticed, by whatever sign, that the connection has ended.
    pub fn handle_disconnected(&mut self, connection: ConnectionId, now: Timestamp) {
        match self.phase {
            Phase::Up {
                connection: current,
            } if current == connection => {
                self.lost("the connection was closed", now);
            }
            Phase::Connecting {
                connection: current,
                ..
            }
            | Phase::Handshaking {
                connection: current,
                ..
            } if current == connection => {
                self.connect_failed(lost_early(), now);
            }
            _ => {}
        }
    }

    pub(super) fn send_handshake(&mut self, work: SentWork, now: Timestamp) {
        let nonce = self.backoff.random.next();
        let canary = fleet_key(&self.pod.config.service, &format!("canary:{nonce:016x}"));
        let ops = self.visit(Op::Handshake {
            canary: Bytes::from(canary),
            nonce,
        });
        let deadline = now.saturating_add(self.config.connect_timeout);
        let action = self.batch(work, self.line(), ops, deadline, now);
        self.actions.push_back(action);
    }

    /// The first handshake of a connection was answered.
    pub(super) fn handshaken(
        &mut self,
        result: Option<Result<OpReply, OpError>>,
        history: u32,
        sent_at: Timestamp,
        now: Timestamp,
    ) {
        let Phase::Handshaking { connection, .. } = self.phase else {
            return;
        };
        match result {
            Some(Ok(OpReply::Handshake {
                primary: true,
                traits: Traits { rights, .. },
                ..
            })) if !rights.may("+get") => {
                let advice = self.advice(&rights);
                let why = format!("the Redis user may not GET, so nothing can be read{advice}");
                self.connect_failed(Error::new(ErrorKind::Configuration, why), now);
            }
            Some(Ok(OpReply::Handshake {
                primary: true,
                tracking,
                traits,
            })) => {
                self.primary.note_traits(&traits);
                self.phase = Phase::Up { connection };
                self.proven = false;
                self.not_stalled();
                self.pod.admission.set_away(None);
                self.pod.counters.connects_total.bump();
                self.note_tracking(tracking, &traits, now);
                let from = if off!(SentAt) { now } else { sent_at };
                self.primary.coherence.renew(history, from);
                self.heartbeat_at = sent_at.saturating_add(self.heartbeat_every());
                self.end_ready(&Ok(()));
                self.end_renewal(Ok(()));
            }
            Some(Ok(OpReply::Handshake { primary: false, .. })) => {
                self.pod.counters.demoted_total.bump();
                self.connect_failed(
                    Error::new(
                        ErrorKind::Retry,
                        "the server is a replica: point the URL at the primary, or wait for the failover to end",
                    ),
                    now,
                );
            }
            Some(Err(error)) => {
                // Busy or loading is over some time; anything else is not.
                let error = match op_error(&error) {
                    passing if passing.kind() == ErrorKind::Retry => passing,
                    refused if refused.kind() == ErrorKind::Configuration => Error::new(
                        ErrorKind::Configuration,
                        format!("the server refused the set-up of the lane: {refused}"),
                    ),
                    _ => Error::new(
                        ErrorKind::Configuration,
                        format!(
                            "the server refused the set-up of the lane: {error}; nearcache needs RESP3 (Redis 7.0 or Valkey)"
                        ),
                    ),
                };
                self.connect_failed(error, now);
            }
            _ => self.connect_failed(lost_early(), now),
        }
    }

    pub(super) fn retest_later(&mut self, now: Timestamp) {
        self.retest_at = Some(now.saturating_add(RETEST));
    }

    /// Takes over what a handshake found out about tracking and what it needs.
    pub(super) fn note_tracking(
        &mut self,
        tracking: Result<(), String>,
        traits: &Traits,
        now: Timestamp,
    ) {
        let wanted = self.config.tracking == Tracking::Pushes;
        let tracked = wanted && tracking.is_ok();
        let rights = &traits.rights;
        self.fence_by = traits.connection;
        self.bare = wanted && (!rights.may_bound() || (!tracked && !rights.may_track()));
        self.primary.set_tracked(tracked);
        match tracking {
            Err(why) if wanted => {
                let kept = match self.bare {
                    true => "nothing is kept",
                    false => "entries are short-lived",
                };
                let why = format!("{kept}: {why}{}", self.advice(rights));
                self.retest_later(now);
                self.pod.counters.degraded_total.bump();
                self.primary.set_state(LaneState::Degraded(why.clone()));
                let report = self.told.degraded(why, now);
                self.report(report);
            }
            _ => {
                self.retest_at = None;
                self.primary.set_state(LaneState::Up);
                let report = self.told.connected(now);
                self.report(report);
            }
        }
    }

    fn advice(&self, rights: &Rights) -> String {
        rights.advice(self.config.user.as_deref())
    }

    /// The lane was up and is not any more: its history is over, whatever was in flight has failed,
    /// and the first attempt to open it again is made soon, unless this one answered nothing but
    /// its handshake: such a connection is no better than one that was refused.
    pub(super) fn lost(&mut self, why: &str, now: Timestamp) {
        let Phase::Up { connection } = self.phase else {
            return;
        };
        self.pod.connection_lost(connection);
        self.actions.push_back(Action::Disconnect { connection });
        let report = self.told.lost(why, now);
        self.report(report);
        // It may have died of the same cause, and is opened again when it is used.
        self.close(BULK);
        let idle = self.shared.doubt();
        idle.into_iter().for_each(|side| self.close(side));
        // The whole fleet lost the server at the same time: even the first attempts are spread.
        let pause = if self.proven {
            self.backoff.first()
        } else {
            self.backoff.next()
        };
        let until = now.saturating_add(pause);
        self.phase = Phase::Waiting {
            until,
            failed: None,
        };
        let error = Error::retry(
            Reason::Interrupted,
            format!("L2 was lost: {why}; try again"),
        );
        self.primary.set_state(LaneState::Down(why.to_owned()));
        self.reset_connection(&error, now);
    }

    /// An attempt failed: whoever waits is told, unless for the lane itself, and the next attempt is some time off.
    pub(super) fn connect_failed(&mut self, error: Error, now: Timestamp) {
        if let Some(connection) = self.connection() {
            self.primary.connection_failed(connection);
            self.actions.push_back(Action::Disconnect { connection });
        }
        self.pod.counters.connect_failures_total.bump();
        self.primary.set_state(LaneState::Down(error.to_string()));
        let report = self.told.failed(&error, now);
        self.report(report);
        self.phase = Phase::Waiting {
            until: now.saturating_add(self.backoff.next()),
            failed: Some(error.clone()),
        };
        self.reset_connection(&error, now);
        self.fail_queued(&error, now);
        self.fail_ready(&error, now);
    }

    fn reset_connection(&mut self, error: &Error, now: Timestamp) {
        self.dbs.clear();
        self.probing.clear();
        self.put_back_held();
        self.heartbeats_out = 0;
        self.retest_at = None;
        self.not_stalled();
        for sent in self.sent.take(|sent| matches!(sent.line, Line::Lane(_))) {
            self.fail_sent(sent, error, now);
        }
    }

    /// The server answers, or another connection is opened: what is not patient may be sent again.
    pub(super) fn not_stalled(&mut self) {
        if std::mem::take(&mut self.stalled) {
            self.pod.admission.set_away(None);
        }
    }

    pub(super) fn heartbeat_every(&self) -> Duration {
        self.pod.config.max_staleness / 3
    }
}

fn lost_early() -> Error {
    Error::new(
        ErrorKind::Retry,
        "the connection to L2 was closed while it was set up; try again",
    )
}
