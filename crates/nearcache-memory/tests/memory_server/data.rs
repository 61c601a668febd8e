//! Data, transactions, databases and errors, as the servers have them.

use super::*;

#[test]
fn transactions_are_atomic_and_register_their_reads() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    s.execute(a, "CLIENT CACHING YES");
    for line in ["MULTI", "SET own 1", "GET k", "LPUSH own x"] {
        s.execute(a, line);
    }
    s.server.drain(a);
    let wrong = error("WRONGTYPE Operation against a key holding the wrong kind of value");
    assert_eq!(
        s.reply(a, "EXEC"),
        Reply::Array(vec![Reply::ok(), Reply::Nil, wrong])
    );
    s.reply(b, "SET k 1");
    assert_eq!(s.server.drain(a), [key("k")]);

    s.reply(a, "MULTI");
    s.reply(a, "GET");
    assert_eq!(
        s.reply(a, "EXEC"),
        error("EXECABORT Transaction discarded because of previous errors.")
    );
    assert_eq!(s.reply(a, "EXEC"), error("ERR EXEC without MULTI"));
}

#[test]
fn watched_keys_that_change_void_the_transaction() {
    let mut s = Server::new();
    let (a, b) = (s.server.connect(), s.server.connect());
    s.reply(b, "SET temporary v PX 10");
    for (line, void) in [
        ("SET k 1", true),
        ("SET other 1", false),
        ("FLUSHALL", true),
        ("FLUSHALL", false),
        ("PING", false),
    ] {
        s.reply(a, "WATCH k");
        s.reply(b, line);
        s.reply(a, "MULTI");
        s.reply(a, "PING");
        assert_eq!(s.reply(a, "EXEC") == Reply::Nil, void, "{line}");
    }
    s.reply(b, "SET k v PX 10");
    s.reply(a, "WATCH k");
    s.pass(10);
    s.reply(a, "MULTI");
    assert_eq!(s.reply(a, "EXEC"), Reply::Nil, "expired meanwhile");
    s.reply(a, "WATCH k");
    s.reply(b, "SET k v");
    s.reply(a, "UNWATCH");
    s.reply(a, "MULTI");
    assert_eq!(s.reply(a, "EXEC"), Reply::Array(vec![]));
}

#[test]
fn databases_are_apart_until_they_are_swapped() {
    let mut s = Server::new();
    let a = s.server.connect();
    s.reply(a, "SET k 0 PX 100");
    s.reply(a, "SELECT 1");
    assert_eq!(s.reply(a, "GET k"), Reply::Nil);
    s.reply(a, "SWAPDB 0 1");
    assert_eq!(s.reply(a, "PTTL k"), Reply::Int(100));
    s.pass(100);
    s.server.tick(s.now);
    assert_eq!(s.reply(a, "DBSIZE"), Reply::Int(0));
    assert_eq!(
        s.reply(a, "SELECT 16"),
        error("ERR DB index is out of range")
    );
    assert_eq!(s.reply(a, "SET k v EX 1"), Reply::ok());
    assert_eq!(s.reply(a, "MOVE k 2"), Reply::Int(1));
    assert_eq!(s.reply(a, "COPY k k DB 2"), Reply::Int(0));
    s.reply(a, "SELECT 2");
    assert_eq!(s.reply(a, "TTL k"), Reply::Int(1));
}

#[test]
fn absolute_times_follow_the_calendar() {
    let mut s = Server::new();
    let a = s.server.connect();
    s.server
        .set_unix_time(s.now, Duration::from_secs(1_700_000_000));
    s.reply(a, "SET k v PXAT 1700000001500");
    assert_eq!(s.reply(a, "PTTL k"), Reply::Int(1500));
    s.pass(500);
    assert_eq!(s.reply(a, "PTTL k"), Reply::Int(1000));
    assert_eq!(s.reply(a, "PEXPIRETIME k"), Reply::Int(1_700_000_001_500));
    assert_eq!(s.reply(a, "EXPIREAT k 1600000000"), Reply::Int(1));
    assert_eq!(s.reply(a, "EXISTS k"), Reply::Int(0));
}

#[test]
fn c9_memory_is_bounded_and_given_back() {
    let mut s = Server::new();
    let a = s.server.connect();
    s.server.set_memory_limit(100_000);
    let oom = error("OOM command not allowed when used memory > 'maxmemory'.");
    let value = "x".repeat(1000);
    let mut stored = 0;
    while s.reply(a, &format!("SET k{stored} {value}")) == Reply::ok() {
        stored += 1;
        assert!(stored < 100);
    }
    assert!(stored > 50, "{stored}");
    for line in [
        "APPEND k0 VALUE",
        "RPUSH l VALUE",
        "EVAL redis.call('SET','k','VALUE') 0",
    ] {
        assert_eq!(s.reply(a, &line.replace("VALUE", &value)), oom);
    }
    assert_eq!(s.reply(a, "SETRANGE k0 90000 x"), oom);
    assert_eq!(s.reply(a, "COPY k0 k"), oom);
    s.reply(a, "MULTI");
    while s.reply(a, &format!("GET {value}")) == Reply::Simple("QUEUED".into()) {}
    s.reply(a, "DISCARD");
    assert_eq!(s.reply(a, "DEL k0 k1 k2"), Reply::Int(3));
    assert_eq!(s.reply(a, "HSET h f VALUE f v g w"), Reply::Int(2));
    assert_eq!(s.reply(a, "HDEL h f g"), Reply::Int(2));
    assert_eq!(
        s.reply(a, "EXISTS h"),
        Reply::Int(0),
        "no empty collections"
    );
    s.reply(a, "FLUSHALL");
    assert_eq!(s.server.memory_used(), 0);
}

#[test]
fn errors_read_as_the_servers_give_them() {
    let mut s = Server::new();
    let a = s.server.connect();
    s.reply(a, "LPUSH l a");
    s.reply(a, "SET n 9223372036854775807");
    for (line, expected) in [
        (
            "GET l",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("MSET a", "ERR wrong number of arguments for 'mset' command"),
        (
            "FOO a",
            "ERR unknown command 'FOO' (the embedded store knows only those that the documentation of MemoryL2 lists), \
             with args beginning with: 'a' ",
        ),
        ("INCR n", "ERR increment or decrement would overflow"),
        ("INCRBY n 01", "ERR value is not an integer or out of range"),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v NX XX", "ERR syntax error"),
        ("HELLO 2", "NOPROTO unsupported protocol version"),
        (
            "EVALSHA x 0",
            "NOSCRIPT No matching script. Please use EVAL.",
        ),
        (
            "EVAL return~1 2 a",
            "ERR Number of keys can't be greater than number of args",
        ),
        (
            "EVAL_RO redis.call('DEL','a') 0",
            "ERR Write commands are not allowed from read-only scripts.",
        ),
        (
            "EVAL redis.call('MULTI') 0",
            "ERR This Redis command is not allowed from script",
        ),
        (
            "SETRANGE k 536870912 v",
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("RENAME nokey a", "ERR no such key"),
    ] {
        assert_eq!(s.reply(a, line), error(expected), "{line}");
    }
    s.server.execute(a, &[], s.now);
    assert!(matches!(
        s.server.drain(a).as_slice(),
        [Output::Reply(Reply::Error { .. })]
    ));
}

#[test]
fn ops_run_end_to_end() {
    let mut s = Server::new();
    let conn = s.server.connect();
    let mut answer = |op: &Op| {
        let mut commands: Vec<Vec<Bytes>> = Vec::new();
        let span = encode(op, 0, &mut commands);
        for argv in &commands {
            s.server.execute(conn, argv, s.now);
        }
        let outputs = s.server.drain(conn);
        let pushes: Vec<_> = outputs
            .iter()
            .enumerate()
            .filter(|(_, o)| matches!(o, Output::Push(_)))
            .map(|(at, _)| at)
            .collect();
        let mut replies = outputs.into_iter().filter_map(|output| match output {
            Output::Reply(reply) => Some(reply),
            Output::Push(_) => None,
        });
        let answer = decode(op, &span, &mut replies);
        assert_eq!(replies.next(), None);
        (answer, pushes)
    };
    let k = Bytes::from_static(b"k");
    let handshake = Op::Handshake {
        canary: Bytes::from_static(b"canary"),
        nonce: 7,
    };
    let done = OpReply::Handshake {
        traits: nearcache_proto::Traits::default(),
        primary: true,
        tracking: Ok(()),
    };
    assert_eq!(
        answer(&handshake),
        (Ok(done), vec![11]),
        "push before the echo"
    );
    let set = Op::Set {
        db: 2,
        key: k.clone(),
        value: Bytes::from_static(b"v"),
        ttl: Some(Duration::from_secs(1)),
        if_absent: true,
    };
    assert_eq!(answer(&set).0, Ok(OpReply::Stored(true)));
    assert_eq!(answer(&set).0, Ok(OpReply::Stored(false)));
    let read = |db| Op::Read {
        db,
        key: k.clone(),
        tracked: true,
    };
    let value = |value: Option<Bytes>, ttl| OpReply::Read {
        value,
        ttl,
        tracked: true,
    };
    // PTTL less the millisecond by which a server's clock may be behind.
    let life = Some(Duration::from_millis(999));
    let v = Some(Bytes::from_static(b"v"));
    assert_eq!(answer(&read(2)).0, Ok(value(v, life)));
    assert_eq!(answer(&read(0)).0, Ok(value(None, None)));
    let delete = Op::Delete {
        db: 2,
        key: k.clone(),
    };
    assert_eq!(answer(&delete), (Ok(OpReply::Deleted(true)), vec![2]));
    assert_eq!(answer(&Op::ProbeDb { db: 15 }).0, Ok(OpReply::Selectable));
    assert!(answer(&Op::ProbeDb { db: 16 }).0.is_err());
    assert_eq!(
        answer(&Op::Heartbeat).0,
        Ok(OpReply::Role { primary: true })
    );
    assert_eq!(answer(&Op::Fence { nonce: 3 }).0, Ok(OpReply::Fenced));
    let transaction = Op::Transaction {
        db: 1,
        commands: vec![vec![Bytes::from_static(b"INCR"), k.clone()]],
    };
    let counted = Reply::Array(vec![Reply::Int(1)]);
    assert_eq!(answer(&transaction).0, Ok(OpReply::Value(counted)));
}
