//! C10 and C3 for calls with a loader: L2 is away, the origin is not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nearcache::blocking::NearCache;
use nearcache::{Bytes, ErrorKind, Json, OnL2Down, ReadPolicy, Source, Ttl};

use super::stage::connect;
use super::{STALE, Stage, all, eventually, joined, on_both, spawn, val};

on_both!(
    c10_loaders_answer_while_l2_is_away,
    c10_a_call_with_a_loader_may_fail_with_l2,
    c10_stale_copies_go_before_loaders,
    c3_a_write_that_failed_ends_what_the_origin_said,
    c8_a_blocking_loader_that_hangs_frees_its_callers_and_keeps_its_place,
    c2_a_setting_serves_stale_values_everywhere_and_counts_them,
);

type Loaded = Result<Bytes, io::Error>;

fn load(pod: &NearCache, key: &str, value: &str) -> Result<Bytes, nearcache::Error> {
    pod.get_or_load(key, Ttl::secs(60), || {
        Loaded::Ok(Bytes::copy_from_slice(value.as_bytes()))
    })
}

fn c10_loaders_answer_while_l2_is_away(stage: &Stage) {
    let pod = stage.pod();
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    for key in &keys {
        stage.set(key, "kept");
    }
    all(pod.get_many(&keys)).unwrap();
    stage.part(&pod);
    // Until the first attempt to connect has failed, calls wait for it.
    for round in 0..5 {
        for key in keys.iter().map(String::as_str).chain(["a", "b", "c", "d"]) {
            let value = load(&pod, key, "loaded");
            assert_eq!(value.unwrap(), "loaded", "{key} in round {round}");
        }
    }
    let totals = pod.stats().totals;
    assert_eq!(totals.loads_total, 104, "lent for as long as L, a minute");
    assert_eq!(totals.loads_l2_down_total, 104);
    assert_eq!(totals.loads_lent_total, 416);
    // An attempt that fails says nothing about any key: it is no loss of what was known.
    eventually("several attempts have failed", || {
        pod.stats().totals.connect_failures_total > 4
    });
    assert_eq!(load(&pod, "k0", "loaded").unwrap(), "loaded");
    let totals = pod.stats().totals;
    assert_eq!((totals.disconnects_total, totals.loads_total), (1, 104));
    stage.l2().refuse_connections(false);
    eventually("L2 is back", || pod.get("k0").is_ok());
    for key in &keys {
        assert_eq!(pod.get(key).unwrap(), val("kept"), "kept nowhere");
    }
    assert_eq!(stage.stored("a"), None);
    assert_eq!(load(&pod, "k0", "loaded").unwrap(), "kept");
}

fn c10_a_call_with_a_loader_may_fail_with_l2(stage: &Stage) {
    let strict = connect(stage.builder().on_l2_down(OnL2Down::Error));
    stage.part(&strict);
    let never = || -> Loaded { panic!("it must not run") };
    let error = strict.get_or_load("k", Ttl::NONE, never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    // And the other way about, for one call.
    let lenient = strict.load_policy().on_l2_down(OnL2Down::Load);
    let read = strict
        .get_or_load_with("k", lenient, || {
            Ok::<_, io::Error>(Some((Bytes::from("loaded"), Ttl::NONE)))
        })
        .unwrap();
    assert_eq!((read.value, read.source), (val("loaded"), Source::Origin));
}

fn c10_stale_copies_go_before_loaders(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "old");
    pod.get("k").unwrap();
    stage.part(&pod);
    let policy = pod.load_policy().on_unproven(STALE);
    let load = |key: &str| {
        pod.get_or_load_with(key, policy, || {
            Ok::<_, io::Error>(Some((Bytes::from("new"), Ttl::NONE)))
        })
        .unwrap()
    };
    assert_eq!(load("k").value, val("old"));
    assert_eq!(load("k").source, Source::L1);
    assert_eq!(load("not resident").value, val("new"));
}

fn c3_a_write_that_failed_ends_what_the_origin_said(stage: &Stage) {
    let pod = stage.pod();
    stage.part(&pod);
    assert_eq!(load(&pod, "k", "1").unwrap(), "1");
    assert_eq!(load(&pod, "k", "2").unwrap(), "1", "shared");
    assert!(pod.set("k", "2", Ttl::NONE).is_err());
    assert_eq!(load(&pod, "k", "2").unwrap(), "2");
    assert!(pod.delete("k").is_err());
    assert_eq!(load(&pod, "k", "3").unwrap(), "3");
    pod.forget("k");
    assert_eq!(load(&pod, "k", "4").unwrap(), "4");
    assert!(pod.session().command(&["SET", "k", "5"]).is_err());
    assert_eq!(load(&pod, "k", "5").unwrap(), "5");
}

fn c8_a_blocking_loader_that_hangs_frees_its_callers_and_keeps_its_place(stage: &Stage) {
    let pod = connect(stage.builder().load_timeout("200ms").max_loads(2));
    let (runs, open) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let stuck = {
        let (pod, runs, open) = (pod.clone(), runs.clone(), open.clone());
        spawn(move || {
            pod.get_or_load("k", Ttl::NONE, || {
                runs.fetch_add(1, Ordering::SeqCst);
                eventually("the loader may end", || open.load(Ordering::SeqCst));
                Loaded::Ok(Bytes::from("late"))
            })
        })
    };
    eventually("it hangs", || runs.load(Ordering::SeqCst) == 1);
    // Taken over, on the other place.
    let waiter = {
        let pod = pod.clone();
        spawn(move || load(&pod, "k", "of the waiter"))
    };
    assert_eq!(joined(waiter).unwrap(), "of the waiter");
    assert_eq!(pod.stats().totals.loads_abandoned_total, 1);
    // The one that hangs still has its own: with another one at work there is none left.
    let second = {
        let (pod, runs, open) = (pod.clone(), runs.clone(), open.clone());
        spawn(move || {
            pod.get_or_load("l", Ttl::NONE, || {
                runs.fetch_add(1, Ordering::SeqCst);
                eventually("the loader may end", || open.load(Ordering::SeqCst));
                Loaded::Ok(Bytes::from("late"))
            })
        })
    };
    eventually("another hangs", || runs.load(Ordering::SeqCst) == 2);
    let error = load(&pod, "m", "v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("max_loads"), "{error}");
    open.store(true, Ordering::SeqCst);
    assert_eq!(joined(stuck).unwrap(), "late", "its own, kept nowhere");
    assert_eq!(stage.stored("k"), val("of the waiter"));
    assert_eq!(joined(second).unwrap(), "late");
    assert_eq!(load(&pod, "m", "v").unwrap(), "v");
}

fn c2_a_setting_serves_stale_values_everywhere_and_counts_them(stage: &Stage) {
    let pod = connect(stage.builder().on_unproven("serve_stale(1h)"));
    stage.set("k", "\"old\"");
    let typed = pod.typed::<String, _>(Json);
    assert_eq!(*typed.get("k").unwrap().unwrap(), "old");
    stage.part(&pod);
    stage.set("k", "\"new\"");
    let before = pod.stats().totals.stale_total;
    assert_eq!(pod.get("k").unwrap(), val("\"old\""));
    assert_eq!(all(pod.get_many(&["k", "k"])).unwrap().len(), 2);
    assert_eq!(*typed.get("k").unwrap().unwrap(), "old");
    let read = typed.get_with("k", STALE).unwrap();
    assert!(matches!(
        read.freshness,
        nearcache::Freshness::Stale(age) if age.as_secs() < 3600
    ));
    // One key that is not here fails for itself.
    let many = typed.get_many(&["k", "missing"]);
    assert!(many[0].is_ok() && many[1].is_err());
    let marked = pod.get_many_with(&["k"], STALE).remove(0).unwrap();
    assert_eq!((marked.value, marked.source), (val("\"old\""), Source::L1));
    let never = || -> Result<String, io::Error> { panic!("a stale copy goes first") };
    assert_eq!(*typed.get_or_load("k", Ttl::NONE, never).unwrap(), "old");
    assert_eq!(pod.stats().totals.stale_total - before, 8);
    let strict = pod.get_with("k", ReadPolicy::PassThrough).unwrap_err();
    assert_eq!(strict.kind(), ErrorKind::Retry);
    pod.shutdown();
    assert_eq!(pod.get("k").unwrap_err().kind(), ErrorKind::Closed);
}
