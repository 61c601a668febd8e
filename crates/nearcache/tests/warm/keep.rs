//! What a running pod fetches ahead of demand.

use std::time::Instant;

use nearcache::{MemoryL2, NearCache, Ttl};

use crate::support::{builder, fleet, fleet_of, name, operator, read, resident, until};

/// Asks again and again, until it is so.
async fn asking<F: Future<Output = ()>>(mut ask: impl FnMut() -> F, so: impl Fn() -> bool) {
    let runtime = tokio::runtime::Handle::current();
    until("what was asked for is so", || {
        runtime.block_on(ask());
        so()
    })
    .await;
}

fn ahead(pod: &NearCache) -> u64 {
    pod.stats().totals.ahead_total
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_tells_of_changes_what_is_read_is_renewed_too() {
    let l2 = MemoryL2::new();
    l2.with_server(|server| server.refuse_tracking(true));
    let operator = operator(&l2).await;
    operator.set("k", "\"v\"", Ttl::NONE).await.unwrap();
    let pod = builder().store(l2).max_staleness("400ms").connect();
    let pod = pod.await.unwrap();
    pod.ready().await;
    let began = Instant::now();
    // As bytes and decoded: both are reads of one copy.
    let typed = pod.typed::<String, _>(nearcache::Json);
    let ask = || async {
        assert_eq!(pod.get("k").await.unwrap().as_deref(), Some(&b"\"v\""[..]));
        assert_eq!(*typed.get("k").await.unwrap().unwrap(), "v");
    };
    asking(ask, || ahead(&pod) >= 3).await;
    // A copy lives for 396 ms, and is renewed once, in its last quarter.
    let lives = began.elapsed().as_millis() as u64 / 290;
    assert!(ahead(&pod) <= lives + 2, "{} in {lives}", ahead(&pod));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_with_its_key_is_not_renewed() {
    let l2 = MemoryL2::new();
    let pod = fleet(&l2, 20).await;
    let operator = operator(&l2).await;
    let ttl = Ttl::millis(600);
    operator.set(name(3), "v", ttl).await.unwrap();
    pod.fence().await.unwrap();
    let before = ahead(&pod);
    let seen = std::cell::Cell::new(true);
    let ask = || async { seen.set(pod.get(name(3)).await.unwrap().is_some()) };
    asking(ask, || !seen.get()).await;
    // Changed once, by its end, and once by the operator; topped up once, at most: none is the end of a bound.
    assert!(ahead(&pod) <= before + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_pod_learns_what_the_others_read() {
    let l2 = MemoryL2::new();
    // Runs before anybody has read anything.
    let running = builder()
        .store(l2.clone())
        .top_up(0.001)
        .connect()
        .await
        .unwrap();
    running.ready().await;
    let _reader = fleet(&l2, 50).await;
    until("it holds what the other reads", || {
        resident(&running, 50) == 50
    })
    .await;
    assert_eq!(running.stats().totals.misses_total, 0);
    assert_eq!(running.stats().totals.ahead_total, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_allowance_does_not_cover_now_is_fetched_later() {
    let l2 = MemoryL2::new();
    let reader = fleet(&l2, 50).await;
    reader.shutdown().await;
    // Two and a half seconds of the allowance: a pod may be one second ahead of it.
    let small = builder().store(l2).warm_start(false).top_up(0.001);
    let small = small.warm_reads(20_usize).warm_share(1_usize);
    // From here on nobody changes the manifest.
    let small = small.publish_every("1h");
    let running = small.connect().await.unwrap();
    until("it holds all of it", || resident(&running, 50) == 50).await;
    assert_eq!(running.stats().totals.ahead_total, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_expected_to_be_read_is_left_alone() {
    let l2 = MemoryL2::new();
    let running = builder()
        .store(l2.clone())
        .top_up(1e9)
        .connect()
        .await
        .unwrap();
    running.ready().await;
    let _reader = fleet(&l2, 50).await;
    let before = running.stats().totals.manifest_bytes_total;
    until("it has looked", || {
        running.stats().totals.manifest_bytes_total > before
    })
    .await;
    assert_eq!(running.stats().totals.ahead_total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_fetched_again_if_it_will_be_read() {
    let l2 = MemoryL2::new();
    // What is missing is not topped up.
    let pod = fleet_of(builder().top_up(1e9), &l2, 20).await;
    read(&pod, 20, 100).await;
    let operator = operator(&l2).await;
    operator.set(name(7), "changed", Ttl::NONE).await.unwrap();
    until("it is here again", || pod.stats().totals.ahead_total == 1).await;
    // Not read since, it is not worth a second fetch.
    operator.set(name(7), "again", Ttl::NONE).await.unwrap();
    until("the change was noticed", || {
        pod.stats().totals.ahead_wasted_total == 1
    })
    .await;
    assert_eq!(pod.stats().totals.ahead_total, 1);
    assert_eq!(
        pod.get(name(7)).await.unwrap().as_deref(),
        Some(&b"again"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_ahead_and_read_counts_as_used() {
    let l2 = MemoryL2::new();
    let _old = fleet(&l2, 20).await;
    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    read(&new, 20, 1).await;
    until("that is counted", || {
        new.stats().totals.ahead_used_total == 20
    })
    .await;
    assert_eq!(new.stats().totals.ahead_used_bytes_total, 20_000);
    assert_eq!(new.stats().totals.ahead_wasted_total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_only_push_out_better_is_left_alone() {
    let l2 = MemoryL2::new();
    // Twice what fits below: five hundred values of a kilobyte.
    let reader = fleet(&l2, 500).await;
    reader.shutdown().await;
    let small = builder().store(l2).capacity("256KiB").top_up(0.001);
    // From here on nobody changes the manifest.
    let small = small.warm_start(false).publish_every("1h");
    let running = small.connect().await.unwrap();
    let looked = || running.stats().totals.manifest_bytes_total;
    until("it has fetched", || running.stats().totals.ahead_total > 0).await;
    let before = looked();
    until("it has looked again", || looked() > before).await;
    let totals = running.stats().totals;
    assert!(totals.ahead_total < 250, "{}", totals.ahead_total);
    assert_eq!(running.stats().store.evictions, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_more_often_than_it_is_read_is_not_fetched_for_each_change() {
    let l2 = MemoryL2::new();
    let pod = fleet_of(builder().top_up(1e9), &l2, 20).await;
    let began = Instant::now();
    let operator = operator(&l2).await;
    // Read five times in its life, and once after each change: the changes follow each other at once.
    for n in 0..50 {
        operator
            .set(name(7), n.to_string(), Ttl::NONE)
            .await
            .unwrap();
        pod.fence().await.unwrap();
        pod.get(name(7)).await.unwrap();
    }
    let fetched = pod.stats().totals.ahead_total;
    // A machine that takes a tenth of a second for a round makes it a key that is read in between.
    let slow = began.elapsed().as_millis() as u64 / 100;
    assert!(fetched <= 3 + slow, "{fetched}");
}
