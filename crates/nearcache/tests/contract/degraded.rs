//! Without tracking: said aloud, with what to do about it, and still within C2, C3 and C7.

use nearcache::{LaneState, Ttl};

use super::stage::{Refuse, connect};
use super::{Stage, all, eventually, on_both, val};

on_both!(
    trap_caching_refused_while_reads_are_answered,
    trap_tracking_refused,
    trap_lives_of_keys_refused,
    trap_our_own_keys_refused,
    c3_c7_echo_refused,
    trap_no_permission_to_write_the_self_test,
    trap_caching_refused_on_a_lane_that_is_up,
    c3_own_scripts_are_seen_without_tracking,
    c7_validated_reads_without_tracking,
);

/// A pod on an L2 that refuses `what`; its state must say why in these words.
fn degraded(stage: &Stage, what: Refuse, words: &[&str]) -> nearcache::blocking::NearCache {
    stage.set("k", "old");
    stage.l2().refuse(what);
    let pod = connect(stage.hasty());
    let stats = pod.stats();
    let LaneState::Degraded(why) = &stats.lanes[0].state else {
        panic!("not said aloud: {stats}");
    };
    for word in words {
        assert!(why.contains(word), "{word:?} is not in: {why}");
    }
    assert!(stats.to_string().contains("WITHOUT INVALIDATIONS"));
    assert_eq!(stats.totals.degraded_total, 1);
    pod
}

/// What L2 says is handed over, and nothing is kept.
#[track_caller]
fn keeps_nothing(stage: &Stage, pod: &nearcache::blocking::NearCache) {
    for round in 0..30 {
        let value = round.to_string();
        stage.set("k", &value);
        assert_eq!(pod.get("k").unwrap(), val(&value));
        let both = all(pod.get_many(&["k", "l"])).unwrap();
        assert_eq!(both, [val(&value), None]);
        pod.set("k", "own", Ttl::NONE).unwrap();
        assert_eq!(pod.get("k").unwrap(), val("own"));
    }
    let stats = pod.stats();
    assert_eq!((stats.totals.hits_total, stats.store.entries), (0, 0));
    assert_eq!(stats.totals.disconnects_total, 0);
}

/// Entries live for a while, and for no longer than the bound.
fn lives_and_ends(stage: &Stage, pod: &nearcache::blocking::NearCache) {
    eventually("a copy is kept and served", || {
        pod.get("k").unwrap();
        pod.stats().totals.hits_total > 0
    });
    // Nobody tells of this one.
    if stage.l2().cmd(0, &[b"SET", b"k", b"new"]).is_error() {
        stage.cmd(&["DEL", "k"]);
    }
    let expected = stage.stored("k");
    eventually("the write is seen", || pod.get("k").unwrap() == expected);
    for _ in 0..50 {
        assert_eq!(pod.get("k").unwrap(), expected);
    }
}

fn trap_caching_refused_while_reads_are_answered(stage: &Stage) {
    let pod = degraded(
        stage,
        Refuse::Caching,
        &["nothing is kept", "CLIENT CACHING", "+client|caching"],
    );
    keeps_nothing(stage, &pod);
}

fn trap_tracking_refused(stage: &Stage) {
    let words = ["CLIENT TRACKING", "ACL SETUSER default ~nearcache:* "];
    let pod = degraded(stage, Refuse::Tracking, &words);
    keeps_nothing(stage, &pod);
}

fn trap_lives_of_keys_refused(stage: &Stage) {
    let words = ["nothing is kept", "PTTL", "lacks +pttl", "ACL SETUSER"];
    let pod = degraded(stage, Refuse::Lives, &words);
    keeps_nothing(stage, &pod);
}

fn trap_our_own_keys_refused(stage: &Stage) {
    let words = ["lacks ~nearcache:*", "ACL SETUSER default ~nearcache:* "];
    let pod = degraded(stage, Refuse::OwnKeys, &words);
    lives_and_ends(stage, &pod);
}

fn c3_c7_echo_refused(stage: &Stage) {
    stage.l2().refuse(Refuse::Echo);
    let pod = stage.pod();
    assert_eq!(pod.stats().lanes[0].state, LaneState::Up);
    let echoes = stage.calls("echo");
    let mut session = pod.session();
    for round in 0..20 {
        let value = round.to_string();
        pod.get("k").unwrap();
        let script = format!("return redis.call('SET', 'k', '{value}')");
        session.command(&["EVAL", &script, "0"]).unwrap();
        assert_eq!(pod.get("k").unwrap(), val(&value));
        stage.set("k", "foreign");
        assert_eq!(pod.get_validated("k").unwrap(), val("foreign"));
        stage.set("k", &value);
        pod.fence().unwrap();
        assert_eq!(pod.get("k").unwrap(), val(&value));
        assert_eq!(pod.get_resident("k"), val(&value));
    }
    assert_eq!(pod.stats().totals.disconnects_total, 0);
    assert_eq!(stage.calls("echo"), echoes, "they would be refused");
}

fn trap_no_permission_to_write_the_self_test(stage: &Stage) {
    let pod = degraded(stage, Refuse::Canary, &["SET of the self-test key"]);
    lives_and_ends(stage, &pod);
}

fn trap_caching_refused_on_a_lane_that_is_up(stage: &Stage) {
    let pod = stage.pod();
    let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    for key in &keys {
        stage.set(key, "old");
    }
    all(pod.get_many(&keys)).unwrap();
    stage.l2().refuse(Refuse::Caching);
    assert!(
        pod.get("another").is_err(),
        "it was read, but not registered"
    );
    for key in &keys {
        assert_eq!(pod.get_resident(key), None, "of a history that is over");
    }
    eventually("the lane is back, and says so", || {
        matches!(pod.stats().lanes[0].state, LaneState::Degraded(_))
    });
    for key in &keys {
        stage.set(key, "new");
    }
    assert_eq!(pod.stats().totals.degraded_total, 1);
    assert!(
        all(pod.get_many(&keys))
            .unwrap()
            .iter()
            .all(|v| *v == val("new"))
    );
}

fn c3_own_scripts_are_seen_without_tracking(stage: &Stage) {
    let pod = degraded(stage, Refuse::Caching, &[]);
    let mut session = pod.session();
    for round in 0..20 {
        let value = round.to_string();
        pod.get("k").unwrap();
        let script = format!("return redis.call('SET', 'k', '{value}')");
        session.command(&["EVAL", &script, "0"]).unwrap();
        assert_eq!(pod.get("k").unwrap(), val(&value));
        session.command(&["MULTI"]).unwrap();
        session.command(&["APPEND", "k", "!"]).unwrap();
        session.command(&["EXEC"]).unwrap();
        assert_eq!(pod.get("k").unwrap(), val(&format!("{value}!")));
        pod.set("k", "set", Ttl::NONE).unwrap();
        assert_eq!(pod.get("k").unwrap(), val("set"));
    }
}

fn c7_validated_reads_without_tracking(stage: &Stage) {
    let pod = degraded(stage, Refuse::Caching, &[]);
    for round in 0..50 {
        let value = round.to_string();
        pod.get("k").unwrap();
        stage.set("k", &value);
        assert_eq!(pod.get_validated("k").unwrap(), val(&value));
    }
}
