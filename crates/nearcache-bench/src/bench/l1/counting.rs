//! An allocator that counts what is set aside, for the overhead per entry. Only in builds with the benchmarks.
#![allow(unsafe_code, reason = "counting what is allocated takes an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Counts no more, for good: two atomic additions per allocation would be part of what is timed.
pub(in crate::bench) fn stop() {
    STOPPED.store(true, Relaxed);
}

fn counts() -> bool {
    !STOPPED.load(Relaxed)
}

/// Bytes set aside at present, by all threads.
pub(super) fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

/// What a common allocator sets aside: a header of 8, rounded up to 16, at least 32.
fn set_aside(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

// SAFETY: every call is passed on unchanged to the system's allocator, which upholds the contract; counting allocates
// nothing and cannot panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if counts() {
            LIVE.fetch_add(set_aside(layout.size()), Relaxed);
        }
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if counts() {
            LIVE.fetch_add(set_aside(layout.size()), Relaxed);
        }
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if counts() {
            LIVE.fetch_sub(set_aside(layout.size()), Relaxed);
        }
        // SAFETY: the caller upholds the contract of `dealloc`, and `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}
