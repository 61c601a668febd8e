//! What goes out next: heartbeats, then short requests, then fills as far as their bytes allow.

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::{Action, Lane, Out, Sent, SentCommand, SentWork, SentWrite};
use crate::admission::Permit;
use crate::entry_key::{self, Kind};
use crate::epochs::key_hash;
use crate::error::{Error, ErrorKind, WriteOutcome, timed_out};
use crate::fill::{Guard, entry_of};
use crate::op::{Line, Op};
use crate::request::{CommandWork, Effect, Request, Work, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Heartbeats that may be unanswered at once: a stalled server is not to be buried in them.
const MAX_HEARTBEATS: usize = 3;

/// Keys in one batch of fills.
const MAX_KEYS: usize = 512;

impl Lane {
    /// The next batch of a lane that is up.
    pub(super) fn next_batch(&mut self, now: Timestamp) -> Option<Action> {
        if let Some(action) = self.next_heartbeat(now) {
            return Some(action);
        }
        if self.stalled {
            // What waits for its end is better not sent: it might be a write, and the connection may be dead.
            return None;
        }
        while let Some(request) = self.urgent.pop_front() {
            if !self.room_for(&request) {
                self.urgent.push_front(request);
                break;
            }
            if let Some(action) = self.send_urgent(request, now) {
                return Some(action);
            }
        }
        while self.pace.allowance() > 0 {
            let Some(request) = self.fills.pop_front() else {
                return self.next_ahead(now);
            };
            if let Some(action) = self.send_fill(request, now) {
                return Some(action);
            }
        }
        None
    }

    /// The next batch of what nobody waits for, once nothing else is to be sent and the last one is back.
    fn next_ahead(&mut self, now: Timestamp) -> Option<Action> {
        while self.urgent.is_empty() && Arc::strong_count(&self.ahead_out) == 1 {
            let mut request = self.ahead.pop_front()?;
            if let Work::FillAhead(guards) = &mut request.work {
                // Somebody could not wait and fetches it himself, or it was invalidated.
                guards.retain(|guard| !guard.flight().is_orphaned());
            }
            if let Some(action) = self.send_fill(request, now) {
                return Some(action);
            }
        }
        None
    }

    /// Whether what is in flight leaves room for the request; one always goes, whatever its size.
    fn room_for(&self, request: &Request) -> bool {
        let out = self.bytes_out.load(Ordering::Relaxed);
        out == 0 || out + request.bytes() <= self.config.inflight_bytes as u64
    }

    pub(super) fn heartbeat_possible(&self) -> bool {
        self.heartbeats_out < MAX_HEARTBEATS
    }

    fn next_heartbeat(&mut self, now: Timestamp) -> Option<Action> {
        let due = now >= self.heartbeat_at && self.heartbeat_possible();
        let wanted = self.renew_by.is_some() && self.heartbeats_out == 0;
        if self.retest_at.is_some_and(|at| now >= at) {
            self.retest_at = None;
            self.send_handshake(SentWork::Retest, now);
            return self.actions.pop_front();
        }
        if !(due || wanted) {
            return None;
        }
        self.heartbeats_out += 1;
        self.heartbeat_at = now.saturating_add(self.heartbeat_every());
        self.pod.counters.heartbeats_total.bump();
        let work = SentWork::Heartbeat;
        Some(self.batch(work, self.line(), vec![Op::Heartbeat], Timestamp::MAX, now))
    }

    fn send_urgent(&mut self, request: Request, now: Timestamp) -> Option<Action> {
        let request = match self.probed(request, now) {
            Ok(request) => request,
            Err(instead) => return instead,
        };
        let deadline = request.deadline;
        let action = match request.work {
            Work::Fence { role, done } => {
                self.pod.counters.fences_total.bump();
                let op = if role { Op::Heartbeat } else { self.fence() };
                self.batch(
                    SentWork::Fence { role, done },
                    self.line(),
                    vec![op],
                    deadline,
                    now,
                )
            }
            Work::Write(write) => {
                if let Some(error) = self.outdated(&write) {
                    write
                        .done
                        .complete(Err(error.for_write(WriteOutcome::NotSent)));
                    return None;
                }
                self.pod.counters.writes_total.bump();
                let Write {
                    op,
                    key,
                    done,
                    only_if,
                } = write;
                let verbatim = op.is_verbatim();
                let work = SentWork::Write(SentWrite {
                    key,
                    done,
                    verbatim,
                    loaded: only_if.is_some(),
                });
                let mut ops = vec![op];
                if off!(Twice) {
                    ops.push(ops[0].clone());
                }
                self.batch(work, self.line(), ops, deadline, now)
            }
            Work::Command(CommandWork {
                mut ops,
                effect,
                done,
            }) => {
                let (effect, seat) = match effect {
                    Effect::Shared(protocol) => {
                        let number = || self.pod.next_session();
                        let (side, seat) =
                            self.shared.place(self.primary.id(), protocol, now, number);
                        (Effect::Side(side), Some(seat))
                    }
                    effect => (effect, None),
                };
                let work = SentWork::Command(SentCommand {
                    wanted: ops.len(),
                    verbatim: ops.iter().all(Op::is_verbatim),
                    effect,
                    done,
                    _seat: seat,
                });
                if self.bare {
                    ops.iter_mut().for_each(lay_bare);
                }
                let line = match effect {
                    Effect::None | Effect::Shared(_) => self.line(),
                    Effect::Fenced if off!(HiddenWrite) => self.line(),
                    Effect::Fenced => {
                        ops.push(self.fence());
                        self.line()
                    }
                    Effect::Side(side) => Line::Side(side),
                };
                self.batch(work, line, ops, deadline, now)
            }
            // The others never enter this queue.
            other => {
                other.fail(&Error::closed(), WriteOutcome::NotSent);
                return None;
            }
        };
        Some(action)
    }

    /// A loader's result must not be written over what happened since its token was taken.
    fn outdated(&self, write: &Write) -> Option<Error> {
        let token = write.only_if.as_ref().filter(|_| !off!(LoadToken))?;
        (!self.pod.unchanged(&write.key, token)).then(|| {
            Error::new(
                ErrorKind::Retry,
                "the key was changed while its value was loaded",
            )
        })
    }

    fn send_fill(&mut self, request: Request, now: Timestamp) -> Option<Action> {
        let request = match self.probed(request, now) {
            Ok(request) => request,
            Err(instead) => return instead,
        };
        let deadline = request.deadline;
        let patient_until = request.patient_until;
        let mut permit = request.permit;
        let (mut guards, ahead) = match request.work {
            Work::Fill(guards) => (guards, None),
            Work::FillAhead(guards) => (guards, Some(Arc::clone(&self.ahead_out))),
            _ => return None,
        };
        let is_large = |guard: &Guard| self.oversize.contains(key_hash(guard.key().bytes));
        if ahead.is_some() {
            // They would not be kept.
            guards.retain(|guard| !is_large(guard));
            if guards.is_empty() {
                return None;
            }
        } else if let Some(large) = guards.iter().position(is_large) {
            let guard = guards.swap_remove(large);
            let rest = permit.split(guards.len());
            self.put_back(guards, rest, (deadline, patient_until), false);
            return Some(self.send_bulk(guard, deadline, now));
        }
        let allowed = self.pace.allowance().min(MAX_KEYS);
        if guards.len() > allowed {
            let rest = guards.split_off(allowed);
            let permit = permit.split(rest.len());
            self.put_back(rest, permit, (deadline, patient_until), ahead.is_some());
        }
        let tracked = self.primary.is_tracked();
        let ops = guards
            .iter()
            .map(|guard| self.read_op(guard, tracked && guard.meta().admitted))
            .collect();
        self.pod.counters.fills_total.add(guards.len() as u64);
        let seq = self.batches + 1;
        for guard in &guards {
            guard.meta().sent(seq, now);
        }
        let estimate = self.pace.sent(guards.len());
        let work = SentWork::Fill {
            guards,
            estimate,
            _ahead: ahead,
        };
        Some(self.batch(work, self.line(), ops, deadline, now))
    }

    fn put_back(
        &mut self,
        guards: Vec<Guard>,
        permit: Permit,
        (deadline, patient_until): (Timestamp, Timestamp),
        ahead: bool,
    ) {
        if guards.is_empty() {
            return;
        }
        let (queue, work) = match ahead {
            false => (&mut self.fills, Work::Fill(guards)),
            true => (&mut self.ahead, Work::FillAhead(guards)),
        };
        queue.push_front(Request {
            primary: self.primary.id(),
            deadline,
            patient_until,
            permit,
            work,
        });
    }

    /// A value known to be large is read beside the lane, so that it delays no push and no heartbeat.
    fn send_bulk(&mut self, guard: Guard, deadline: Timestamp, now: Timestamp) -> Action {
        self.pod.counters.fills_total.bump();
        let op = self.read_op(&guard, false);
        // No push tells of changes: it may be joined only as long as the lane has answered nothing more.
        guard.meta().sent(self.primary.coherence.answered(), now);
        self.batch(
            SentWork::Bulk(guard),
            Line::Side(self.bulk()),
            vec![op],
            deadline,
            now,
        )
    }

    /// Passes a request on when its db is known to be selectable; else holds it, and asks first.
    fn probed(&mut self, request: Request, now: Timestamp) -> Result<Request, Option<Action>> {
        if now >= request.deadline {
            self.pod.counters.timeouts_total.bump();
            request.reject(&timed_out());
            return Err(None);
        }
        let known = |db| db == self.config.resting_db || self.dbs.contains(&db);
        let Some(db) = request.db().filter(|db| !known(*db)) else {
            return Ok(request);
        };
        let deadline = request.deadline;
        self.held.push(request);
        Err(self.probing.insert(db).then(|| {
            let op = Op::ProbeDb { db };
            self.batch(SentWork::ProbeDb(db), self.line(), vec![op], deadline, now)
        }))
    }

    pub(super) fn fence(&mut self) -> Op {
        match self.fence_by {
            Some(connection) => Op::FenceOf { connection },
            None => Op::Fence {
                nonce: self.backoff.random.next(),
            },
        }
    }

    fn read_op(&self, guard: &Guard, tracked: bool) -> Op {
        let entry = entry_of(guard);
        let db = entry.subject().db;
        if !tracked && self.bare {
            let argv = argv(guard);
            return Op::Command { db, argv };
        }
        if entry.kind == Kind::Value {
            let key = Bytes::copy_from_slice(entry.bytes);
            return Op::Read { db, key, tracked };
        }
        let argv = argv(guard);
        Op::ReadWith { db, argv, tracked }
    }

    /// Numbers a batch and remembers what its answer is for.
    pub(super) fn batch(
        &mut self,
        work: SentWork,
        line: Line,
        ops: Vec<Op>,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Action {
        self.batches += 1;
        let batch = self.batches;
        // What waits beside the lane, a blocking command for as long as it likes, takes none of its room.
        let bytes = match line {
            Line::Lane(_) => ops.iter().map(Op::bytes).sum::<u64>(),
            Line::Side(_) => 0,
        };
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        let sent = Sent {
            _out: Out {
                total: self.bytes_out.clone(),
                bytes,
            },
            work,
            line,
            sent_at: now,
            deadline,
            history: self.primary.coherence.history(),
            expired: false,
        };
        self.sent.insert(batch, sent);
        self.want_sweep(now);
        Action::Send { batch, line, ops }
    }
}

/// Makes a read without a life of one that would be told with it.
fn lay_bare(op: &mut Op) {
    if let Op::Read {
        db,
        key,
        tracked: false,
    } = op
    {
        let argv = vec![Bytes::from_static(b"GET"), std::mem::take(key)];
        *op = Op::Command { db: *db, argv };
    }
}

/// The command that reads what a flight is about.
pub(super) fn argv(guard: &Guard) -> Vec<Bytes> {
    let entry = entry_of(guard);
    if entry.kind == Kind::Value {
        return vec![
            Bytes::from_static(b"GET"),
            Bytes::copy_from_slice(entry.bytes),
        ];
    }
    // It was composed by us: the default is never used.
    let (_, argv) = entry_key::command(entry.bytes).unwrap_or_default();
    argv
}
