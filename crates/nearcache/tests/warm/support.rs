//! Pods that share a store, and bounded waiting.

use std::time::{Duration, Instant};

use nearcache::{Builder, NearCache, Ttl};

/// A pod that tells and looks often.
pub(crate) fn builder() -> Builder {
    NearCache::builder()
        .capacity("16MiB")
        .publish_every("100ms")
        .look_every("200ms")
}

/// Waits until it is so; not being so for long fails the test.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < end, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes keys `k0`, `k1`, ... of so many bytes each.
pub(crate) async fn write(cache: &NearCache, keys: usize, bytes: usize) {
    for n in 0..keys {
        cache
            .set(name(n), vec![b'v'; bytes], Ttl::NONE)
            .await
            .expect("written");
    }
}

pub(crate) fn name(n: usize) -> String {
    format!("k{n}")
}
