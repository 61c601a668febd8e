//! Who may fetch a slot, who may share in that, and whether it is to be kept.

use nearcache_l1::{Entrance, Key, Timestamp};

use super::Pod;
use crate::fill::{FillMeta, Guard, Purpose};
use crate::pod::key_hash;
use crate::primary::Verdict;
use crate::shim::Ordering;
use crate::slots::{HEADS, LOADS, subject};

impl Pod {
    /// Whether a reader that starts now may share this fetch: nothing was invalidated since its token,
    /// it is younger than L, and no answer that this pod already had can be newer than its value.
    pub(crate) fn may_join(&self, slot: Key<'_>, meta: &FillMeta, now: Timestamp) -> bool {
        let young = match meta.sent_at() {
            None => true,
            Some(sent_at) => now.saturating_since(sent_at) < self.lease_time,
        };
        let key = subject(slot).bytes;
        // What is fetched ahead and still waits its turn is not waited for: the reader's own fetch goes first.
        let under_way = meta.purpose == Purpose::Demand || meta.sent_at().is_some();
        meta.admitted
            && young
            && under_way
            && (self.route.of(key).coherence.answered() <= meta.seq() || off!(Join))
            && self.unchanged(key, &meta.token)
    }

    /// Whether a caller that misses now may share this loader's result.
    pub(crate) fn may_join_load(&self, key: &[u8], meta: &FillMeta) -> bool {
        self.unchanged(key, &meta.token)
    }

    /// Whether a key is one of those that L1 is not to hold.
    pub(crate) fn is_bypassed(&self, key: &[u8]) -> bool {
        self.config
            .bypass
            .iter()
            .any(|prefix| key.starts_with(prefix))
    }

    /// Whether what this miss brings may be kept: `bypass` and `admit_after` decide.
    pub(crate) fn admit(&self, key: Key<'_>) -> bool {
        if self.is_bypassed(subject(key).bytes) {
            self.counters.bypassed_total.bump();
            return false;
        }
        if self.seen.is_empty() {
            return true;
        }
        let hash = key_hash(key.bytes) ^ u64::from(key.db);
        let mark = ((hash >> 32) as u32) | 1;
        let admitted =
            self.seen[hash as usize % self.seen.len()].swap(mark, Ordering::Relaxed) == mark;
        if !admitted {
            self.counters.not_admitted_total.bump();
        }
        admitted
    }

    /// Metadata of a flight about to start, for callers that wait while L2 is away or do not: takes the token.
    pub(crate) fn fill_meta_for(&self, slot: Key<'_>, patient: bool) -> FillMeta {
        let mut meta = self.fill_meta(slot, self.admit(slot), Purpose::Demand);
        meta.patient = patient;
        meta
    }

    /// Metadata of a flight about to start: takes the token.
    pub(crate) fn fill_meta(&self, slot: Key<'_>, admitted: bool, purpose: Purpose) -> FillMeta {
        let token = self.fill_token(subject(slot).bytes);
        FillMeta::new(token, admitted, purpose)
    }

    /// Leads the fetch of a slot that nobody has asked for, unless it is being fetched, not to be kept, or resident and not to
    /// be replaced.
    pub(crate) fn lead_ahead(
        &self,
        slot: Key<'_>,
        purpose: Purpose,
        now: impl Fn() -> Timestamp,
    ) -> Option<Guard> {
        if slot.db & (LOADS | HEADS) != 0 || self.is_bypassed(subject(slot).bytes) {
            return None;
        }
        if purpose != Purpose::Refresh
            && self.store.contains(slot)
            && let Some(found) = self.look(slot, &now)
            && matches!(found.verdict, Verdict::Fresh | Verdict::Lapsed)
        {
            return None;
        }
        // Not under the lock of the slot.
        let now = now();
        let entrance = self.store.enter(
            slot,
            |_| false,
            // Whoever fetches it: a second fetch would only be in the way of those who want it.
            |meta: &FillMeta| {
                self.may_join(slot, meta, now)
                    || (meta.purpose != Purpose::Demand
                        && self.unchanged(subject(slot).bytes, &meta.token))
            },
            || self.fill_meta(slot, true, purpose),
        );
        match entrance {
            Entrance::Lead(guard) => Some(guard),
            _ => None,
        }
    }
}
