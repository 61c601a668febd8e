//! L1 switched off: nothing is ever resident, every read asks L2, and all else works as ever.

use std::io;
use std::time::Duration;

use nearcache::{Bytes, ErrorKind, Json, MemoryL2, NearCache, ReadPolicy, Ttl};
use redis::AsyncCommands;

use super::{all, builder, bytes, pod};

async fn off(l2: &MemoryL2) -> NearCache {
    let cache = builder(l2)
        .enabled(false)
        .negative_ttl("1h")
        .on_unproven(ReadPolicy::ServeStale {
            max: Duration::from_secs(3600),
        })
        .connect()
        .await
        .unwrap();
    cache.ready().await;
    cache
}

fn nothing_is_kept(cache: &NearCache) {
    let stats = cache.stats();
    assert_eq!(stats.store.entries, 0, "{stats}");
    assert_eq!(stats.totals.hits_total, 0, "{stats}");
    assert!(
        !stats.enabled && stats.to_string().contains("L1 IS OFF"),
        "{stats}"
    );
}

#[tokio::test]
async fn every_way_to_read_asks_l2_each_time() {
    let l2 = MemoryL2::new();
    let other = pod(&l2).await;
    let cache = off(&l2).await;
    let typed = cache.typed::<u32, _>(Json);
    let mut session = cache.session();
    let mut con = nearcache::redis::Connection::new(&cache);
    let load = || async { Ok::<_, io::Error>(Bytes::from("loaded")) };
    for value in ["1", "2"] {
        other.set("k", value, Ttl::NONE).await.unwrap();
        assert_eq!(cache.get("k").await.unwrap(), bytes(value));
        assert_eq!(cache.get("absent").await.unwrap(), None);
        let many = all(cache.get_many(&["k", "absent"]).await).unwrap();
        assert_eq!(many, [bytes(value), None]);
        assert_eq!(cache.get_validated("k").await.unwrap(), bytes(value));
        let number = typed.get("k").await.unwrap();
        assert_eq!(number.map(|n| n.to_string()).as_deref(), Some(value));
        assert_eq!(
            cache.get_or_load("k", Ttl::NONE, load).await.unwrap(),
            value
        );
        session.command(&["GET", "k"]).await.unwrap();
        for _ in 0..2 {
            assert_eq!(con.get::<_, String>("k").await.unwrap(), value);
            assert_eq!(con.strlen::<_, u32>("k").await.unwrap(), 1);
        }
        nothing_is_kept(&cache);
    }

    // Whatever was read, nothing of it is served without L2, stale or not.
    l2.refuse_connections(true);
    l2.disconnect_all();
    let failed = |error: nearcache::Error| assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    failed(cache.get("k").await.unwrap_err());
    failed(cache.get("absent").await.unwrap_err());
    failed(all(cache.get_many(&["k"]).await).unwrap_err());
    failed(typed.get("k").await.unwrap_err());
    assert!(con.get::<_, String>("k").await.is_err());
    assert!(con.strlen::<_, u32>("k").await.is_err());
    for _ in 0..2 {
        // Nor is what a loader gave in its place.
        let loaded = cache.get_or_load("k", Ttl::NONE, load).await.unwrap();
        assert_eq!(loaded, "loaded");
    }
    assert_eq!(cache.stats().totals.loads_total, 2);
    nothing_is_kept(&cache);
}

#[tokio::test]
async fn loaders_are_shared_while_they_run_and_absences_are_not_believed() {
    let cache = off(&MemoryL2::new()).await;
    super::load::eight_share_one_loader(&cache).await;
    for _ in 0..2 {
        let load = || async { Ok::<_, io::Error>(None) };
        assert_eq!(
            cache.get_or_load_optional("none", load).await.unwrap(),
            None
        );
    }
    assert_eq!(
        cache.stats().totals.loads_total,
        3,
        "negative_ttl keeps nothing"
    );
    nothing_is_kept(&cache);
}

#[tokio::test]
async fn trap_many_readers_of_one_key_that_nobody_may_join_all_get_it() {
    let l2 = MemoryL2::new();
    let cache = off(&l2).await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    let reads = (0..500).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get("k").await })
    });
    for read in reads.collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap().unwrap(), bytes("v"));
    }
    nothing_is_kept(&cache);
}

#[tokio::test]
async fn nothing_is_counted_published_or_fetched_ahead() {
    let l2 = MemoryL2::new();
    let cache = off(&l2).await;
    for _ in 0..2_000 {
        cache.get("k").await.unwrap();
    }
    let report = cache.warm_report().expect("it is ready");
    assert_eq!(report.end.as_str(), "the warm start is switched off");
    cache.shutdown().await;
    let left = pod(&l2).await;
    let mut keys = left.session();
    let keys = format!("{:?}", keys.command(&["KEYS", "*"]).await.unwrap());
    let own = keys.matches("nearcache:").count();
    assert_eq!(own, keys.matches(":fleet:canary:").count(), "{keys}");
}
