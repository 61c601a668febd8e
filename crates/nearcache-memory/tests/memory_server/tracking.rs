//! What is registered, what is pushed, and in which order.

use super::*;

#[test]
fn a_mark_is_good_for_one_command_and_survives_client() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    s.read(a, "GET k");
    assert_eq!(s.run(b, "SET k 1"), [ok()]);
    assert_eq!(s.server.drain(a), [key("k")]);
    s.run(b, "SET k 2");
    assert_eq!(s.server.drain(a), [], "one shot");

    s.reply(a, "GET k");
    s.run(b, "SET k 3");
    assert_eq!(s.server.drain(a), [], "not marked");

    s.reply(a, "CLIENT CACHING YES");
    s.reply(a, "CLIENT ID");
    s.read(a, "GET k");
    s.run(b, "SET k 4");
    assert_eq!(s.server.drain(a), [key("k")]);

    for eater in ["ECHO x", "GET", "NOSUCH"] {
        s.reply(a, "CLIENT CACHING YES");
        s.reply(a, eater);
        s.reply(a, "GET k");
        s.run(b, "SET k 5");
        assert_eq!(s.server.drain(a), [], "{eater} used the mark up");
    }
}

#[test]
fn any_read_registers_all_its_keys() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    for line in ["GET k", "PTTL k", "EXISTS x k", "MGET x k", "TYPE k"] {
        s.read(a, line);
        s.run(b, "SET k 1");
        assert_eq!(s.server.drain(a), [key("k")], "{line}");
        s.run(b, "DEL k");
    }
    s.read(a, "EVAL return~redis.call('GET',KEYS[1]) 1 k");
    s.run(b, "SET k 1");
    assert_eq!(s.server.drain(a), [key("k")]);
    s.read(a, "KEYS *");
    s.read(a, "EVAL return~1 1 k");
    s.run(b, "SET k 1");
    assert_eq!(s.server.drain(a), []);
}

#[test]
fn registrations_know_no_database() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    s.read(a, "GET k");
    s.reply(b, "SELECT 3");
    s.reply(b, "SET k 1");
    assert_eq!(s.server.drain(a), [key("k")]);
}

#[test]
fn switching_to_track_everything_and_back_keeps_registrations() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    s.reply(a, "CLIENT TRACKING ON");
    s.reply(a, "PTTL k1");
    s.reply(a, "PTTL k2");
    s.reply(a, "CLIENT TRACKING ON OPTIN");
    s.reply(a, "PTTL k3");
    s.reply(b, "MSET k1 1 k2 2 k3 3");
    assert_eq!(s.server.drain(a), [key("k1"), key("k2")]);
}

#[test]
fn the_order_is_the_order_of_execution() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    s.reply(b, "SET k old");
    s.execute(a, "CLIENT CACHING YES");
    s.execute(a, "GET k");
    s.execute(b, "SET k new");
    s.execute(a, "GET k");
    assert_eq!(
        s.server.drain(a),
        [ok(), bulk("old"), key("k"), bulk("new")]
    );

    // One's own write: the reply, the push, then the fence.
    s.execute(a, "CLIENT CACHING YES");
    s.execute(a, "GET k");
    s.execute(a, "EVAL redis.call('SET','k','x') 0");
    s.execute(a, "ECHO n");
    assert_eq!(
        s.server.drain(a),
        [
            ok(),
            bulk("new"),
            Output::Reply(Reply::Nil),
            key("k"),
            bulk("n")
        ]
    );
}

#[test]
fn every_way_to_change_a_key_pushes() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    for line in [
        "PEXPIRE k 1000",
        "PERSIST k",
        "RENAME k k2",
        "RENAME x k",
        "COPY x k REPLACE",
        "MOVE k 1",
        "APPEND k 1",
        "INCR k",
        "GETDEL k",
        "GETEX k EX 10",
        "SETRANGE k 0 z",
        "UNLINK k",
        "EVAL return~redis.call('DEL',KEYS[1]) 1 k",
    ] {
        s.reply(b, "FLUSHALL");
        s.server.drain(a);
        s.reply(b, "MSET k 1 x 2");
        if line.starts_with("PERSIST") {
            s.reply(b, "EXPIRE k 100");
        }
        s.read(a, "GET k");
        s.reply(b, line);
        assert_eq!(s.server.drain(a), [key("k")], "{line}");
    }
    s.reply(b, "SET k 1");
    s.read(a, "GET k");
    s.read(a, "GET missing");
    for line in [
        "DEL missing",
        "SETNX k 2",
        "SET k 2 NX",
        "PERSIST k",
        "RENAME k k",
        "SWAPDB 0 1",
    ] {
        s.reply(b, line);
        assert_eq!(s.server.drain(a), [], "{line} changes nothing");
    }
}

#[test]
fn trap_flush_pushes_everything_to_everybody_and_empties_the_table() {
    let mut s = Server::new();
    let (a, b, c) = (s.tracked(), s.tracked(), s.server.connect());
    s.reply(b, "SELECT 5");
    for line in ["FLUSHALL", "FLUSHDB"] {
        s.read(a, "GET k");
        assert_eq!(s.run(b, line), [ok(), all()]);
        assert_eq!(s.server.drain(a), [all()]);
        assert_eq!(s.server.drain(c), []);
        assert_eq!(s.server.tracked_keys(), 0);
        s.reply(c, "SET k 1");
        assert_eq!(s.server.drain(a), []);
    }
    for _ in 0..3 {
        s.reply(c, "FLUSHALL");
    }
    assert_eq!(s.server.drain(a), [all()], "repeated news take no room");
}

#[test]
fn c5_expired_keys_are_gone_and_pushed() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    s.reply(b, "SET k v PX 100");
    s.read(a, "GET k");
    s.pass(99);
    assert_eq!(s.reply(b, "PTTL k"), Reply::Int(1));
    assert_eq!(
        s.server.next_expiry(),
        Some(Timestamp::from_micros(1_100_000))
    );
    s.pass(1);
    assert_eq!(s.server.drain(a), [], "nobody looked");
    assert_eq!(s.run(a, "GET k"), [Output::Reply(Reply::Nil), key("k")]);
    assert_eq!(s.reply(b, "PTTL k"), Reply::Int(-2));

    s.reply(b, "SET k v PX 100");
    s.read(a, "GET k");
    s.pass(100);
    s.server.tick(s.now);
    assert_eq!(s.server.drain(a), [key("k")]);
    assert_eq!(s.server.next_expiry(), None);
    assert_eq!(s.reply(b, "DBSIZE"), Reply::Int(0));
}

#[test]
fn faults_role_tracking_caching() {
    let mut s = Server::new();
    let a = s.tracked();
    let role = |s: &mut Server| match s.reply(a, "HELLO 3") {
        Reply::Map(fields) => fields.into_iter().find(|(f, _)| *f == text("role")),
        other => panic!("{other:?}"),
    };
    assert_eq!(role(&mut s), Some((text("role"), text("master"))));
    s.server.set_role(false);
    assert_eq!(role(&mut s), Some((text("role"), text("replica"))));
    let readonly = error("READONLY You can't write against a read only replica.");
    assert_eq!(s.reply(a, "SET k v"), readonly);
    assert_eq!(s.reply(a, "EVAL redis.call('SET','k','v') 0"), readonly);
    s.server.set_role(true);
    s.server.refuse_caching(true);
    let refusal = s.reply(a, "CLIENT CACHING YES");
    assert!(matches!(refusal, Reply::Error { code, .. } if code == "ERR"));
    assert_eq!(s.run(a, "GET k"), [Output::Reply(Reply::Nil)]);
    assert_eq!(s.server.tracked_keys(), 0);
    s.server.refuse_tracking(true);
    let refusal = s.reply(a, "CLIENT TRACKING ON OPTIN");
    assert!(matches!(refusal, Reply::Error { code, .. } if code == "ERR"));
}

#[test]
fn permissions_are_refused_in_the_words_of_a_server() {
    let mut s = Server::new();
    let a = s.tracked();
    s.server
        .deny(&["client|caching", "echo", "exec"], Some("nearcache:"));
    let refused = |name: &str| {
        error(&format!(
            "NOPERM User default has no permissions to run the '{name}' command"
        ))
    };
    assert_eq!(s.reply(a, "CLIENT CACHING YES"), refused("client|caching"));
    assert_eq!(s.reply(a, "ECHO x"), refused("echo"));
    assert_eq!(s.reply(a, "EVAL redis.call('ECHO','x') 0"), refused("echo"));
    let no_key = error("NOPERM No permissions to access a key");
    assert_eq!(s.reply(a, "GET nearcache:x"), no_key);
    assert_eq!(s.reply(a, "SET nearcache:x v"), no_key);
    assert_eq!(s.reply(a, "GET k"), Reply::Nil);
    for before in ["GET k", "MULTI"] {
        s.reply(a, before);
        let aborted = error(
            "EXECABORT Transaction discarded because of: NOPERM User default has no permissions to run the 'exec' command",
        );
        assert_eq!(s.reply(a, "EXEC"), aborted);
        assert_eq!(s.reply(a, "GET k"), Reply::Nil, "no transaction is left");
    }
    s.server.trust(a);
    assert_eq!(s.reply(a, "ECHO x"), text("x"));
}

#[test]
fn trap_a_full_table_pushes_even_what_was_just_read() {
    let mut s = Server::new();
    let a = s.tracked();
    s.server.table_limit(0, 1);
    s.execute(a, "CLIENT CACHING YES");
    s.execute(a, "GET k");
    s.execute(a, "PTTL k");
    assert_eq!(
        s.server.drain(a),
        [ok(), Output::Reply(Reply::Nil), key("k"), int(-2)]
    );
}

#[test]
fn ended_connections_receive_nothing_and_hold_nothing() {
    let mut s = Server::new();
    let (a, b) = (s.tracked(), s.server.connect());
    s.read(a, "GET k");
    s.server.disconnect(a);
    assert_eq!(s.server.tracked_keys(), 0);
    s.execute(a, "SET k 1");
    s.execute(b, "GET k");
    assert_eq!(s.server.ready(), [b]);
    assert_eq!(s.server.drain(a), []);
    assert_eq!(s.server.drain(b), [Output::Reply(Reply::Nil)]);
    assert_eq!(s.server.ready(), []);
}
