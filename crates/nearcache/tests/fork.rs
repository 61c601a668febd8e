//! A forked child has its own IO thread and lane: it reads, and it sees what is written after the fork.
//!
//! Without the usual harness: its threads would make the fork something else than what is tested.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nearcache::{NearCache, Ttl, blocking};
use nearcache_testkit::{Server, wait_until};

fn main() {
    let server = Server::start();
    let cache = NearCache::builder()
        .redis(server.url())
        .max_staleness(Duration::from_millis(300))
        .connect_blocking()
        .expect("the server is up");
    let mut writer = server.client();
    writer.ok(&["SET", "k", "before"]);
    assert_eq!(
        cache.get("k").expect("a read").as_deref(),
        Some(&b"before"[..])
    );

    // SAFETY: the child calls nothing but this cache, whose other thread is idle but for heartbeats,
    // which hold no lock of L1 or of the allocator for longer than an instant; and it ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        let code = catch_unwind(AssertUnwindSafe(|| in_child(&cache))).unwrap_or(99);
        // SAFETY: ends the child without running what the parent will run.
        unsafe { libc::_exit(code) }
    }

    writer.ok(&["SET", "k", "after"]);
    let mut status = 0;
    let ended = wait_until(|| {
        // SAFETY: `child` is ours and was not waited for yet; `status` outlives the call.
        unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) == child }
    });
    if !ended {
        // SAFETY: the child was not waited for, so the id is still its own.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    assert!(ended, "the child hangs");
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    assert_eq!(code, Some(0), "the child failed at this step");

    // The parent's lane has not noticed anything.
    assert_eq!(
        cache.get("from child").expect("a read").as_deref(),
        Some(&b"hello"[..])
    );
    assert_eq!(cache.stats().totals.connects_total, 1);
    cache.shutdown();
}

/// Which step failed, 0 for none.
fn in_child(cache: &blocking::NearCache) -> i32 {
    let sees_after = || matches!(cache.get("k"), Ok(Some(value)) if value == "after");
    if !wait_until(sees_after) {
        return 1;
    }
    // Not resident in the parent: asks L2 through the child's own thread.
    if !matches!(cache.get("no such key"), Ok(None)) {
        return 2;
    }
    if cache.set("from child", "hello", Ttl::NONE).is_err() {
        return 3;
    }
    if !matches!(cache.get_validated("from child"), Ok(Some(value)) if value == "hello") {
        return 4;
    }
    let stats = cache.stats();
    if stats.pid != std::process::id() || stats.totals.connects_total < 2 {
        return 5;
    }
    cache.shutdown();
    match cache.get("k") {
        Err(error) if error.kind() == nearcache::ErrorKind::Closed => 0,
        _ => 6,
    }
}
