//! Switches one mechanism off, to show that a check which relies on it can fail.
//! Exists in builds with the feature `break` only, which no ordinary build has. Never read on any path without it.

use std::sync::atomic::{AtomicU8, Ordering};

use nearcache_l1::{Key, RemovalCause, Store};

/// What to switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mechanism {
    /// A fill is kept although its key was invalidated meanwhile.
    Token = 1,
    /// A copy is served however long nothing was heard of L2.
    Lease = 2,
    /// A validated read does not wait until what was written before it has arrived.
    Fence = 3,
    /// The word that everything was flushed is not heeded.
    Null = 4,
}

static OFF: AtomicU8 = AtomicU8::new(0);

/// Switches a mechanism off for the whole process, for good.
pub fn switch_off(mechanism: Mechanism) {
    OFF.store(mechanism as u8, Ordering::Relaxed);
}

pub(crate) fn is_off(mechanism: Mechanism) -> bool {
    OFF.load(Ordering::Relaxed) == mechanism as u8
}

/// Drops the entry of a key and leaves its flights as they are.
pub(crate) fn drop_entry_only<M, O>(store: &Store<M, O>, key: &[u8]) {
    let key = Key::new(0, key);
    if let Some(hit) = store.get(key) {
        store.remove_entry(key, hit.id, RemovalCause::Invalidated);
    }
}
