//! C16 and the closed list: what one handle sends changes nobody else's connection, replies or copies.

use nearcache::blocking::{NearCache, Session};
use nearcache::{ErrorKind, Reply, WriteOutcome};

use pollster::block_on;

use super::{Net, Stage, all, eventually, joined, on_both, poll, says, spawn, val};

on_both!(
    trap_raw_multi_does_not_queue_the_reads_of_others,
    trap_no_hits_inside_multi_or_after_watch,
    c16_transactions_of_two_sessions_are_apart,
    c16_each_session_has_its_own_db,
    trap_what_would_break_the_lane_is_refused,
    trap_a_lost_transaction_is_not_continued,
    trap_a_transaction_with_a_cancelled_command_is_not_continued,
    trap_a_cancelled_multi_leaves_nobody_in_a_transaction,
    c16_a_session_that_ends_leaves_nothing_behind,
    trap_a_cancelled_command_ends_its_side_connection_at_once,
    a_side_connection_that_died_idle_is_opened_again,
    c16_what_is_shared_has_no_state,
);

fn ok(session: &mut Session, command: &[&str]) -> Reply {
    match session.command(command) {
        Ok(reply) => reply,
        Err(error) => panic!("{command:?}: {error}"),
    }
}

fn queued() -> Reply {
    Reply::Simple("QUEUED".to_owned())
}

/// The lane works, keeps what it reads, and hears of changes.
#[track_caller]
fn works(stage: &Stage, pod: &NearCache, value: &str) {
    stage.set("probe", value);
    pod.fence().unwrap();
    assert_eq!(pod.get("probe").unwrap(), val(value));
    assert_eq!(pod.get_resident("probe"), val(value));
}

fn trap_raw_multi_does_not_queue_the_reads_of_others(stage: &Stage) {
    let pod = stage.pod();
    let mut session = pod.session();
    stage.set("k", "v");
    ok(&mut session, &["MULTI"]);
    assert_eq!(ok(&mut session, &["SET", "k", "w"]), queued());
    for round in 0..20 {
        works(stage, &pod, &format!("during {round}"));
    }
    assert_eq!(pod.get("k").unwrap(), val("v"));
    assert_eq!(all(pod.get_many(&["k", "l"])).unwrap(), [val("v"), None]);
    assert_eq!(ok(&mut session, &["EXEC"]), Reply::Array(vec![Reply::ok()]));
    assert_eq!(pod.get("k").unwrap(), val("w"));
    assert_eq!(pod.stats().totals.disconnects_total, 0);
}

fn trap_no_hits_inside_multi_or_after_watch(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "1");
    assert_eq!(pod.get("k").unwrap(), val("1"));
    let mut session = pod.session();
    ok(&mut session, &["MULTI"]);
    assert_eq!(ok(&mut session, &["GET", "k"]), queued(), "not from L1");
    assert_eq!(ok(&mut session, &["INCR", "k"]), queued());
    let Reply::Array(replies) = ok(&mut session, &["EXEC"]) else {
        panic!("EXEC gave up");
    };
    assert_eq!(replies, [Reply::Bulk("1".into()), Reply::Int(2)]);
    assert_eq!(pod.get("k").unwrap(), val("2"));

    // What is watched is read on the connection that watches it.
    ok(&mut session, &["WATCH", "k"]);
    assert_eq!(ok(&mut session, &["GET", "k"]), Reply::Bulk("2".into()));
    stage.set("k", "changed");
    ok(&mut session, &["MULTI"]);
    ok(&mut session, &["SET", "k", "mine"]);
    assert_eq!(ok(&mut session, &["EXEC"]), Reply::Nil);
    assert_eq!(stage.stored("k"), val("changed"));
    assert_eq!(pod.get_validated("k").unwrap(), val("changed"));
}

fn c16_transactions_of_two_sessions_are_apart(stage: &Stage) {
    let pod = stage.pod();
    let (mut one, mut two) = (pod.session(), pod.session());
    ok(&mut one, &["MULTI"]);
    ok(&mut one, &["SET", "a", "1"]);
    assert_eq!(ok(&mut two, &["SET", "b", "2"]), Reply::ok());
    ok(&mut two, &["MULTI"]);
    ok(&mut two, &["SET", "c", "3"]);
    ok(&mut one, &["DISCARD"]);
    assert_eq!(ok(&mut one, &["GET", "b"]), Reply::Bulk("2".into()));
    assert_eq!(ok(&mut two, &["EXEC"]), Reply::Array(vec![Reply::ok()]));
    assert_eq!(
        all(pod.get_many(&["a", "b", "c"])).unwrap(),
        [None, val("2"), val("3")]
    );
    // An error inside ends one transaction, and only that.
    ok(&mut one, &["MULTI"]);
    let error = one.command(&["NOSUCHCOMMAND"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    let error = one.command(&["EXEC"]).unwrap_err();
    says(&error, &["EXECABORT"]);
    assert_eq!(ok(&mut one, &["GET", "b"]), Reply::Bulk("2".into()));
    assert_eq!(ok(&mut two, &["GET", "b"]), Reply::Bulk("2".into()));
}

fn c16_each_session_has_its_own_db(stage: &Stage) {
    let pod = stage.pod();
    let (mut one, mut two) = (pod.session(), pod.session());
    ok(&mut one, &["SELECT", "4"]);
    ok(&mut one, &["SET", "k", "four"]);
    ok(&mut two, &["SET", "k", "zero"]);
    // On a side connection as on the lane.
    ok(&mut one, &["MULTI"]);
    ok(&mut one, &["APPEND", "k", "!"]);
    ok(&mut one, &["EXEC"]);
    assert_eq!(ok(&mut two, &["GET", "k"]), Reply::Bulk("zero".into()));
    assert_eq!(pod.get("k").unwrap(), val("zero"));
    assert_eq!(pod.with_db(4).get("k").unwrap(), val("four!"));
    ok(&mut one, &["SELECT", "0"]);
    ok(&mut one, &["MULTI"]);
    ok(&mut one, &["GET", "k"]);
    assert_eq!(
        ok(&mut one, &["EXEC"]),
        Reply::Array(vec![Reply::Bulk("zero".into())])
    );
}

fn trap_what_would_break_the_lane_is_refused(stage: &Stage) {
    let pod = stage.pod();
    let mut session = pod.session();
    let refused: [(&[&str], &str); 11] = [
        (&["CLIENT", "REPLY", "SKIP"], "replies"),
        (&["CLIENT", "REPLY", "OFF"], "replies"),
        (&["CLIENT", "TRACKING", "OFF"], "invalidations"),
        (&["CLIENT", "CACHING", "YES"], "invalidations"),
        (&["client", "tracking", "on", "BCAST"], "invalidations"),
        (&["HELLO", "2"], "protocol"),
        (&["HELLO", "3", "AUTH", "a", "b"], "protocol"),
        (&["RESET"], "state"),
        (&["SUBSCRIBE", "c"], "answered"),
        (&["MONITOR"], "answered"),
        (&["PSYNC", "?", "-1"], "answered"),
    ];
    for (round, (command, word)) in refused.iter().enumerate() {
        let error = session.command(command).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{command:?}: {error}");
        says(&error, &["is refused", word, "connection of your own"]);
        works(stage, &pod, &format!("after {round}"));
        // Inside a transaction it is no better.
        ok(&mut session, &["MULTI"]);
        assert!(session.command(command).is_err(), "{command:?}");
        ok(&mut session, &["DISCARD"]);
    }
    // Harmless, but of a connection: isolated.
    ok(&mut session, &["CLIENT", "SETNAME", "mine"]);
    assert_eq!(
        ok(&mut session, &["CLIENT", "GETNAME"]),
        Reply::Bulk("mine".into())
    );
    assert_ne!(
        ok(&mut pod.session(), &["CLIENT", "GETNAME"]),
        Reply::Bulk("mine".into())
    );
    works(stage, &pod, "at last");
    assert_eq!(pod.stats().totals.disconnects_total, 0);
}

fn trap_a_lost_transaction_is_not_continued(stage: &Stage) {
    let pod = stage.pod();
    let mut session = pod.session();
    ok(&mut session, &["MULTI"]);
    ok(&mut session, &["SET", "k", "1"]);
    stage.l2().cut();
    eventually("the lane is back", || pod.fence().is_ok());
    // On a new connection this would be executed at once, outside any transaction.
    let error = session.command(&["SET", "k", "2"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_ne!(error.write_outcome(), Some(WriteOutcome::Refused));
    assert_eq!(stage.stored("k"), None);
    assert!(session.command(&["EXEC"]).is_err());
    assert_eq!(ok(&mut session, &["SET", "k", "3"]), Reply::ok());
    assert_eq!(pod.get("k").unwrap(), val("3"));
}

fn trap_a_transaction_with_a_cancelled_command_is_not_continued(stage: &Stage) {
    let pod = stage.pod();
    let mut session = pod.as_async().session();
    block_on(session.command(&["MULTI"])).unwrap();
    stage.net(Net::Stall);
    {
        let mut cancelled = Box::pin(session.command(&["SET", "k", "1"]));
        assert!(poll(&mut cancelled).is_pending());
    }
    stage.net(Net::Pass);
    pod.fence().unwrap();
    // Whether the first one is part of it nobody knows; on a new connection this one would be executed at once.
    let error = block_on(session.command(&["SET", "k", "2"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(error.write_outcome(), Some(WriteOutcome::NotSent));
    assert_eq!(stage.stored("k"), None);
    assert!(block_on(session.command(&["EXEC"])).is_err());
    block_on(session.command(&["SET", "k", "3"])).unwrap();
    assert_eq!(pod.get("k").unwrap(), val("3"));
}

fn trap_a_cancelled_multi_leaves_nobody_in_a_transaction(stage: &Stage) {
    let pod = stage.pod();
    let mut session = pod.as_async().session();
    block_on(session.command(&["CLIENT", "GETNAME"])).unwrap();
    stage.net(Net::Stall);
    {
        let mut cancelled = Box::pin(session.command(&["MULTI"]));
        assert!(poll(&mut cancelled).is_pending());
    }
    stage.net(Net::Pass);
    pod.fence().unwrap();
    let name = block_on(session.command(&["CLIENT", "GETNAME"])).unwrap();
    assert_ne!(name, queued());
    assert!(
        block_on(session.command(&["SET", "k", "v"]))
            .unwrap()
            .is_ok()
    );
    assert_eq!(pod.get("k").unwrap(), val("v"));
}

fn c16_a_session_that_ends_leaves_nothing_behind(stage: &Stage) {
    let pod = stage.pod();
    for _ in 0..10 {
        let mut session = pod.session();
        ok(&mut session, &["WATCH", "k"]);
        ok(&mut session, &["MULTI"]);
        ok(&mut session, &["SET", "k", "never"]);
    }
    eventually("only the lane is left", || stage.l2().connections() == 1);
    assert_eq!(stage.stored("k"), None);
    works(stage, &pod, "v");
}

fn trap_a_cancelled_command_ends_its_side_connection_at_once(stage: &Stage) {
    let pod = stage.pod();
    let mut session = pod.as_async().session();
    let id = block_on(session.command(&["CLIENT", "ID"])).unwrap();
    assert_eq!(stage.l2().connections(), 2, "the lane and its own");
    stage.net(Net::Stall);
    {
        let mut cancelled = Box::pin(session.command(&["CLIENT", "ID"]));
        assert!(poll(&mut cancelled).is_pending());
    }
    stage.net(Net::Pass);
    // Nothing is called in between: it might have waited there, and taken what nobody receives.
    eventually("only the lane is left", || stage.l2().connections() == 1);
    let other = block_on(session.command(&["CLIENT", "ID"])).unwrap();
    assert_ne!(id, other);
}

fn a_side_connection_that_died_idle_is_opened_again(stage: &Stage) {
    let pod = stage.pod();
    let (mut own, mut elsewhere) = (pod.session(), pod.session());
    stage.cmd_in(4, &["SET", "four", "x"]);
    ok(&mut elsewhere, &["SELECT", "4"]);
    let four = Reply::Array(vec![Reply::Bulk("four".into())]);
    for _ in 0..3 {
        ok(&mut own, &["CLIENT", "ID"]);
        ok(&mut elsewhere, &["CLIENT", "ID"]);
        assert_eq!(ok(&mut elsewhere, &["KEYS", "four"]), four);
        assert_eq!(ok(&mut own, &["KEYS", "four"]), Reply::Array(vec![]));
        // On its own side connection, as it would wait there.
        ok(&mut elsewhere, &["WATCH", "four"]);
        assert_eq!(ok(&mut elsewhere, &["KEYS", "four"]), four);
        ok(&mut elsewhere, &["UNWATCH"]);
        let before = pod.stats().totals.connects_total;
        stage.l2().cut();
        eventually("the lane is back", || {
            pod.stats().totals.connects_total > before && pod.fence().is_ok()
        });
    }
    // A state that hangs on one is not forgotten in silence.
    ok(&mut own, &["CLIENT", "SETNAME", "mine"]);
    let before = pod.stats().totals.connects_total;
    stage.l2().cut();
    eventually("the lane is back", || {
        pod.stats().totals.connects_total > before && pod.fence().is_ok()
    });
    let lost = own.command(&["KEYS", "*"]).unwrap_err();
    assert_eq!(lost.write_outcome(), Some(WriteOutcome::NotSent), "{lost}");
    says(&lost, &["state", "begin again"]);
    assert_eq!(ok(&mut own, &["CLIENT", "GETNAME"]), Reply::Nil);
}

fn c16_what_is_shared_has_no_state(stage: &Stage) {
    let pod = stage.pod();
    let mut sessions: Vec<_> = (0..20).map(|_| pod.session()).collect();
    for session in &mut sessions {
        ok(session, &["UNWATCH"]);
    }
    assert_eq!(stage.l2().connections(), 1, "the lane");
    ok(&mut sessions[0], &["CLIENT", "SETNAME", "mine"]);
    for (db, session) in sessions.iter_mut().enumerate().skip(1) {
        let db = (db % 5).to_string();
        ok(session, &["SELECT", &db]);
        ok(session, &["SET", &format!("k{db}"), "x"]);
        let keys = ok(session, &["KEYS", "k?"]);
        let own = Reply::Bulk(format!("k{db}").into());
        assert_eq!(keys, Reply::Array(vec![own]));
    }
    assert_eq!(stage.l2().connections(), 3, "one more for all of them");
    let name = ok(&mut sessions[0], &["CLIENT", "GETNAME"]);
    assert_eq!(name, Reply::Bulk("mine".into()));
}

/// For what the embedded store does not have.
mod real {
    use super::{Stage, eventually, joined, ok, spawn, val, works};
    use crate::on_server;
    use nearcache::Reply;

    on_server!(
        c16_a_blocking_command_delays_nobody,
        c16_a_session_cannot_change_its_user,
        trap_own_blocking_write_then_read,
    );

    fn c16_a_blocking_command_delays_nobody(stage: &Stage) {
        let pod = stage.pod();
        let blocked = {
            let mut session = pod.session();
            spawn(move || session.command(&["BLPOP", "list", "0"]))
        };
        eventually("somebody is blocked", || {
            let info = stage.cmd(&["INFO", "clients"]).text();
            info.contains("blocked_clients:1")
        });
        for round in 0..20 {
            works(stage, &pod, &round.to_string());
            assert_eq!(
                ok(&mut pod.session(), &["PING"]),
                Reply::Simple("PONG".into())
            );
        }
        stage.cmd(&["RPUSH", "list", "x"]);
        let popped = [Reply::Bulk("list".into()), Reply::Bulk("x".into())];
        assert_eq!(joined(blocked).unwrap(), Reply::Array(popped.to_vec()));
    }

    fn c16_a_session_cannot_change_its_user(stage: &Stage) {
        stage.cmd(&["ACL", "SETUSER", "guest", "on", ">pw", "~guest:*", "+@all"]);
        let pod = stage.pod();
        stage.set("k", "v");
        let mut guest = pod.session();
        let refused = guest.command(&["AUTH", "guest", "pw"]).unwrap_err();
        assert_eq!(refused.kind(), nearcache::ErrorKind::Usage);
        assert!(refused.to_string().contains("that user's URL"), "{refused}");
        assert_eq!(
            ok(&mut guest, &["ACL", "WHOAMI"]),
            Reply::Bulk("default".into())
        );
        works(stage, &pod, "still the default user");
        assert_eq!(pod.get("k").unwrap(), val("v"));
    }

    fn trap_own_blocking_write_then_read(stage: &Stage) {
        let pod = stage.pod();
        let mut session = pod.session();
        for round in 0..10 {
            let (from, value) = (format!("from {round}"), format!("{round}"));
            stage.cmd(&["RPUSH", &from, &value]);
            // Cached as the wrong type for GET: an error, and after it an absence.
            assert!(pod.get(&from).is_err());
            ok(&mut session, &["BLPOP", &from, "1"]);
            assert_eq!(pod.get(&from).unwrap(), None);
        }
    }
}
