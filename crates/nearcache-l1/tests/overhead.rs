//! What an entry really costs, and that a hit allocates nothing: measured with an allocator that counts.
#![cfg(not(nearcache_loom))]
#![allow(unsafe_code, reason = "counting what is allocated takes an allocator")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use nearcache_l1::{ENTRY_OVERHEAD, Key, StoreConfig};
use support::*;

/// Counts, per thread, the bytes a common allocator would set aside: a header of 8, rounded up to 16, at least 32.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn set_aside(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: every call is passed on unchanged to the system's allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + set_aside(layout));
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - set_aside(layout));
        // SAFETY: the caller upholds the contract of `dealloc`, and `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Fills a store to the brim, some keys being read so that both queues and the ghost are in use, and checks that what
/// is allocated stays within the capacity; returns what is allocated beside keys and values, per entry.
fn overhead(capacity: usize, key_bytes: usize, value_bytes: usize) -> usize {
    let before = LIVE.get();
    let mut config = StoreConfig::new(capacity);
    config.max_flights = 1;
    let store = with(config);
    let body = vec![7; value_bytes];
    for n in 0..capacity / value_bytes {
        let name = format!("{n:0key_bytes$}");
        put(&store, key(name.as_bytes()), body.clone());
        if n % 3 == 0 {
            store.get(key(name.as_bytes()));
            store.get(key(name.as_bytes()));
        }
    }
    store.validate();
    assert!(store.stats().evictions > 0, "the store is full");
    let entries = store.len();
    let payload = entries * (value_bytes + key_bytes);
    let live = (LIVE.get() - before) as usize - value_bytes;
    assert!(
        live <= capacity,
        "{key_bytes} + {value_bytes}: {live} bytes allocated of {capacity}, {entries} entries"
    );
    (live - payload) / entries
}

#[test]
fn c9_the_overhead_constant_covers_what_is_allocated() {
    let capacities = [4, 6, 9, 13, 20, 32].map(|mib| mib << 20);
    let measured = capacities.map(|capacity| overhead(capacity, 16, 100));
    let most = *measured.iter().max().expect("there are six");
    assert!(
        most <= ENTRY_OVERHEAD,
        "{measured:?} measured, {ENTRY_OVERHEAD} charged"
    );
    assert!(
        most * 6 >= ENTRY_OVERHEAD * 5,
        "{measured:?} measured, {ENTRY_OVERHEAD} charged"
    );
}

#[test]
fn c9_the_capacity_covers_keys_and_values_of_other_lengths() {
    let shapes = [
        (8, 250),
        (16, 260),
        (22, 1000),
        (23, 100),
        (40, 1001),
        (90, 50_000),
    ];
    for (key_bytes, value_bytes) in shapes {
        overhead(16 << 20, key_bytes, value_bytes);
    }
}

#[test]
fn c1_a_hit_allocates_nothing() {
    let store = store(1 << 20);
    let long = [b'k'; 300];
    for name in [&b"short"[..], &long] {
        // A vector without slack becomes shared, and allocates, only when it is first cloned.
        put(&store, key(name), vec![1; 1000].into_boxed_slice());
        let calls = CALLS.get();
        let first = store.get(key(name));
        let all: [_; 16] = std::array::from_fn(|_| store.get(key(name)));
        assert!(store.get(Key::new(1, name)).is_none());
        assert_eq!(CALLS.get(), calls, "a look-up allocated");
        let pointer = |hit: &Option<nearcache_l1::Hit>| {
            let value = hit.as_ref().and_then(|hit| hit.value.as_ref());
            value.map(|value| value.as_ptr())
        };
        assert!(
            all.iter().all(|hit| pointer(hit) == pointer(&first)),
            "a look-up copied"
        );
    }
}

#[test]
fn c9_memory_is_given_back_when_few_large_values_follow_many_small_ones() {
    let capacity = 8 << 20;
    let before = LIVE.get();
    let store = store(capacity);
    for n in 0..100_000u32 {
        put(&store, key(&n.to_be_bytes()), Bytes::new());
    }
    for n in 0..1000u32 {
        put(&store, key(&n.to_be_bytes()), vec![7; 100_000]);
    }
    store.validate();
    let live = (LIVE.get() - before) as usize;
    assert!(
        live <= capacity,
        "{live} bytes allocated of {capacity}, {} entries",
        store.len()
    );
}
