//! Kept replies in the store: a reply is good only while the head it was filed under is the one of its key.

use nearcache_l1::{Entrance, EntryId, Filled, Hit, Published, Timestamp};

use super::{Found, Pod};
use crate::entry_key::{EntryKey, Kind};
use crate::epochs::FillToken;
use crate::fill::{Fetched, Purpose};
use crate::primary::LaneLease;
use crate::primary::Verdict;

impl Pod {
    /// [`resident`](Self::resident) for an entry of any kind: a kept reply is dead when the head of its key is another.
    pub(crate) fn look(
        &self,
        entry: EntryKey<'_>,
        clock: impl FnOnce() -> Timestamp,
    ) -> Option<Found> {
        if entry.kind != Kind::Reply {
            return self.resident(entry, clock);
        }
        let hit = self.store.get(entry.filed())?;
        let (head, lease) = self.head(entry);
        let filed = self.is_filed(&hit, head);
        let mut found = self.found(hit, lease, clock);
        if !filed {
            found.verdict = Verdict::Dead;
        }
        Some(found)
    }

    /// The head of the key that a kept reply is about, and the lease, which judges the replies under it: what is pushed
    /// removes the head, so that it is the head's lock under which the lease has to be loaded.
    pub(crate) fn head(&self, entry: EntryKey<'_>) -> (Option<EntryId>, LaneLease) {
        match self
            .store
            .get_with(entry.head().filed(), |stamp| self.lease_of(stamp))
        {
            Some((head, lease)) => (Some(head.id), lease),
            None => (None, self.route.of(entry.subject().bytes).coherence.lease()),
        }
    }

    /// Whether a kept reply lies under this head.
    pub(crate) fn is_filed(&self, hit: &Hit, head: Option<EntryId>) -> bool {
        let filed = hit.value.as_deref().and_then(crate::held::head_of);
        (filed.is_some() && filed == head) || off!(Head)
    }

    /// The head under which a reply to be kept can be filed, made if there is none: `None` when the key
    /// was invalidated since `token` was taken, or there is no room.
    pub(crate) fn make_head(&self, entry: EntryKey<'_>, token: FillToken) -> Option<EntryId> {
        let key = entry.subject();
        let valid = || self.unchanged(key.bytes, &token);
        let meta = || self.fill_meta(entry, true, Purpose::Demand);
        // Which life an old head is of does not matter: it was there when the reply came, and goes with the next
        // invalidation of the key. Whose it is does: by the lease of its lane its replies are judged.
        match self
            .store
            .enter(entry.head().filed(), |_| true, |_| false, meta)
        {
            Entrance::Hit(head) => {
                (valid() && head.stamp.claim == token.stamp.claim).then_some(head.id)
            }
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
