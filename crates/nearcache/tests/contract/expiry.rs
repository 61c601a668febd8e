//! C5: nothing outlives its key, and a change of a key's life is a change of the key.

use nearcache::{Bytes, ReadPolicy, Source, Ttl};
use nearcache_testkit::Value;

use super::stage::connect;
use super::{Net, STALE, Stage, all, eventually, on_both, val};

on_both!(
    c5_nothing_is_served_past_its_expiry,
    c5_own_times_to_live_are_honoured,
    c5_serve_stale_serves_nothing_expired,
    c5_changes_of_a_life_and_of_names_are_seen,
    trap_a_key_expires_between_get_and_pttl,
);

fn is_gone(stage: &Stage, key: &str) -> bool {
    stage.cmd(&["EXISTS", key]) == Value::Int(0)
}

fn c5_nothing_is_served_past_its_expiry(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..10 {
        let key = format!("k{round}");
        stage.cmd(&["SET", &key, "v", "PX", "50"]);
        let read = pod.get(&key).unwrap();
        assert!(read.is_none() || read == val("v"));
        // The server's clock is asked, not ours.
        eventually("it is gone in L2", || is_gone(stage, &key));
        assert_eq!(pod.get_resident(&key), None);
        assert_eq!(pod.get_with(&key, STALE).unwrap().value, None);
        assert_eq!(pod.get_with(&key, ReadPolicy::Error).unwrap().value, None);
        assert_eq!(all(pod.get_many(&[&key])).unwrap(), [None]);
        assert_eq!(pod.get(&key).unwrap(), None);
    }
}

fn c5_own_times_to_live_are_honoured(stage: &Stage) {
    let pod = stage.pod();
    pod.set("short", "v", Ttl::millis(50)).unwrap();
    pod.set("long", "v", Ttl::secs(1000)).unwrap();
    let loaded = pod.get_or_load("loaded", Ttl::millis(50), || {
        Ok::<_, std::io::Error>(Bytes::from("v"))
    });
    assert_eq!(loaded.unwrap(), "v");
    for key in ["short", "loaded"] {
        eventually("it is gone in L2", || is_gone(stage, key));
        assert_eq!(pod.get(key).unwrap(), None, "{key}");
    }
    let life = stage.cmd(&["PTTL", "long"]).int();
    assert!((900_000..=1_000_000).contains(&life), "{life}");
    assert_eq!(pod.get("long").unwrap(), val("v"));
    assert_eq!(pod.get("long").unwrap(), val("v"));
}

fn c5_serve_stale_serves_nothing_expired(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.set("eternal", "v");
    stage.cmd(&["SET", "k", "v", "PX", "700"]);
    assert_eq!(pod.get("eternal").unwrap(), val("v"));
    let read = pod.get("k").unwrap();
    stage.net(Net::HalfOpen);
    // While the pod can hear nothing of it.
    eventually("it is gone in L2", || is_gone(stage, "k"));
    assert!(read.is_none() || read == val("v"));
    for _ in 0..3 {
        let read = pod.get_with("k", STALE);
        assert!(read.is_err(), "{read:?}");
    }
    let other = pod.get_with("eternal", STALE).unwrap();
    assert_eq!((other.value, other.source), (val("v"), Source::L1));
}

fn c5_changes_of_a_life_and_of_names_are_seen(stage: &Stage) {
    let pod = stage.pod();
    let set = "return redis.call('SET', KEYS[1], ARGV[1])";
    // What a foreign writer does to `k`, and what `k` and `l` are then.
    type Step<'a> = (&'a [&'a str], Option<&'a str>, Option<&'a str>);
    let steps: &[Step<'_>] = &[
        (&["SET", "k", "1", "PX", "100000"], Some("1"), None),
        (&["PERSIST", "k"], Some("1"), None),
        (&["PEXPIRE", "k", "100000"], Some("1"), None),
        (&["COPY", "k", "l"], Some("1"), Some("1")),
        (&["RENAME", "k", "l"], None, Some("1")),
        (&["RENAME", "l", "k"], Some("1"), None),
        (&["EVAL", set, "1", "k", "2"], Some("2"), None),
        (&["EVAL", set, "1", "l", "3"], Some("2"), Some("3")),
        (&["COPY", "k", "l", "REPLACE"], Some("2"), Some("2")),
        (&["PEXPIRE", "k", "0"], None, Some("2")),
        (&["GETEX", "l", "PX", "100000"], None, Some("2")),
        (&["UNLINK", "l"], None, None),
    ];
    all(pod.get_many(&["k", "l"])).unwrap();
    for (command, k, l) in steps {
        let before = pod.stats().totals.invalidations_total;
        stage.cmd(command);
        pod.fence().unwrap();
        assert!(
            pod.stats().totals.invalidations_total > before,
            "{command:?} was not pushed"
        );
        let values = all(pod.get_many(&["k", "l"])).unwrap();
        assert_eq!(values, [k.and_then(val), l.and_then(val)], "{command:?}");
    }
}

fn trap_a_key_expires_between_get_and_pttl(stage: &Stage) {
    let pod = stage.pod();
    // Lives of a millisecond or two: some end before the read, some after it, some in between.
    for round in 0..150 {
        let key = format!("k{round}");
        let life = (round % 3 + 1).to_string();
        stage.cmd(&["SET", &key, "v", "PX", &life]);
        pod.get(&key).unwrap();
        eventually("it is gone in L2", || is_gone(stage, &key));
        assert_eq!(pod.get_resident(&key), None, "round {round}");
        assert_eq!(pod.get(&key).unwrap(), None, "round {round}");
    }
}
