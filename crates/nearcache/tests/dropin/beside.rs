//! Connections beside the lane: few, shared where nothing hangs on them, and opened again when they died idle.

use nearcache_testkit::{Server, eventually};
use redis::{ProtocolVersion, RedisResult, Value, pipe};

use crate::{ask, line, on, start, text};
use nearcache::redis::{Connection, cause};
use nearcache::{NearCache, WriteOutcome};

/// Ends every connection of ours but the lane; returns how many there were.
fn kill_sides(server: &Server) -> usize {
    let mut admin = server.client();
    let list = admin.ok(&["CLIENT", "LIST"]).text();
    let mut killed = 0;
    for client in list.lines() {
        let word = |name: &str| client.split(' ').find_map(|word| word.strip_prefix(name));
        let tracking = word("flags=").is_some_and(|flags| flags.contains('t'));
        let ours =
            word("lib-name=").map_or(!client.contains("name=testkit"), |lib| lib == "nearcache");
        if ours && !tracking {
            killed += admin
                .ok(&["CLIENT", "KILL", "ID", word("id=").unwrap()])
                .int();
        }
    }
    usize::try_from(killed).unwrap()
}

fn twins(con: &Connection) -> [Connection; 2] {
    [ProtocolVersion::RESP2, ProtocolVersion::RESP3].map(|protocol| con.with_protocol(protocol))
}

/// Restarts the server and waits until calls are sent at once again.
async fn restart(server: &mut Server, cache: &NearCache) {
    let before = cache.stats().totals.connects_total;
    server.restart();
    eventually("the lane is back", || {
        cache.stats().totals.connects_total > before
    });
    cache.fence().await.unwrap();
}

#[tokio::test]
async fn the_first_command_after_a_restart_succeeds() {
    let (mut server, cache, con) = start().await;
    for mut con in twins(&con) {
        // Each on a connection of its own.
        let own = [
            "CLIENT ID",
            "BLPOP nothing 0.001",
            "XREAD BLOCK 1 STREAMS s $",
        ];
        let mut handles = own.map(|command| (con.clone(), command));
        for (con, command) in &mut handles {
            ask(con, command).await;
        }
        // Each the first that needs one of the shared.
        for command in ["INFO server", "SCRIPT LOAD return", "CONFIG GET maxmemory"] {
            ask(&mut con, command).await;
            restart(&mut server, &cache).await;
            ask(&mut con, command).await;
        }
        for (con, command) in &mut handles {
            ask(con, command).await;
        }
    }
    // What is not known is answered by the server, as an error, before and after.
    for mut con in twins(&con) {
        for again in [false, true] {
            if again {
                restart(&mut server, &cache).await;
            }
            for unknown in ["JSON.GET k", "NOSUCHCOMMAND"] {
                let error = line(unknown).query_async::<Value>(&mut con).await;
                assert_eq!(error.unwrap_err().code(), Some("ERR"), "{unknown}");
            }
        }
    }
}

#[tokio::test]
async fn a_side_connection_that_was_killed_is_opened_again() {
    let (server, cache, con) = start().await;
    for mut con in twins(&con) {
        for _ in 0..20 {
            ask(&mut con, "INFO server").await;
            ask(&mut con, "CLIENT GETNAME").await;
            assert_eq!(kill_sides(&server), 2);
            ask(&mut con, "INFO server").await;
            ask(&mut con, "CLIENT GETNAME").await;
        }
        drop(con);
        kill_sides(&server);
    }
    assert_eq!(cache.stats().totals.disconnects_total, 0);
}

#[tokio::test]
async fn a_side_connection_that_the_server_found_idle_is_opened_again() {
    let (server, _cache, mut con) = start().await;
    ask(&mut con, "INFO server").await;
    ask(&mut con, "CLIENT GETNAME").await;
    server.client().ok(&["CONFIG", "SET", "timeout", "1"]);
    eventually("the lane alone is left", || {
        server.foreign_connections() == 1
    });
    ask(&mut con, "INFO server").await;
    ask(&mut con, "CLIENT GETNAME").await;
}

#[tokio::test]
async fn c16_what_is_opened_again_is_in_the_db_of_its_handle() {
    let (server, _cache, mut con) = start().await;
    let mut writer = server.client();
    writer.ok(&["SELECT", "3"]);
    ask(&mut con, "SELECT 3").await;
    for _ in 0..3 {
        writer.ok(&["RPUSH", "l", "three"]);
        let popped = Value::Array(vec![text("l"), text("three")]);
        assert_eq!(ask(&mut con, "BLPOP l 0").await, popped);
        writer.ok(&["SET", "k3", ""]);
        assert_eq!(
            ask(&mut con, "KEYS k*").await,
            Value::Array(vec![text("k3")])
        );
        kill_sides(&server);
    }
}

#[tokio::test]
async fn c16_a_state_that_was_lost_is_told_of() {
    let (server, _cache, mut con) = start().await;
    for begin in [
        "WATCH k",
        "MULTI",
        "CLIENT SETNAME me",
        "CLIENT NO-TOUCH ON",
    ] {
        if begin.ends_with("ON") && line(begin).query_async::<Value>(&mut con).await.is_err() {
            continue; // A server that does not know it yet.
        }
        if !begin.ends_with("ON") {
            ask(&mut con, begin).await;
        }
        assert!(kill_sides(&server) > 0, "{begin}");
        let lost: RedisResult<Value> = line("CLIENT GETNAME").query_async(&mut con).await;
        let lost = lost.unwrap_err();
        let why = cause(&lost).expect("an error of nearcache");
        assert_eq!(
            why.write_outcome(),
            Some(WriteOutcome::NotSent),
            "{begin}: {why}"
        );
        assert_eq!(ask(&mut con, "CLIENT GETNAME").await, Value::Nil, "{begin}");
    }
}

#[tokio::test]
async fn c16_a_handle_with_a_state_keeps_its_connection() {
    let (_server, _cache, mut con) = start().await;
    let mut other = con.clone();
    ask(&mut con, "CLIENT SETNAME me").await;
    for _ in 0..5 {
        assert_eq!(ask(&mut con, "CLIENT GETNAME").await, text("me"));
        ask(&mut con, "INFO server").await;
        assert_eq!(ask(&mut other, "CLIENT GETNAME").await, Value::Nil);
        let listed: String = line("CLIENT LIST").query_async(&mut con).await.unwrap();
        let own = listed
            .lines()
            .find(|client| client.contains("cmd=client|list"));
        assert!(own.is_none_or(|own| own.contains("name=me ")), "{own:?}");
    }
}

#[tokio::test]
async fn c15_what_was_sent_beside_the_lane_is_never_sent_again() {
    let server = Server::start();
    let proxy = nearcache_testkit::Proxy::to(&server);
    let (_cache, mut con) = crate::at(proxy.url(), |builder| builder).await;
    server.client().ok(&["RPUSH", "from", "1", "2", "3"]);
    ask(&mut con, "CLIENT ID").await;
    proxy.stall_replies();
    let command = line("BLMOVE from to LEFT LEFT 0");
    let call = command.query_async::<Value>(&mut con);
    let cut = async {
        while server.client().ok(&["LLEN", "to"]).int() == 0 {
            tokio::task::yield_now().await;
        }
        proxy.reset_all();
        proxy.resume();
    };
    let (result, ()) = tokio::join!(call, cut);
    let error = result.unwrap_err();
    let why = cause(&error).expect("an error of nearcache");
    assert_eq!(why.write_outcome(), Some(WriteOutcome::Unknown), "{why}");
    assert_eq!(server.client().ok(&["LLEN", "to"]).int(), 1);
}

#[tokio::test]
async fn unwatch_with_nothing_watched_opens_nothing() {
    let (server, _cache, con) = start().await;
    let mut handles: Vec<_> = (0..20).map(|_| con.clone()).collect();
    for con in &mut handles {
        // As pools do when they take a connection back.
        let mut recycle = pipe();
        recycle.cmd("UNWATCH").ignore().cmd("PING").arg("7");
        let (pong,): (i64,) = recycle.query_async(con).await.unwrap();
        assert_eq!(pong, 7);
        assert_eq!(ask(con, "UNWATCH").await, Value::Okay);
    }
    assert_eq!(server.foreign_connections(), 1, "the lane");
    // Where something is watched it ends that, and between MULTI and EXEC it is queued.
    let con = &mut handles[0];
    ask(con, "WATCH k").await;
    assert_eq!(ask(con, "UNWATCH").await, Value::Okay);
    assert!(!con.in_transaction());
    ask(con, "MULTI").await;
    assert_eq!(
        ask(con, "UNWATCH").await,
        Value::SimpleString("QUEUED".into())
    );
    assert_eq!(ask(con, "EXEC").await, Value::Array(vec![Value::Okay]));
    let wrong: RedisResult<Value> = line("UNWATCH k").query_async(con).await;
    assert_eq!(wrong.unwrap_err().code(), Some("ERR"));
}

#[tokio::test]
async fn handles_share_few_connections_for_what_has_no_state() {
    let (server, _cache, con) = start().await;
    let mut writer = server.client();
    for db in 0..4 {
        writer.ok(&["SELECT", &db.to_string()]);
        writer.ok(&["SET", &format!("in {db}"), "x"]);
    }
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let mut con = con.clone();
            tokio::spawn(async move {
                let db = n % 4;
                ask(&mut con, &format!("SELECT {db}")).await;
                for _ in 0..20 {
                    let keys = ask(&mut con, "KEYS in*").await;
                    assert_eq!(keys, Value::Array(vec![text(&format!("in {db}"))]), "C16");
                    ask(&mut con, "INFO server").await;
                }
                con
            })
        })
        .collect();
    let mut handles = Vec::new();
    for task in tasks {
        handles.push(task.await.unwrap());
    }
    let open = server.foreign_connections();
    assert!(
        open <= 5,
        "{open} connections for {} handles",
        handles.len()
    );
}

/// Runs of commands that share a connection are one batch, in the order of the pipeline, whole or not.
#[tokio::test]
async fn a_pipeline_goes_beside_the_lane_in_runs() {
    let (server, _cache, con) = start().await;
    server.client().ok(&["CONFIG", "RESETSTAT"]);
    for mut con in twins(&con) {
        ask(&mut con, "SELECT 2").await;
        let mut mixed = pipe();
        for n in 0..50 {
            mixed.set("n", n).ignore();
            mixed.cmd("KEYS").arg("n").cmd("NOSUCH.COMMAND").arg(n);
            mixed.cmd("CONFIG").arg("GET").arg("maxmemory").ignore();
            mixed.get("n").cmd("CLIENT").arg("GETNAME");
        }
        mixed.ignore_errors();
        let replies: Vec<RedisResult<Value>> = mixed.query_async(&mut con).await.unwrap();
        assert_eq!(replies.len(), 200);
        for (n, run) in replies.chunks(4).enumerate() {
            assert_eq!(run[0], Ok(Value::Array(vec![text("n")])));
            assert_eq!(run[1].as_ref().unwrap_err().code(), Some("ERR"));
            assert_eq!(run[2], Ok(text(&n.to_string())));
            assert_eq!(run[3], Ok(Value::Nil));
        }
        let mut whole = pipe();
        whole.atomic().set("n", "w").cmd("KEYS").arg("n").get("n");
        let all: Vec<Value> = whole.query_async(&mut con).await.unwrap();
        let keys = Value::Array(vec![text("n")]);
        assert_eq!(all, [Value::Okay, keys, text("w")]);
        assert_eq!(ask(&mut con, "GET n").await, text("w"), "C3");
    }
    // The lane, and for each protocol one that is shared and one of the handle's own, which has ended.
    eventually("few are left", || server.foreign_connections() <= 3);
}

#[tokio::test]
async fn blocking_commands_do_not_wait_for_each_other() {
    let (server, _cache, con) = start().await;
    let waiting: Vec<_> = (0..8)
        .map(|n| {
            let mut con = con.clone();
            tokio::spawn(async move { ask(&mut con, &format!("BLPOP l{n} 0")).await })
        })
        .collect();
    let mut con = con;
    for n in (0..8).rev() {
        ask(&mut con, "INFO server").await;
        server.client().ok(&["RPUSH", &format!("l{n}"), "x"]);
    }
    for task in waiting {
        assert!(matches!(task.await.unwrap(), Value::Array(_)));
    }
}

#[tokio::test]
async fn what_does_not_block_has_a_deadline() {
    let server = Server::start();
    let (_cache, mut con) = on(&server, |builder| builder.operation_timeout("200ms")).await;
    ask(&mut con, "INFO server").await;
    server.pause();
    let error: RedisResult<Value> = line("INFO server").query_async(&mut con).await;
    let error = error.unwrap_err();
    assert!(cause(&error).is_some(), "{error}");
    server.resume();
    eventually("it answers again", || {
        pollster::block_on(line("INFO server").query_async::<Value>(&mut con)).is_ok()
    });
}
