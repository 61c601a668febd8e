//! How L1 is switched off, by prefix and by handle, and what settings do to the drop-in.

use nearcache::redis::Connection;
use nearcache_testkit::Server;
use redis::{AsyncCommands, ProtocolVersion, Value, pipe};

use crate::{ask, on, start, text};

#[tokio::test]
async fn bypass_keeps_nothing_under_its_prefixes() {
    let server = Server::start();
    let mut writer = server.client();
    let (cache, mut con) = on(&server, |b| b.bypass("cart:,session:")).await;
    writer.ok(&["MSET", "cart:1", "a", "shop:1", "a"]);
    writer.ok(&["HSET", "session:1", "f", "a"]);
    let reads = ["GET cart:1", "HGETALL session:1", "MGET cart:1 shop:1"];
    for read in reads {
        ask(&mut con, read).await;
    }
    assert_eq!(
        cache.get("cart:1").await.unwrap().as_deref(),
        Some(&b"a"[..])
    );
    // No fence: nothing that could be stale is kept.
    writer.ok(&["SET", "cart:1", "b"]);
    writer.ok(&["HSET", "session:1", "f", "b"]);
    assert_eq!(ask(&mut con, "GET cart:1").await, text("b"));
    assert_eq!(ask(&mut con, "STRLEN cart:1").await, Value::Int(1));
    let hash = Value::Array(vec![text("f"), text("b")]);
    assert_eq!(ask(&mut con, "HGETALL session:1").await, hash);
    let both = Value::Array(vec![text("b"), text("a")]);
    assert_eq!(ask(&mut con, "MGET cart:1 shop:1").await, both);
    let (one, other): (String, String) = pipe()
        .get("cart:1")
        .get("shop:1")
        .query_async(&mut con)
        .await
        .unwrap();
    assert_eq!((one.as_str(), other.as_str()), ("b", "a"));
    assert_eq!(
        cache.get("cart:1").await.unwrap().as_deref(),
        Some(&b"b"[..])
    );
    assert_eq!(cache.get_resident("cart:1"), None);
    assert!(cache.stats().totals.bypassed_total > 0);
    assert_eq!(cache.stats().totals.hits_total, 0);
    ask(&mut con, "GET shop:1").await;
    ask(&mut con, "GET shop:1").await;
    assert_eq!(cache.stats().totals.hits_total, 1, "the others are kept");
}

#[tokio::test]
async fn a_handle_that_passes_through_reads_l2() {
    let (server, cache, mut con) = start().await;
    let mut writer = server.client();
    writer.ok(&["SET", "k", "1"]);
    ask(&mut con, "GET k").await;
    let mut direct = con.pass_through();
    let before = cache.stats().totals;
    for n in 2..20 {
        writer.ok(&["SET", "k", &n.to_string()]);
        let read: i64 = direct.get("k").await.unwrap();
        assert_eq!(read, n);
        let (piped,): (i64,) = pipe().get("k").query_async(&mut direct).await.unwrap();
        assert_eq!(piped, n);
    }
    let after = cache.stats().totals;
    assert_eq!(
        (before.hits_total, before.fills_total),
        (after.hits_total, after.fills_total)
    );
}

#[tokio::test]
async fn shapes_follow_the_url_and_can_be_chosen() {
    let server = Server::start();
    let mut writer = server.client();
    writer.ok(&["HSET", "h", "f", "1"]);
    writer.ok(&["ZADD", "z", "1.5", "m"]);
    let url = format!("{}?protocol=resp3", server.url());
    let resp3 = Connection::open(url.as_str()).await.unwrap();
    let resp2 = Connection::open(server.url()).await.unwrap();
    let flat = Value::Array(vec![text("f"), text("1")]);
    let map = Value::Map(vec![(text("f"), text("1"))]);
    for (con, other, expected, twin) in [
        (&resp3, ProtocolVersion::RESP2, &map, &flat),
        (&resp2, ProtocolVersion::RESP3, &flat, &map),
    ] {
        for _ in 0..2 {
            assert_eq!(ask(&mut con.clone(), "HGETALL h").await, *expected);
            let mut con = con.with_protocol(other);
            assert_eq!(ask(&mut con, "HGETALL h").await, *twin);
        }
    }
    let score = ask(&mut resp3.clone(), "ZSCORE z m").await;
    assert_eq!(score, Value::Double(1.5));
    assert_eq!(ask(&mut resp2.clone(), "ZSCORE z m").await, text("1.5"));
}

#[tokio::test]
async fn large_replies_and_absent_keys_follow_their_settings() {
    let server = Server::start();
    let mut writer = server.client();
    let long = "x".repeat(5000);
    writer.ok(&["HSET", "h", "f", &long]);
    let (cache, mut con) = on(&server, |b| b.max_inline("1KiB").cache_absent(false)).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut con, "HGET h f").await, text(&long));
        assert_eq!(ask(&mut con, "LLEN absent").await, Value::Int(0));
    }
    let totals = cache.stats().totals;
    assert_eq!(totals.hits_total, 0);
    assert_eq!(totals.fills_total, 6);
    writer.ok(&["HSET", "h", "f", "short"]);
    for _ in 0..3 {
        assert_eq!(ask(&mut con, "HGET h f").await, text("short"));
    }
    assert!(cache.stats().totals.hits_total > 0, "kept once it is small");
}

#[tokio::test]
async fn the_embedded_store_takes_the_same_handles() {
    let cache = nearcache::NearCache::builder()
        .memory()
        .connect()
        .await
        .unwrap();
    let mut con = Connection::new(&cache);
    let _: () = con.hset("h", "f", 1).await.unwrap();
    for _ in 0..2 {
        let all: Vec<(String, i64)> = con.hgetall("h").await.unwrap();
        assert_eq!(all, [("f".to_owned(), 1)]);
    }
    let flat = Value::Array(vec![text("f"), text("1")]);
    assert_eq!(
        ask(&mut con, "HGETALL h").await,
        flat,
        "RESP2, though the store knows only RESP3"
    );
    assert!(cache.stats().totals.hits_total >= 1);
}
