//! C4: what was read before an invalidation is never kept after it.

use nearcache::ErrorKind;

use super::stage::Refuse;
use super::{Net, Stage, all, eventually, joined, on_both, spawn, val};

on_both!(
    trap_a_reply_races_the_push_behind_it,
    trap_a_batch_of_replies_races_a_push,
    trap_a_null_push_behind_a_reply,
    trap_the_tracking_table_is_too_small,
    c4_a_cached_absence_ends_with_a_write,
    c4_a_value_is_kept_only_while_it_is_tracked,
    c4_writers_and_readers_race_and_agree_in_the_end,
);

fn trap_a_reply_races_the_push_behind_it(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..20 {
        let (old, new) = (format!("old {round}"), format!("new {round}"));
        stage.set("k", &old);
        pod.fence().unwrap();
        let before = stage.calls("get");
        stage.net(Net::StallReplies);
        let reader = {
            let pod = pod.clone();
            spawn(move || pod.get("k").unwrap())
        };
        eventually("L2 has executed the read", || {
            stage.calls("get") == before + 1
        });
        stage.set("k", &new);
        // Reply and push arrive together.
        stage.net(Net::Pass);
        assert!([val(&old), val(&new)].contains(&joined(reader)));
        pod.fence().unwrap();
        assert_ne!(pod.get_resident("k"), val(&old));
        assert_eq!(pod.get("k").unwrap(), val(&new));
    }
    let stats = pod.stats();
    let caught = stats.totals.fills_refused_total + stats.store.invalidated;
    assert!(caught >= 20, "{stats}");
}

fn trap_a_batch_of_replies_races_a_push(stage: &Stage) {
    let pod = stage.pod();
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    for round in 0..5 {
        for key in &keys {
            stage.set(key, &format!("old {round}"));
        }
        pod.fence().unwrap();
        let before = stage.calls("get");
        stage.net(Net::StallReplies);
        let reader = {
            let (pod, keys) = (pod.clone(), keys.clone());
            spawn(move || all(pod.get_many(&keys)).unwrap())
        };
        eventually("L2 has executed the reads", || {
            stage.calls("get") == before + 50
        });
        let new = format!("new {round}");
        for key in &keys[10..20] {
            stage.set(key, &new);
        }
        stage.net(Net::Pass);
        joined(reader);
        pod.fence().unwrap();
        for (at, key) in keys.iter().enumerate() {
            let expected = if (10..20).contains(&at) {
                val(&new)
            } else {
                val(&format!("old {round}"))
            };
            assert_eq!(pod.get(key).unwrap(), expected, "{key}");
        }
    }
}

fn trap_a_null_push_behind_a_reply(stage: &Stage) {
    let pod = stage.pod();
    for flush in [&["FLUSHALL"][..], &["FLUSHDB"], &["FLUSHALL", "SYNC"]] {
        stage.set("k", "old");
        pod.fence().unwrap();
        let before = stage.calls("get");
        stage.net(Net::StallReplies);
        let reader = {
            let pod = pod.clone();
            spawn(move || pod.get("k").unwrap())
        };
        eventually("L2 has executed the read", || {
            stage.calls("get") == before + 1
        });
        stage.cmd(flush);
        stage.net(Net::Pass);
        joined(reader);
        pod.fence().unwrap();
        assert_eq!(pod.get_resident("k"), None);
        assert_eq!(pod.get("k").unwrap(), None);
    }
}

fn trap_the_tracking_table_is_too_small(stage: &Stage) {
    let pod = stage.pod();
    stage.l2().table_limit(5);
    let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
    for round in 0..5 {
        let value = round.to_string();
        for key in &keys {
            stage.set(key, &value);
        }
        pod.fence().unwrap();
        assert!(
            all(pod.get_many(&keys))
                .unwrap()
                .iter()
                .all(|v| *v == val(&value))
        );
        for key in &keys {
            assert_eq!(pod.get(key).unwrap(), val(&value));
        }
    }
    // What the table gave up, the pod has given up too.
    pod.fence().unwrap();
    assert!(pod.stats().store.entries <= 10, "{}", pod.stats());
}

fn c4_a_cached_absence_ends_with_a_write(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..20 {
        let key = format!("absent {round}");
        let before = stage.calls("get");
        assert_eq!(pod.get(&key).unwrap(), None);
        assert_eq!(pod.get(&key).unwrap(), None);
        assert_eq!(stage.calls("get"), before + 1, "the absence is kept");
        stage.set(&key, "there");
        pod.fence().unwrap();
        assert_eq!(pod.get(&key).unwrap(), val("there"));
        stage.cmd(&["DEL", &key]);
        pod.fence().unwrap();
        assert_eq!(pod.get(&key).unwrap(), None);
    }
}

fn c4_a_value_is_kept_only_while_it_is_tracked(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    // From now on reads are answered, but not registered.
    stage.l2().refuse(Refuse::Caching);
    let error = pod.get("other").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(pod.get_resident("k"), None, "its history is over");
    assert!(pod.stats().totals.disconnects_total >= 1);
}

fn c4_writers_and_readers_race_and_agree_in_the_end(stage: &Stage) {
    let pod = stage.pod();
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let pod = &pod;
            scope.spawn(move || {
                for round in 0..2000 {
                    pod.get(format!("k{}", (round + reader) % 4)).unwrap();
                }
            });
        }
        for round in 0..400 {
            stage.set(&format!("k{}", round % 4), &round.to_string());
        }
    });
    pod.fence().unwrap();
    for key in 0..4 {
        assert_eq!(
            pod.get(format!("k{key}")).unwrap(),
            val(&(396 + key).to_string())
        );
    }
}
