//! What a new pod holds before its first request.

use nearcache::redis::Connection;
use nearcache::redis_rs::AsyncCommands;
use nearcache::{MemoryL2, NearCache, Phase, WarmEnd};

use crate::support::{builder, fleet, name, read, resident, summed_up, until, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pod_holds_what_the_fleet_reads() {
    let l2 = MemoryL2::new();
    let old = builder().store(l2.clone()).connect().await.unwrap();
    write(&old, 200, 1000).await;
    read(&old, 100, 5).await;
    summed_up(&old).await;

    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    let readiness = new.readiness();
    assert!(readiness.ready, "{readiness:?}");
    assert_eq!(readiness.phase, Phase::Ready);
    let report = new.warm_report().unwrap();
    assert_eq!(report.end, WarmEnd::Complete, "{report:?}");
    assert_eq!(report.keys, 100, "{report:?}");
    assert!(report.share_of_reads > 0.99, "{report:?}");
    assert_eq!(resident(&new, 100), 100);
    assert!(new.get_resident(name(150)).is_none());
    assert_eq!(new.stats().totals.misses_total, 0);
    old.shutdown().await;
    new.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_replies_of_the_drop_in_are_warm_too() {
    let l2 = MemoryL2::new();
    let old = builder().store(l2.clone()).connect().await.unwrap();
    let mut con = Connection::new(&old);
    let _: () = con.hset("product:1", "name", "tea").await.unwrap();
    for _ in 0..3 {
        let _: Vec<(String, String)> = con.hgetall("product:1").await.unwrap();
        let _: usize = con.hlen("product:1").await.unwrap();
    }
    summed_up(&old).await;

    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    let mut con = Connection::new(&new);
    let fields: Vec<(String, String)> = con.hgetall("product:1").await.unwrap();
    assert_eq!(fields, [("name".to_owned(), "tea".to_owned())]);
    let totals = new.stats().totals;
    assert_eq!((totals.hits_total, totals.misses_total), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn c11_a_pod_is_ready_at_its_deadline_however_cold() {
    let l2 = MemoryL2::new();
    let _old = fleet(&l2, 100).await;
    // At one key a second there is no end to it.
    let slow = builder()
        .store(l2)
        .warm_reads(1_usize)
        .warm_share(1_usize)
        .warm_deadline("400ms");
    let new = slow.connect().await.unwrap();
    new.ready().await;
    let report = new.warm_report().unwrap();
    assert_eq!(report.end, WarmEnd::Deadline, "{report:?}");
    assert!(report.keys < 100, "{report:?}");
    assert!(new.readiness().ready);
    assert!(new.get(name(3)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn c11_a_warm_start_stops_where_the_room_ends() {
    let l2 = MemoryL2::new();
    let _old = fleet(&l2, 500).await;
    let small = builder().store(l2).capacity("256KiB");
    let new = small.connect().await.unwrap();
    new.ready().await;
    let report = new.warm_report().unwrap();
    assert!((50..400).contains(&report.keys), "{report:?}");
    let store = new.stats().store;
    assert_eq!(store.evictions, 0, "{store:?}");
    assert!(store.weight <= store.capacity);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_does_nothing() {
    let l2 = MemoryL2::new();
    let _old = fleet(&l2, 50).await;
    let cold = builder().store(l2.clone()).warm_start(false).top_up("");
    let cold = cold.connect().await.unwrap();
    cold.ready().await;
    assert_eq!(cold.warm_report().unwrap().end, WarmEnd::Off);
    assert_eq!(cold.stats().totals.fills_total, 0);

    let quiet = builder()
        .store(l2)
        .statistics(false)
        .connect()
        .await
        .unwrap();
    quiet.ready().await;
    read(&quiet, 10, 1).await;
    let totals = quiet.stats().totals;
    assert_eq!((totals.published_total, totals.ahead_total), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_l2_is_ready_and_warms_when_it_comes() {
    let l2 = MemoryL2::new();
    let old = fleet(&l2, 50).await;
    old.shutdown().await;
    l2.refuse_connections(true);
    let new = builder()
        .store(l2.clone())
        .warm_deadline("10s")
        .build()
        .unwrap();
    new.ready().await;
    let readiness = new.readiness();
    assert!(readiness.ready, "{readiness:?}");
    assert_eq!(readiness.phase, Phase::Degraded);
    assert_eq!(new.warm_report().unwrap().end, WarmEnd::Unreachable);
    l2.refuse_connections(false);
    until("it is warm after all", || {
        let _ = new.stats();
        resident(&new, 50) == 50
    })
    .await;
    until("it says so", || new.readiness().phase == Phase::Ready).await;
}

#[test]
fn the_blocking_twin_waits_and_tells() {
    let cache = NearCache::builder().memory().connect_blocking().unwrap();
    cache.ready();
    assert!(cache.readiness().ready);
    assert_eq!(cache.warm_report().unwrap().end, WarmEnd::NothingKnown);
    cache.shutdown();
}
