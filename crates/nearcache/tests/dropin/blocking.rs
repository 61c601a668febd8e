//! The blocking twin: what only it does; the rest is that of the other.

use nearcache::blocking::Connection;
use nearcache_testkit::Server;
use redis::{Commands, ConnectionLike, RedisResult, Value, cmd, pipe};

#[test]
fn commands_pipelines_and_transactions() {
    let server = Server::start();
    let mut con = Connection::open(server.url()).unwrap();
    let mut other = con.clone();
    let _: () = con.set("n", 1).unwrap();
    for _ in 0..2 {
        let read: i64 = other.get("n").unwrap();
        assert_eq!(read, 1);
    }
    let (before, after): (i64, i64) = pipe()
        .get("n")
        .cmd("INCR")
        .arg("n")
        .query(&mut con)
        .unwrap();
    assert_eq!((before, after), (1, 2));
    let (n,): (i64,) = redis::transaction(&mut con, &["n"], |con, pipe| {
        let n: i64 = con.get("n")?;
        pipe.set("n", n * 10).ignore().get("n").query(con)
    })
    .unwrap();
    assert_eq!(n, 20);
    let scanned: Vec<String> = con.scan().unwrap().map(Result::unwrap).collect();
    assert!(scanned.contains(&"n".to_owned()));
    assert!(con.as_async().cache().stats().totals.hits_total > 0);
}

#[test]
fn what_redis_rs_has_packed_is_taken_apart() {
    let server = Server::start();
    let mut con = Connection::open(server.url()).unwrap();
    let one = cmd("SET").arg("k").arg("v").get_packed_command();
    assert_eq!(con.req_packed_command(&one).unwrap(), Value::Okay);
    let read = cmd("GET").arg("k").get_packed_command();
    for _ in 0..2 {
        let value = con.req_packed_command(&read).unwrap();
        assert_eq!(value, Value::BulkString(b"v".to_vec()));
    }
    let two = [&one[..], &read[..]].concat();
    let both = con.req_packed_commands(&two, 0, 2).unwrap();
    assert_eq!(both, [Value::Okay, Value::BulkString(b"v".to_vec())]);
    for bad in [&two[..], &one[1..], b"", b"PING\r\n"] {
        let refused: RedisResult<Value> = con.req_packed_command(bad);
        assert_eq!(refused.unwrap_err().kind(), redis::ErrorKind::Client);
    }
}

#[test]
fn it_is_open_until_it_is_shut_down() {
    let server = Server::start();
    let mut con = Connection::open(server.url()).unwrap();
    assert!(con.is_open() && con.check_connection() && con.supports_pipelining());
    con.as_async().cache().clone().into_blocking().shutdown();
    assert!(!con.is_open() && !con.check_connection());
}
