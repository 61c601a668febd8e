//! Kept replies in the store: a reply is good only while the head it was filed under is the one of its key.

use nearcache_l1::{Entrance, EntryId, Filled, Hit, Key, Published, Timestamp};

use super::{Found, Pod};
use crate::fill::{Fetched, Purpose};
use crate::pod::FillToken;
use crate::primary::LaneLease;
use crate::primary::Verdict;
use crate::slots::{REPLIES, head, subject};

impl Pod {
    /// [`resident`](Self::resident) for a slot of any kind: a kept reply is dead when the head of its key is another.
    pub(crate) fn look(&self, slot: Key<'_>, clock: impl FnOnce() -> Timestamp) -> Option<Found> {
        if slot.db & REPLIES == 0 {
            return self.resident(slot, clock);
        }
        let hit = self.store.get(slot)?;
        let (head, lease) = self.head(slot);
        let filed = self.is_filed(&hit, head);
        let mut found = self.found(hit, lease, clock);
        if !filed {
            found.verdict = Verdict::Dead;
        }
        Some(found)
    }

    /// The head of the key that a kept reply is about, and the lease, which judges the replies under it: what is pushed
    /// removes the head, so that it is the head's lock under which the lease has to be loaded.
    pub(crate) fn head(&self, slot: Key<'_>) -> (Option<EntryId>, LaneLease) {
        let head = head(subject(slot));
        match self.store.get_with(head, |stamp| self.lease_of(stamp)) {
            Some((head, lease)) => (Some(head.id), lease),
            None => (None, self.route.of(subject(slot).bytes).coherence.lease()),
        }
    }

    /// Whether a kept reply lies under this head.
    pub(crate) fn is_filed(&self, hit: &Hit, head: Option<EntryId>) -> bool {
        let filed = hit.value.as_deref().and_then(crate::held::head_of);
        (filed.is_some() && filed == head) || off!(Head)
    }

    /// The head under which a reply to be kept can be filed, made if there is none: `None` when the key
    /// was invalidated since `token` was taken, or there is no room.
    pub(crate) fn make_head(&self, slot: Key<'_>, token: FillToken) -> Option<EntryId> {
        let key = subject(slot);
        let valid = || self.unchanged(key.bytes, &token);
        let meta = || self.fill_meta(slot, true, Purpose::Demand);
        // Which life an old head is of does not matter: it was there when the reply came, and goes with
        // the next invalidation of the key.
        match self.store.enter(head(key), |_| true, |_| false, meta) {
            Entrance::Hit(head) => valid().then_some(head.id),
            Entrance::Lead(guard) => {
                let filled = Filled {
                    value: None,
                    stamp: token.stamp,
                    filled_at: Timestamp::ZERO,
                    deadline: Timestamp::MAX,
                };
                let nobody_waits = Ok(Fetched {
                    value: None,
                    deadline: Timestamp::ZERO,
                    sent_at: Timestamp::ZERO,
                    tracked: false,
                });
                match self.store.publish(guard, filled, |_| valid(), nobody_waits) {
                    Published::Stored(id) => Some(id),
                    Published::Refused(_) => None,
                }
            }
            Entrance::Join(_) | Entrance::Crowded(_) | Entrance::Full | Entrance::Declined => None,
        }
    }
}
