//! What became of what was fetched ahead of demand: read before it left L1, or wasted.
//!
//! Reads are seen where they are sampled, so at high rates an entry that is hardly read may pass for wasted: the
//! wasted share is never understated by more than the table's bound.

use std::collections::HashMap;

use nearcache_l1::Key;

use crate::pod::Pod;

/// Slots whose fate is followed at a time; what is fetched beyond is counted as fetched only.
const MOST: usize = 1 << 14;

/// Fetched ahead and neither read nor gone yet, with its bytes.
#[derive(Default)]
pub(super) struct Ledger(HashMap<(u32, Box<[u8]>), u64>);

impl Ledger {
    /// A entry was fetched ahead.
    pub(super) fn fetched(&mut self, filed: Key<'_>, bytes: u64, pod: &Pod) {
        pod.counters.ahead_total.bump();
        pod.counters.ahead_bytes_total.add(bytes);
        if self.0.len() < MOST
            && let Some(unread) = self.0.insert((filed.db, filed.bytes.into()), bytes)
        {
            wasted(unread, pod);
        }
    }

    /// A entry was read.
    pub(super) fn read(&mut self, filed: Key<'_>, pod: &Pod) {
        if self.0.is_empty() {
            return;
        }
        if let Some(bytes) = self.0.remove(&(filed.db, filed.bytes.into())) {
            pod.counters.ahead_used_total.bump();
            pod.counters.ahead_used_bytes_total.add(bytes);
        }
    }

    /// A entry was invalidated; whether it had been fetched ahead and was not read since.
    pub(super) fn lost(&mut self, db: u32, key: &[u8], pod: &Pod) -> bool {
        let unread = self.0.remove(&(db, key.into()));
        if let Some(bytes) = unread {
            wasted(bytes, pod);
        }
        unread.is_some()
    }

    /// Closes the books on what has left L1.
    pub(super) fn sweep(&mut self, pod: &Pod) {
        self.0.retain(|(db, bytes), size| {
            let resident = pod.store.contains(Key::new(*db, bytes));
            if !resident {
                wasted(*size, pod);
            }
            resident
        });
    }
}

fn wasted(bytes: u64, pod: &Pod) {
    pod.counters.ahead_wasted_total.bump();
    pod.counters.ahead_wasted_bytes_total.add(bytes);
}
