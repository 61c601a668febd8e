//! C1 by count: what a hit allocates (nothing), and that the value it hands out is the one L1 holds.
//!
//! Counts the allocations of the calling thread only: the IO thread works beside it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nearcache::{Bytes, Codec, Error, NearCache, Ttl};
use nearcache_testkit::eventually;

struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

fn count() {
    // A thread that is ending has no counter any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Makes calls until one is a hit (a lease may run out on a busy machine) and returns what that one
/// gave and how much it allocated.
fn hit<R>(mut call: impl FnMut() -> Option<R>) -> (R, u64) {
    let mut found = None;
    eventually("a call hits", || {
        let before = ALLOCATIONS.get();
        let result = call();
        let allocated = ALLOCATIONS.get() - before;
        found = result.map(|result| (result, allocated));
        found.is_some()
    });
    found.unwrap()
}

/// Polls once, with nobody to wake.
fn once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

const VALUE_BYTES: usize = 200_000;

fn warm() -> NearCache {
    let cache = NearCache::builder().memory().connect_blocking().unwrap();
    cache.set("k", vec![7; VALUE_BYTES], Ttl::NONE).unwrap();
    let cache = cache.as_async().clone();
    pollster::block_on(cache.get("k")).unwrap().unwrap();
    cache
}

#[test]
fn c1_a_resident_read_allocates_and_copies_nothing() {
    let cache = warm();
    let (first, allocated) = hit(|| cache.get_resident("k"));
    assert_eq!(allocated, 0);
    let (second, allocated) = hit(|| cache.get_resident("k"));
    assert_eq!(allocated, 0);
    assert_eq!(first.len(), VALUE_BYTES);
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[test]
fn c1_an_async_hit_is_ready_at_once_and_allocates_nothing() {
    let cache = warm();
    let (resident, _) = hit(|| cache.get_resident("k"));
    let hits = cache.stats().totals.hits_total;
    let (value, allocated) = hit(|| once(cache.get("k")));
    assert_eq!(allocated, 0);
    assert_eq!(value.unwrap().unwrap().as_ptr(), resident.as_ptr());
    assert!(cache.stats().totals.hits_total > hits);
}

#[test]
fn c1_a_blocking_hit_allocates_nothing() {
    let cache = warm().into_blocking();
    let (resident, _) = hit(|| cache.get_resident("k"));
    let (value, allocated) = hit(|| {
        cache.get_resident("k")?;
        Some(cache.get("k"))
    });
    let value = value.unwrap().unwrap();
    assert_eq!((value.as_ptr(), allocated), (resident.as_ptr(), 0));
}

/// Counts as it decodes.
struct Length;

struct Measured(usize);

impl Codec<Measured> for Length {
    fn encode(&self, value: &Measured) -> Result<Bytes, Error> {
        Ok(Bytes::from(vec![0; value.0]))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Measured, Error> {
        Ok(Measured(bytes.len()))
    }
}

#[test]
fn c1_a_typed_hit_allocates_nothing_and_is_the_same_value() {
    let typed = warm().typed::<Measured, _>(Length);
    let first = pollster::block_on(typed.get("k")).unwrap().unwrap();
    assert_eq!(first.0, VALUE_BYTES);
    let (second, allocated) = hit(|| once(typed.get("k")));
    let second = second.unwrap().unwrap();
    assert_eq!(allocated, 0);
    let (third, allocated) = hit(|| typed.get_resident("k"));
    assert_eq!(allocated, 0);
    assert!(Arc::ptr_eq(&second, &third));
}

#[test]
fn c1_the_future_of_a_read_is_small() {
    let cache = NearCache::builder().memory().build().unwrap();
    let get = size_of_val(&cache.get("k"));
    assert!(get <= 256, "{get} bytes to move about for every read");
    let typed = cache.typed::<Measured, _>(Length);
    let get = size_of_val(&typed.get("k"));
    assert!(get <= 256, "{get} bytes to move about for every typed read");
}
