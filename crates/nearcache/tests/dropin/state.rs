//! C16: the connection state of a handle is its own, and what is watched is really watched.

use nearcache_testkit::eventually;
use redis::aio::{ConnectionLike, transaction_async};
use redis::{AsyncCommands, RedisResult, Script, Value, pipe};

use crate::{ask, line, start, text};

#[tokio::test]
async fn c16_clones_have_a_state_of_their_own() {
    let (_server, _cache, con) = start().await;
    let (mut one, mut other) = (con.clone(), con.clone());
    ask(&mut one, "SELECT 2").await;
    ask(&mut one, "SET k two").await;
    ask(&mut other, "SET k zero").await;
    assert_eq!(ask(&mut one, "GET k").await, text("two"));
    assert_eq!(ask(&mut other, "GET k").await, text("zero"));
    // A clone begins where its origin is; what get_db says is what redis-rs would.
    let mut late = one.clone();
    assert_eq!(ask(&mut late, "GET k").await, text("two"));
    assert_eq!(late.get_db(), 0);

    ask(&mut one, "MULTI").await;
    assert_eq!(
        ask(&mut one, "GET k").await,
        Value::SimpleString("QUEUED".into())
    );
    assert_eq!(ask(&mut other, "GET k").await, text("zero"));
    assert_eq!(ask(&mut one, "EXEC").await, Value::Array(vec![text("two")]));
}

#[tokio::test]
async fn trap_a_select_inside_a_transaction_takes_effect_with_it() {
    let (_server, _cache, mut con) = start().await;
    ask(&mut con, "SET k zero").await;
    for end in ["DISCARD", "EXEC"] {
        ask(&mut con, "MULTI").await;
        ask(&mut con, "SELECT 1").await;
        ask(&mut con, "SET k one").await;
        ask(&mut con, end).await;
        let expected = if end == "EXEC" { "one" } else { "zero" };
        assert_eq!(ask(&mut con, "GET k").await, text(expected), "{end}");
    }
    let replies: Vec<Value> = pipe()
        .atomic()
        .cmd("SELECT")
        .arg(0)
        .cmd("GET")
        .arg("k")
        .query_async(&mut con)
        .await
        .unwrap();
    assert_eq!(replies, [Value::Okay, text("zero")]);
    assert_eq!(ask(&mut con, "GET k").await, text("zero"));
}

#[tokio::test]
async fn trap_watch_is_kept_by_the_clone_that_a_transaction_runs_on() {
    let (server, _cache, con) = start().await;
    let mut writer = server.client();
    writer.ok(&["SET", "n", "1"]);
    let mut first = true;
    let mut reader = con.clone();
    // So that a copy is there to be served wrongly.
    let _: i64 = reader.get("n").await.unwrap();
    let (total,): (i64,) = transaction_async(con.clone(), &["n"], |mut con, mut pipe| {
        // Somebody is faster, the first time.
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
    assert_eq!(ask(&mut reader, "GET n").await, text("101"));
}

#[tokio::test]
async fn trap_watched_reads_come_from_the_server() {
    let (server, cache, mut con) = start().await;
    let mut writer = server.client();
    writer.ok(&["SET", "k", "1"]);
    let _: i64 = con.get("k").await.unwrap();
    ask(&mut con, "WATCH k").await;
    let before = cache.stats().totals.hits_total;
    for _ in 0..3 {
        assert_eq!(ask(&mut con, "GET k").await, text("1"));
    }
    assert_eq!(cache.stats().totals.hits_total, before, "C7: not from L1");
    // EXEC without MULTI is an error that leaves the watch as it is.
    let without: RedisResult<Value> = line("EXEC").query_async(&mut con).await;
    assert!(without.is_err());
    writer.ok(&["SET", "k", "2"]);
    let executed: Option<(i64,)> = pipe()
        .atomic()
        .incr("k", 1)
        .query_async(&mut con)
        .await
        .unwrap();
    assert_eq!(executed, None);
    let read: i64 = con.get("k").await.unwrap();
    assert_eq!(read, 2);
}

#[tokio::test]
async fn a_transaction_that_the_lane_cannot_carry_goes_beside_it() {
    let (_server, _cache, mut con) = start().await;
    let replies: Vec<Value> = pipe()
        .atomic()
        .cmd("RPUSH")
        .arg("l")
        .arg("x")
        // Inside a transaction it does not block.
        .cmd("BLPOP")
        .arg("l")
        .arg(0)
        .cmd("CLIENT")
        .arg("GETNAME")
        .query_async(&mut con)
        .await
        .unwrap();
    let popped = Value::Array(vec![text("l"), text("x")]);
    assert_eq!(replies, [Value::Int(1), popped, Value::Nil]);
    assert_eq!(ask(&mut con, "LLEN l").await, Value::Int(0));
}

#[tokio::test]
async fn scripts_are_loaded_when_they_are_missing() {
    let (_server, _cache, mut con) = start().await;
    let script = Script::new("redis.call('set', 'hidden', ARGV[1]) return ARGV[1]");
    for n in 0..3 {
        let said: i64 = script.arg(n).invoke_async(&mut con).await.unwrap();
        assert_eq!(said, n);
        let read: i64 = con.get("hidden").await.unwrap();
        assert_eq!(read, n, "C3: a key that the script did not name");
    }
}

#[tokio::test]
async fn blocking_commands_delay_nobody() {
    let (_server, _cache, con) = start().await;
    let (mut waiting, mut other) = (con.clone(), con.clone());
    let popped = tokio::spawn(async move { ask(&mut waiting, "BLPOP queue 0").await });
    for _ in 0..20 {
        ask(&mut other, "PING").await;
    }
    ask(&mut other, "RPUSH queue job").await;
    let popped = popped.await.unwrap();
    assert_eq!(popped, Value::Array(vec![text("queue"), text("job")]));
    assert_eq!(ask(&mut other, "LLEN queue").await, Value::Int(0));
}

#[tokio::test]
async fn a_blocking_command_that_was_dropped_takes_nothing_later() {
    let (server, cache, mut con) = start().await;
    let blocked = |count: &str| {
        let text = server.client().ok(&["INFO", "clients"]).text();
        text.contains(&format!("blocked_clients:{count}"))
    };
    let at_the_server = async {
        while !blocked("1") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        popped = ask(&mut con, "BLPOP queue 0") => panic!("{popped:?}"),
        () = at_the_server => {}
    }
    // Any call at all, on the lane or not, gives the connection up.
    ask(&mut con, "PING").await;
    eventually("nobody waits", || blocked("0"));
    ask(&mut con, "RPUSH queue job").await;
    for _ in 0..2 {
        assert_eq!(ask(&mut con, "LLEN queue").await, Value::Int(1));
    }
    assert!(cache.stats().totals.hits_total > 0, "and L1 answers again");
}

#[tokio::test]
async fn a_command_refused_inside_a_transaction_ends_it() {
    let (_server, _cache, mut con) = start().await;
    ask(&mut con, "MULTI").await;
    ask(&mut con, "SET a 1").await;
    let refused: RedisResult<Value> = line("WAIT 1 0").query_async(&mut con).await;
    assert!(refused.is_err());
    let executed: RedisResult<Value> = line("EXEC").query_async(&mut con).await;
    assert_eq!(executed.unwrap_err().code(), Some("EXECABORT"));
    assert_eq!(ask(&mut con, "EXISTS a").await, Value::Int(0));
    ask(&mut con, "MULTI").await;
    ask(&mut con, "SET a 2").await;
    assert_eq!(ask(&mut con, "EXEC").await, Value::Array(vec![Value::Okay]));
}

#[tokio::test]
async fn c16_a_clone_of_a_transaction_parts_when_it_is_over() {
    let (_server, _cache, mut con) = start().await;
    ask(&mut con, "WATCH k").await;
    let mut clone = con.clone();
    assert!(con.in_transaction() && clone.in_transaction());
    ask(&mut clone, "UNWATCH").await;
    assert!(!con.in_transaction());
    ask(&mut clone, "SELECT 3").await;
    ask(&mut clone, "SET k three").await;
    ask(&mut con, "SET k zero").await;
    assert_eq!(ask(&mut clone, "GET k").await, text("three"));
    assert_eq!(ask(&mut con, "GET k").await, text("zero"));
}

#[tokio::test]
async fn a_db_is_named_as_the_server_wants_it() {
    let (_server, _cache, mut con) = start().await;
    for odd in ["01", "+1", "-1", "", "99999999999"] {
        let refused: RedisResult<Value> = redis::cmd("SELECT").arg(odd).query_async(&mut con).await;
        assert!(refused.is_err(), "{odd}");
    }
    ask(&mut con, "SET k zero").await;
    ask(&mut con, "SELECT 0").await;
    assert_eq!(ask(&mut con, "GET k").await, text("zero"));
}
