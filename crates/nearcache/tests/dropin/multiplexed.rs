//! A connection of redis-rs's own type in front of L1: as one to a server, but for where hits come from.

use std::time::Duration;

use futures_util::future::{join, join3};
use nearcache::redis::cause;
use nearcache_testkit::{Proxy, Server, eventually};
use redis::aio::{ConnectionLike, MultiplexedConnection, transaction_async};
use redis::{
    AsyncCommands, AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushInfo, PushKind,
    RedisResult, ServerErrorKind, Value, cmd, pipe,
};
use tokio::task::JoinSet;

use crate::{at, line, start, text};

async fn say(con: &mut MultiplexedConnection, text: &str) -> RedisResult<Value> {
    con.req_packed_command(&line(text)).await?.extract_error()
}

#[tokio::test]
async fn it_is_served_from_l1_and_sees_every_own_write() {
    let (server, cache, con) = start().await;
    server.client().ok(&["SET", "k", "old"]);
    let mut con: MultiplexedConnection = con.multiplexed().await.unwrap();
    for _ in 0..3 {
        assert_eq!(say(&mut con, "GET k").await.unwrap(), text("old"));
    }
    assert_eq!(cache.stats().totals.hits_total, 2);
    let () = con.set("k", "new").await.unwrap();
    let read: String = con.get("k").await.unwrap();
    assert_eq!(read, "new", "C3");
    server.client().ok(&["SET", "k", "newer"]);
    cache.fence().await.unwrap();
    let read: String = con.get("k").await.unwrap();
    assert_eq!(read, "newer");
}

/// Whatever a connection to the server answers, in both protocols.
#[tokio::test]
async fn it_answers_as_a_connection_to_the_server_does() {
    let (server, _cache, con) = start().await;
    let all = [
        "SET s x",
        "GET s",
        "GET s",
        "LPUSH s y",
        "HGETALL h",
        "HSET h f 1 g 2",
        "HGETALL h",
        "HGETALL h",
        "ZADD z 1.5 m",
        "ZSCORE z m",
        "ZRANGE z 0 -1 WITHSCORES",
        "SADD set a",
        "SMEMBERS set",
        "NOSUCH x",
        "GET",
        "INCR s",
        "EVAL return(1) 0",
        "EVAL return{1,{2}} 0",
        "CLIENT GETNAME",
        "MULTI",
        "INCR n",
        "HGETALL h",
        "EXEC",
        "EXEC",
        "MULTI",
        "DISCARD",
        "WATCH s",
        "UNWATCH",
        "MULTI",
        "NOSUCH",
        "EXEC",
        "SELECT 3",
        "GET s",
        "SELECT 0",
        "SELECT x",
        "GET s",
        "BLPOP no 0.01",
        "PING",
        "XADD x 1-1 f v",
        "XREAD STREAMS x 0",
        "GEOADD g 13.36 38.11 p",
        "GEOPOS g p none",
        "CONFIG GET maxmemory",
    ];
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let address = match protocol {
            ProtocolVersion::RESP2 => server.url(),
            _ => format!("{}/?protocol=resp3", server.url()),
        };
        let client = redis::Client::open(address).unwrap();
        let mut plain = client.get_multiplexed_async_connection().await.unwrap();
        let mut piped = con.with_protocol(protocol).multiplexed().await.unwrap();
        server.client().ok(&["FLUSHALL"]);
        let mut expected = Vec::new();
        for text in all {
            expected.push(say(&mut plain, text).await);
        }
        server.client().ok(&["FLUSHALL"]);
        con.cache().fence().await.unwrap();
        for (text, expected) in all.iter().zip(expected) {
            assert_eq!(
                say(&mut piped, text).await,
                expected,
                "{text}, {protocol:?}"
            );
        }
    }
}

#[tokio::test]
async fn pipelines_go_together_and_transactions_are_whole() {
    let (server, cache, con) = start().await;
    let mut con = con.multiplexed().await.unwrap();
    let mut pipeline = pipe();
    for n in 0..1000 {
        pipeline.set(format!("k{n}"), n).ignore();
    }
    // Every batch with a write carries one ECHO.
    let batches = || {
        let stats = server.client().ok(&["INFO", "commandstats"]).text();
        let (_, rest) = stats.split_once("cmdstat_echo:calls=").unwrap();
        rest.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let before = batches();
    let () = pipeline.query_async(&mut con).await.unwrap();
    assert_eq!(batches() - before, 1);
    let mut reads = pipe();
    for n in 0..1000 {
        reads.get(format!("k{n}"));
    }
    for _ in 0..2 {
        let all: Vec<i64> = reads.query_async(&mut con).await.unwrap();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }
    assert!(cache.stats().totals.hits_total >= 1000);

    // By the server's own count: on the lane, as one transaction, and no connection for it.
    let connections = |server: &Server| {
        let clients = server.client().ok(&["CLIENT", "LIST"]).text();
        clients.lines().count()
    };
    let before = connections(&server);
    let (n, read): (i64, i64) = pipe()
        .atomic()
        .incr("k1", 1)
        .get("k1")
        .query_async(&mut con)
        .await
        .unwrap();
    assert_eq!((n, read), (2, 2));
    assert_eq!(connections(&server), before);
    let refused: RedisResult<Value> = pipe()
        .atomic()
        .set("k1", 5)
        .cmd("GET")
        .set("k1", 6)
        .cmd("NOSUCH")
        .query_async(&mut con)
        .await;
    let refused = refused.unwrap_err();
    let kind = ErrorKind::Server(ServerErrorKind::ExecAbort);
    assert_eq!(refused.kind(), kind, "{refused:?}");
    // As the server says it, in their places.
    let errors = refused.into_server_errors().unwrap();
    let places: Vec<_> = errors.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 3]);
    let read: i64 = con.get("k1").await.unwrap();
    assert_eq!(read, 2);
}

#[tokio::test]
async fn trap_a_watched_key_fails_the_transaction() {
    let (server, _cache, con) = start().await;
    let mut writer = server.client();
    writer.ok(&["SET", "n", "1"]);
    let con = con.multiplexed().await.unwrap();
    let mut first = true;
    let (total,): (i64,) = transaction_async(con, &["n"], |mut con, mut pipe| {
        if std::mem::take(&mut first) {
            writer.ok(&["SET", "n", "100"]);
        }
        async move {
            let n: i64 = con.get("n").await?;
            pipe.set("n", n + 1).ignore().get("n");
            pipe.query_async(&mut con).await
        }
    })
    .await
    .unwrap();
    assert_eq!(total, 101, "the write in between was not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clones_get_their_own_replies_and_share_one_state() {
    let (_server, _cache, con) = start().await;
    let con = con.multiplexed().await.unwrap();
    let mut users = JoinSet::new();
    for user in 0..50 {
        let mut con = con.clone();
        users.spawn(async move {
            let key = format!("user{user}");
            for n in 0..20 {
                let () = con.set(&key, n).await.unwrap();
                let read: i64 = con.get(&key).await.unwrap();
                assert_eq!(read, n);
                let (a, b, c): (i64, i64, i64) = pipe()
                    .get(&key)
                    .incr(&key, 0)
                    .cmd("EVAL")
                    .arg("return 7")
                    .arg(0)
                    .query_async(&mut con)
                    .await
                    .unwrap();
                assert_eq!((a, b, c), (n, n, 7));
            }
        });
    }
    while let Some(done) = users.join_next().await {
        done.unwrap();
    }
    let (mut one, mut other) = (con.clone(), con);
    let () = one.set("k", "zero").await.unwrap();
    say(&mut one, "SELECT 2").await.unwrap();
    assert_eq!(say(&mut other, "GET k").await.unwrap(), Value::Nil);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_blocks_holds_back_no_reply_of_an_earlier_one() {
    let (server, _cache, con) = start().await;
    let mut con = con.multiplexed().await.unwrap();
    let () = con.set("k", "v").await.unwrap();
    let (mut blocked, mut late) = (con.clone(), con.clone());
    // In line together, in this order: both are sent before either is answered.
    let (tell, told) = tokio::sync::oneshot::channel();
    let read = async {
        let read: RedisResult<String> = con.get("k").await;
        let _ = tell.send(read);
    };
    let popped = async { blocked.blpop::<_, (String, String)>("q", 0.0).await };
    let pushed = async {
        assert_eq!(
            told.await.unwrap().unwrap(),
            "v",
            "while the other still waits"
        );
        let mut admin = server.client();
        eventually("it blocks", || {
            admin.ok(&["CLIENT", "LIST"]).text().contains("cmd=blpop")
        });
        let waiting = tokio::spawn(async move { late.get::<_, String>("k").await });
        admin.ok(&["RPUSH", "q", "job"]);
        assert_eq!(waiting.await.unwrap().unwrap(), "v");
    };
    let ((), popped, ()) = join3(read, popped, pushed).await;
    assert_eq!(popped.unwrap().1, "job");
}

#[tokio::test]
async fn what_is_refused_says_so_and_harms_nothing() {
    let (_server, _cache, con) = start().await;
    let mut con = con
        .with_protocol(ProtocolVersion::RESP3)
        .multiplexed()
        .await
        .unwrap();
    for (refused, word) in [
        ("SUBSCRIBE c", "connection of your own"),
        ("AUTH word", "user"),
        ("HELLO 2", "HELLO"),
        ("HELLO 3 AUTH u p", "HELLO"),
        ("CLIENT TRACKING ON", "connection of your own"),
        ("CLIENT REPLY OFF", "connection of your own"),
    ] {
        let error = say(&mut con, refused).await.unwrap_err();
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        assert_eq!(error.kind(), kind, "{refused}");
        assert!(error.to_string().contains(word), "{refused}: {error}");
        assert_eq!(
            say(&mut con, "PING").await.unwrap(),
            Value::SimpleString("PONG".into())
        );
    }
    assert!(con.subscribe("channel").await.is_err());
    // In its place within a transaction, which the server's word then ends.
    let aborted: RedisResult<Value> = pipe()
        .atomic()
        .set("k", 1)
        .cmd("AUTH")
        .arg("word")
        .query_async(&mut con)
        .await;
    let errors = aborted.unwrap_err().into_server_errors().unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].0, 1);
    assert_eq!(say(&mut con, "GET k").await.unwrap(), Value::Nil);
    assert_eq!(
        say(&mut con, "PING").await.unwrap(),
        Value::SimpleString("PONG".into())
    );
}

#[tokio::test]
async fn large_values_and_many_at_once() {
    let (_server, _cache, con) = start().await;
    let con = con.multiplexed().await.unwrap();
    let mut users = JoinSet::new();
    for n in 0..8u8 {
        let mut con = con.clone();
        users.spawn(async move {
            let value = vec![n; 3 << 20];
            let () = con.set(n.to_string(), &value).await.unwrap();
            for _ in 0..2 {
                let read: Vec<u8> = con.get(n.to_string()).await.unwrap();
                assert!(read == value);
            }
        });
    }
    while let Some(done) = users.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn an_outage_is_an_error_and_then_over() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let (cache, con) = at(proxy.url(), |b| b.operation_timeout("300ms")).await;
    let mut piped = con.multiplexed().await.unwrap();
    let () = piped.set("k", "v").await.unwrap();
    proxy.refuse(true);
    proxy.reset_all();
    eventually("the pod notices", || {
        cache.stats().totals.disconnects_total == 1
    });
    let error = say(&mut piped, "INCR n").await.unwrap_err();
    // A server that is away ends it, once it was waited for.
    assert!(error.is_connection_dropped(), "{error}");
    assert!(cause(&error).is_some(), "{error:?}");
    proxy.refuse(false);
    eventually("the lane is back", || {
        cache.stats().totals.connects_total == 2
    });
    let over = say(&mut piped, "GET k").await.unwrap_err();
    assert!(over.is_connection_dropped(), "{over}");
    let mut piped = con.multiplexed().await.unwrap();
    assert_eq!(
        say(&mut piped, "INCR n").await.unwrap(),
        Value::Int(1),
        "C15"
    );
}

#[tokio::test]
async fn a_transaction_that_was_lost_ends_it() {
    let (server, _cache, con) = start().await;
    let mut piped = con.multiplexed().await.unwrap();
    say(&mut piped, "WATCH k").await.unwrap();
    let mut admin = server.client();
    let clients = admin.ok(&["CLIENT", "LIST"]).text();
    let watching = clients.lines().find(|client| client.contains("cmd=watch"));
    let id = watching.unwrap().split([' ', '=']).nth(1).unwrap();
    admin.ok(&["CLIENT", "KILL", "ID", id]);
    let error = loop {
        if let Err(error) = say(&mut piped, "GET k").await {
            break error;
        }
    };
    assert!(error.is_connection_dropped(), "{error}");
    let whole: RedisResult<Value> = pipe().atomic().set("k", 1).query_async(&mut piped).await;
    assert!(whole.is_err(), "not without the watch");
}

#[tokio::test]
async fn it_ends_with_the_cache_and_tells_whoever_listens() {
    let (_server, cache, con) = start().await;
    let con = con.with_protocol(ProtocolVersion::RESP3);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(Duration::from_secs(60)))
        .set_push_sender(tell);
    let (mut piped, driver) = con.multiplexed_with_config(config).await.unwrap();
    let driver = tokio::spawn(driver);
    let () = piped.set("k", "v").await.unwrap();
    cache.shutdown().await;
    let error = say(&mut piped, "SET k w").await.unwrap_err();
    assert!(error.is_connection_dropped(), "{error}");
    let cause = cause(&error).unwrap();
    assert_eq!(cause.kind(), nearcache::ErrorKind::Closed);
    let PushInfo { kind, .. } = told.recv().await.unwrap();
    assert_eq!(kind, PushKind::Disconnection);
    driver.await.unwrap();
    assert!(con.multiplexed().await.unwrap_err().is_connection_dropped());
}

#[tokio::test]
async fn dropping_the_last_clone_ends_it_and_its_side_connection() {
    let (server, _cache, con) = start().await;
    let config = AsyncConnectionConfig::new();
    let (mut piped, driver) = con.multiplexed_with_config(config).await.unwrap();
    let driver = tokio::spawn(driver);
    let mut admin = server.client();
    let mut connections = || admin.ok(&["CLIENT", "LIST"]).text().lines().count();
    let before = connections();
    say(&mut piped, "WATCH k").await.unwrap();
    assert_eq!(connections(), before + 1);
    drop(piped);
    driver.await.unwrap();
    eventually("its side connection is closed", || connections() == before);
}

#[test]
fn without_a_runtime_it_is_refused_and_its_driver_runs_anywhere() {
    let server = Server::start();
    let con = nearcache::blocking::Connection::open(server.url()).unwrap();
    let con = con.as_async();
    pollster::block_on(async {
        let refused = con.multiplexed().await.unwrap_err();
        assert!(
            refused.to_string().contains("multiplexed_with_config"),
            "{refused}"
        );
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut piped, driver) = con.multiplexed_with_config(config).await.unwrap();
        let asked = async move { cmd("PING").query_async::<String>(&mut piped).await };
        let (pong, ()) = join(asked, driver).await;
        assert_eq!(pong.unwrap(), "PONG");
    });
}
