//! Whatever lies where the manifest should be, and whatever happens meanwhile: a cold start at worst.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearcache::{Bytes, MemoryL2, Phase, Ttl, WarmEnd, fleet_key};

use nearcache_testkit::Server;

use crate::support::{
    MANIFEST, builder, fleet, name, operator, read, resident, stored, summed_up, until, write,
};

/// A new pod where the manifest is this instead.
async fn meets(manifest: Bytes) {
    let l2 = MemoryL2::new();
    let operator = operator(&l2).await;
    operator.set("k1", "v", Ttl::NONE).await.unwrap();
    operator.set(MANIFEST, manifest, Ttl::NONE).await.unwrap();
    // Long enough that it does not put one of its own in its place.
    let new = builder()
        .store(l2)
        .publish_every("1h")
        .connect()
        .await
        .unwrap();
    new.ready().await;
    assert!(new.readiness().ready);
    assert_eq!(new.warm_report().unwrap().end, WarmEnd::NothingKnown);
    assert_eq!(new.stats().totals.ignored_total, 1);
    assert_eq!(new.get("k1").await.unwrap().as_deref(), Some(&b"v"[..]));
}

/// A manifest as pods make them.
async fn good() -> Vec<u8> {
    let l2 = MemoryL2::new();
    let _old = fleet(&l2, 50).await;
    stored(&l2, MANIFEST).await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_manifest_costs_a_cold_start() {
    let mut manifest = good().await;
    let middle = manifest.len() / 2;
    manifest[middle] ^= 0x40;
    meets(manifest.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_manifest_costs_a_cold_start() {
    let manifest = good().await;
    meets(Bytes::copy_from_slice(&manifest[..manifest.len() - 7])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_manifest_costs_a_cold_start() {
    let mut manifest = good().await;
    manifest.resize(3 << 20, 0);
    meets(manifest.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_somebody_elses_costs_a_cold_start() {
    meets(Bytes::from_static(b"<html>not at all</html>")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_another_type_costs_a_cold_start() {
    let l2 = MemoryL2::new();
    let operator = operator(&l2).await;
    let mut session = operator.session();
    session.command(&["SADD", MANIFEST, "x"]).await.unwrap();
    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    assert!(new.readiness().ready);
    assert!(new.stats().totals.exchange_errors_total > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_publishers_at_once_leave_a_good_manifest() {
    let l2 = MemoryL2::new();
    let one = fleet(&l2, 50).await;
    let two = fleet(&l2, 50).await;
    // Without the lease everybody merges in every round.
    let operator = operator(&l2).await;
    let stop = Arc::new(AtomicBool::new(false));
    let stealing = tokio::spawn({
        let stop = stop.clone();
        async move {
            while !stop.load(Ordering::Relaxed) {
                operator.delete(fleet_key("shop", "merge")).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let merges = |pod: &nearcache::NearCache| pod.stats().totals.merges_total;
    let before = (merges(&one), merges(&two));
    until("both have merged", || {
        merges(&one) > before.0 + 2 && merges(&two) > before.1 + 2
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    stealing.await.unwrap();
    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    assert_eq!(resident(&new, 50), 50);
    for pod in [&one, &two, &new] {
        assert_eq!(pod.stats().totals.ignored_total, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pod_merges_when_the_one_that_did_is_gone() {
    let l2 = MemoryL2::new();
    let one = fleet(&l2, 10).await;
    let two = builder().store(l2).connect().await.unwrap();
    two.ready().await;
    one.shutdown().await;
    let before = two.stats().totals.merges_total;
    until("the other merges", || {
        two.stats().totals.merges_total > before + 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_lost_during_the_warm_start_leaves_a_pod_that_is_ready() {
    let l2 = MemoryL2::new();
    let _old = fleet(&l2, 400).await;
    let slow = builder()
        .store(l2.clone())
        .warm_reads(500_usize)
        .warm_share(1_usize)
        .warm_deadline("20s");
    let new = slow.connect().await.unwrap();
    until("it is warming", || {
        new.readiness().keys > 0 || new.readiness().ready
    })
    .await;
    l2.refuse_connections(true);
    l2.disconnect_all();
    new.ready().await;
    let report = new.warm_report().unwrap();
    assert_eq!(report.end, WarmEnd::Unreachable, "{report:?}");
    let readiness = new.readiness();
    assert!(
        readiness.ready && readiness.phase == Phase::Degraded,
        "{readiness:?}"
    );
    assert!(
        new.get(name(1)).await.is_err(),
        "nothing is served that cannot be proven"
    );
    l2.refuse_connections(false);
    until("it serves again", || pollster_get(&new, 1)).await;
}

fn pollster_get(cache: &nearcache::NearCache, n: usize) -> bool {
    cache.clone().into_blocking().get(name(n)).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_keys_deleted_or_changed_since_the_manifest_are_as_they_are_now() {
    let l2 = MemoryL2::new();
    let old = fleet(&l2, 60).await;
    old.shutdown().await;
    let operator = operator(&l2).await;
    for n in 0..20 {
        operator.delete(name(n)).await.unwrap();
        operator.set(name(20 + n), "new", Ttl::NONE).await.unwrap();
    }
    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    for n in 0..60 {
        let value = new.get(name(n)).await.unwrap();
        match n {
            0..20 => assert_eq!(value, None, "{n}"),
            20..40 => assert_eq!(value.as_deref(), Some(&b"new"[..]), "{n}"),
            _ => assert_eq!(value.unwrap().len(), 1000, "{n}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_killed_in_the_middle_of_a_write_leaves_what_was_there() {
    let server = Server::start();
    let old = builder().redis(server.url()).connect().await.unwrap();
    write(&old, 30, 1000).await;
    read(&old, 30, 3).await;
    summed_up(&old).await;
    old.shutdown().await;
    // As much of a write as leaves a process that is killed.
    let mut killed = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let head = format!(
        "*3\r\n$3\r\nSET\r\n${}\r\n{MANIFEST}\r\n$100000\r\n",
        MANIFEST.len()
    );
    killed.write_all(head.as_bytes()).unwrap();
    killed.write_all(&[b'x'; 50_000]).unwrap();
    drop(killed);
    let new = builder().redis(server.url()).connect().await.unwrap();
    new.ready().await;
    assert_eq!(new.stats().totals.ignored_total, 0);
    assert_eq!(resident(&new, 30), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_without_an_end_does_not_stop_the_fleet() {
    let l2 = MemoryL2::new();
    let old = fleet(&l2, 50).await;
    old.shutdown().await;
    // As it is left when it expires between the command that makes it and the one that counts.
    let operator = operator(&l2).await;
    let pace = fleet_key("shop", "pace");
    operator.set(pace, "999999999", Ttl::NONE).await.unwrap();
    let new = builder().store(l2).warm_deadline("20s");
    let new = new.connect().await.unwrap();
    new.ready().await;
    let report = new.warm_report().unwrap();
    assert_eq!((report.end, report.keys), (WarmEnd::Complete, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_that_l2_refuses_ends_the_warm_start_once() {
    let l2 = MemoryL2::new();
    let old = fleet(&l2, 50).await;
    old.shutdown().await;
    let operator = operator(&l2).await;
    let pace = fleet_key("shop", "pace");
    operator.set(pace, "no number", Ttl::NONE).await.unwrap();
    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    assert_eq!(new.warm_report().unwrap().end, WarmEnd::Refused);
    assert_eq!(new.readiness().phase, Phase::Ready);
    // It serves, and takes part in the fleet; nothing is tried again each second.
    assert!(new.get(name(3)).await.unwrap().is_some());
    until("it publishes", || new.stats().totals.published_total > 0).await;
}
