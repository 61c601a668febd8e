//! C10: an L2 that is slow, stopped, away or flapping: what is resident follows its policy, all else fails
//! fast and in clear words, and nothing piles up.

use nearcache::{ErrorKind, Freshness, LaneState, ReadPolicy, Source, Ttl};

use super::stage::{Refuse, connect};
use super::{Net, STALE, Stage, all, eventually, joined, on_both, says, spawn, val};

on_both!(
    c10_a_stopped_server_costs_one_heartbeat_and_no_read,
    c10_a_stopped_server_fails_calls_and_hangs_none,
    c10_a_server_that_is_away_fails_calls_at_once,
    c10_a_flapping_network_is_survived,
    c10_a_transaction_on_a_dead_connection_ends,
    c10_an_l2_out_of_memory_still_answers_reads,
    c10_the_queue_is_bounded,
    c10_calls_made_before_the_lane_is_up_wait_for_it,
);

fn c10_a_stopped_server_costs_one_heartbeat_and_no_read(stage: &Stage) {
    let pod = connect(stage.hasty());
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    for key in &keys {
        stage.set(key, "v");
    }
    all(pod.get_many(&keys)).unwrap();
    let (reads, fills) = (stage.calls("get"), pod.stats().totals.fills_total);

    stage.l2().freeze(true);
    eventually("the lease has run out", || {
        let read = pod.get_with("k0", ReadPolicy::Error);
        matches!(read, Err(error) if error.kind() == ErrorKind::Unproven)
    });
    for key in &keys {
        let stale = pod.get_with(key, STALE).unwrap();
        assert_eq!((stale.value, stale.source), (val("v"), Source::L1));
        assert!(matches!(stale.freshness, Freshness::Stale(_)));
        let error = pod.get_with(key, ReadPolicy::Error).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unproven);
    }
    assert_eq!(pod.get("k0").unwrap_err().kind(), ErrorKind::Retry);

    stage.l2().freeze(false);
    eventually("it is proven fresh again", || pod.get("k0").is_ok());
    for key in &keys {
        assert_eq!(pod.get(key).unwrap(), val("v"));
    }
    let totals = pod.stats().totals;
    assert_eq!((stage.calls("get"), totals.fills_total), (reads, fills));
    assert_eq!((totals.connects_total, totals.disconnects_total), (1, 0));
}

fn c10_a_stopped_server_fails_calls_and_hangs_none(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.l2().freeze(true);
    // That these come back at all is what is tested; the words are for the operator.
    let error = pod.get("missing").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    says(&error, &["L2"]);
    eventually(
        "calls fail without waiting",
        || matches!(pod.get("other"), Err(error) if error.to_string().contains("at once")),
    );
    for _ in 0..200 {
        for error in [
            pod.get("missing").unwrap_err(),
            all(pod.get_many(&["a", "b"])).unwrap_err(),
            pod.get_validated("missing").unwrap_err(),
            pod.set("k", "v", Ttl::NONE).unwrap_err(),
            pod.delete("k").unwrap_err(),
            pod.fence().unwrap_err(),
            pod.session().command(&["INCR", "n"]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        }
    }
    assert!(pod.stats().totals.timeouts_total > 0);
    stage.l2().freeze(false);
    eventually("calls succeed again", || pod.get("missing").is_ok());
    eventually("nothing is in the air", || {
        pod.stats().store.flights_open == 0
    });
    pod.set("k", "v", Ttl::NONE).unwrap();
    assert_eq!(pod.get("k").unwrap(), val("v"));
    // What failed at once was never sent.
    assert_eq!(stage.stored("n"), None);
}

fn c10_a_server_that_is_away_fails_calls_at_once(stage: &Stage) {
    let pod = stage.pod();
    stage.part(&pod);
    eventually("an attempt to connect has failed", || {
        pod.stats().totals.connect_failures_total > 0
    });
    // With half a minute of patience: only "at once" ends this test.
    for _ in 0..100 {
        let error = pod.get("k").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        says(&error, &["connect"]);
    }
    assert!(matches!(pod.stats().lanes[0].state, LaneState::Down(_)));
    stage.l2().refuse_connections(false);
    eventually("it connects by itself", || {
        pod.stats().lanes[0].state == LaneState::Up
    });
    assert_eq!(pod.get("k").unwrap(), None);
}

fn c10_a_flapping_network_is_survived(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..15 {
        let value = round.to_string();
        stage.set("k", &value);
        stage.l2().cut();
        eventually("reads succeed", || {
            pod.get("k").is_ok_and(|read| read == val(&value))
        });
    }
    assert!(pod.stats().totals.connects_total > 10);
    eventually("no connection is left behind", || {
        stage.l2().connections() == 1
    });
}

fn c10_a_transaction_on_a_dead_connection_ends(stage: &Stage) {
    let pod = connect(stage.hasty().dead_after("500ms"));
    let mut session = pod.session();
    session.command(&["MULTI"]).unwrap();
    stage.net(Net::HalfOpen);
    // Side commands have no time of their own, as some wait for long: what ends them is that the server is dead.
    let error = session.command(&["SET", "k", "v"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    let error = session.command(&["EXEC"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    stage.net(Net::Pass);
    eventually("the lane is back", || pod.fence().is_ok());
    assert_eq!(stage.stored("k"), None);
    session.command(&["MULTI"]).unwrap();
    session.command(&["SET", "k", "w"]).unwrap();
    session.command(&["EXEC"]).unwrap();
    assert_eq!(pod.get("k").unwrap(), val("w"));
}

fn c10_an_l2_out_of_memory_still_answers_reads(stage: &Stage) {
    let large = "x".repeat(100 << 10);
    stage.set("k", "v");
    stage.set("large", &large);
    let builder = stage.builder().max_inline("64KiB");
    let before = connect(builder.clone());
    stage.l2().refuse(Refuse::Memory);
    // One pod was connected before, the self-test of the other is refused.
    let after = connect(builder);
    for pod in [before, after] {
        for _ in 0..3 {
            assert_eq!(pod.get("k").unwrap(), val("v"));
            assert_eq!(pod.get("large").unwrap(), val(&large));
            assert_eq!(all(pod.get_many(&["k", "l"])).unwrap(), [val("v"), None]);
        }
        let error = pod.set("k", large.clone(), Ttl::NONE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    }
}

fn c10_the_queue_is_bounded(stage: &Stage) {
    // One fetch at a time may be on its way, and four requests may wait.
    let pod = connect(stage.builder().inflight("1KiB").queue_requests(4usize));
    // Its background has asked for the lane by now: all that follows is the callers'.
    pod.ready();
    stage.net(Net::Stall);
    let calls: Vec<_> = (0..12)
        .map(|n| {
            let pod = pod.clone();
            spawn(move || pod.get(format!("k{n}")))
        })
        .collect();
    eventually("the rest waits for room", || {
        pod.stats().totals.queue_waits_total >= 7
    });
    stage.net(Net::Pass);
    for call in calls {
        assert_eq!(joined(call).unwrap(), None);
    }
    let totals = pod.stats().totals;
    // Beside the four, the first has room until it is sent, and so has what `ready` asked.
    assert!((7..=9).contains(&totals.queue_waits_total));
    assert_eq!(totals.rejected_total, 0);
    assert_eq!(pod.get("k0").unwrap(), None);
}

fn c10_calls_made_before_the_lane_is_up_wait_for_it(stage: &Stage) {
    stage.set("k", "v");
    stage.net(Net::Stall);
    let pod = stage.builder().build().unwrap().into_blocking();
    let call = {
        let pod = pod.clone();
        spawn(move || pod.get("k"))
    };
    eventually("it waits", || pod.stats().totals.misses_total == 1);
    stage.net(Net::Pass);
    assert_eq!(joined(call).unwrap(), val("v"));
}
