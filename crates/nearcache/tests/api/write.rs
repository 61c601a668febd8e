//! Writing bytes, and what a failed write says.

use nearcache::{ErrorKind, MemoryL2, Ttl, WriteOutcome};

use super::{builder, bytes, single};

#[tokio::test]
async fn c3_a_write_is_seen_by_the_next_read() {
    let cache = single().await;
    for round in 0..200u32 {
        cache.set("k", round.to_string(), Ttl::NONE).await.unwrap();
        let read = cache.get("k").await.unwrap().unwrap();
        assert_eq!(read, round.to_string());
    }
}

#[tokio::test]
async fn delete_says_whether_there_was_something() {
    let cache = single().await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
    assert!(cache.delete("k").await.unwrap());
    assert!(!cache.delete("k").await.unwrap());
    assert_eq!(cache.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn c5_a_value_ends_with_its_time() {
    let cache = single().await;
    cache.set("k", "v", Ttl::millis(40)).await.unwrap();
    let first = cache.get("k").await.unwrap();
    assert!(
        first == bytes("v") || first.is_none(),
        "a slow machine may be late"
    );
    super::eventually("it is not served any more", || {
        cache.get_resident("k").is_none()
    })
    .await;
    let gone = async {
        while cache.get("k").await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(nearcache_testkit::WAIT_MAX, gone)
        .await
        .expect("it never ended");
}

#[tokio::test]
async fn c12_no_time_to_live_at_all_is_refused() {
    let cache = single().await;
    let error = cache.set("k", "v", Ttl::secs(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert_eq!(cache.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn c15_a_write_without_l2_was_not_sent() {
    let l2 = MemoryL2::new();
    l2.refuse_connections(true);
    let cache = builder(&l2).build().unwrap();
    let error = cache.set("k", "v", Ttl::NONE).await.unwrap_err();
    assert_eq!(
        error.write_outcome(),
        Some(WriteOutcome::NotSent),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn c15_a_refused_write_says_so_and_changes_nothing() {
    let l2 = MemoryL2::new();
    let cache = super::pod(&l2).await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    l2.with_server(|server| server.set_memory_limit(1));
    let error = cache
        .set("k", "w".repeat(1000), Ttl::NONE)
        .await
        .unwrap_err();
    assert_eq!(
        error.write_outcome(),
        Some(WriteOutcome::Refused),
        "{error}"
    );
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
}

#[tokio::test]
async fn c13_neither_errors_nor_statistics_show_values_or_keys() {
    let cache = single().await;
    cache
        .set("secret-key", "secret-value", Ttl::NONE)
        .await
        .unwrap();
    cache.get("secret-key").await.unwrap();
    let shown = format!("{0}{0:?}{1:?}{2:?}", cache.stats(), cache, cache.settings());
    assert!(!shown.contains("secret"), "{shown}");
}
