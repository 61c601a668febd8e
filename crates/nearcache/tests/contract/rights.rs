//! Users who may not do everything: what is missing is known at connect and said with the line that grants it, and what
//! the user may do works.

use nearcache::blocking::{Connection, NearCache as Blocking};
use nearcache::redis_rs::{self, Commands, ProtocolVersion};
use nearcache::{Builder, ErrorKind, LaneState, NearCache, Ttl};
use nearcache_testkit::{Client, Server, Value};

use super::stage::connect;
use super::{Stage, all, eventually, says, val};

/// All that a pod is to be able to do, on keys of the application's own.
const FULL: &str = "~app:* ~nearcache:* +@read +@write +client|tracking +client|caching +echo +multi +exec +eval +select";

fn user(server: &Server, rules: &str) -> Client {
    let mut admin = server.client();
    let user = "ACL SETUSER app reset on >pw resetchannels".split(' ');
    let argv: Vec<_> = user.chain(rules.split(' ')).collect();
    admin.ok(&argv);
    admin
}

/// A pod of the user `app`; what it forgets, it was told to.
fn pod(server: &Server) -> Builder {
    NearCache::builder()
        .redis(format!("redis://app:pw@127.0.0.1:{}", server.port()))
        .statistics(false)
        .max_staleness("60s")
        .operation_timeout("30s")
        .dead_after("60s")
        .backoff_min("5ms")
        .backoff_max("50ms")
}

/// Why invalidations cannot be relied upon.
#[track_caller]
fn degraded(pod: &Blocking) -> String {
    match pod.stats().lanes[0].state.clone() {
        LaneState::Degraded(why) => why,
        other => panic!("not said aloud: {other:?}"),
    }
}

#[track_caller]
fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// Runs the line that a message gives, and a pod is as it should be.
#[track_caller]
fn grant(admin: &mut Client, server: &Server, message: &str) {
    let line = message.split("ACL SETUSER").nth(1).unwrap();
    let line = line.split(['`', '\n']).next().unwrap();
    let argv: Vec<_> = ["ACL", "SETUSER"]
        .into_iter()
        .chain(line.split_whitespace())
        .collect();
    admin.ok(&argv);
    let pod = connect(pod(server));
    assert_eq!(pod.stats().lanes[0].state, LaneState::Up, "after {argv:?}");
    keeps(admin, &pod);
}

/// It keeps what it reads, and hears of changes.
#[track_caller]
fn keeps(admin: &mut Client, pod: &Blocking) {
    for value in ["one", "two"] {
        admin.ok(&["SET", "app:kept", value]);
        pod.fence().unwrap();
        assert_eq!(pod.get("app:kept").unwrap(), val(value));
        assert_eq!(pod.get_resident("app:kept"), val(value));
    }
}

/// Everything that the user may do works, on the lane and beside it, and nothing is kept.
#[track_caller]
fn works_and_keeps_nothing(admin: &mut Client, pod: &Blocking) {
    let large = "x".repeat(2 << 20);
    for round in 0..20 {
        let value = round.to_string();
        pod.set("app:own", value.clone(), Ttl::NONE).unwrap();
        assert_eq!(pod.get("app:own").unwrap(), val(&value));
        admin.ok(&["MSET", "app:k", &value, "app:l", &value]);
        assert_eq!(pod.get("app:k").unwrap(), val(&value));
        let both = all(pod.get_many(&["app:k", "app:l"])).unwrap();
        assert_eq!(both, [val(&value), val(&value)]);
        assert_eq!(pod.get_validated("app:k").unwrap(), val(&value));
    }
    admin.ok(&["SET", "app:large", &large]);
    // The first is read on the lane, the second beside it.
    for _ in 0..2 {
        assert_eq!(pod.get("app:large").unwrap(), val(&large));
    }
    pod.fence().unwrap();
    let stats = pod.stats();
    assert_eq!((stats.totals.hits_total, stats.store.entries), (0, 0));
    assert_eq!(stats.totals.disconnects_total, 0, "{stats}");
}

/// The same through the drop-in, in both protocols.
#[track_caller]
fn drop_in_works(server: &Server, pod: &Blocking) {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut con = Connection::new(pod).with_protocol(protocol);
        let (a, b) = ("app:a", "app:b");
        for round in 0..5 {
            // What names no key that we know is fenced.
            let _: () = con.mset(&[(a, round), (b, round)]).unwrap();
            let read: (i32, i32) = con.mget(&[a, b]).unwrap();
            assert_eq!(read, (round, round));
            let _: () = con.hset("app:h", "f", round).unwrap();
            assert_eq!(con.hget("app:h", "f"), Ok(round));
        }
        server.client().ok(&["RPUSH", "app:list", "item"]);
        let popped: (String, String) = con.blpop("app:list", 0.0).unwrap();
        assert_eq!(popped.1, "item");
        let foreign: Result<Option<String>, _> = con.get("foreign");
        let foreign = foreign.unwrap_err();
        assert_eq!(
            foreign.kind(),
            redis_rs::ErrorKind::Server(redis_rs::ServerErrorKind::NoPerm)
        );
    }
}

#[test]
fn trap_a_user_who_may_read_and_write_his_own_keys_opens() {
    Stage::watch(|| {
        let server = Server::start();
        let mut admin = user(&server, "~app:* +@read +@write");
        let pod = connect(pod(&server));
        let why = degraded(&pod);
        let missing = ["~nearcache:*", "+client|tracking", "+echo", "+multi"];
        contains(&why, &["nothing is kept", "ACL SETUSER app "]);
        contains(&why, &missing);
        works_and_keeps_nothing(&mut admin, &pod);
        drop_in_works(&server, &pod);
        // Nor may it tell the fleet anything.
        let telling = self::pod(&server).statistics(true).publish_every("100ms");
        let telling = connect(telling.look_every("100ms"));
        telling.ready();
        works_and_keeps_nothing(&mut admin, &telling);
        let error = pod.get("foreign").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        says(&error, &["NOPERM", "pattern", "ACL SETUSER"]);
        let error = pod.session().command(&["PING"]).unwrap_err();
        says(&error, &["NOPERM", "ACL SETUSER"]);
        grant(&mut admin, &server, &why);
    });
}

#[test]
fn trap_each_right_that_keeping_needs_is_tried_at_connect() {
    Stage::watch(|| {
        let server = Server::start();
        for missing in ["+client|tracking", "+client|caching", "+pttl"] {
            let rules = format!("{FULL} {}", missing.replace('+', "-"));
            let mut admin = user(&server, &rules);
            let pod = connect(pod(&server));
            let why = degraded(&pod);
            contains(&why, &["nothing is kept", missing, "ACL SETUSER app "]);
            works_and_keeps_nothing(&mut admin, &pod);
            grant(&mut admin, &server, &why);
        }
    });
}

#[test]
fn trap_what_only_a_life_without_invalidations_needs_is_not_missed() {
    Stage::watch(|| {
        let server = Server::start();
        for missing in [
            "-multi",
            "-exec",
            "-multi -exec",
            "-select -eval -client|no-evict",
        ] {
            let mut admin = user(&server, &format!("{FULL} {missing}"));
            let pod = connect(pod(&server).bypass("app:by"));
            assert_eq!(pod.stats().lanes[0].state, LaneState::Up, "{missing}");
            keeps(&mut admin, &pod);
            admin.ok(&["SET", "app:bypassed", "v"]);
            assert_eq!(pod.get("app:bypassed").unwrap(), val("v"));
            let large = "x".repeat(2 << 20);
            admin.ok(&["SET", "app:large", &large]);
            for _ in 0..2 {
                assert_eq!(pod.get("app:large").unwrap(), val(&large), "{missing}");
            }
            assert_eq!(pod.stats().totals.disconnects_total, 0, "{missing}");
        }
    });
}

#[test]
fn c3_without_echo_another_fence_does() {
    Stage::watch(|| {
        let server = Server::start();
        let mut admin = user(&server, &format!("{FULL} -echo"));
        let pod = connect(pod(&server));
        assert_eq!(pod.stats().lanes[0].state, LaneState::Up);
        keeps(&mut admin, &pod);
        let mut session = pod.session();
        for round in 0..50 {
            let value = round.to_string();
            pod.get("app:hidden").unwrap();
            let script = format!("return redis.call('SET', KEYS[1], '{value}')");
            session
                .command(&["EVAL", &script, "1", "app:hidden"])
                .unwrap();
            assert_eq!(pod.get("app:hidden").unwrap(), val(&value));
            admin.ok(&["SET", "app:foreign", &value]);
            pod.fence().unwrap();
            assert_eq!(pod.get("app:foreign").unwrap(), val(&value));
        }
        drop_in_works(&server, &pod);
        assert_eq!(pod.stats().totals.disconnects_total, 0);
    });
}

#[test]
fn trap_without_rights_to_our_own_keys_their_pattern_is_named() {
    Stage::watch(|| {
        let server = Server::start();
        let mut admin = user(&server, &FULL.replace("~nearcache:* ", ""));
        let pod = connect(pod(&server));
        let why = degraded(&pod);
        contains(&why, &["~nearcache:*", "ACL SETUSER app "]);
        assert_eq!(pod.get("app:k").unwrap(), None);
        grant(&mut admin, &server, &why);
    });
}

#[test]
fn c12_a_user_who_may_not_read_is_told_at_connect() {
    Stage::watch(|| {
        let server = Server::start();
        let mut admin = user(&server, &format!("{FULL} -get"));
        let error = pod(&server).connect_blocking().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        says(&error, &["GET", "+get", "ACL SETUSER app ~nearcache:* "]);
        assert!(!error.to_string().contains("RESP3"), "{error}");
        grant(&mut admin, &server, &error.to_string());
    });
}

#[test]
fn c12_a_db_that_may_not_be_selected_is_told_at_connect() {
    Stage::watch(|| {
        let server = Server::start();
        let mut admin = user(&server, &format!("{FULL} -select"));
        let url = format!("redis://app:pw@127.0.0.1:{}/3", server.port());
        let builder = || pod(&server).redis(url.clone());
        let error = builder().connect_blocking().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        says(&error, &["NOPERM", "ACL SETUSER app +select"]);
        let none = connect(pod(&server));
        let error = none.session().command(&["SELECT", "3"]).unwrap_err();
        says(&error, &["NOPERM", "ACL SETUSER"]);
        assert_eq!(none.get("app:k").unwrap(), None);
        assert_eq!(none.stats().totals.disconnects_total, 0);
        admin.ok(&["ACL", "SETUSER", "app", "+select"]);
        assert_eq!(connect(builder()).stats().lanes[0].state, LaneState::Up);
    });
}

#[test]
fn trap_a_right_that_is_taken_from_a_lane_that_is_up_is_noticed() {
    Stage::watch(|| {
        let server = Server::start();
        let mut admin = user(&server, FULL);
        for (taken, degrades) in [("-pttl", true), ("-echo", false), ("-client|caching", true)] {
            let pod = connect(pod(&server));
            keeps(&mut admin, &pod);
            admin.ok(&["ACL", "SETUSER", "app", taken]);
            let at_most_one_fails = || {
                let _ = (pod.get("app:new"), pod.fence());
                pod.stats().totals.connects_total == 2
            };
            eventually("the lane is opened anew", at_most_one_fails);
            assert_eq!(pod.get("app:new").unwrap(), None, "{taken}");
            pod.fence().unwrap();
            assert_eq!(
                matches!(pod.stats().lanes[0].state, LaneState::Degraded(_)),
                degrades
            );
            admin.ok(&["ACL", "SETUSER", "app", &taken.replace('-', "+")]);
        }
    });
}

#[test]
fn the_self_test_leaves_no_key() {
    Stage::watch(|| {
        let server = Server::start();
        let mut admin = user(&server, FULL);
        let pod = connect(pod(&server));
        assert_eq!(pod.stats().lanes[0].state, LaneState::Up);
        // One millisecond later at the latest.
        eventually("it is gone", || {
            admin.ok(&["KEYS", "*"]) == Value::Array(vec![])
        });
    });
}
