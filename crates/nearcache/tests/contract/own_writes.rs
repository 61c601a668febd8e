//! C3: what this pod has written, by whatever way, its next read shows.

use nearcache::blocking::NearCache;
use nearcache::{Bytes, Raw, Ttl};

use super::{Net, Stage, all, eventually, joined, on_both, spawn, val};

on_both!(
    c3_a_read_after_an_own_write_is_new,
    c3_other_handles_of_the_pod_count_as_own,
    trap_own_script_then_read,
    trap_own_commands_then_read,
    trap_own_transaction_then_read,
    trap_own_swapdb_then_read,
    trap_a_read_joins_no_flight_older_than_a_write,
);

fn c3_a_read_after_an_own_write_is_new(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..100 {
        let value = round.to_string();
        pod.set("k", value.clone(), Ttl::NONE).unwrap();
        assert_eq!(pod.get("k").unwrap(), val(&value));
        assert_eq!(
            pod.get_resident("k"),
            val(&value),
            "the next read is from L1"
        );
        if round % 10 == 0 {
            assert!(pod.delete("k").unwrap());
            assert_eq!(pod.get("k").unwrap(), None);
        }
    }
}

fn c3_other_handles_of_the_pod_count_as_own(stage: &Stage) {
    let pod = stage.pod();
    let (blocking, typed, db) = (pod.clone(), pod.typed::<Bytes, _>(Raw), pod.with_db(0));
    for round in 0..30 {
        let value = Bytes::from(round.to_string());
        assert!(pod.get("k").is_ok());
        match round % 3 {
            0 => typed.set("k", &value, Ttl::NONE).unwrap(),
            1 => blocking.set("k", value.clone(), Ttl::NONE).unwrap(),
            _ => db.set("k", value.clone(), Ttl::NONE).unwrap(),
        }
        assert_eq!(pod.get("k").unwrap(), Some(value.clone()));
        assert_eq!(typed.get("k").unwrap().as_deref(), Some(&value));
    }
}

fn trap_own_script_then_read(stage: &Stage) {
    stage.net(Net::LatePushes);
    let pod = stage.pod();
    let mut session = pod.session();
    stage.set("hidden", "0");
    for round in 1..50 {
        let value = round.to_string();
        assert!(pod.get("hidden").unwrap().is_some(), "it is resident");
        // The key is in no argument that anybody could read it from.
        let script = format!("return redis.call('SET', 'hidden', '{value}')");
        session.command(&["EVAL", &script, "0"]).unwrap();
        assert_eq!(pod.get("hidden").unwrap(), val(&value));
    }
}

fn trap_own_commands_then_read(stage: &Stage) {
    stage.net(Net::LatePushes);
    let pod = stage.pod();
    let mut session = pod.session();
    // What writes, which key is then read, and what it must show.
    let commands: &[(&[&str], &str, Option<&str>)] = &[
        (&["INCR", "a"], "a", Some("1")),
        (&["APPEND", "a", "0"], "a", Some("10")),
        (&["SETRANGE", "a", "1", "5"], "a", Some("15")),
        (&["COPY", "a", "b"], "b", Some("15")),
        (&["RENAME", "a", "c"], "a", None),
        (&["GETSET", "c", "16"], "c", Some("16")),
        (&["MSET", "a", "1", "b", "2"], "b", Some("2")),
        (&["DEL", "a", "b"], "a", None),
        (&["GETDEL", "c"], "c", None),
        (&["SET", "b", "3", "PX", "100000"], "b", Some("3")),
        (&["MOVE", "b", "2"], "b", None),
        (&["FLUSHALL"], "b", None),
    ];
    for (command, key, expected) in commands {
        for key in ["a", "b", "c"] {
            pod.get(key).unwrap();
        }
        session.command(command).unwrap();
        assert_eq!(pod.get(key).unwrap(), expected.and_then(val), "{command:?}");
    }
}

fn trap_own_transaction_then_read(stage: &Stage) {
    stage.net(Net::LatePushes);
    let pod = stage.pod();
    let mut session = pod.session();
    for round in 1..20 {
        let value = round.to_string();
        all(pod.get_many(&["a", "b"])).unwrap();
        let command = |key: &str| {
            ["SET", key, &value]
                .map(|word| Bytes::copy_from_slice(word.as_bytes()))
                .to_vec()
        };
        session
            .transaction(vec![command("a"), command("b")])
            .unwrap();
        assert_eq!(
            all(pod.get_many(&["a", "b"])).unwrap(),
            [val(&value), val(&value)]
        );
        // The same, command by command.
        session.command(&["MULTI"]).unwrap();
        session.command(&["INCR", "a"]).unwrap();
        session.command(&["EXEC"]).unwrap();
        assert_eq!(pod.get("a").unwrap(), val(&(round + 1).to_string()));
    }
}

fn trap_own_swapdb_then_read(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "zero");
    stage.cmd_in(1, &["SET", "k", "one"]);
    assert_eq!(pod.get("k").unwrap(), val("zero"));
    assert_eq!(pod.with_db(1).get("k").unwrap(), val("one"));
    // No server tells anybody of it.
    pod.session().command(&["SWAPDB", "0", "1"]).unwrap();
    assert_eq!(pod.get("k").unwrap(), val("one"));
    assert_eq!(pod.with_db(1).get("k").unwrap(), val("zero"));
}

fn trap_a_read_joins_no_flight_older_than_a_write(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..10 {
        let (old, new) = (format!("old {round}"), format!("new {round}"));
        stage.set("k", &old);
        pod.fence().unwrap();
        pod.forget("k");
        let (reads, writes) = (stage.calls("get"), stage.calls("set"));
        stage.net(Net::StallReplies);
        let read = |pod: &NearCache| {
            let pod = pod.clone();
            spawn(move || pod.get("k").unwrap())
        };
        let early = read(&pod);
        eventually("the early read was executed", || {
            stage.calls("get") == reads + 1
        });
        let writer = {
            let (pod, new) = (pod.clone(), new.clone());
            spawn(move || pod.set("k", new, Ttl::NONE).unwrap())
        };
        eventually("the write was executed", || {
            stage.calls("set") == writes + 1
        });
        let late = read(&pod);
        eventually("the late read was sent by itself", || {
            stage.calls("get") == reads + 2
        });
        stage.net(Net::Pass);
        joined(writer);
        assert_eq!(joined(late), val(&new));
        assert!([val(&old), val(&new)].contains(&joined(early)));
        assert_eq!(pod.get("k").unwrap(), val(&new));
    }
}
