//! The traps, through the drop-in: what is kept must go when it changes, and nothing is served out of order.

use std::time::Duration;

use nearcache::Builder;
use nearcache_testkit::{Proxy, Server, eventually};
use redis::{AsyncCommands, Value, pipe};

use crate::{ask, at, line, on, start, text};

#[tokio::test]
async fn c3_a_write_in_any_way_is_read_by_every_kept_reply() {
    let (_server, cache, mut con) = start().await;
    let writes = [
        "HSET h f 1",
        "HINCRBY h f 2",
        "EVAL return(redis.call('hset','h','f',5)) 0",
        "EVAL return(redis.call('rename',KEYS[1],KEYS[2])) 2 h other",
        "COPY other h",
        "HDEL h f",
        "RPUSH h x",
        "DEL h",
        "HSET h f 9",
        "PEXPIRE h 100000",
        "FLUSHDB",
    ];
    let reads = [
        "HGET h f",
        "HGETALL h",
        "HLEN h",
        "HEXISTS h f",
        "TYPE h",
        "EXISTS h",
    ];
    let mut direct = con.pass_through();
    for write in writes {
        // An error, as that of RPUSH on a hash, changes nothing; the reads tell.
        let _: redis::RedisResult<Value> = line(write).query_async(&mut con).await;
        for read in reads {
            let kept: redis::RedisResult<Value> = line(read).query_async(&mut con).await;
            let asked: redis::RedisResult<Value> = line(read).query_async(&mut direct).await;
            assert_eq!(kept, asked, "{read} after {write}");
        }
    }
    assert!(cache.stats().totals.hits_total > 0);
}

#[tokio::test]
async fn trap_a_command_of_several_keys_is_not_filed_under_its_first_argument() {
    let (server, cache, mut con) = start().await;
    let mut writer = server.client();
    writer.ok(&["ZADD", "a", "1", "m"]);
    assert_eq!(
        ask(&mut con, "ZUNION 2 a b").await,
        Value::Array(vec![text("m")])
    );
    writer.ok(&["ZADD", "b", "1", "n"]);
    cache.fence().await.unwrap();
    let both = Value::Array(vec![text("m"), text("n")]);
    assert_eq!(ask(&mut con, "ZUNION 2 a b").await, both);
    writer.ok(&["MSET", "s", "1", "t", "1"]);
    assert_eq!(ask(&mut con, "EXISTS s t").await, Value::Int(2));
    writer.ok(&["DEL", "t"]);
    assert_eq!(ask(&mut con, "EXISTS s t").await, Value::Int(1));
}

#[tokio::test]
async fn trap_a_key_in_several_dbs() {
    let (server, cache, con) = start().await;
    let mut writer = server.client();
    let (mut zero, mut three) = (con.clone(), con.clone());
    ask(&mut three, "SELECT 3").await;
    writer.ok(&["RPUSH", "l", "zero"]);
    writer.ok(&["SELECT", "3"]);
    writer.ok(&["RPUSH", "l", "three"]);
    for _ in 0..2 {
        assert_eq!(ask(&mut zero, "LINDEX l 0").await, text("zero"));
        assert_eq!(ask(&mut three, "LINDEX l 0").await, text("three"));
    }
    writer.ok(&["LSET", "l", "0", "new"]);
    cache.fence().await.unwrap();
    assert_eq!(ask(&mut zero, "LINDEX l 0").await, text("zero"));
    assert_eq!(ask(&mut three, "LINDEX l 0").await, text("new"));
}

#[tokio::test]
async fn c5_nothing_kept_outlives_its_key() {
    let (server, _cache, mut con) = start().await;
    let mut writer = server.client();
    writer.ok(&["RPUSH", "l", "x"]);
    writer.ok(&["PEXPIRE", "l", "60"]);
    assert_eq!(ask(&mut con, "LLEN l").await, Value::Int(1));
    eventually("the key has expired", || {
        writer.ok(&["EXISTS", "l"]).int() == 0
    });
    assert_eq!(ask(&mut con, "LLEN l").await, Value::Int(0));
}

#[tokio::test]
async fn c5_replies_about_hashes_end_with_the_bound_where_fields_can_expire() {
    let server = Server::start();
    let mut writer = server.client();
    let known = !writer.cmd(&["HPTTL", "h", "FIELDS", "1", "f"]).is_error();
    writer.ok(&["HSET", "h", "f", "1", "g", "2"]);
    let bound = Duration::from_millis(200);
    let (cache, mut con) = on(&server, |b| b.max_staleness(bound)).await;
    let (sure, mut trusting) =
        on(&server, |b| b.max_staleness(bound).hash_field_expiry(false)).await;
    for con in [&mut con, &mut trusting] {
        assert_eq!(ask(con, "HLEN h").await, Value::Int(2));
    }
    // One every third of the bound: it is over for both, under a lease that never was.
    for cache in [&cache, &sure] {
        let before = cache.stats().totals.heartbeats_total;
        eventually("the bound is over", || {
            cache.stats().totals.heartbeats_total > before + 6
        });
    }
    for con in [&mut con, &mut trusting] {
        assert_eq!(ask(con, "HLEN h").await, Value::Int(2));
    }
    let read_again = cache.stats().totals.fills_total > 1;
    assert_eq!(read_again, known, "kept for the bound only if it must be");
    assert_eq!(sure.stats().totals.fills_total, 1, "declared to be none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_about_a_hash_is_renewed_before_its_bound_while_it_is_read() {
    let server = Server::start();
    let mut writer = server.client();
    let known = !writer.cmd(&["HPTTL", "h", "FIELDS", "1", "f"]).is_error();
    writer.ok(&["HSET", "h", "f", "1", "g", "2"]);
    let settings = |b: Builder| b.max_staleness("400ms").refetch(true);
    let (cache, mut con) = on(&server, settings).await;
    cache.ready().await;
    let runtime = tokio::runtime::Handle::current();
    let heartbeats = || cache.stats().totals.heartbeats_total;
    let before = heartbeats();
    // Where no field can end, nothing is to be renewed: some bounds pass.
    let over = || match known {
        true => cache.stats().totals.ahead_total >= 3,
        false => heartbeats() > before + 12,
    };
    tokio::task::block_in_place(|| {
        eventually("it was renewed", || {
            let read = runtime.block_on(ask(&mut con, "HLEN h"));
            assert_eq!(read, Value::Int(2));
            over()
        });
    });
    assert_eq!(cache.stats().totals.ahead_total > 0, known);
    // Renewed or not, it is true.
    writer.ok(&["HDEL", "h", "g"]);
    cache.fence().await.unwrap();
    assert_eq!(ask(&mut con, "HLEN h").await, Value::Int(1));
}

#[tokio::test]
async fn c6_a_flush_and_a_lost_connection_end_every_reply() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let (cache, mut con) = at(proxy.url(), |b| b).await;
    let mut writer = server.client();
    writer.ok(&["SADD", "s", "a"]);
    assert_eq!(ask(&mut con, "SCARD s").await, Value::Int(1));
    writer.ok(&["FLUSHALL"]);
    cache.fence().await.unwrap();
    assert_eq!(ask(&mut con, "SCARD s").await, Value::Int(0));

    proxy.refuse(true);
    proxy.reset_all();
    eventually("the pod notices", || {
        cache.stats().totals.disconnects_total == 1
    });
    writer.ok(&["SADD", "s", "a", "b"]);
    proxy.refuse(false);
    eventually("the lane is back", || {
        cache.stats().totals.connects_total == 2
    });
    assert_eq!(ask(&mut con, "SCARD s").await, Value::Int(2));
}

#[tokio::test]
async fn c2_a_half_open_connection_serves_no_reply_beyond_the_bound() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let (_cache, mut con) = at(proxy.url(), |b| {
        b.max_staleness("300ms").operation_timeout("400ms")
    })
    .await;
    let mut writer = server.client();
    writer.ok(&["SADD", "s", "a"]);
    assert_eq!(ask(&mut con, "SCARD s").await, Value::Int(1));
    proxy.half_open();
    writer.ok(&["SADD", "s", "b"]);
    let written = std::time::Instant::now();
    // Hits until the lease is over, then errors; never the old value later than the bound.
    loop {
        let began = written.elapsed();
        let read: redis::RedisResult<Value> = line("SCARD s").query_async(&mut con).await;
        match read {
            Ok(value) => {
                assert_eq!(value, Value::Int(1));
                assert!(
                    began <= Duration::from_millis(300),
                    "served {began:?} later"
                );
            }
            Err(error) => {
                assert!(error.is_timeout(), "{error}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn trap_a_pipeline_serves_no_read_behind_a_write() {
    let (_server, _cache, mut con) = start().await;
    for n in 0..50 {
        let (before, _, after): (i64, i64, i64) = pipe()
            .get("n")
            .incr("n", 1)
            .get("n")
            .query_async(&mut con)
            .await
            .map(|(a, b, c): (Option<i64>, i64, i64)| (a.unwrap_or(0), b, c))
            .unwrap();
        assert_eq!((before, after), (n, n + 1));
        let read: i64 = con.get("n").await.unwrap();
        assert_eq!(read, n + 1);
    }
}

#[tokio::test]
async fn trap_mget_and_pipelines_are_true_at_one_moment() {
    let (server, cache, con) = start().await;
    let mut writer = server.client();
    writer.ok(&["MSET", "a", "0", "b", "0", "c", "0"]);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                let n = n.to_string();
                writer.ok(&["MSET", "a", &n, "b", &n, "c", &n]);
            }
        }
    });
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut con = con.clone();
        readers.spawn(async move {
            for _ in 0..500 {
                let all: Vec<i64> = con.mget(&["a", "b", "c"]).await.unwrap();
                assert!(all.iter().all(|n| *n == all[0]), "torn: {all:?}");
                let (a, b): (i64, i64) = pipe()
                    .get("a")
                    .get("b")
                    .query_async(&mut con)
                    .await
                    .unwrap();
                assert!(a <= b, "a later read is older: {a} {b}");
            }
        });
    }
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.join().unwrap();
    assert!(cache.stats().totals.fills_total > 0);
}

#[tokio::test]
async fn c8_many_readers_of_one_reply_ask_once() {
    let (server, cache, con) = start().await;
    server.client().ok(&["HSET", "h", "f", "1"]);
    server.pause();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut con = con.clone();
        readers.spawn(async move { ask(&mut con, "HGETALL h").await });
    }
    while cache.stats().totals.joined_total < 19 {
        tokio::task::yield_now().await;
    }
    server.resume();
    let expected = Value::Array(vec![text("f"), text("1")]);
    while let Some(reply) = readers.join_next().await {
        assert_eq!(reply.unwrap(), expected);
    }
    assert_eq!(cache.stats().totals.fills_total, 1);
}

#[tokio::test]
async fn c14_where_nobody_tells_of_changes_a_pipeline_is_sent_as_it_is() {
    let server = Server::builder()
        // No room for the key of the self-test, so nothing is proven; without tracking nothing would be kept.
        .arg("user", "deaf on >word ~a ~b &* +@all")
        .start();
    let url = format!("redis://deaf:word@127.0.0.1:{}", server.port());
    let (_cache, mut con) = at(url, |b| b.max_staleness("10s").dead_after("60s")).await;
    let mut writer = server.client();
    writer.ok(&["MSET", "a", "1", "b", "1"]);
    // The copy of `a` is good for its bound, and older than that of `b`.
    assert_eq!(ask(&mut con, "GET a").await, text("1"));
    writer.ok(&["MSET", "a", "2", "b", "2"]);
    assert_eq!(ask(&mut con, "GET b").await, text("2"));
    let both: (i64, i64) = pipe()
        .get("a")
        .get("b")
        .query_async(&mut con)
        .await
        .unwrap();
    assert_eq!(both, (2, 2));
    let both: (i64, i64) = con.mget(&["a", "b"]).await.unwrap();
    assert_eq!(both, (2, 2));
    assert_eq!(ask(&mut con, "GET a").await, text("1"), "within its bound");
}
