//! Switches one mechanism off, to show that a check which relies on it can fail.
//! Exists in builds with `--cfg nearcache_break` only, which no ordinary build has. Never read on any path without it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

use nearcache_l1::{Key, RemovalCause, Store};

macro_rules! mechanisms {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What to switch off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mechanism { $($(#[$doc])* $name = $number,)* }

        impl Mechanism {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

mechanisms! {
    /// A fill is kept although its key was invalidated meanwhile.
    Token = 1,
    /// A copy is served however long nothing was heard of L2.
    Lease = 2,
    /// A validated read does not wait until what was written before it has arrived.
    Fence = 3,
    /// The word that everything was flushed is not heeded.
    Null = 4,
    /// A lease is counted from when its heartbeat was answered, not from when it was sent.
    SentAt = 5,
    /// The value of a flight that was orphaned or refused is kept all the same.
    Orphan = 6,
    /// A written key is not dropped again when its write is acknowledged.
    SecondEvict = 7,
    /// Between `MULTI` or `WATCH` and their end, L1 answers what it can.
    Multi = 8,
    /// The reply to a command about several keys is filed under the first.
    FirstKey = 9,
    /// The end of a connection does not end its history.
    History = 10,
    /// The hit path loads the lease when the entry can be removed again.
    LeaseAfterUnlock = 11,
    /// A lease of one history serves the copies of any other.
    SharedLease = 12,
    /// A reader takes a copy of a history that is over for a fresh one.
    OldHistory = 13,
    /// A reader joins a fetch that is older than an answer this pod already had.
    Join = 14,
    /// A validated read is content with a heartbeat that was under way before it.
    SharedFence = 15,
    /// The reply to `CLIENT CACHING YES` is not looked at.
    Caching = 16,
    /// `MULTI` goes to the connection that all share.
    RawMulti = 17,
    /// A demoted server's heartbeat renews the lease.
    Role = 18,
    /// L is not cut by what the clock may be wrong.
    Rate = 19,
    /// What expires in L2 does not expire here.
    Expiry = 20,
    /// A command with hidden writes is not followed by a fence.
    HiddenWrite = 21,
    /// An answer of a side connection is not followed by a fence on the lane.
    SideFence = 22,
    /// What was read with no promise of news is kept like everything else.
    Untracked = 23,
    /// A write is sent again.
    Twice = 24,
    /// A loaded value is written over what others wrote meanwhile.
    Overwrite = 25,
    /// A loaded value is written although its key was changed meanwhile.
    LoadToken = 26,
    /// Several reads are not compared at the end.
    Compare = 27,
    /// A kept reply is served whatever became of its key.
    Head = 28,
    /// A lease that is over is not asked for again, and what it held is served.
    Lapsed = 29,
    /// A reader waits for the value of a fetch that was sent before it, expired or not.
    JoinExpired = 30,
    /// A loader may run for as long as it likes.
    LoadTimeout = 31,
    /// A load whose caller no longer polls it is not given up.
    Abandon = 32,
    /// Any number of loaders may run at a time.
    Places = 33,
    /// A loader may wait for the load it is part of.
    Recursion = 34,
    /// A panic of anything in the task of a loader's caller counts as one of the loader.
    Blame = 35,
    /// What the origin said is lent for longer than L2's copies live.
    OriginLife = 36,
    /// What the origin said is lent although its key was changed meanwhile.
    OriginToken = 37,
    /// What the origin said without L2 is kept as if L2 had said it.
    OriginKept = 38,
    /// A value that does not decode is replaced whenever it is met.
    ReplaceOften = 39,
    /// A value that does not decode is replaced although another was written meanwhile.
    ReplaceAny = 40,
}

static OFF: AtomicU8 = AtomicU8::new(0);

thread_local!(static HERE: Cell<u8> = const { Cell::new(0) });

/// Switches a mechanism off for the whole process, for good.
pub fn switch_off(mechanism: Mechanism) {
    OFF.store(mechanism as u8, Ordering::Relaxed);
}

/// Switches a mechanism off for this thread alone, in place of any other.
pub fn switch_off_here(mechanism: Option<Mechanism>) {
    HERE.set(mechanism.map_or(0, |mechanism| mechanism as u8));
}

pub(crate) fn is_off(mechanism: Mechanism) -> bool {
    let here = HERE.get();
    here == mechanism as u8 || (here == 0 && OFF.load(Ordering::Relaxed) == mechanism as u8)
}

/// Drops the entry of a key and leaves its flights as they are.
pub(crate) fn drop_entry_only<M, O>(store: &Store<M, O>, key: &[u8]) {
    let key = Key::new(0, key);
    if let Some(hit) = store.get(key) {
        store.remove_entry(key, hit.id, RemovalCause::Invalidated);
    }
}
