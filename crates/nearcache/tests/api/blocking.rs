//! The blocking twin: the same answers on a thread without an executor, and beside one.

use std::io;
use std::time::Duration;

use nearcache::{Bytes, ErrorKind, NearCache, Raw, ReadPolicy, Source, Ttl};

use super::{all, bytes};

#[test]
fn every_call_has_a_twin() {
    let cache = NearCache::builder().memory().connect_blocking().unwrap();
    cache
        .set("k", "v", Ttl::from(Duration::from_secs(60)))
        .unwrap();
    assert_eq!(cache.get_resident("k"), None);
    assert_eq!(cache.get("k").unwrap(), bytes("v"));
    assert_eq!(
        all(cache.get_many(&["k", "l"])).unwrap(),
        [bytes("v"), None]
    );
    assert_eq!(cache.get("l").unwrap(), None);
    assert_eq!(cache.get_validated("k").unwrap(), bytes("v"));
    let read = cache.get_with("k", ReadPolicy::Error);
    assert!(matches!(read, Ok(read) if read.source == Source::L1 && read.value == bytes("v")));
    assert!(cache.forget("k"));
    cache.fence().unwrap();
    let load = || Ok::<_, io::Error>(Bytes::from("loaded"));
    assert_eq!(cache.get_or_load("m", Ttl::NONE, load).unwrap(), "loaded");
    assert_eq!(cache.with_db(1).get("k").unwrap(), None);
    assert!(cache.delete("k").unwrap());
    assert_eq!(cache.settings().capacity, 256 << 20);
    assert_eq!(cache.db(), 0);

    let typed = cache.typed::<Bytes, _>(Raw);
    typed.set("t", &Bytes::from("tea"), Ttl::NONE).unwrap();
    assert_eq!(
        typed.get("t").unwrap().as_deref(),
        Some(&Bytes::from("tea"))
    );
    assert_eq!(
        typed.get_resident("t").as_deref(),
        Some(&Bytes::from("tea"))
    );
    assert_eq!(all(typed.get_many(&["t"])).unwrap().len(), 1);
    assert!(typed.get_validated("t").unwrap().is_some());
    assert_eq!(*typed.get_or_load("u", Ttl::NONE, load).unwrap(), "loaded");
    assert!(typed.forget("t") && typed.delete("t").unwrap());

    assert!(cache.stats().totals.hits_total > 0);
    cache.shutdown();
    assert_eq!(cache.get("k").unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn asynchronous_and_blocking_handles_share_a_cache() {
    let cache = super::single().await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    cache.get("k").await.unwrap();
    let blocking = cache.clone().into_blocking();
    let read = tokio::task::spawn_blocking(move || blocking.get("k"))
        .await
        .unwrap();
    assert_eq!(read.unwrap(), bytes("v"));
    assert_eq!(cache.stats().totals.fills_total, 1);
}

#[test]
fn many_threads_without_an_executor() {
    let cache = NearCache::builder().memory().connect_blocking().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let cache = cache.clone();
            scope.spawn(move || {
                for round in 0..200u32 {
                    let key = format!("k{}", round % 10);
                    if round % 7 == thread {
                        cache.set(&key, round.to_string(), Ttl::NONE).unwrap();
                    }
                    cache.get(&key).unwrap();
                }
            });
        }
    });
    assert_eq!(cache.stats().totals.fill_errors_total, 0);
}
