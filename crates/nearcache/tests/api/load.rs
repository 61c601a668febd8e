//! Loaders: one per key, and what becomes of their errors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{StreamExt, stream};
use nearcache::{Bytes, ErrorKind, MemoryL2, NearCache, Source, Ttl};
use tokio::sync::Notify;

use super::{builder, bytes, pod, single};

/// Eight callers of one key, one loader.
pub(super) async fn eight_share_one_loader(cache: &NearCache) {
    let (runs, open) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (cache, runs, open) = (cache.clone(), runs.clone(), open.clone());
            tokio::spawn(async move {
                let load = || async move {
                    runs.fetch_add(1, Ordering::Relaxed);
                    open.notified().await;
                    Ok::<_, io::Error>(Bytes::from("loaded"))
                };
                cache.get_or_load("k", Ttl::secs(60), load).await
            })
        })
        .collect();
    super::eventually("a loader runs and all the others wait for it", || {
        let store = cache.stats().store;
        // Seven wait for the fetch of the key or lead it, then seven for the loader.
        runs.load(Ordering::Relaxed) == 1 && store.joins >= 7
    })
    .await;
    open.notify_one();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "loaded");
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn c8_one_loader_for_all_who_wait() {
    let cache = single().await;
    eight_share_one_loader(&cache).await;
    assert_eq!(cache.get("k").await.unwrap(), bytes("loaded"));
}

#[tokio::test]
async fn c8_a_loader_that_fails_poisons_nothing() {
    let cache = single().await;
    let fails = || async { Err::<Bytes, _>(io::Error::other("no such row")) };
    let error = cache.get_or_load("k", Ttl::NONE, fails).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader);
    assert_eq!(error.to_string(), "the loader failed: no such row");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<io::Error>(), "{source:?}");
    let works = || async { Ok::<_, io::Error>(Bytes::from("row")) };
    assert_eq!(
        cache.get_or_load("k", Ttl::NONE, works).await.unwrap(),
        "row"
    );
    assert_eq!(cache.stats().totals.load_errors_total, 1);
}

#[tokio::test]
async fn what_l2_has_is_not_loaded() {
    let l2 = MemoryL2::new();
    let (one, other) = (pod(&l2).await, pod(&l2).await);
    let load = || async { Ok::<_, io::Error>(Bytes::from("first")) };
    one.get_or_load("k", Ttl::NONE, load).await.unwrap();
    let never = || async { Err::<Bytes, _>(io::Error::other("asked the origin")) };
    assert_eq!(
        other.get_or_load("k", Ttl::NONE, never).await.unwrap(),
        "first"
    );
}

#[tokio::test]
async fn what_l2_refuses_to_keep_is_returned_and_counted() {
    let l2 = MemoryL2::new();
    let cache = pod(&l2).await;
    l2.with_server(|server| server.set_memory_limit(1));
    let load = || async { Ok::<_, io::Error>(Bytes::from("value")) };
    assert_eq!(
        cache.get_or_load("k", Ttl::NONE, load).await.unwrap(),
        "value"
    );
    assert_eq!(cache.stats().totals.load_write_errors_total, 1);
    assert_eq!(cache.get("k").await.unwrap(), None);
}

/// A stream polls what it buffers only while it is asked for more: its consumer waits for a load that waits for it.
#[tokio::test]
async fn c8_a_leader_in_a_full_buffer_is_taken_over() {
    let l2 = MemoryL2::new();
    let cache = builder(&l2).load_timeout("300ms").connect().await.unwrap();
    let begun = Arc::new(Notify::new());
    let slow = |key: &'static str| {
        let (cache, begun) = (cache.clone(), begun.clone());
        async move {
            let load = || async {
                // The first is there when the second has begun, which is then left.
                if key != "first" {
                    begun.notify_one();
                    std::future::pending::<()>().await;
                }
                begun.notified().await;
                Ok::<_, io::Error>(Bytes::from(key))
            };
            cache.get_or_load(key, Ttl::NONE, load).await
        }
    };
    let mut buffered = stream::iter(["first", "second"])
        .map(slow)
        .buffer_unordered(2);
    assert_eq!(buffered.next().await.unwrap().unwrap(), "first");
    let load = || async { Ok::<_, io::Error>(Bytes::from("the consumer's own")) };
    let own = cache.get_or_load("second", Ttl::NONE, load).await.unwrap();
    assert_eq!(own, "the consumer's own");
    let late = buffered.next().await.unwrap().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Loader);
    assert_eq!(cache.stats().totals.loads_abandoned_total, 1);
}

#[tokio::test]
async fn a_loader_may_find_none_and_choose_the_life_of_what_it_finds() {
    let l2 = MemoryL2::new();
    let cache = builder(&l2).negative_ttl("1m").connect().await.unwrap();
    let asked = AtomicU32::new(0);
    let none = || async {
        asked.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(None)
    };
    for _ in 0..3 {
        let found = cache.get_or_load_optional("k", none).await.unwrap();
        assert_eq!(found, None);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let mut session = cache.session();
    let stored = session.command(&["EXISTS", "k"]).await.unwrap();
    assert_eq!(stored, nearcache::Reply::Int(0), "never in L2");
    cache.set("k", "created", Ttl::NONE).await.unwrap();
    let found = cache.get_or_load_optional("k", none).await.unwrap();
    assert_eq!(found, bytes("created"));
    let some = || async { Ok::<_, io::Error>(Some((Bytes::from("v"), Ttl::secs(100)))) };
    let policy = cache.load_policy();
    let read = cache.get_or_load_with("l", policy, some).await.unwrap();
    assert_eq!((read.value, read.source), (bytes("v"), Source::Origin));
    let ttl = session.command(&["TTL", "l"]).await.unwrap();
    assert!(matches!(ttl, nearcache::Reply::Int(99..=100)), "{ttl:?}");
    let wrong = || async { Ok::<_, io::Error>(Some((Bytes::from("v"), Ttl::millis(0)))) };
    let error = cache.get_or_load_optional("m", wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}
