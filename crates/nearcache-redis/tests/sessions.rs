//! Sessions on a real server: a connection of their own each, and no influence on anybody else.

#[path = "../../nearcache-io/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use bytes::Bytes;
use nearcache_proto::resp::Reply;
use nearcache_proto::{Endpoint, L2, Protocol, ReadPolicy, Session};
use nearcache_redis::RedisL2;
use nearcache_redis::redis::{IntoConnectionInfo, RedisConnectionInfo};
use nearcache_testkit::{Server, eventually};
use support::{lane, pod, wait};

#[test]
fn c16_sessions_have_connections_of_their_own() {
    let server = Server::start();
    let (cache, _io) = pod(RedisL2::open(&server.url(), Duration::from_secs(10)).unwrap());
    let read = |key: &str| {
        let read = wait(cache.read(0, key.as_bytes(), ReadPolicy::PassThrough));
        read.unwrap().value
    };
    let mut one = Session::new(cache.clone(), 0);
    let mut two = Session::new(cache.clone(), 3);
    wait(one.command(&["MULTI"])).unwrap();
    let queued = Reply::Simple("QUEUED".into());
    assert_eq!(wait(one.command(&["SET", "k", "v"])).unwrap(), queued);
    wait(two.command(&["SET", "k", "other db"])).unwrap();
    assert_eq!(read("k"), None);
    wait(one.command(&["EXEC"])).unwrap();
    assert_eq!(read("k"), Some(Bytes::from("v")));
    // A blocking command delays nobody but its own caller.
    let mut blocked = Session::new(cache.clone(), 0);
    std::thread::scope(|scope| {
        let popped = scope.spawn(move || wait(blocked.command(&["BLPOP", "list", "20"])));
        let mut writer = server.client();
        eventually("somebody is blocked", || {
            let info = writer.ok(&["INFO", "clients"]).text();
            info.contains("blocked_clients:1")
        });
        wait(cache.set(0, b"k", Bytes::from("w"), None)).unwrap();
        assert_eq!(read("k"), Some(Bytes::from("w")));
        writer.ok(&["RPUSH", "list", "x"]);
        assert!(matches!(popped.join().unwrap(), Ok(Reply::Array(_))));
    });
    drop((one, two));
    eventually("only the lane is left", || {
        server.foreign_connections() == 1
    });
}

#[tokio::test]
async fn the_program_says_what_its_library_is_called() {
    type Named = fn(RedisConnectionInfo) -> RedisConnectionInfo;
    let cases: [(Named, &str); 3] = [
        (|redis| redis, "lib-name=nearcache lib-ver=0"),
        (
            |redis| redis.set_lib_name("shop", "1.2"),
            "lib-name=shop lib-ver=1.2 ",
        ),
        (|redis| redis.set_skip_set_lib_name(), "lib-name= lib-ver= "),
    ];
    for (named, expected) in cases {
        let server = Server::start();
        let info = server.url().into_connection_info().unwrap();
        let redis = named(info.redis_settings().clone());
        let info = info.set_redis_settings(redis);
        let l2 = RedisL2::with_info(&info, Duration::from_secs(10)).unwrap();
        let mut own = vec![lane(&l2).await.0];
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            own.push(l2.connect_side(&Endpoint::Given, protocol).await.unwrap());
        }
        let list = server.client().ok(&["CLIENT", "LIST"]).text();
        let lines = list.lines().filter(|line| !line.contains("name=testkit "));
        let lines: Vec<_> = lines.map(|line| format!("{line} ")).collect();
        assert_eq!(lines.len(), own.len(), "{list}");
        // Servers before 7.2 keep no such name.
        let right = |line: &String| !line.contains("lib-name=") || line.contains(expected);
        assert!(lines.iter().all(right), "{list}");
    }
}
