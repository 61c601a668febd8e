//! What a child does on the whole, while its parent is quiet.

use nearcache::{Builder, ErrorKind, Ttl, blocking};
use nearcache_testkit::{Server, wait_until};

use crate::child::{Child, End};

pub(crate) fn start(builder: Builder) -> blocking::NearCache {
    builder.connect_blocking().expect("the server is up")
}

/// Whether L2 gave or L1 has this value.
pub(crate) fn holds(cache: &blocking::NearCache, key: &str, expected: &str) -> bool {
    matches!(cache.get(key), Ok(Some(value)) if value == expected)
}

pub(crate) fn a_child_has_a_pod_of_its_own(builder: Builder, server: &Server) {
    let cache = start(builder);
    let mut writer = server.client();
    writer.ok(&["SET", "k", "before"]);
    assert!(holds(&cache, "k", "before"));
    let child = Child::fork(|| in_child(&cache));
    writer.ok(&["SET", "k", "after"]);
    assert_eq!(child.wait(), End::Step(0));
    // The parent's lane has not noticed anything.
    assert!(holds(&cache, "from child", "hello"));
    assert_eq!(cache.stats().totals.connects_total, 1);
    cache.shutdown();
}

fn in_child(cache: &blocking::NearCache) -> i32 {
    // Its parent's copy is not its own.
    if cache.get_resident("k").is_some() || cache.stats().totals.connects_total != 0 {
        return 1;
    }
    if !wait_until(|| holds(cache, "k", "after")) {
        return 2;
    }
    if !matches!(cache.get("no such key"), Ok(None)) {
        return 3;
    }
    if cache.set("from child", "hello", Ttl::NONE).is_err() {
        return 4;
    }
    if !matches!(cache.get_validated("from child"), Ok(Some(value)) if value == "hello") {
        return 5;
    }
    let stats = cache.stats();
    if stats.pid != std::process::id() || stats.totals.connects_total != 1 {
        return 6;
    }
    cache.ready();
    if !cache.readiness().ready || cache.warm_report().is_none() {
        return 7;
    }
    cache.shutdown();
    match cache.get("k") {
        Err(error) if error.kind() == ErrorKind::Closed => 0,
        _ => 8,
    }
}

pub(crate) fn a_child_of_a_cache_that_was_shut_down(builder: Builder) {
    let cache = start(builder);
    cache.set("k", "v", Ttl::NONE).expect("a write");
    cache.shutdown();
    let child = Child::fork(|| i32::from(!holds(&cache, "k", "v")));
    assert_eq!(child.wait(), End::Step(0));
    assert!(cache.get("k").is_err());
}

pub(crate) fn a_child_has_an_embedded_store_of_its_own(builder: Builder) {
    let cache = start(builder);
    cache.set("k", "parent", Ttl::NONE).expect("a write");
    let child = Child::fork(|| {
        if !matches!(cache.get("k"), Ok(None)) {
            return 1;
        }
        if cache.set("k", "child", Ttl::NONE).is_err() || !holds(&cache, "k", "child") {
            return 2;
        }
        0
    });
    assert_eq!(child.wait(), End::Step(0));
    assert!(matches!(cache.get_validated("k"), Ok(Some(value)) if value == "parent"));
    cache.shutdown();
}
