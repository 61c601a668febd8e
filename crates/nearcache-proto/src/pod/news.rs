//! What the pod is told: keys that changed, flushes, the end of a connection.
//!
//! Called inside the connection's reader: quick, and never waits for anything but a shard of the store.

use super::Pod;
use crate::op::Invalidations;
use crate::slots;

impl Pod {
    /// Drops this pod's copies of `key` and refuses fills that are under way.
    pub(crate) fn invalidate_local(&self, key: &[u8]) {
        self.invalidate_each(key, |_| {});
    }

    /// The same; tells `see` which dbs there was a copy of.
    fn invalidate_each(&self, key: &[u8], see: impl FnMut(u32)) {
        #[cfg(feature = "break")]
        if crate::sabotage::is_off(crate::sabotage::Mechanism::Token) {
            // Orphaning the key's flights would refuse their fills as the token does.
            return crate::sabotage::drop_entry_only(&self.store, key);
        }
        self.coherence.bump_epoch(key);
        self.store.invalidate_each(key, see);
    }
}

impl Invalidations for Pod {
    fn invalidate(&self, _connection: u64, key: &[u8]) {
        self.counters.invalidations_total.bump();
        if !self.warmth.wants_lost() {
            return self.invalidate_local(key);
        }
        self.invalidate_each(key, |db| {
            if db < slots::DBS && !self.warmth.lose(db, key) {
                self.counters.refetch_dropped_total.bump();
            }
        });
    }

    fn invalidate_all(&self, _connection: u64) {
        self.counters.flushes_total.bump();
        if off!(Null) {
            return;
        }
        self.coherence.bump_flush();
    }

    fn disconnected(&self, connection: u64) {
        self.connection_lost(connection);
    }
}
