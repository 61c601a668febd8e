//! A blocking command whose future was dropped takes nothing: its connection ends at once, whether or not anything
//! else is called afterwards.

use std::future::Future;

use nearcache_testkit::{Server, eventually};
use redis::{AsyncCommands, Value, pipe};

use crate::{ask, line, start, text};

/// Clients of the server that wait in a blocking command.
fn blocked(server: &Server) -> usize {
    let info = server.client().ok(&["INFO", "clients"]).text();
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("blocked_clients:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap()
}

/// Drops `call` once it blocks at the server; returns when the server has seen the end of its connection.
async fn cancel_when_blocked<T>(server: &Server, call: impl Future<Output = T>) {
    let at_the_server = async {
        while blocked(server) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = call => panic!("it was to block"),
        () = at_the_server => {}
    }
    eventually("nobody waits any more", || blocked(server) == 0);
}

#[tokio::test]
async fn c15_a_cancelled_blocking_command_takes_nothing() {
    let (server, cache, mut con) = start().await;
    let mut writer = server.client();
    let lane = server.foreign_connections();
    writer.ok(&["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]);
    for command in [
        "BLPOP l 0",
        "BRPOP l 0",
        "BLMOVE l taken LEFT LEFT 0",
        "BRPOPLPUSH l taken 0",
        "BLMPOP 0 1 l LEFT",
        "BZPOPMIN z 0",
        "BZPOPMAX z 0",
        "BZMPOP 0 1 z MIN",
        "XREAD BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    ] {
        cancel_when_blocked(&server, line(command).query_async::<Value>(&mut con)).await;
        // Nothing was called in between, and the handle is still there.
        writer.ok(&["RPUSH", "l", "job"]);
        writer.ok(&["ZADD", "z", "1", "job"]);
        writer.ok(&["XADD", "s", "*", "job", "1"]);
        let left = ["LLEN l", "ZCARD z", "EXISTS taken", "XPENDING s g"];
        let mut counts = Vec::new();
        for question in left {
            let words: Vec<&str> = question.split(' ').collect();
            counts.push(match writer.ok(&words) {
                nearcache_testkit::Value::Array(pending) => pending[0].int(),
                count => count.int(),
            });
        }
        assert_eq!(counts, [1, 1, 0, 0], "{command}");
        writer.ok(&["DEL", "l", "z"]);
        writer.ok(&["XGROUP", "SETID", "s", "g", "$"]);
        assert_eq!(server.foreign_connections(), lane, "{command}");
    }
    // The handle is as good as new, and what it did before is no part of it.
    writer.ok(&["RPUSH", "l", "x"]);
    let popped = Value::Array(vec![text("l"), text("x")]);
    assert_eq!(ask(&mut con, "BLPOP l 0").await, popped);
    assert_eq!(cache.stats().totals.disconnects_total, 0);
}

/// What a worker does that waits for a job or for something else, whichever comes first.
#[tokio::test]
async fn c15_a_loop_of_cancelled_waits_loses_no_job() {
    let (server, _cache, mut con) = start().await;
    let mut writer = server.client();
    for job in 0..20 {
        cancel_when_blocked(&server, con.blpop::<_, Value>("jobs", 0.0)).await;
        writer.ok(&["RPUSH", "jobs", &job.to_string()]);
        let (_, done): (String, i64) = con.blpop("jobs", 0.0).await.unwrap();
        assert_eq!(done, job);
    }
}

#[tokio::test]
async fn c15_a_cancelled_pipeline_takes_nothing_either() {
    let (server, _cache, mut con) = start().await;
    let mut writer = server.client();
    let mut pieces = pipe();
    pieces.incr("n", 1).cmd("BLPOP").arg("l").arg(0);
    pieces.incr("n", 1);
    cancel_when_blocked(&server, pieces.query_async::<Vec<Value>>(&mut con)).await;
    writer.ok(&["RPUSH", "l", "job"]);
    assert_eq!(writer.ok(&["LLEN", "l"]).int(), 1);
    // What came before was executed, what came behind was never sent.
    assert_eq!(ask(&mut con, "GET n").await, text("1"));
}

/// A transaction that was in the midst of it is over for the server at once, and for the handle at its next call.
#[tokio::test]
async fn c16_a_watch_ends_with_a_cancelled_wait() {
    let (server, _cache, mut con) = start().await;
    ask(&mut con, "WATCH k").await;
    cancel_when_blocked(&server, line("BLPOP l 0").query_async::<Value>(&mut con)).await;
    assert_eq!(server.foreign_connections(), 1, "the lane");
    assert!(line("MULTI").query_async::<Value>(&mut con).await.is_err());
    assert_eq!(ask(&mut con, "MULTI").await, Value::Okay);
    assert_eq!(ask(&mut con, "DISCARD").await, Value::Okay);
}
