//! C6: when the pod has missed something, or everything was flushed, what it held before is not fresh.

use nearcache::{ErrorKind, Freshness, ReadPolicy, Source};

use super::{Net, STALE, Stage, all, eventually, on_both, val};

on_both!(
    trap_null_push_of_flushall,
    trap_null_push_of_a_flush_of_another_db,
    trap_hits_after_the_connection_died,
    trap_hits_while_reconnecting,
    c6_what_was_written_meanwhile_is_seen,
    c6_a_flush_is_dead_for_every_policy,
    c6_a_server_that_was_restarted_is_empty,
);

fn trap_null_push_of_flushall(stage: &Stage) {
    let pod = stage.pod();
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    for key in &keys {
        stage.set(key, "v");
    }
    assert!(
        all(pod.get_many(&keys))
            .unwrap()
            .iter()
            .all(Option::is_some)
    );
    stage.cmd(&["FLUSHALL"]);
    pod.fence().unwrap();
    for key in &keys {
        assert_eq!(pod.get_resident(key), None);
    }
    assert!(
        all(pod.get_many(&keys))
            .unwrap()
            .iter()
            .all(Option::is_none)
    );
    assert!(pod.stats().totals.flushes_total >= 1);
}

fn trap_null_push_of_a_flush_of_another_db(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    // It empties the whole table: nobody would hear of the next write.
    stage.cmd_in(5, &["FLUSHDB"]);
    pod.fence().unwrap();
    assert_eq!(pod.get_resident("k"), None);
    assert_eq!(pod.get("k").unwrap(), val("old"));
    stage.set("k", "new");
    pod.fence().unwrap();
    assert_eq!(pod.get("k").unwrap(), val("new"));
}

fn trap_hits_after_the_connection_died(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..5 {
        let (old, new) = (format!("old {round}"), format!("new {round}"));
        stage.set("k", &old);
        pod.fence().unwrap();
        assert_eq!(pod.get("k").unwrap(), val(&old));
        let before = pod.stats().totals;
        // With a lease of a minute, only the end of the connection can tell.
        stage.l2().cut();
        eventually("it is noticed", || {
            pod.stats().totals.disconnects_total > before.disconnects_total
        });
        stage.set("k", &new);
        assert_ne!(pod.get_resident("k"), val(&old));
        eventually("the lane is back", || pod.get("k").is_ok());
        assert_eq!(pod.get("k").unwrap(), val(&new));
    }
}

fn trap_hits_while_reconnecting(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    stage.part(&pod);
    eventually("an attempt to connect has failed", || {
        pod.stats().totals.connect_failures_total > 0
    });
    stage.set("k", "new");
    for _ in 0..50 {
        assert_eq!(pod.get_resident("k"), None);
        assert_eq!(pod.get("k").unwrap_err().kind(), ErrorKind::Retry);
        assert!(pod.get_with("k", ReadPolicy::Error).is_err());
        let read = pod.get_with("k", STALE).unwrap();
        assert_eq!((read.value, read.source), (val("old"), Source::L1));
        assert!(matches!(read.freshness, Freshness::Stale(_)));
    }
    stage.l2().refuse_connections(false);
    eventually("the lane is back", || pod.get("k").is_ok());
    let read = pod.get_with("k", STALE).unwrap();
    assert_eq!((read.value, read.freshness), (val("new"), Freshness::Fresh));
}

fn c6_what_was_written_meanwhile_is_seen(stage: &Stage) {
    let pod = stage.pod();
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    for key in &keys {
        stage.set(key, "old");
    }
    all(pod.get_many(&keys)).unwrap();
    stage.part(&pod);
    for key in keys.iter().step_by(2) {
        stage.set(key, "new");
    }
    stage.l2().refuse_connections(false);
    eventually("the lane is back", || pod.fence().is_ok());
    for (at, key) in keys.iter().enumerate() {
        let expected = if at % 2 == 0 { "new" } else { "old" };
        assert_eq!(pod.get(key).unwrap(), val(expected), "{key}");
    }
}

fn c6_a_flush_is_dead_for_every_policy(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "v");
    assert_eq!(pod.get("k").unwrap(), val("v"));
    stage.cmd(&["FLUSHALL"]);
    pod.fence().unwrap();
    stage.part(&pod);
    let read = pod.get_with("k", STALE);
    assert!(read.is_err(), "{read:?}");
}

fn c6_a_server_that_was_restarted_is_empty(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "v");
    assert_eq!(pod.get("k").unwrap(), val("v"));
    stage.l2().restart();
    eventually("the pod is connected to the new one", || {
        pod.stats().totals.connects_total == 2
    });
    stage.net(Net::Pass);
    assert_eq!(pod.get("k").unwrap(), None);
    stage.set("k", "w");
    pod.fence().unwrap();
    assert_eq!(pod.get("k").unwrap(), val("w"));
}
