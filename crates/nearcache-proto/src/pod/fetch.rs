//! Who may fetch an entry, who may share in that, and whether it is to be kept.

use nearcache_l1::{Entrance, Timestamp};

use super::Pod;
use crate::entry_key::{EntryKey, Kind};
use crate::epochs::key_hash;
use crate::fill::{FillMeta, Guard, Purpose};
use crate::primary::Verdict;
use crate::shim::Ordering;

impl Pod {
    /// Whether a reader that starts now may share this fetch: nothing was invalidated since its token,
    /// it is younger than L, and no answer that this pod already had can be newer than its value.
    pub(crate) fn may_join(&self, entry: EntryKey<'_>, meta: &FillMeta, now: Timestamp) -> bool {
        let young = match meta.sent_at() {
            None => true,
            Some(sent_at) => now.saturating_since(sent_at) < self.lease_time,
        };
        let key = entry.subject().bytes;
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
    pub(crate) fn admit(&self, entry: EntryKey<'_>) -> bool {
        if self.is_bypassed(entry.subject().bytes) {
            self.counters.bypassed_total.bump();
            return false;
        }
        if self.seen.is_empty() {
            return true;
        }
        let hash = key_hash(entry.bytes) ^ u64::from(entry.filed().db);
        let mark = ((hash >> 32) as u32) | 1;
        let admitted =
            self.seen[hash as usize % self.seen.len()].swap(mark, Ordering::Relaxed) == mark;
        if !admitted {
            self.counters.not_admitted_total.bump();
        }
        admitted
    }

    /// Metadata of a flight about to start, for callers that wait while L2 is away or do not: takes the token.
    pub(crate) fn fill_meta_for(&self, entry: EntryKey<'_>, patient: bool) -> FillMeta {
        let mut meta = self.fill_meta(entry, self.admit(entry), Purpose::Demand);
        meta.patient = patient;
        meta
    }

    /// Metadata of a flight about to start: takes the token.
    pub(crate) fn fill_meta(
        &self,
        entry: EntryKey<'_>,
        admitted: bool,
        purpose: Purpose,
    ) -> FillMeta {
        let token = self.fill_token(entry.subject().bytes);
        FillMeta::new(token, admitted, purpose)
    }

    /// Leads the fetch of an entry that nobody has asked for, unless it is being fetched, not to be kept, or resident and not to
    /// be replaced.
    pub(crate) fn lead_ahead(
        &self,
        entry: EntryKey<'_>,
        purpose: Purpose,
        now: impl Fn() -> Timestamp,
    ) -> Option<Guard> {
        if matches!(entry.kind, Kind::Load | Kind::Head) || self.is_bypassed(entry.subject().bytes)
        {
            return None;
        }
        if purpose != Purpose::Refresh
            && self.store.contains(entry.filed())
            && let Some(found) = self.look(entry, &now)
            && matches!(found.verdict, Verdict::Fresh | Verdict::Lapsed)
        {
            return None;
        }
        // Not under the lock of the entry.
        let now = now();
        let entrance = self.store.enter(
            entry.filed(),
            |_| false,
            // Whoever fetches it: a second fetch would only be in the way of those who want it.
            |meta: &FillMeta| {
                self.may_join(entry, meta, now)
                    || (meta.purpose != Purpose::Demand
                        && self.unchanged(entry.subject().bytes, &meta.token))
            },
            || self.fill_meta(entry, true, purpose),
        );
        match entrance {
            Entrance::Lead(guard) => Some(guard),
            _ => None,
        }
    }

    /// Keeps what a flight brought that must not be kept.
    #[cfg(nearcache_break)]
    pub(crate) fn keep_anyway(
        &self,
        filed: nearcache_l1::Key<'_>,
        filled: nearcache_l1::Filled,
        outcome: crate::fill::FillOutcome,
    ) {
        let meta = || self.fill_meta(EntryKey::of(filed), true, Purpose::Demand);
        if let Entrance::Lead(guard) = self.store.enter(filed, |_| false, |_| false, meta) {
            self.store.publish(guard, filled, |_| true, outcome);
        }
    }
}
