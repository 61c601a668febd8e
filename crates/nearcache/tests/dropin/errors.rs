//! Errors: the server's as redis-rs has them, ours with what to do, and no input that harms.

use nearcache::redis::{Connection, cause};
use nearcache::{ErrorKind, NearCache, ReadPolicy, Reason, WhileAway, WriteOutcome};
use nearcache_redis::redis_error;
use nearcache_testkit::{Proxy, Server, eventually};
use redis::{AsyncCommands, RedisResult, Value, cmd, pipe};

use crate::{ask, at, line, start};

#[tokio::test]
async fn errors_of_the_server_are_those_of_redis_rs() {
    let (server, _cache, mut con) = start().await;
    server.client().ok(&["SET", "s", "x"]);
    let client = redis::Client::open(server.url()).unwrap();
    let mut plain = client.get_multiplexed_async_connection().await.unwrap();
    for text in [
        "HGET s f",
        "LLEN s",
        "INCR s",
        "GET",
        "NOSUCH secret",
        "EVALSHA 0000000000000000000000000000000000000000 0",
        "SELECT 99",
        "SELECT x",
        "ZADD z x m",
    ] {
        let ours: RedisResult<Value> = line(text).query_async(&mut con).await;
        let theirs: RedisResult<Value> = line(text).query_async(&mut plain).await;
        let (ours, theirs) = (ours.unwrap_err(), theirs.unwrap_err());
        assert_eq!(ours, theirs, "{text}");
        assert_eq!(ours.to_string(), theirs.to_string());
        assert!(cause(&ours).is_none());
    }
    // In a pipeline an error stands in its place.
    let mut broken = pipe();
    broken.set("a", 1).hget("s", "f").get("a").ignore_errors();
    let ours: Vec<RedisResult<Value>> = broken.query_async(&mut con).await.unwrap();
    let theirs: Vec<RedisResult<Value>> = broken.query_async(&mut plain).await.unwrap();
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn trap_what_would_break_a_shared_connection_is_refused() {
    let (_server, cache, mut con) = start().await;
    for text in [
        "CLIENT TRACKING OFF",
        "CLIENT REPLY SKIP",
        "HELLO 2",
        "AUTH a b",
        "RESET",
        "SUBSCRIBE c",
        "MONITOR",
        "WAIT 1 0",
    ] {
        let refused: RedisResult<Value> = line(text).query_async(&mut con).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), redis::ErrorKind::Client, "{text}");
        assert!(refused.to_string().contains("refused"), "{refused}");
        // In a pipeline it keeps nobody else from being answered.
        let mut mixed = pipe();
        mixed
            .set("k", 1)
            .add_command(line(text))
            .get("k")
            .ignore_errors();
        let replies: Vec<RedisResult<Value>> = mixed.query_async(&mut con).await.unwrap();
        assert!(
            replies[0].is_ok() && replies[1].is_err() && replies[2].is_ok(),
            "{text}"
        );
        let mut atomic = pipe();
        atomic.atomic().set("k", 2).add_command(line(text));
        let whole: RedisResult<Value> = atomic.query_async(&mut con).await;
        assert!(whole.is_err(), "{text}");
    }
    let k: i64 = con.get("k").await.unwrap();
    assert_eq!(k, 1, "no transaction with a refused command was begun");
    assert_eq!(cache.stats().totals.disconnects_total, 0);
}

#[tokio::test]
async fn c15_a_write_that_failed_says_whether_it_was_sent() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let (cache, mut con) = at(proxy.url(), |b| b.operation_timeout("300ms")).await;
    proxy.stall();
    let lost: RedisResult<()> = con.set("k", 1).await;
    let lost = lost.unwrap_err();
    assert!(lost.is_timeout() && !lost.is_connection_dropped(), "{lost}");
    let why = cause(&lost).expect("an error of nearcache");
    assert_eq!(why.kind(), ErrorKind::Retry);
    assert_eq!(why.write_outcome(), Some(WriteOutcome::Unknown));
    proxy.refuse(true);
    proxy.reset_all();
    eventually("it is known to be away", || {
        cache.stats().totals.connect_failures_total > 0
    });
    for con in [&mut con.clone(), &mut con.with_while_away(WhileAway::Fail)] {
        let lost: RedisResult<()> = con.set("k", 1).await;
        let lost = lost.unwrap_err();
        assert!(!lost.is_timeout() && lost.is_connection_dropped(), "{lost}");
        assert!(lost.is_connection_refusal() && lost.is_unrecoverable_error());
        let why = cause(&lost).expect("an error of nearcache");
        assert_eq!(why.write_outcome(), Some(WriteOutcome::NotSent));
        assert_eq!(why.reason(), Some(Reason::Unavailable));
    }
    cache.shutdown().await;
    let closed: RedisResult<()> = con.set("k", 1).await;
    assert!(closed.unwrap_err().is_connection_dropped());
}

#[tokio::test]
async fn a_server_that_is_not_there_says_so() {
    let builder = NearCache::builder().redis("redis://127.0.0.1:1");
    let error = builder.warm_deadline("1ms").connect().await.unwrap_err();
    let error = redis_error(error);
    assert!(
        error.to_string().contains("nothing listens there"),
        "{error}"
    );
    let error = Connection::open("http://x").await.unwrap_err();
    assert_eq!(error.kind(), redis::ErrorKind::InvalidClientConfig);
}

#[tokio::test]
async fn c12_odd_input_is_answered_and_harms_nothing() {
    let (_server, cache, mut con) = start().await;
    for command in [
        cmd(""),
        cmd("\0\r\n"),
        redis::Cmd::new(),
        cmd("GET").arg(vec![0xff; 70_000]).take(),
        cmd("HGET").arg("").arg("").take(),
        cmd("HMGET").arg("h").arg(vec!["f"; 5000]).take(),
        cmd(&"x".repeat(5000)),
    ] {
        let _: RedisResult<Value> = command.query_async(&mut con).await;
    }
    let _: () = con.set("k", vec![7u8; 3 << 20]).await.unwrap();
    let large: Vec<u8> = con.get("k").await.unwrap();
    assert_eq!(large.len(), 3 << 20);
    cache.fence().await.unwrap();
}

#[tokio::test]
async fn nothing_at_all_errs_as_it_does_with_redis_rs() {
    let (server, cache, mut con) = start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut plain = client.get_multiplexed_async_connection().await.unwrap();
    let mut plain_blocking = client.get_connection().unwrap();
    let mut blocking = nearcache::blocking::Connection::new(&cache.clone().into_blocking());
    let shown = |result: RedisResult<Value>| match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}: {error}", error.kind()),
    };
    let mut atomic = pipe();
    atomic.atomic();
    for nothing in [pipe(), atomic] {
        let theirs = shown(nothing.query_async(&mut plain).await);
        assert_eq!(shown(nothing.query_async(&mut con).await), theirs);
        let theirs = shown(nothing.query(&mut plain_blocking));
        assert_eq!(shown(nothing.query(&mut blocking)), theirs);
    }
    let nothing = redis::Cmd::new();
    let theirs = shown(nothing.query_async(&mut plain).await);
    assert_eq!(shown(nothing.query_async(&mut con).await), theirs);
    let theirs = shown(nothing.query(&mut plain_blocking));
    assert_eq!(shown(nothing.query(&mut blocking)), theirs);
}

#[tokio::test]
async fn c15_a_pipeline_that_failed_half_way_was_not_not_sent() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let (cache, mut con) = at(proxy.url(), |b| b.operation_timeout("300ms")).await;
    // Three pieces: before, at and behind the command of the side connection, which waits.
    let mut pieces = pipe();
    pieces.cmd("INCR").arg("n").cmd("BLPOP").arg("queue").arg(0);
    pieces.cmd("INCR").arg("n");
    let run = pieces.query_async::<Vec<Value>>(&mut con);
    let cut = async {
        while !server
            .client()
            .ok(&["INFO", "clients"])
            .text()
            .contains("blocked_clients:1")
        {
            tokio::task::yield_now().await;
        }
        proxy.refuse(true);
        proxy.reset_all();
    };
    let (result, ()) = tokio::join!(run, cut);
    let why = result.unwrap_err();
    let why = cause(&why).expect("an error of nearcache").clone();
    assert_eq!(why.write_outcome(), Some(WriteOutcome::Unknown), "{why}");
    assert_eq!(server.client().ok(&["GET", "n"]).text(), "1");
    drop(cache);
}

/// What a drop-in handle serves stale looks like what is fresh: it was asked for, and is counted.
#[tokio::test]
async fn a_handle_may_be_served_stale_while_the_server_is_away() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let (cache, mut con) = at(proxy.url(), |builder| builder).await;
    let mut writer = server.client();
    writer.ok(&["SET", "k", "value"]);
    writer.ok(&["SET", "l", "other"]);
    writer.ok(&["HSET", "h", "f", "x", "g", "y"]);
    for text in ["GET k", "GET l", "HGETALL h"] {
        ask(&mut con, text).await;
    }
    proxy.refuse(true);
    proxy.reset_all();
    eventually("the lane is gone", || {
        cache.stats().totals.disconnects_total > 0
    });
    let max = std::time::Duration::from_secs(600);
    let mut stale = con.with_on_unproven(ReadPolicy::ServeStale { max });
    assert_eq!(ask(&mut stale, "GET k").await, crate::text("value"));
    assert_eq!(ask(&mut stale, "STRLEN k").await, Value::Int(5));
    assert_eq!(ask(&mut stale, "HGET h g").await, crate::text("y"));
    let both = Value::Array(vec![crate::text("value"), crate::text("other")]);
    assert_eq!(ask(&mut stale, "MGET k l").await, both);
    let mut reads = pipe();
    reads.get("k").hget("h", "f");
    let replies: Vec<String> = reads.query_async(&mut stale).await.unwrap();
    assert_eq!(replies, ["value", "x"]);
    assert!(cache.stats().totals.stale_total >= 5);
    // Others, and what is not here, fail as before.
    let missing: RedisResult<Value> = line("GET missing").query_async(&mut stale).await;
    assert_eq!(
        cause(&missing.unwrap_err()).unwrap().kind(),
        ErrorKind::Retry
    );
    let plain: RedisResult<Value> = line("GET k").query_async(&mut con).await;
    assert!(plain.is_err());
}
