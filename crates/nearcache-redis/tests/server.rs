//! The L2 on a real server: order of pushes and replies, errors in place, and how a connection ends.

#[path = "../../nearcache-io/tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use nearcache_proto::resp::Reply;
use nearcache_proto::{Endpoint, Error, ErrorKind, L2, Op, OpError, OpReply, Protocol};
use nearcache_redis::RedisL2;
use nearcache_testkit::Server;
use support::{answering, ask, command, handshake, lane, proven, read, send, set, value};

fn l2(url: &str) -> RedisL2 {
    RedisL2::open(url, Duration::from_secs(10)).unwrap()
}

async fn refusal(l2: &RedisL2) -> Error {
    l2.connect_side(&Endpoint::Given, Protocol::Resp3)
        .await
        .err()
        .expect("it connected")
}

#[tokio::test]
async fn tracking_is_proven_and_a_foreign_write_is_pushed() {
    let server = Server::start();
    let (mut con, log) = lane(&l2(&server.url())).await;
    assert!(proven(handshake(&mut *con).await));
    assert_eq!(log.lines(), ["nearcache:canary:test"]);

    let mut writer = server.client();
    writer.ok(&["SET", "k", "old", "PX", "60000"]);
    match ask(&mut *con, read(0, "k")).await {
        Ok(OpReply::Read {
            value: Some(value),
            ttl: Some(ttl),
            tracked: true,
        }) => {
            assert_eq!(value, "old");
            assert!(ttl > Duration::from_secs(1) && ttl <= Duration::from_secs(60));
        }
        other => panic!("{other:?}"),
    }
    writer.ok(&["SET", "k", "new"]);
    log.wait_for(&mut *con, "k").await;
    assert_eq!(
        value(&ask(&mut *con, read(0, "k")).await),
        Some(Bytes::from("new"))
    );
    writer.ok(&["FLUSHALL"]);
    log.wait_for(&mut *con, "*").await;
}

#[tokio::test]
async fn c4_a_fence_comes_after_every_push_of_what_was_before_it() {
    let server = Server::start();
    let (mut con, log) = lane(&l2(&server.url())).await;
    handshake(&mut *con).await.unwrap();
    let mut writer = server.client();
    for round in 0..200u64 {
        let key = format!("k{round}");
        send(&mut *con, vec![read(0, &key)]).await.unwrap();
        writer.ok(&["SET", &key, "x"]);
        let fenced = ask(&mut *con, Op::Fence { nonce: round }).await;
        assert_eq!(fenced, Ok(OpReply::Fenced));
        assert!(log.lines().contains(&key), "round {round}");
    }
}

#[tokio::test]
async fn trap_own_script_writes_are_pushed_before_the_fence() {
    let server = Server::start();
    let (mut con, log) = lane(&l2(&server.url())).await;
    handshake(&mut *con).await.unwrap();
    send(&mut *con, vec![read(0, "hidden"), read(3, "hidden3")])
        .await
        .unwrap();
    let script = "redis.call('SET', 'hid' .. 'den', 1) return 1";
    let answers = send(
        &mut *con,
        vec![command(0, &["EVAL", script, "0"]), Op::Fence { nonce: 5 }],
    );
    let answers = answers.await.unwrap();
    assert_eq!(answers[0], Ok(OpReply::Value(Reply::Int(1))));
    assert!(log.lines().contains(&"hidden".to_owned()));
    assert!(!log.lines().contains(&"hidden3".to_owned()));
    server.client().ok(&["SELECT", "3"]);
    let mut writer = server.client();
    writer.ok(&["SET", "hidden3", "in db 0"]);
    log.wait_for(&mut *con, "hidden3").await;
}

#[tokio::test]
async fn errors_stay_in_their_place() {
    let server = Server::start();
    let (mut con, _) = lane(&l2(&server.url())).await;
    handshake(&mut *con).await.unwrap();
    let ops = vec![
        command(0, &["LPUSH", "list", "a", "b"]),
        read(0, "list"),
        set("text", "v"),
        read(0, "text"),
        read(7, "text"),
        Op::Transaction {
            db: 0,
            commands: vec![
                vec![Bytes::from("INCR"), Bytes::from("text")],
                vec![Bytes::from("SET"), Bytes::from("text"), Bytes::from("w")],
            ],
        },
        Op::Delete {
            db: 0,
            key: Bytes::from("text"),
        },
        Op::Heartbeat,
        Op::ProbeDb { db: 99 },
        Op::Fence { nonce: 9 },
    ];
    let answers = send(&mut *con, ops).await.unwrap();
    assert_eq!(answers[0], Ok(OpReply::Value(Reply::Int(2))));
    match &answers[1] {
        Err(OpError::Server { code, .. }) => assert_eq!(code, "WRONGTYPE"),
        other => panic!("{other:?}"),
    }
    assert_eq!(answers[2], Ok(OpReply::Stored(true)));
    assert_eq!(value(&answers[3]), Some(Bytes::from("v")));
    assert_eq!(value(&answers[4]), None);
    match &answers[5] {
        Ok(OpReply::Value(Reply::Array(replies))) => {
            assert!(matches!(&replies[0], Reply::Error { code, .. } if code == "ERR"));
            assert!(replies[1].is_ok());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(answers[6], Ok(OpReply::Deleted(true)));
    assert_eq!(answers[7], Ok(OpReply::Role { primary: true }));
    assert!(
        matches!(&answers[8], Err(OpError::Server { .. })),
        "{:?}",
        answers[8]
    );
    assert_eq!(answers[9], Ok(OpReply::Fenced));
}

#[tokio::test]
async fn batches_are_executed_in_the_order_of_the_calls() {
    let server = Server::start();
    let (mut con, _) = lane(&l2(&server.url())).await;
    let big = "x".repeat(100_000);
    // None is asked for before all are in line.
    for round in 0..500 {
        let text = if round % 50 == 0 { big.as_str() } else { "y" };
        con.send(vec![set("pad", text), command(0, &["INCR", "count"])]);
    }
    for count in 1..=500 {
        let answer = std::future::poll_fn(|cx| con.poll_answer(cx)).await;
        assert_eq!(answer.unwrap()[1], Ok(OpReply::Value(Reply::Int(count))));
    }
}

#[tokio::test]
async fn a_batch_whose_answer_nobody_takes_is_executed_all_the_same() {
    let server = Server::start();
    let l2 = l2(&server.url());
    let (mut con, _) = lane(&l2).await;
    for _ in 0..100 {
        con.send(vec![command(0, &["INCR", "count"])]);
    }
    let answer = con.ask(vec![command(0, &["INCR", "count"])]).await;
    assert_eq!(answer.unwrap(), [Ok(OpReply::Value(Reply::Int(1)))]);
    let (mut other, _) = lane(&l2).await;
    let all = Ok(OpReply::Value(Reply::Bulk(Bytes::from("101"))));
    while ask(&mut *other, command(0, &["GET", "count"])).await != all {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn c6_a_killed_server_is_reported_and_fails_what_is_in_flight() {
    let mut server = Server::start();
    let (mut con, log) = lane(&l2(&server.url())).await;
    handshake(&mut *con).await.unwrap();
    server.pause();
    con.send(vec![read(0, "k")]);
    server.kill();
    let answer = std::future::poll_fn(|cx| con.poll_answer(cx)).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Retry);
    log.wait_for(&mut *con, "end").await;
    assert!(send(&mut *con, vec![Op::Heartbeat]).await.is_err());
    assert_eq!(log.lines().iter().filter(|l| *l == "end").count(), 1);
}

#[tokio::test]
async fn dropping_a_connection_ends_it_even_with_a_batch_in_flight() {
    let server = Server::start();
    let l2 = l2(&server.url());
    let (mut con, log) = lane(&l2).await;
    server.pause();
    con.send(vec![read(0, "k")]);
    drop(con);
    assert_eq!(log.lines(), Vec::<String>::new(), "who drops it knows");
    server.resume();
    nearcache_testkit::eventually("the server sees it gone", || {
        server.foreign_connections() == 0
    });
}

#[tokio::test]
async fn a_side_connection_has_state_of_its_own() {
    let server = Server::start();
    let l2 = l2(&format!("{}/2", server.url()));
    assert_eq!(l2.db(), 2);
    let mut con = l2
        .connect_side(&Endpoint::Given, Protocol::Resp3)
        .await
        .unwrap();
    let queued = Ok(OpReply::Value(Reply::Simple("QUEUED".into())));
    let as_is = |words: &[&str]| command(Op::AS_IS, words);
    ask(&mut *con, as_is(&["SELECT", "5"])).await.unwrap();
    ask(&mut *con, as_is(&["MULTI"])).await.unwrap();
    assert_eq!(ask(&mut *con, as_is(&["SET", "k", "v"])).await, queued);
    assert_eq!(ask(&mut *con, as_is(&["GET", "k"])).await, queued);
    let exec = ask(&mut *con, as_is(&["EXEC"])).await;
    let expected = Reply::Array(vec![Reply::ok(), Reply::Bulk(Bytes::from("v"))]);
    assert_eq!(exec, Ok(OpReply::Value(expected)));
    let count = ask(&mut *con, as_is(&["DBSIZE"])).await;
    assert_eq!(count, Ok(OpReply::Value(Reply::Int(1))), "still in db 5");
    let info = ask(&mut *con, as_is(&["CLIENT", "TRACKINGINFO"])).await;
    assert!(format!("{info:?}").contains("off"), "{info:?}");
}

#[tokio::test]
async fn a_lane_rests_in_the_db_of_its_url() {
    let server = Server::start();
    let (mut con, _) = lane(&l2(&format!("{}/4", server.url()))).await;
    let mut writer = server.client();
    writer.ok(&["SET", "k", "zero"]);
    writer.ok(&["SELECT", "4"]);
    writer.ok(&["SET", "k", "four"]);
    let answers = send(&mut *con, vec![read(4, "k"), read(0, "k"), read(4, "k")]).await;
    // Reading tracked without a handshake loses nothing but the registration.
    let answers = answers.unwrap();
    assert!(
        matches!(&answers[0], Err(OpError::TrackingLost(_))),
        "{answers:?}"
    );
    handshake(&mut *con).await.unwrap();
    let answers = send(&mut *con, vec![read(4, "k"), read(0, "k"), read(4, "k")]).await;
    let values: Vec<_> = answers.unwrap().iter().map(value).collect();
    assert_eq!(
        values,
        ["four", "zero", "four"].map(|v| Some(Bytes::from(v)))
    );
}

#[tokio::test]
async fn c10_what_cannot_be_reached_says_what_to_do() {
    let server = Server::builder().password("right").start();
    let wrong = format!("redis://:wrong@127.0.0.1:{}", server.port());
    let error = refusal(&l2(&wrong)).await;
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("password"), "{error}");
    assert!(!error.to_string().contains("wrong@"), "{error}");
    let none = format!("redis://127.0.0.1:{}", server.port());
    let error = refusal(&l2(&none)).await;
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let db = format!("{}/99", server.url());
    let error = refusal(&l2(&db)).await;
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("database"), "{error}");
    l2(&server.url())
        .connect_side(&Endpoint::Given, Protocol::Resp3)
        .await
        .unwrap();
    l2(&server.unix_url())
        .connect_side(&Endpoint::Given, Protocol::Resp3)
        .await
        .unwrap();

    let (port, unix) = (server.port(), server.unix_url());
    drop(server);
    let error = refusal(&l2(&format!("redis://127.0.0.1:{port}"))).await;
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("nothing listens"), "{error}");
    let error = refusal(&l2(&unix)).await;
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(!error.to_string().contains("right"), "{error}");
    let error = refusal(&l2("redis://no-such-host.invalid")).await;
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("resolved"), "{error}");
}

#[tokio::test]
async fn what_can_heal_is_told_from_what_cannot() {
    use ErrorKind::{Configuration, Retry};
    for (kind, words) in [
        (Retry, &b""[..]),
        (
            Retry,
            b"-LOADING Redis is loading the dataset in memory\r\n",
        ),
        (Retry, b"-BUSY Redis is busy running a script\r\n"),
        (Retry, b"-MASTERDOWN Link with MASTER is down\r\n"),
        (Retry, b"-ERR max number of clients reached\r\n"),
        (
            Configuration,
            b"-DENIED Redis is running in protected mode\r\n",
        ),
        (
            Configuration,
            b"-NOAUTH HELLO must be called authenticated\r\n",
        ),
        (
            Configuration,
            b"-WRONGPASS invalid username-password pair\r\n",
        ),
        (Configuration, b"-NOPERM User x has no permissions\r\n"),
        (Configuration, b"-NOPROTO unsupported protocol version\r\n"),
        (Configuration, b"-ERR unknown command 'HELLO'\r\n"),
        (Configuration, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ] {
        let error = refusal(&l2(&answering(words))).await;
        let shown = String::from_utf8_lossy(words);
        assert_eq!(error.kind(), kind, "{shown:?}: {error}");
    }
}

#[tokio::test]
async fn c10_a_server_that_is_full_is_told_from_one_that_expects_tls() {
    let server = Server::start();
    // A client of the test's own holds the only place there is.
    let mut only = server.client();
    only.ok(&["CONFIG", "SET", "maxclients", "1"]);
    let rejected = |only: &mut nearcache_testkit::Client| {
        let info = only.ok(&["INFO", "stats"]).text();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("rejected_connections:"));
        line.map(|count| count.parse::<u32>().unwrap()).unwrap()
    };
    for url in [server.url(), server.unix_url()] {
        let l2 = l2(&url);
        let before = rejected(&mut only);
        for _ in 0..8 {
            let error = refusal(&l2).await;
            assert_eq!(error.kind(), ErrorKind::Retry);
            assert!(error.to_string().contains("maxclients"), "{error}");
            assert!(!error.to_string().contains("TLS"), "{error}");
        }
        let asked = rejected(&mut only) - before;
        // Where its words are lost with the reset, it is asked once more, and not each time.
        assert!(
            (8..=9).contains(&asked),
            "{asked} connections for 8 attempts"
        );
    }
}

#[tokio::test]
async fn what_worked_before_is_not_advised_to_change_its_address() {
    let mut server = Server::start();
    let l2 = l2(&server.url());
    l2.connect_side(&Endpoint::Given, Protocol::Resp3)
        .await
        .unwrap();
    server.kill();
    let error = refusal(&l2).await.to_string();
    assert!(error.contains("nothing listens there any more"), "{error}");
    assert!(!error.contains("correct the address"), "{error}");
}

#[tokio::test]
async fn a_tls_client_on_a_plain_port_says_so() {
    let server = Server::start();
    // To the server the greeting of TLS is a command that does not end, so it says nothing.
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let l2 = RedisL2::open(&url, Duration::from_millis(200)).unwrap();
    let error = refusal(&l2).await;
    assert!(error.to_string().contains("redis://"), "{error}");
}

#[tokio::test]
async fn a_silent_server_ends_the_attempt_in_time() {
    let server = Server::start();
    server.pause();
    let l2 = RedisL2::open(&server.url(), Duration::from_millis(50)).unwrap();
    let error = refusal(&l2).await;
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("in time"), "{error}");
}

/// Answers a greeting, then a handshake with the push of the canary where `push_last` says.
fn reordering_server(push_last: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut until = |socket: &mut std::net::TcpStream, word: &str| {
            let mut buffer = [0u8; 4096];
            while !String::from_utf8_lossy(&seen).contains(word) {
                let count = socket.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                seen.extend_from_slice(&buffer[..count]);
            }
        };
        let hello = "%1\r\n+role\r\n+master\r\n";
        until(&mut socket, "LIB-VER");
        write!(socket, "{hello}+OK\r\n+OK\r\n").unwrap();
        until(&mut socket, "0000000000000001");
        let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$21\r\nnearcache:canary:test\r\n";
        let echo = "$16\r\n0000000000000001\r\n";
        let (first, last) = if push_last {
            (echo, push)
        } else {
            (push, echo)
        };
        let start = format!(
            "+OK\r\n+OK\r\n{hello}-ERR unknown command\r\n$3\r\napp\r\n+OK\r\n*0\r\n+OK\r\n$-1\r\n:-2\r\n+OK\r\n"
        );
        write!(socket, "{start}{first}{last}").unwrap();
        until(&mut socket, "never");
    });
    url
}

#[tokio::test]
async fn trap_a_push_behind_the_echo_is_no_proof() {
    let (mut con, _) = lane(&l2(&reordering_server(false))).await;
    assert!(proven(handshake(&mut *con).await));

    let (mut con, log) = lane(&l2(&reordering_server(true))).await;
    match handshake(&mut *con).await {
        Ok(OpReply::Handshake {
            primary: true,
            tracking: Err(why),
            ..
        }) => {
            assert!(why.contains("order"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    // It came all the same, in the same packet.
    log.wait_for(&mut *con, "nearcache:canary:test").await;
}
