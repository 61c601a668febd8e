//! What becomes of a loaded value: written to L2, or lent to this pod's callers for a while, and kept nowhere.
//!
//! Never overwrites what somebody else wrote, and lends nothing once its key was changed.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Filled, Key, Published, Timestamp};

use super::seat::{Lead, Seat, fetched};
use super::table::Lending;
use super::{Call, Loaded};
use crate::cache::{Cache, Io, Read, ReadPolicy, check_sizes};
#[cfg(nearcache_break)]
use crate::entry_key;
use crate::error::{Error, ErrorKind, WriteOutcome};
use crate::op::Op;
use crate::pod::cut;
use crate::read::from_origin;
use crate::write::{check_ttl, set_op};

/// How long after a value that did not decode was replaced the next may be: two releases of a service that cannot read
/// each other's values must not replace them at the rate of reads.
const REPLACE_AGAIN: Duration = Duration::from_secs(60);

/// Where a loaded value belongs.
pub(super) enum Keep {
    /// L2 has none: there, unless another writer is first.
    IfAbsent,
    /// L2 has this, of which the caller can make nothing: there, in its place.
    InPlaceOf(Bytes),
    /// L2 does not answer.
    Nowhere,
}

/// What a load came to, and until when it may be lent.
pub(super) struct Kept {
    pub(super) read: Read,
    pub(super) lend_until: Option<Timestamp>,
}

impl<I: Io> Cache<I> {
    pub(super) async fn keep(
        &self,
        call: &Call<'_>,
        (lead, started): (&Lead, Timestamp),
        keep: Keep,
        loaded: Loaded,
        usable: &mut (dyn FnMut(&Bytes) -> bool + Send),
    ) -> Result<Kept, Error> {
        let Call { db, key, .. } = *call;
        let Loaded { value, ttl } = loaded;
        check_sizes(key, value.len())?;
        check_ttl(ttl)?;
        // For as long as its loader lets it live, at most.
        let dies = ttl.map_or(Timestamp::MAX, |ttl| self.io.now().saturating_add(cut(ttl)));
        let own = Kept {
            read: from_origin(Some(value.clone())),
            lend_until: Some(self.lend_until(started).min(dies)),
        };
        let op = match keep {
            Keep::Nowhere => return Ok(own),
            Keep::IfAbsent => {
                let key = Bytes::copy_from_slice(key);
                set_op(db, key, value, ttl, !off!(Overwrite))?
            }
            Keep::InPlaceOf(old) => {
                let now = self.io.now();
                let again = now.saturating_add(REPLACE_AGAIN);
                if !self.pod.loads.may_replace(Key::new(db, key), now, again) {
                    return Ok(own);
                }
                match off!(ReplaceAny) {
                    true => set_op(db, Bytes::copy_from_slice(key), value, ttl, false)?,
                    false => Op::Replace {
                        db,
                        key: Bytes::copy_from_slice(key),
                        old,
                        value,
                        ttl,
                    },
                }
            }
        };
        let replaces = matches!(op, Op::Replace { .. });
        match self.set_loaded(op, key, lead.token).await {
            Ok(true) => {
                if replaces {
                    self.pod.counters.values_replaced_total.bump();
                }
                Ok(Kept {
                    lend_until: None,
                    ..own
                })
            }
            // Somebody else was first.
            Ok(false) => match self.read(db, key, ReadPolicy::PassThrough).await {
                Ok(read) if read.value.as_ref().is_some_and(&mut *usable) => Ok(Kept {
                    read,
                    lend_until: None,
                }),
                Err(error) if error.kind() == ErrorKind::Closed => Err(error),
                _ => Ok(Kept {
                    lend_until: None,
                    ..own
                }),
            },
            Err(error) if error.kind() == ErrorKind::Closed => Err(error),
            Err(error) if replaces && error.write_outcome() == Some(WriteOutcome::NotSent) => {
                self.pod.loads.not_replaced(Key::new(db, key));
                Ok(own)
            }
            // The value is good for whoever asked before the change; L2 does without it.
            Err(_) => {
                self.pod.counters.load_write_errors_total.bump();
                Ok(own)
            }
        }
    }

    /// The origin has none. Said by a caller that could ask L2, it may be kept for `negative_ttl`.
    pub(super) fn keep_absence(&self, call: &Call<'_>, started: Timestamp, keep: &Keep) -> Kept {
        let lend_until = match (keep, call.policy.negative_ttl) {
            (Keep::IfAbsent, None) => None,
            (Keep::IfAbsent, Some(ttl)) => Some(self.io.now().saturating_add(cut(ttl))),
            _ => Some(self.lend_until(started)),
        };
        Kept {
            read: from_origin(None),
            lend_until,
        }
    }

    /// What the origin said at `started` is as good as a copy of L2's for as long.
    pub(super) fn lend_until(&self, started: Timestamp) -> Timestamp {
        match off!(OriginLife) {
            true => started.saturating_add(self.pod.config.max_staleness * 8),
            false => started.saturating_add(cut(self.pod.config.max_staleness)),
        }
    }

    /// Ends a flight with what its loader brought; to be lent, it lies in the flight's own entry of L1, where every
    /// invalidation of the key finds it and where it is counted.
    pub(super) fn land(&self, seat: &Seat, lead: &Lead, started: Timestamp, kept: &Kept) {
        let Some(guard) = seat.take() else { return };
        let outcome = Ok(fetched(kept.read.value.clone(), started));
        // What L1 is not to hold is not lent either.
        let bypassed = self.pod.is_bypassed(lead.flight.key().bytes);
        let lend_until = kept.lend_until.filter(|_| !bypassed);
        let Some(until) = lend_until.filter(|until| *until > self.io.now()) else {
            return guard.complete(outcome);
        };
        let filled = Filled {
            value: kept.read.value.clone(),
            stamp: lead.token.stamp,
            filled_at: started,
            deadline: until,
        };
        let entry = lead.flight.key();
        let key = entry.bytes;
        #[cfg(nearcache_break)]
        if off!(OriginKept) {
            let value = entry_key::subject(entry);
            self.pod.keep_anyway(value, filled.clone(), outcome.clone());
        }
        #[cfg(nearcache_break)]
        if off!(OriginToken) {
            guard.complete(outcome.clone());
            return self.pod.keep_anyway(entry, filled, outcome);
        }
        let valid = |_: &_| self.pod.unchanged(key, &lead.token);
        let published = self.pod.store.publish(guard, filled, valid, outcome);
        // Absences may be many, and take next to no room.
        if let (Published::Stored(id), Some(_)) = (published, &kept.read.value) {
            match self.pod.loads.note_lent(entry, id, until) {
                Lending::NotRemembered => self.pod.counters.lent_not_remembered_total.bump(),
                Lending::Remembered => {}
                Lending::TellTheLane => self.tell_the_lane(),
            }
        }
    }
}
