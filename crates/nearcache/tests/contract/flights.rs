//! C8: one fetch of a key at a time that can be joined, and what becomes of it when its leader goes away.

use nearcache::blocking::NearCache;
use nearcache::{Bytes, Error, Ttl};

use super::stage::connect;
use super::{Net, Stage, eventually, joined, on_both, poll, spawn, val};

on_both!(
    c8_sixteen_callers_share_one_fetch,
    c8_four_fetches_of_a_key_at_most,
    c8_a_setting_bounds_the_fetches_of_a_key,
    trap_the_leader_of_a_fetch_is_cancelled,
    trap_a_refused_fill_serves_its_waiters_only,
    c8_a_failed_fetch_poisons_nothing,
);

type Call = std::thread::JoinHandle<Result<Option<Bytes>, Error>>;

fn get(pod: &NearCache, key: &'static str) -> Call {
    let pod = pod.clone();
    spawn(move || pod.get(key))
}

fn c8_sixteen_callers_share_one_fetch(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "v");
    let before = stage.calls("get");
    stage.net(Net::Stall);
    let calls: Vec<Call> = (0..16).map(|_| get(&pod, "k")).collect();
    eventually("one leads and fifteen wait for it", || {
        pod.stats().totals.joined_total == 15
    });
    stage.net(Net::Pass);
    for call in calls {
        assert_eq!(joined(call).unwrap(), val("v"));
    }
    assert_eq!(stage.calls("get"), before + 1);
}

fn c8_four_fetches_of_a_key_at_most(stage: &Stage) {
    bounded(stage, &stage.pod(), 4);
}

fn c8_a_setting_bounds_the_fetches_of_a_key(stage: &Stage) {
    bounded(stage, &connect(stage.builder().flights_per_key(2usize)), 2);
}

/// Reads a key again and again while its fetches are invalidated and do not come back.
fn bounded(stage: &Stage, pod: &NearCache, bound: u64) {
    let (reads, writes) = (stage.calls("get"), stage.calls("set"));
    stage.net(Net::StallReplies);
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for round in 1..=8 {
        readers.push(get(pod, "k"));
        eventually("it is sent, or turned away", || {
            let sent = stage.calls("get") - reads;
            sent == round.min(bound) && pod.stats().store.crowded >= round.saturating_sub(bound)
        });
        let writer = pod.clone();
        // An own write orphans what is in flight at once.
        writers.push(spawn(move || writer.set("k", round.to_string(), Ttl::NONE)));
        eventually("the write was executed", || {
            stage.calls("set") == writes + round
        });
    }
    assert_eq!(stage.calls("get"), reads + bound);
    stage.net(Net::Pass);
    for writer in writers {
        joined(writer).unwrap();
    }
    for reader in readers {
        joined(reader).unwrap();
    }
    assert_eq!(pod.get("k").unwrap(), val("8"));
}

fn trap_the_leader_of_a_fetch_is_cancelled(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "v");
    let before = stage.calls("get");
    stage.net(Net::Stall);
    let mut leader = Box::pin(pod.as_async().get("k"));
    assert!(poll(&mut leader).is_pending());
    let waiter = get(&pod, "k");
    eventually("somebody waits for it", || {
        pod.stats().totals.joined_total == 1
    });
    drop(leader);
    stage.net(Net::Pass);
    assert_eq!(joined(waiter).unwrap(), val("v"));
    assert_eq!(stage.calls("get"), before + 1, "it was not asked again");
    assert_eq!(pod.get_resident("k"), val("v"), "and it was kept");
}

fn trap_a_refused_fill_serves_its_waiters_only(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "old");
    let before = stage.calls("get");
    stage.net(Net::Stall);
    let calls: Vec<Call> = (0..4).map(|_| get(&pod, "k")).collect();
    eventually("they share a fetch", || {
        pod.stats().totals.joined_total == 3
    });
    // The fetch is orphaned by a write that never arrives, from this pod's own hands.
    let writer = {
        let pod = pod.clone();
        spawn(move || pod.set("k", "new", Ttl::NONE))
    };
    eventually("the write is on its way", || {
        pod.stats().totals.writes_total == 1
    });
    let late = get(&pod, "k");
    eventually("a later reader asks for itself", || {
        pod.stats().totals.fills_total == 2
    });
    stage.net(Net::Pass);
    for call in calls {
        assert!([val("old"), val("new")].contains(&joined(call).unwrap()));
    }
    joined(writer).unwrap();
    assert_eq!(joined(late).unwrap(), val("new"));
    // Who came after the first was sent may not have its answer, whose life nobody knows; but nobody asks
    // more than once more.
    assert!(stage.calls("get") <= before + 5);
    assert_eq!(pod.get("k").unwrap(), val("new"));
}

fn c8_a_failed_fetch_poisons_nothing(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "v");
    stage.net(Net::Stall);
    let calls: Vec<Call> = (0..4).map(|_| get(&pod, "k")).collect();
    eventually("they share a fetch", || {
        pod.stats().totals.joined_total == 3
    });
    stage.l2().cut();
    let errors = calls.into_iter().map(|call| joined(call).is_err());
    assert_eq!(errors.filter(|failed| *failed).count(), 4);
    stage.net(Net::Pass);
    eventually("the lane is back", || pod.get("k").is_ok());
    assert_eq!(pod.get("k").unwrap(), val("v"));
}
