//! Reading bytes: hits, misses, many keys, other pods' writes.

use nearcache::{ErrorKind, Freshness, MemoryL2, ReadPolicy, Source, Ttl};

use super::{all, bytes, pod, single};

#[tokio::test]
async fn a_miss_is_read_from_l2_once() {
    let cache = single().await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get_resident("k"), None, "a write keeps nothing");
    let first = cache.get_with("k", ReadPolicy::PassThrough).await.unwrap();
    assert_eq!((first.value, first.source), (bytes("v"), Source::L2));
    let second = cache.get_with("k", ReadPolicy::PassThrough).await.unwrap();
    assert_eq!((second.value, second.source), (bytes("v"), Source::L1));
    assert_eq!(second.freshness, Freshness::Fresh);
    assert_eq!(cache.stats().totals.fills_total, 1);
    assert_eq!(cache.stats().hit_rate(), Some(0.5));
}

#[tokio::test]
async fn absence_is_kept_too() {
    let cache = single().await;
    assert_eq!(cache.get("k").await.unwrap(), None);
    assert_eq!(cache.get("k").await.unwrap(), None);
    assert_eq!(cache.get_resident("k"), None);
    assert_eq!(cache.stats().totals.fills_total, 1);
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
}

#[tokio::test]
async fn many_keys_in_one_round_trip() {
    let cache = single().await;
    cache.set("a", "1", Ttl::NONE).await.unwrap();
    cache.set("c", "3", Ttl::NONE).await.unwrap();
    cache.get("a").await.unwrap();
    let keys = ["a", "b", "c", "a"];
    let values = all(cache.get_many(&keys).await).unwrap();
    assert_eq!(values, [bytes("1"), None, bytes("3"), bytes("1")]);
    assert_eq!(cache.stats().totals.fills_total, 3);
    assert!(all(cache.get_many(&[""; 0]).await).unwrap().is_empty());
}

#[tokio::test]
async fn keys_and_values_are_any_bytes() {
    let cache = single().await;
    let key = [0u8, 255, 13, 10, 36];
    cache
        .set(key, vec![0u8, 1, 13, 10], Ttl::NONE)
        .await
        .unwrap();
    let value = cache.get(key).await.unwrap().unwrap();
    assert_eq!(value.as_ref(), [0, 1, 13, 10]);
    cache.set("", "", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("").await.unwrap(), bytes(""));
    assert_eq!(cache.get("").await.unwrap(), bytes(""));
}

#[tokio::test]
async fn what_another_pod_writes_is_seen() {
    let l2 = MemoryL2::new();
    let (one, other) = (pod(&l2).await, pod(&l2).await);
    one.set("k", "old", Ttl::NONE).await.unwrap();
    assert_eq!(one.get("k").await.unwrap(), bytes("old"));
    other.set("k", "new", Ttl::NONE).await.unwrap();
    assert_eq!(one.get_validated("k").await.unwrap(), bytes("new"));
    other.set("k", "newer", Ttl::NONE).await.unwrap();
    one.fence().await.unwrap();
    assert_eq!(one.get("k").await.unwrap(), bytes("newer"));
}

#[tokio::test]
async fn a_validated_read_moves_no_value_that_is_resident() {
    let cache = single().await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    cache.get("k").await.unwrap();
    assert_eq!(cache.get_validated("k").await.unwrap(), bytes("v"));
    assert_eq!(cache.stats().totals.fills_total, 1);
}

#[tokio::test]
async fn dbs_share_a_cache_and_no_key() {
    let zero = single().await;
    let three = zero.with_db(3);
    zero.set("k", "zero", Ttl::NONE).await.unwrap();
    three.set("k", "three", Ttl::NONE).await.unwrap();
    for _ in 0..2 {
        assert_eq!(zero.get("k").await.unwrap(), bytes("zero"));
        assert_eq!(three.get("k").await.unwrap(), bytes("three"));
    }
    assert_eq!((zero.db(), three.db()), (0, 3));
    assert_eq!(zero.stats().totals.connects_total, 1);
    for wrong in [99, u32::MAX] {
        let error = zero.with_db(wrong).get("k").await.unwrap_err();
        assert!(error.kind() != ErrorKind::Closed, "{error}");
    }
    assert_eq!(zero.get("k").await.unwrap(), bytes("zero"));
}

#[tokio::test]
async fn calls_can_be_spawned() {
    let cache = single().await;
    let writer = cache.clone();
    tokio::spawn(async move { writer.set("k", "v", Ttl::NONE).await })
        .await
        .unwrap()
        .unwrap();
    let reader = cache.clone();
    let many = tokio::spawn(async move { all(reader.get_many(&["k", "l"]).await) });
    assert_eq!(many.await.unwrap().unwrap(), [bytes("v"), None]);
    let loader = cache.clone();
    let load = tokio::spawn(async move {
        let load = || async { Ok::<_, std::io::Error>("loaded".into()) };
        loader.get_or_load("m", Ttl::NONE, load).await
    });
    assert_eq!(load.await.unwrap().unwrap(), "loaded");
}
