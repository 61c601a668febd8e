//! C8 and C4 for loaders: one at a time, never over a write of the origin, and no harm from one that fails.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nearcache::blocking::NearCache;
use nearcache::{Bytes, Error, ErrorKind, Ttl};

use super::{Net, Stage, eventually, joined, on_both, poll, spawn, val};

on_both!(
    c8_sixteen_callers_share_one_loader,
    trap_the_caller_of_a_loader_is_cancelled,
    c8_a_failing_loader_fails_its_waiters_once,
    c8_a_panicking_loader_fails_its_waiters_once,
    trap_a_loader_races_a_write_of_the_origin,
    trap_a_loader_races_a_write_and_a_delete,
    c4_who_loses_set_nx_gets_the_winners_value,
    c4_a_loaded_value_is_kept_by_the_next_read_only,
);

type Loaded = Result<Bytes, io::Error>;
type Call = std::thread::JoinHandle<Result<Bytes, Error>>;

fn load(pod: &NearCache, loader: impl FnOnce() -> Loaded + Send + 'static) -> Call {
    let pod = pod.clone();
    spawn(move || pod.get_or_load("k", Ttl::secs(60), loader))
}

fn never() -> Loaded {
    panic!("this loader must not run");
}

/// Somebody has joined a flight since the store counted `before`.
fn wait_for_a_waiter(pod: &NearCache, before: u64) {
    eventually("another caller waits", || pod.stats().store.joins > before);
}

fn c8_sixteen_callers_share_one_loader(stage: &Stage) {
    let pod = stage.pod();
    let (runs, open) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let calls: Vec<Call> = (0..16)
        .map(|_| {
            let (runs, open) = (runs.clone(), open.clone());
            load(&pod, move || {
                runs.fetch_add(1, Ordering::SeqCst);
                eventually("the loader may end", || open.load(Ordering::SeqCst));
                Ok(Bytes::from("loaded"))
            })
        })
        .collect();
    eventually("one loads and fifteen wait", || {
        runs.load(Ordering::SeqCst) >= 1 && pod.stats().store.joins >= 15
    });
    open.store(true, Ordering::SeqCst);
    for call in calls {
        assert_eq!(joined(call).unwrap(), "loaded");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(stage.stored("k"), val("loaded"));
    assert_eq!(joined(load(&pod, never)).unwrap(), "loaded");
}

fn trap_the_caller_of_a_loader_is_cancelled(stage: &Stage) {
    let pod = stage.pod();
    let started = AtomicBool::new(false);
    let mut leader = Box::pin(pod.as_async().get_or_load("k", Ttl::NONE, || async {
        started.store(true, Ordering::SeqCst);
        std::future::pending::<Loaded>().await
    }));
    eventually("its loader runs", || {
        assert!(poll(&mut leader).is_pending());
        started.load(Ordering::SeqCst)
    });
    let before = pod.stats().store.joins;
    let waiter = load(&pod, || Ok(Bytes::from("the waiter's own")));
    wait_for_a_waiter(&pod, before);
    drop(leader);
    assert_eq!(joined(waiter).unwrap(), "the waiter's own");
    assert_eq!(stage.stored("k"), val("the waiter's own"));
}

/// One caller whose loader ends as `end` says once another waits for it; the other's answer, and the first's.
fn failing(
    pod: &NearCache,
    end: fn() -> Loaded,
) -> (
    Result<Bytes, Error>,
    std::thread::Result<Result<Bytes, Error>>,
) {
    let started = Arc::new(AtomicBool::new(false));
    let first = {
        let (stats, started) = (pod.clone(), started.clone());
        load(pod, move || {
            let before = stats.stats().store.joins;
            started.store(true, Ordering::SeqCst);
            wait_for_a_waiter(&stats, before);
            end()
        })
    };
    eventually("the first loader runs", || started.load(Ordering::SeqCst));
    let second = load(pod, never);
    (joined(second), first.join())
}

fn c8_a_failing_loader_fails_its_waiters_once(stage: &Stage) {
    let pod = stage.pod();
    for round in 1..4 {
        let (waiter, first) = failing(&pod, || Err(io::Error::other("no such row")));
        for error in [waiter.unwrap_err(), first.unwrap().unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Loader, "{error}");
        }
        assert_eq!(pod.stats().totals.load_errors_total, round);
    }
    let next = joined(load(&pod, || Ok(Bytes::from("row"))));
    assert_eq!(next.unwrap(), "row");
}

fn c8_a_panicking_loader_fails_its_waiters_once(stage: &Stage) {
    let pod = stage.pod();
    let (waiter, first) = failing(&pod, || panic!("of the loader"));
    assert_eq!(waiter.unwrap_err().kind(), ErrorKind::Loader);
    assert!(first.is_err(), "the panic goes on in its own caller");
    assert_eq!(pod.stats().totals.load_errors_total, 1);
    let next = joined(load(&pod, || Ok(Bytes::from("row"))));
    assert_eq!(next.unwrap(), "row");
    assert_eq!(pod.get("k").unwrap(), val("row"));
}

/// The origin is written, and L2 with it, while `stage`'s loader runs.
fn race(stage: &Stage, commands: &'static [&'static [&'static str]]) -> (NearCache, Bytes) {
    let pod = stage.pod();
    let mut result = None;
    std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            pod.get_or_load("k", Ttl::NONE, || {
                for command in commands {
                    stage.cmd(command);
                }
                // Whatever was pushed has arrived.
                pod.fence().unwrap();
                Loaded::Ok(Bytes::from("read before the write"))
            })
        });
        result = Some(call.join().unwrap().unwrap());
    });
    (pod, result.unwrap())
}

fn trap_a_loader_races_a_write_of_the_origin(stage: &Stage) {
    let (pod, answer) = race(stage, &[&["SET", "k", "written"]]);
    assert!(answer == "read before the write" || answer == "written");
    assert_eq!(stage.stored("k"), val("written"), "not overwritten");
    assert_eq!(pod.get("k").unwrap(), val("written"), "not kept");
}

fn trap_a_loader_races_a_write_and_a_delete(stage: &Stage) {
    // Here SET NX would succeed: only the token knows.
    let (pod, _) = race(stage, &[&["SET", "k", "written"], &["DEL", "k"]]);
    assert_eq!(stage.stored("k"), None);
    assert_eq!(pod.get("k").unwrap(), None);
    assert_eq!(pod.stats().totals.load_write_errors_total, 1);
}

fn c4_who_loses_set_nx_gets_the_winners_value(stage: &Stage) {
    let pod = stage.pod();
    assert_eq!(pod.get("k").unwrap(), None);
    let writes = stage.calls("set");
    std::thread::scope(|scope| {
        let loser = scope.spawn(|| {
            pod.get_or_load("k", Ttl::NONE, || {
                // Its push is held back: the token does not know.
                stage.net(Net::StallReplies);
                stage.set("k", "winner");
                Loaded::Ok(Bytes::from("loser"))
            })
        });
        eventually("both have written", || stage.calls("set") == writes + 2);
        stage.net(Net::Pass);
        assert_eq!(loser.join().unwrap().unwrap(), "winner");
    });
    assert_eq!(stage.stored("k"), val("winner"));
    assert_eq!(pod.get("k").unwrap(), val("winner"));
}

fn c4_a_loaded_value_is_kept_by_the_next_read_only(stage: &Stage) {
    let (one, other) = (stage.pod(), stage.pod());
    let load = |pod: &NearCache, value: &'static str| {
        pod.get_or_load("k", Ttl::secs(60), || Loaded::Ok(Bytes::from(value)))
            .unwrap()
    };
    assert_eq!(load(&one, "first"), "first");
    assert_eq!(one.get_resident("k"), None, "what was loaded is not a read");
    assert_eq!(load(&other, "second"), "first");
    assert_eq!(one.get("k").unwrap(), val("first"));
    stage.set("k", "third");
    for pod in [&one, &other] {
        pod.fence().unwrap();
        assert_eq!(load(pod, "fourth"), "third");
    }
}
