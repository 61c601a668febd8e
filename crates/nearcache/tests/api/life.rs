//! The end: shutdown, dropping the last handle, and what calls in flight are told.

use std::sync::Arc;

use nearcache::{Bytes, ErrorKind, LaneState, MemoryL2, NearCache, Raw, Ttl};

use super::stores::{Silent, Watched};
use super::{all, bytes, single};

#[tokio::test]
async fn after_shutdown_every_call_is_closed() {
    let cache = single().await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
    cache.shutdown().await;
    assert_eq!(cache.get_resident("k"), None);
    let load = || async { Ok::<_, std::io::Error>(Bytes::new()) };
    let errors = [
        cache.get("k").await.unwrap_err(),
        all(cache.get_many(&["k"]).await).unwrap_err(),
        cache.get_validated("k").await.unwrap_err(),
        cache.set("k", "w", Ttl::NONE).await.unwrap_err(),
        cache.delete("k").await.unwrap_err(),
        cache.fence().await.unwrap_err(),
        cache.get_or_load("k", Ttl::NONE, load).await.unwrap_err(),
        cache.typed::<Bytes, _>(Raw).get("k").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    let stats = cache.stats();
    assert_eq!(stats.lanes[0].state, LaneState::Closed);
    // An end that was asked for is no fault, and must not look like one where it is printed.
    assert_eq!(stats.totals.disconnects_total, 0);
    assert!(!stats.to_string().contains("NONE"), "{stats}");
    cache.clone().shutdown().await;
}

#[tokio::test]
async fn a_call_in_flight_ends_with_closed() {
    let timeouts = NearCache::builder()
        .connect_timeout("1h")
        .operation_timeout("1h");
    let cache = timeouts.dead_after("1h").store(Silent).build().unwrap();
    let caller = cache.clone();
    let read = tokio::spawn(async move { caller.get("k").await });
    super::eventually("it is in flight", || cache.stats().totals.misses_total == 1).await;
    cache.shutdown().await;
    assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn dropping_the_last_handle_lets_go_of_everything() {
    let token = Arc::new(());
    let store = Watched {
        l2: MemoryL2::new(),
        _token: token.clone(),
    };
    let cache = NearCache::builder().store(store).connect().await.unwrap();
    let typed = cache.typed::<Bytes, _>(Raw);
    assert_eq!(typed.get("k").await.unwrap(), None);
    drop(cache);
    assert_eq!(typed.get("l").await.unwrap(), None);
    drop(typed);
    super::eventually("the IO thread has ended", || Arc::strong_count(&token) == 1).await;
}

#[tokio::test]
async fn a_cache_that_was_never_used_can_be_shut_down() {
    let cache = NearCache::builder().memory().build().unwrap();
    cache.shutdown().await;
    assert_eq!(cache.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn c6_what_was_resident_is_read_again_after_the_lane_was_lost() {
    let l2 = MemoryL2::new();
    let cache = super::pod(&l2).await;
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
    l2.disconnect_all();
    super::eventually("the lane is up again", || {
        cache.stats().totals.connects_total == 2
    })
    .await;
    assert_eq!(cache.get_resident("k"), None);
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
    assert_eq!(cache.stats().totals.fills_total, 2);
}

#[test]
fn handles_go_anywhere() {
    fn anywhere<T: Send + Sync + Clone + 'static>() {}
    anywhere::<NearCache>();
    anywhere::<nearcache::blocking::NearCache>();
    anywhere::<nearcache::Typed<Bytes, Raw>>();
    anywhere::<nearcache::Builder>();
}
