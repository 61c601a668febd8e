//! C2: how old a read may be, when the connection lies, the server is no primary any more, or the network
//! stands still.

use std::time::Duration;

use nearcache::blocking::NearCache;
use nearcache::{Error, ErrorKind, Freshness, LaneState, Read, ReadPolicy, Source};

use super::stage::connect;
use super::{Net, STALE, Stage, all, eventually, on_both, val};

on_both!(
    trap_half_open_under_error_is_refused,
    trap_half_open_under_pass_through_fails,
    trap_half_open_under_serve_stale_is_marked,
    trap_half_open_ends_with_a_new_connection,
    trap_demoted_primary_is_not_believed,
    c2_the_lease_is_never_used_past_its_end,
    c2_stale_reads_are_counted_and_bounded,
);

fn is_fresh_from_l1(read: &Result<Read, Error>) -> bool {
    matches!(
        read,
        Ok(Read {
            source: Source::L1,
            freshness: Freshness::Fresh,
            ..
        })
    )
}

/// A pod that holds `k = old`, whose cable is then pulled; `k` is then changed.
fn cut_off(stage: &Stage) -> NearCache {
    let pod = connect(stage.hasty());
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    stage.net(Net::HalfOpen);
    stage.set("k", "new");
    pod
}

fn wait_for_the_lease_to_end(pod: &NearCache) {
    eventually("the copy cannot be proven fresh any more", || {
        let read = pod.get_with("k", ReadPolicy::Error);
        matches!(read, Err(error) if error.kind() == ErrorKind::Unproven)
    });
}

fn trap_half_open_under_error_is_refused(stage: &Stage) {
    let pod = cut_off(stage);
    wait_for_the_lease_to_end(&pod);
    for _ in 0..100 {
        let error = pod.get_with("k", ReadPolicy::Error).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unproven, "{error}");
        assert_eq!(pod.get_resident("k"), None);
    }
    let totals = pod.stats().totals;
    assert!(totals.unproven_total > 100, "{totals:?}");
    // Nobody has been told by the network: only the lease has.
    assert_eq!(totals.disconnects_total, 0);
}

fn trap_half_open_under_pass_through_fails(stage: &Stage) {
    let pod = cut_off(stage);
    wait_for_the_lease_to_end(&pod);
    for _ in 0..20 {
        let error = pod.get("k").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        let error = all(pod.get_many(&["k"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    }
}

fn trap_half_open_under_serve_stale_is_marked(stage: &Stage) {
    let pod = cut_off(stage);
    wait_for_the_lease_to_end(&pod);
    let before = pod.stats().totals.stale_total;
    for _ in 0..100 {
        let read = pod.get_with("k", STALE).unwrap();
        assert_eq!((read.value, read.source), (val("old"), Source::L1));
        assert!(matches!(read.freshness, Freshness::Stale(_)));
    }
    assert_eq!(pod.stats().totals.stale_total, before + 100);
}

fn trap_half_open_ends_with_a_new_connection(stage: &Stage) {
    // A server that is silent this long is given up.
    let pod = connect(stage.hasty().dead_after("500ms"));
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    stage.net(Net::HalfOpen);
    stage.set("k", "new");
    eventually("the silent connection is given up", || {
        pod.stats().totals.disconnects_total == 1
    });
    assert!(!is_fresh_from_l1(&pod.get_with("k", ReadPolicy::Error)));
    assert!(matches!(pod.stats().lanes[0].state, LaneState::Down(_)));
    stage.net(Net::Pass);
    eventually("a new one is opened", || pod.get("k").is_ok());
    assert_eq!(pod.get("k").unwrap(), val("new"));
    assert_eq!(pod.stats().totals.connects_total, 2);
}

fn trap_demoted_primary_is_not_believed(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.set("k", "v");
    assert_eq!(pod.get("k").unwrap(), val("v"));
    stage.l2().set_primary(false);
    eventually("a heartbeat is answered by a replica", || {
        pod.stats().totals.demoted_total > 0
    });
    // It keeps its connections and goes on answering reads: what it says is of no use.
    for _ in 0..50 {
        let read = pod.get_with("k", ReadPolicy::Error);
        assert!(read.is_err(), "{read:?}");
        assert_eq!(pod.get_resident("k"), None);
    }
    assert_eq!(pod.get("k").unwrap_err().kind(), ErrorKind::Retry);
    let stale = pod.get_with("k", STALE).unwrap();
    assert!(matches!(stale.freshness, Freshness::Stale(_)), "{stale:?}");
    stage.l2().set_primary(true);
    stage.set("k", "promoted");
    eventually("the lane is back", || pod.get("k").is_ok());
    assert_eq!(pod.get("k").unwrap(), val("promoted"));
    assert_eq!(pod.stats().lanes[0].state, LaneState::Up);
}

fn c2_the_lease_is_never_used_past_its_end(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.set("k", "v");
    let stood_still = |pod: &NearCache| {
        let before = pod.stats().totals;
        stage.net(Net::Stall);
        eventually("the lease has run out", || {
            pod.get_with("k", ReadPolicy::Error).is_err()
        });
        stage.net(Net::Pass);
        eventually("it is renewed", || {
            pod.get("k").is_ok_and(|read| read == val("v"))
        });
        before.fills_total
    };
    assert_eq!(pod.get("k").unwrap(), val("v"));
    for _ in 0..3 {
        let fills = stood_still(&pod);
        assert_eq!(pod.stats().totals.fills_total, fills, "a read again");
    }
    let oldest = Duration::from_micros(pod.stats().totals.lease_age_max_us);
    assert!(oldest <= Duration::from_millis(300), "{oldest:?}");
    assert_eq!(pod.stats().totals.disconnects_total, 0);
}

fn c2_stale_reads_are_counted_and_bounded(stage: &Stage) {
    let pod = cut_off(stage);
    wait_for_the_lease_to_end(&pod);
    let Freshness::Stale(age) = pod.get_with("k", STALE).unwrap().freshness else {
        panic!("not marked");
    };
    // The hard maximum: just under what it is by now.
    let max = age;
    eventually("it is older than the maximum", || {
        let read = pod.get_with("k", ReadPolicy::ServeStale { max });
        matches!(read, Err(error) if error.kind() == ErrorKind::Retry)
    });
}
