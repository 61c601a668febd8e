//! Pods that share a store, and bounded waiting.

use nearcache::{Builder, Bytes, MemoryL2, NearCache, Ttl};

/// Where the fleet's manifest lies.
pub(crate) const MANIFEST: &str = "nearcache:{shop}:fleet:manifest";

/// A pod that tells and looks often.
pub(crate) fn builder() -> Builder {
    NearCache::builder()
        .service("shop")
        .capacity("16MiB")
        .publish_every("100ms")
        .look_every("200ms")
}

/// Works on the store without taking part in the fleet.
pub(crate) async fn operator(l2: &MemoryL2) -> NearCache {
    let pod = NearCache::builder().store(l2.clone()).statistics(false);
    pod.connect().await.expect("connected")
}

/// Waits until it is so; not being so for long fails the test.
pub(crate) async fn until(what: &str, so: impl FnMut() -> bool) {
    // On this worker; the runtime has others, and the pods threads of their own.
    tokio::task::block_in_place(|| nearcache_testkit::eventually(what, so));
}

/// Writes keys `k0`, `k1`, ... of so many bytes each.
pub(crate) async fn write(cache: &NearCache, keys: usize, bytes: usize) {
    for n in 0..keys {
        let value = vec![b'v'; bytes];
        cache.set(name(n), value, Ttl::NONE).await.expect("written");
    }
}

/// Reads keys `k0`, `k1`, ... so often.
pub(crate) async fn read(cache: &NearCache, keys: usize, times: usize) {
    for _ in 0..times {
        for n in 0..keys {
            cache.get(name(n)).await.expect("read");
        }
    }
}

pub(crate) fn name(n: usize) -> String {
    format!("k{n}")
}

/// How many of the first so many keys are resident.
pub(crate) fn resident(cache: &NearCache, keys: usize) -> usize {
    let held = |n: &usize| cache.get_resident(name(*n)).is_some();
    (0..keys).filter(held).count()
}

/// Waits until what the pod has read so far is in the manifest.
pub(crate) async fn summed_up(pod: &NearCache) {
    let merges = || pod.stats().totals.merges_total;
    // One may be under way, of what was known before.
    let before = merges();
    until("it is summed up", || merges() >= before + 2).await;
}

/// A pod that has read `keys` keys, and whose reads are in the manifest.
pub(crate) async fn fleet(l2: &MemoryL2, keys: usize) -> NearCache {
    fleet_of(builder(), l2, keys).await
}

/// The same, of a pod with settings of its own.
pub(crate) async fn fleet_of(builder: Builder, l2: &MemoryL2, keys: usize) -> NearCache {
    let pod = builder
        .store(l2.clone())
        .connect()
        .await
        .expect("connected");
    write(&pod, keys, 1000).await;
    read(&pod, keys, 5).await;
    summed_up(&pod).await;
    pod
}

/// What lies in the store under a key.
pub(crate) async fn stored(l2: &MemoryL2, key: &str) -> Option<Bytes> {
    let operator = operator(l2).await;
    let value = operator.get(key).await.expect("read");
    operator.shutdown().await;
    value
}
