//! The end: calls in flight and later ones are told so, and the server sees the connection go.

use nearcache::{ErrorKind, LaneState, Ttl};

use super::{Net, Stage, all, eventually, joined, on_both, spawn, val};

on_both!(
    c10_shutdown_ends_calls_in_flight_and_later_ones,
    c10_shutdown_ends_calls_that_wait_for_a_lane,
    c10_the_last_handle_closes_the_connections,
);

fn c10_shutdown_ends_calls_in_flight_and_later_ones(stage: &Stage) {
    let pod = stage.pod();
    stage.set("resident", "v");
    assert_eq!(pod.get("resident").unwrap(), val("v"));
    stage.net(Net::Stall);
    let call = |work: fn(&nearcache::blocking::NearCache) -> Option<ErrorKind>| {
        let pod = pod.clone();
        spawn(move || work(&pod))
    };
    let calls = [
        call(|pod| pod.get("k").err().map(|e| e.kind())),
        call(|pod| all(pod.get_many(&["a", "b"])).err().map(|e| e.kind())),
        call(|pod| pod.get_validated("k").err().map(|e| e.kind())),
        call(|pod| pod.set("w", "v", Ttl::NONE).err().map(|e| e.kind())),
        call(|pod| pod.fence().err().map(|e| e.kind())),
        call(|pod| {
            let incr = pod.session().command(&["INCR", "n"]);
            incr.err().map(|e| e.kind())
        }),
    ];
    eventually("they are in flight", || {
        let totals = pod.stats().totals;
        totals.fills_total >= 4 && totals.writes_total >= 2 && totals.fences_total >= 2
    });
    pod.shutdown();
    for call in calls {
        assert_eq!(joined(call), Some(ErrorKind::Closed));
    }
    assert_eq!(pod.get_resident("resident"), None);
    assert_eq!(pod.get("resident").unwrap_err().kind(), ErrorKind::Closed);
    let write = pod.set("k", "v", Ttl::NONE).unwrap_err();
    assert_eq!(write.kind(), ErrorKind::Closed);
    assert_eq!(pod.fence().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(pod.stats().lanes[0].state, LaneState::Closed);
    stage.net(Net::Pass);
    eventually("the server sees it gone", || stage.l2().connections() == 0);
}

fn c10_shutdown_ends_calls_that_wait_for_a_lane(stage: &Stage) {
    stage.net(Net::Stall);
    let pod = stage.builder().build().unwrap().into_blocking();
    let call = {
        let pod = pod.clone();
        spawn(move || pod.get("k"))
    };
    eventually("it waits", || pod.stats().totals.misses_total == 1);
    pod.shutdown();
    assert_eq!(joined(call).unwrap_err().kind(), ErrorKind::Closed);
}

fn c10_the_last_handle_closes_the_connections(stage: &Stage) {
    let pod = stage.pod();
    let (clone, other_db, mut session) = (pod.clone(), pod.with_db(3), pod.session());
    session.command(&["MULTI"]).unwrap();
    assert_eq!(stage.l2().connections(), 2);
    drop((pod, clone));
    other_db.set("k", "v", Ttl::NONE).unwrap();
    drop(other_db);
    session.command(&["DISCARD"]).unwrap();
    assert_eq!(stage.l2().connections(), 2, "a session is a handle too");
    drop(session);
    eventually("the server sees them gone", || {
        stage.l2().connections() == 0
    });
}
