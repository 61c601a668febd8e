//! An embedded store whose keys expire by a test's own clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearcache::{MemoryL2, NearCache, Source, Ttl};
use redis::AsyncCommands;

use super::{bytes, pod};

/// A copy that is resident, of a key that ends in a minute.
async fn with_a_copy(cache: &NearCache) {
    cache.set("k", "v", Ttl::secs(60)).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
    assert_eq!(cache.get_resident("k"), bytes("v"));
}

#[tokio::test]
async fn keys_expire_by_a_clock_that_the_test_turns() {
    let seconds = Arc::new(AtomicU64::new(7));
    let time = seconds.clone();
    let l2 = MemoryL2::with_clock(move || Duration::from_secs(time.load(Ordering::Relaxed)));
    let (cache, other) = (pod(&l2).await, pod(&l2).await);
    with_a_copy(&cache).await;
    assert_eq!(other.get("k").await.unwrap(), bytes("v"));
    seconds.fetch_add(59, Ordering::Relaxed);
    l2.tick();
    assert_eq!(cache.get_resident("k"), bytes("v"));
    let mut con = nearcache::redis::Connection::new(&cache);
    assert_eq!(con.ttl::<_, u64>("k").await.unwrap(), 1);

    seconds.fetch_add(1, Ordering::Relaxed);
    l2.tick();
    assert_eq!(cache.get_resident("k"), None, "no request was needed");
    assert_eq!(other.get("k").await.unwrap(), None);
    // The pod's own time has not moved: its lane is up and its lease good.
    let read = cache.get_with("k2", cache.settings().on_unproven).await;
    assert_eq!(read.unwrap().source, Source::L2);
}

#[tokio::test(start_paused = true)]
async fn keys_expire_by_the_paused_time_of_tokio() {
    let l2 = MemoryL2::on_tokio_time();
    let cache = pod(&l2).await;
    with_a_copy(&cache).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    l2.tick();
    assert_eq!(cache.get_resident("k"), bytes("v"));
    tokio::time::advance(Duration::from_secs(1)).await;
    l2.tick();
    assert_eq!(cache.get_resident("k"), None);
    assert_eq!(cache.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn sorted_sets_and_scripts_by_name_work_through_the_drop_in() {
    let cache = pod(&MemoryL2::new()).await;
    let mut con = nearcache::redis::Connection::new(&cache);
    let scores = [(3.0, "c"), (1.0, "a"), (2.5, "b")];
    assert_eq!(
        con.zadd_multiple::<_, _, _, u32>("z", &scores)
            .await
            .unwrap(),
        3
    );
    for _ in 0..2 {
        let first: Vec<(String, f64)> = con.zrange_withscores("z", 0, 1).await.unwrap();
        assert_eq!(first, [("a".to_owned(), 1.0), ("b".to_owned(), 2.5)]);
    }
    assert!(cache.stats().totals.hits_total > 0, "the second is a hit");
    con.zincr::<_, _, _, f64>("z", "a", 9).await.unwrap();
    let last: Vec<String> = con.zrevrange("z", 0, 0).await.unwrap();
    assert_eq!(last, ["a"]);
    let found: Vec<String> = con.zrangebyscore("z", "(2", 3).await.unwrap();
    assert_eq!(found, ["b", "c"]);
    let script = redis::Script::new("return redis.call('set', KEYS[1], ARGV[1])");
    for value in ["one", "two"] {
        let mut call = script.prepare_invoke();
        call.key("s")
            .arg(value)
            .invoke_async::<()>(&mut con)
            .await
            .unwrap();
        assert_eq!(con.get::<_, String>("s").await.unwrap(), value);
    }
    let unknown = redis::cmd("GEOADD")
        .arg("g")
        .query_async::<()>(&mut con)
        .await;
    let error = unknown.unwrap_err().to_string();
    assert!(error.contains("MemoryL2"), "{error}");
}
