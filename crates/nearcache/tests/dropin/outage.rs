//! Bursts and outages: what waits, what fails, and that it looks as it does with redis-rs's `ConnectionManager`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use nearcache::redis::{Connection, cause};
use nearcache::{ReadPolicy, Reason, WhileAway, WriteOutcome};
use nearcache_testkit::{Proxy, Server, eventually};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, RedisError, RedisResult};

use crate::{at, on};

/// So many reads of keys that nobody has, all at once.
async fn burst(con: &Connection, count: usize) -> Vec<RedisError> {
    let reads = (0..count).map(|n| {
        let mut con = con.clone();
        async move { con.get::<_, Option<String>>(format!("cold:{n}")).await }
    });
    let failed = join_all(reads).await.into_iter().filter_map(Result::err);
    failed.collect()
}

#[tokio::test]
async fn c10_a_burst_waits_for_room_and_fails_nobody() {
    let server = Server::start();
    // Much more than may wait in line, and than may be on its way.
    for (queue, count) in [("4096", 20_000), ("65536", 20_000), ("16", 2_000)] {
        let (cache, con) = on(&server, |builder| {
            builder.queue_requests(queue.to_owned()).statistics(false)
        })
        .await;
        let failed = burst(&con, count).await;
        assert_eq!(failed.len(), 0, "{queue}: {}", failed[0]);
        let totals = cache.stats().totals;
        assert_eq!(totals.rejected_total, 0);
        assert_eq!(totals.fills_total, count as u64);
        // With room for thousands it depends on who is faster.
        assert!(totals.queue_waits_total > 0 || queue != "16");
        assert_eq!(cache.stats().store.flights_open, 0);
    }
}

#[tokio::test]
async fn c10_a_burst_of_writes_and_commands_waits_as_well() {
    let server = Server::start();
    let (cache, con) = on(&server, |builder| builder.queue_requests(8usize)).await;
    let writes = (0..2000).map(|n| {
        let mut con = con.clone();
        async move {
            match n % 3 {
                0 => con.set::<_, _, ()>(format!("k{n}"), n).await,
                1 => con.incr::<_, _, i64>("n", 1).await.map(drop),
                _ => con.hget::<_, _, Option<String>>("h", n).await.map(drop),
            }
        }
    });
    for result in join_all(writes).await {
        result.unwrap();
    }
    assert_eq!(server.client().ok(&["GET", "n"]).text(), "667");
    assert!(cache.stats().totals.queue_waits_total > 0);
}

/// Reads until told otherwise; returns the errors.
async fn work(
    mut con: impl AsyncCommands,
    answered: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
) -> Vec<RedisError> {
    let mut failed = Vec::new();
    for n in 0.. {
        if over.load(Ordering::Relaxed) || failed.len() > 10 {
            break;
        }
        let read: RedisResult<Option<String>> = con.get(format!("k{}", n % 1000)).await;
        match read {
            Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
            Err(error) => failed.push(error),
        }
        tokio::task::yield_now().await;
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_an_outage_is_waited_out_as_by_a_connection_manager() {
    let mut server = Server::start();
    // Each of its reads is one of the server's.
    let (cache, con) = on(&server, |builder| {
        builder.operation_timeout("10s").enabled(false)
    })
    .await;
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(200)
        .set_max_delay(Duration::from_millis(50))
        .set_response_timeout(Some(Duration::from_secs(20)));
    let client = redis::Client::open(server.url()).unwrap();
    let manager = ConnectionManager::new_with_config(client, config)
        .await
        .unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let ours = tokio::spawn(work(con, counts[0].clone(), over.clone()));
    let theirs = tokio::spawn(work(manager, counts[1].clone(), over.clone()));
    let both_go_on = |what: &str| {
        let before = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        eventually(what, || {
            let mut both = counts.iter().zip(before);
            both.all(|(count, before)| count.load(Ordering::Relaxed) > before + 20)
        });
    };
    both_go_on("both are at it");
    server.kill();
    eventually("it is known to be away", || {
        cache.stats().totals.connect_failures_total > 1
    });
    server.restart();
    both_go_on("both go on");
    over.store(true, Ordering::Relaxed);
    let (ours, theirs) = (ours.await.unwrap(), theirs.await.unwrap());
    assert_eq!(ours.len(), 0, "{:?}", ours.first());
    // What was in flight when the server died fails there; ours asks again.
    assert!(theirs.len() <= 1, "{theirs:?}");
    assert!(cache.stats().totals.disconnects_total >= 1);
}

#[tokio::test]
async fn c15_what_was_sent_and_lost_is_a_reset_connection_and_never_sent_again() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let (_cache, mut con) = at(proxy.url(), |builder| builder.operation_timeout("10s")).await;
    let _: () = con.set("n", 0).await.unwrap();
    proxy.stall_replies();
    let mut writer = con.clone();
    let sent = writer.incr::<_, _, i64>("n", 1);
    let cut = async {
        eventually("it was executed", || {
            server.client().ok(&["GET", "n"]).text() == "1"
        });
        proxy.reset_all();
    };
    let (lost, ()) = tokio::join!(sent, cut);
    let lost = lost.unwrap_err();
    assert!(
        lost.is_connection_dropped() && lost.is_unrecoverable_error(),
        "{lost}"
    );
    assert!(
        !lost.is_timeout() && !lost.is_connection_refusal(),
        "{lost}"
    );
    let why = cause(&lost).expect("an error of nearcache");
    assert_eq!(why.write_outcome(), Some(WriteOutcome::Unknown));
    assert_eq!(why.reason(), Some(Reason::Interrupted));
    proxy.resume();
    let n: i64 = con.get("n").await.unwrap();
    assert_eq!(n, 1);
}

/// A planned failover: everything behind a paused write waits, on the one lane.
#[tokio::test]
async fn c2_resident_keys_are_served_stale_while_writes_are_paused() {
    let server = Server::start();
    let (cache, mut con) = on(&server, |builder| {
        builder.max_staleness("100ms").operation_timeout("10s")
    })
    .await;
    let _: () = con.set("k", "v").await.unwrap();
    let _: String = con.get("k").await.unwrap();
    server.client().ok(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let mut writer = con.clone();
    let write = tokio::spawn(async move { writer.set::<_, _, ()>("other", 1).await });
    let max = Duration::from_secs(60);
    let mut stale = con.with_on_unproven(ReadPolicy::ServeStale { max });
    while cache.stats().totals.stale_total < 20 {
        let read: String = stale.get("k").await.unwrap();
        assert_eq!(read, "v");
        tokio::task::yield_now().await;
    }
    server.client().ok(&["CLIENT", "UNPAUSE"]);
    write.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handle_says_how_long_it_waits_and_whether_it_does() {
    let mut server = Server::start();
    let (cache, con) = on(&server, |builder| builder.operation_timeout("10s")).await;
    server.kill();
    eventually("it is known to be away", || {
        cache.stats().totals.connect_failures_total > 0
    });
    // That these come back at all is what is tested.
    let mut short = con.with_operation_timeout(Duration::from_millis(50));
    let mut hasty = con.with_while_away(WhileAway::Fail);
    for con in [&mut short, &mut hasty] {
        let read: RedisResult<Option<String>> = con.get("k").await;
        let error = read.unwrap_err();
        assert!(
            error.is_connection_refusal() && !error.is_timeout(),
            "{error}"
        );
        let write: RedisResult<()> = con.set("k", 1).await;
        assert!(write.unwrap_err().is_connection_refusal());
        let script: RedisResult<i64> = redis::cmd("NOSUCH").query_async(con).await;
        assert!(script.unwrap_err().is_connection_refusal());
    }
    server.restart();
    let read: RedisResult<Option<String>> = con.clone().get("k").await;
    assert_eq!(read.unwrap(), None);
}
