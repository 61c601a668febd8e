//! Which primary owns a key. This is the place where a second primary begins: [`Pod::new`](crate::Pod::new) makes the one
//! there is. Values and writes ask [`Route::of`]. What still sends all it has to one primary, and has to name its keys then:
//! sessions, also for commands of one key, and the alarm of loads (`unkeyed`), fetches ahead (`part`), and `read_batch`,
//! which asks for the owner of its first key.

use std::sync::Arc;

use nearcache_l1::Stamp;

use super::Primary;
use crate::op::PrimaryId;

/// The primaries of a pod, and who owns what.
pub(crate) enum Route {
    /// One primary owns all keys.
    One(Arc<Primary>),
}

impl Route {
    /// The owner of a key.
    #[inline]
    pub(crate) fn of(&self, _key: &[u8]) -> &Arc<Primary> {
        match self {
            Self::One(primary) => primary,
        }
    }

    /// The owners of all of these, each of them once.
    pub(crate) fn owners<'k>(
        &self,
        _keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> impl Iterator<Item = &Arc<Primary>> {
        match self {
            Self::One(primary) => std::iter::once(primary),
        }
    }

    /// Whose lane an entry came over.
    #[inline]
    pub(crate) fn by_stamp(&self, _stamp: Stamp) -> &Primary {
        match self {
            Self::One(primary) => primary,
        }
    }

    /// Where a request goes that names no key.
    pub(crate) fn unkeyed(&self) -> &Arc<Primary> {
        match self {
            Self::One(primary) => primary,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<Primary>] {
        match self {
            Self::One(primary) => std::slice::from_ref(primary),
        }
    }

    /// The one of this number.
    pub(crate) fn get(&self, id: PrimaryId) -> Option<&Arc<Primary>> {
        self.all().iter().find(|primary| primary.id() == id)
    }

    /// Parts what is about several keys by their owners.
    pub(crate) fn part<T>(&self, items: Vec<T>, mut each: impl FnMut(PrimaryId, Vec<T>)) {
        match self {
            Self::One(primary) => each(primary.id(), items),
        }
    }

    /// What a fill of this key that begins now is stamped with.
    pub(crate) fn stamp(&self, key: &[u8]) -> Stamp {
        let primary = self.of(key);
        Stamp {
            claim: u32::from(primary.id().0),
            slot: 0,
            history: primary.coherence.history(),
            flush: primary.coherence.flush(),
        }
    }
}
