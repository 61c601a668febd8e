//! What counting, sampling and reading what was published allocate: measured with an allocator that counts.
#![cfg(not(nearcache_loom))]
#![allow(unsafe_code, reason = "counting what is allocated takes an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use nearcache_l1::{Key, Timestamp};
use nearcache_proto::working_set::*;

/// Counts, per thread, the bytes a common allocator would set aside: a header of 8, rounded up to 16, at least 32.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn set_aside(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: every call is passed on unchanged to the system's allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + set_aside(layout));
        PEAK.set(PEAK.get().max(LIVE.get()));
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

/// The most bytes that `f` had allocated at one time, and what it returned.
fn peak<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = f();
    ((PEAK.get() - before) as usize, result)
}

const HALF_LIFE: Duration = Duration::from_secs(1800);

fn named(name: &[u8], score: f64) -> Item {
    Item {
        name: Name::plain(Key::new(0, name)),
        score,
        bytes: 1,
    }
}

fn snapshot(items: Vec<Item>) -> Vec<u8> {
    let snapshot = Snapshot {
        half_life: HALF_LIFE,
        mass: 1.0,
        items,
        skipped: 0,
    };
    snapshot.encode(4 << 20)
}

/// A snapshot whose one item has this name on the wire.
fn with_name(name: &[u8]) -> Vec<u8> {
    let mut frame = snapshot(vec![named(b"k", 1.0)]);
    // Kind, db, length, key; then the checksum.
    frame.truncate(frame.len() - 4 - 4);
    frame.extend_from_slice(name);
    let length = frame.len() as u32 + 4;
    frame[8..12].copy_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
    frame
}

#[test]
fn c12_hostile_snapshots_take_no_more_than_a_small_multiple_of_their_length() {
    let short = |n: u32| named(&n.to_le_bytes()[..2], f64::from(n));
    let words = [&[1, 0, 0xc0, 0x84, 0x3d][..], &[0; 1_000_000]].concat();
    let huge_count = [1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for (what, frame, good) in [
        (
            "the shortest names",
            snapshot((0..60_000).map(short).collect()),
            true,
        ),
        (
            "one name again and again",
            snapshot((0..60_000).map(|_| named(b"", 1.0)).collect()),
            true,
        ),
        ("a command of empty words", with_name(&words), true),
        (
            "a count of words without words",
            with_name(&huge_count),
            false,
        ),
    ] {
        let (peak, read) = peak(|| Snapshot::decode(&frame).is_ok());
        let times = peak as f64 / frame.len() as f64;
        assert_eq!(read, good, "{what}");
        assert!(
            peak <= 12 * frame.len() + 1024,
            "{what}: {peak} bytes for {}, {times:.1} times",
            frame.len()
        );
    }
}

#[test]
fn c9_counts_hold_no_more_than_they_say() {
    for (limit_keys, limit_bytes, padding) in [
        (2000, 1 << 20, 20),
        (100_000, 1 << 20, 20),
        (100_000, 1 << 20, 900),
    ] {
        let pad = vec![b'x'; padding];
        let before = LIVE.get();
        let mut counts = Counts::new(limit_keys, limit_bytes, HALF_LIFE);
        let (peak, ()) = peak(|| {
            for n in 0_u64..50_000 {
                let name = [&(n * n % 30_011).to_le_bytes()[..], &pad].concat();
                counts.add(Timestamp::from_micros(n * 1_000_000), Key::new(0, &name), 1);
            }
        });
        let held = (LIVE.get() - before) as usize;
        // Beside the names that this loop makes.
        let peak = peak - padding.next_multiple_of(16) - 32;
        assert!(counts.pruned_total() > 0);
        assert!(peak <= limit_bytes, "{peak} of {limit_bytes}");
        assert!(
            held <= counts.bytes() + 64,
            "{held}, said to be {}",
            counts.bytes()
        );
        assert!(
            held * 10 >= counts.bytes() * 9,
            "{held}, said to be {}",
            counts.bytes()
        );
    }
}

#[test]
fn c1_a_sample_allocates_nothing() {
    let sampler = Sampler::new(1 << 20);
    // The first lock of a thread may set something up.
    sampler.push(0, Key::new(0, b"warm"));
    let before = CALLS.get();
    for n in 0..10_000 {
        if sampler.wants(n) {
            sampler.push(n as usize, Key::new(0, b"product:123456"));
        }
    }
    let mut weights = 0;
    sampler.drain(|_, weight| weights += weight);
    assert_eq!(CALLS.get(), before);
    assert_eq!(weights, 10_001);
}
