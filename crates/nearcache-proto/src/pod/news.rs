//! What the pod is told: keys that changed, flushes, the end of a connection.
//!
//! Called inside the connection's reader: quick, and never waits for anything but a shard of the store.

use super::Pod;
use crate::entry_key::{EntryKey, Kind};
use crate::op::{ConnectionId, Invalidations};
use nearcache_l1::Key;

impl Pod {
    /// Drops this pod's copies of `key` and refuses fills that are under way.
    pub(crate) fn invalidate_local(&self, key: &[u8]) {
        self.invalidate_each(key, |_| {});
    }

    /// The same; tells `see` which dbs there was a copy of.
    fn invalidate_each(&self, key: &[u8], see: impl FnMut(u32)) {
        #[cfg(nearcache_break)]
        if crate::sabotage::is_off(crate::sabotage::Mechanism::Token) {
            // Orphaning the key's flights would refuse their fills as the token does.
            return crate::sabotage::drop_entry_only(&self.store, key);
        }
        self.bump_epoch(key);
        self.store.invalidate_each(key, see);
        // Again: who took a token in between may have found the copy all the same, and holds it against the token of another
        // key's newer one to tell whether both were true at one moment.
        self.bump_epoch(key);
    }
}

impl Invalidations for Pod {
    fn invalidate(&self, _connection: ConnectionId, key: &[u8]) {
        self.counters.invalidations_total.bump();
        if !self.warmth.wants_lost() {
            return self.invalidate_local(key);
        }
        self.invalidate_each(key, |db| {
            let filed = EntryKey::of(Key::new(db, key));
            if filed.kind == Kind::Value && !self.warmth.lose(db, key) {
                self.counters.refetch_dropped_total.bump();
            }
        });
    }

    fn invalidate_all(&self, connection: ConnectionId) {
        self.counters.flushes_total.bump();
        if off!(Null) {
            return;
        }
        if let Some(primary) = self.route.get(connection.primary) {
            primary.coherence.bump_flush();
        }
    }

    fn disconnected(&self, connection: ConnectionId) {
        self.connection_lost(connection);
    }
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use nearcache_l1::{Entrance, Filled, StoreConfig, Timestamp};

    use super::*;
    use crate::config::PodConfig;
    use crate::fill::{Fetched, Purpose};

    /// A reader may find the copy after the epoch was raised: what it compares its token with must tell.
    #[test]
    fn c14_a_token_taken_while_a_copy_goes_does_not_hold() {
        let store = StoreConfig::new(1 << 20);
        let pod = Pod::new(store, PodConfig::default()).expect("a good configuration");
        let key = EntryKey::value(0, b"k");
        let meta = || pod.fill_meta(key, true, Purpose::Demand);
        let Entrance::Lead(guard) = pod.store.enter(key.filed(), |_| false, |_| false, meta) else {
            panic!("nobody else fetches it");
        };
        let filled = Filled {
            value: None,
            stamp: guard.meta().token.stamp,
            filled_at: Timestamp::ZERO,
            deadline: Timestamp::MAX,
        };
        let fetched = Fetched {
            value: None,
            deadline: Timestamp::MAX,
            sent_at: Timestamp::ZERO,
            tracked: true,
        };
        pod.store.publish(guard, filled, |_| true, Ok(fetched));
        let mut token = None;
        pod.invalidate_each(b"k", |_| token = Some(pod.fill_token(b"k")));
        let token = token.expect("there was a copy");
        assert!(!pod.unchanged(b"k", &token));
    }
}
