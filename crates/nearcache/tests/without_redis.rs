//! What works in a build without a client for Redis: `cargo test -p nearcache --no-default-features --test without_redis`.

use nearcache::{NearCache, Ttl};
use pollster::block_on;

#[test]
fn the_embedded_store_needs_no_client() {
    let cache = block_on(NearCache::builder().memory().connect()).expect("a store of its own");
    block_on(cache.set("k", "v", Ttl::NONE)).expect("written");
    for _ in 0..2 {
        let value = block_on(cache.get("k")).expect("read");
        assert_eq!(value.as_deref(), Some(&b"v"[..]));
    }
    assert_eq!(cache.stats().totals.hits_total, 1);
}

#[cfg(not(feature = "redis"))]
#[test]
fn the_address_of_a_server_is_refused_with_the_feature_to_turn_on() {
    let error = NearCache::builder()
        .redis("redis://127.0.0.1:6379")
        .build()
        .expect_err("there is no client");
    assert_eq!(error.kind(), nearcache::ErrorKind::Configuration);
    assert!(error.to_string().contains("feature `redis`"), "{error}");
}
