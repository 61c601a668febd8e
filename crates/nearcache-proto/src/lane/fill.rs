//! The end of a read: what is published, for how long it may live, and what is only handed over.
//!
//! Never keeps what an invalidation of the key may have missed.

use nearcache_l1::{Filled, Published, Refusal, Timestamp};

use super::answer::Answer;
use super::reply::op_error;
use super::{Lane, Phase, SentWork, TooLargeFor};
use crate::entry_key::{EntryKey, Kind};
use crate::epochs::key_hash;
use crate::error::timed_out;
use crate::fill::{Guard, Purpose, entry_of, is_of_reply};
use crate::op::{Op, OpError, OpReply};
use crate::pod::cut;

impl Lane {
    /// The answer to a tracked read: published if its token is unchanged, and handed to those who wait.
    pub(super) fn finish_fill(
        &mut self,
        guard: Guard,
        result: Result<OpReply, OpError>,
        sent_at: Timestamp,
        now: Timestamp,
    ) {
        let filed = is_of_reply(&guard);
        let read = match result
            .map_err(|error| op_error(&error))
            .and_then(|reply| Answer::of(reply, filed))
        {
            Ok(read) => read,
            Err(error) => {
                self.pod.counters.fill_errors_total.bump();
                return guard.complete(Err(error));
            }
        };
        self.pace.observe(read.bytes());
        self.pod.counters.fill_bytes_total.add(read.bytes() as u64);
        let mut deadline = match read.ttl {
            Some(ttl) => sent_at.saturating_add(cut(ttl)),
            None => Timestamp::MAX,
        };
        let entry = guard.flight().clone();
        let entry = EntryKey::of(entry.key());
        let key = entry.subject();
        let token = guard.meta().token;
        let unchanged = self.pod.unchanged(key.bytes, &token);
        // When the key changed between GET and PTTL, the value's own end is not known.
        let known_until = if unchanged { deadline } else { sent_at };
        if read.bytes() > self.pod.config.max_inline {
            self.oversize.remember(key_hash(entry.bytes));
            self.above_inline(&guard, read.bytes(), now);
            return guard.complete(Ok(read.fetched(known_until, sent_at)));
        }
        if off!(Expiry) {
            deadline = Timestamp::MAX;
        }
        let tracked = read.tracked || off!(Untracked);
        if !tracked {
            deadline = deadline.min(sent_at.saturating_add(cut(self.pod.config.untracked_life)));
        }
        if entry.is_of_hash() && self.pod.config.hash_field_expiry && self.primary.field_expiry() {
            deadline = deadline.min(sent_at.saturating_add(cut(self.pod.config.max_staleness)));
        }
        let keep = guard.meta().admitted
            && (read.exists || self.pod.config.cache_absent)
            // What was read untracked in a tracked life would outlive its bound by a lease.
            && (tracked || !self.primary.is_tracked())
            && deadline > sent_at;
        if !keep {
            return guard.complete(Ok(read.fetched(known_until, sent_at)));
        }
        let mut read = read;
        if entry.kind == Kind::Reply {
            let Some(head) = self.pod.make_head(entry, token) else {
                self.pod.counters.fills_refused_total.bump();
                return guard.complete(Ok(read.fetched(known_until, sent_at)));
            };
            read.file(head);
        }
        let bytes = read.bytes();
        let fetched = read.fetched(known_until, sent_at);
        let filled = Filled {
            value: fetched.value.clone(),
            stamp: token.stamp,
            filled_at: sent_at,
            deadline,
        };
        let pod = self.pod.clone();
        // Counted before the callers resume: who has the value finds it in the statistics.
        let too_large = pod.store.weigh(entry.filed(), bytes) > pod.store.max_entry_weight();
        if too_large {
            self.too_large(key_hash(key.bytes), TooLargeFor::Entry, bytes, now);
        }
        let valid = |_: &crate::fill::FillMeta| pod.unchanged(key.bytes, &token);
        let purpose = guard.meta().purpose;
        #[cfg(nearcache_break)]
        let again = (filled.clone(), fetched.clone());
        let store = &pod.store;
        let published = match purpose {
            Purpose::WarmStart => store.publish_in_free_room(guard, filled, valid, Ok(fetched)),
            _ => store.publish(guard, filled, valid, Ok(fetched)),
        };
        match published {
            Published::Stored(_) => {}
            Published::Refused(Refusal::TooLarge) if too_large => {}
            Published::Refused(Refusal::TooLarge) if purpose == Purpose::WarmStart => {
                self.pod.counters.warm_no_room_total.bump();
            }
            Published::Refused(Refusal::TooLarge) => {
                self.too_large(key_hash(key.bytes), TooLargeFor::Entry, bytes, now);
            }
            Published::Refused(_) => {
                self.pod.counters.fills_refused_total.bump();
                #[cfg(nearcache_break)]
                if off!(Orphan) {
                    let (filled, fetched) = again;
                    pod.keep_anyway(entry.filed(), filled, Ok(fetched));
                }
            }
        }
    }

    /// A value is too large for the lane. One that was not to be kept, whatever its size, is not missed.
    fn above_inline(&mut self, guard: &Guard, bytes: usize, now: Timestamp) {
        if guard.meta().admitted {
            let key = key_hash(entry_of(guard).subject().bytes);
            self.too_large(key, self.inline(), bytes, now);
        }
    }

    /// Reads without asking for the life of the key, so that nothing can be kept.
    pub(super) fn read_unkept(&mut self, guard: Guard, deadline: Timestamp, now: Timestamp) {
        if !matches!(self.phase, Phase::Up { .. }) {
            return guard.complete(Err(timed_out()));
        }
        let db = entry_of(&guard).subject().db;
        let argv = super::send::argv(&guard);
        let ops = vec![Op::Command { db, argv }];
        let action = self.batch(SentWork::Unkept(guard), self.line(), ops, deadline, now);
        self.actions.push_back(action);
    }

    /// A large value came over the side connection: its caller resumes when the lane has caught up.
    pub(super) fn bulk_read(
        &mut self,
        guard: Guard,
        result: Option<Result<OpReply, OpError>>,
        (sent_at, deadline): (Timestamp, Timestamp),
        now: Timestamp,
    ) {
        let answer = match result {
            Some(Ok(reply)) => Answer::of(reply, is_of_reply(&guard)),
            Some(Err(error)) => Err(op_error(&error)),
            None => Err(crate::error::unexpected()),
        };
        let outcome = answer.map(|read| {
            self.pod.counters.fill_bytes_total.add(read.bytes() as u64);
            if read.bytes() <= self.pod.config.max_inline {
                self.oversize.forget(key_hash(guard.key().bytes));
            } else {
                self.above_inline(&guard, read.bytes(), now);
            }
            let life = read.ttl;
            let deadline = life.map_or(Timestamp::MAX, |ttl| sent_at.saturating_add(cut(ttl)));
            read.fetched(deadline, sent_at)
        });
        if off!(SideFence) {
            return guard.complete(outcome);
        }
        self.fence_behind(SentWork::BulkFence { guard, outcome }, deadline, now);
    }
}
