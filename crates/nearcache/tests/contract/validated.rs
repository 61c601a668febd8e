//! C7: a validated read shows every write that was acknowledged before it began.

use nearcache::ErrorKind;

use super::stage::connect;
use super::{Net, Stage, eventually, joined, on_both, spawn, val};

on_both!(
    c7_a_validated_read_sees_every_acknowledged_write,
    c7_a_resident_value_does_not_travel,
    c7_without_an_answer_the_copy_is_not_served,
    c7_a_validated_read_joins_no_earlier_flight,
    c7_a_fence_brings_a_foreign_write,
);

fn c7_a_validated_read_sees_every_acknowledged_write(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..200 {
        let value = round.to_string();
        stage.set("k", &value);
        assert_eq!(pod.get_validated("k").unwrap(), val(&value));
        // Every other round there is a copy to be validated.
        if round % 2 == 0 {
            pod.get("k").unwrap();
        }
    }
    stage.cmd(&["DEL", "k"]);
    assert_eq!(pod.get_validated("k").unwrap(), None);
}

fn c7_a_resident_value_does_not_travel(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", &"x".repeat(200_000));
    let first = pod.get("k").unwrap().unwrap();
    let before = stage.calls("get");
    for _ in 0..20 {
        let again = pod.get_validated("k").unwrap().unwrap();
        assert_eq!(again.as_ptr(), first.as_ptr());
    }
    assert_eq!(stage.calls("get"), before);
}

fn c7_without_an_answer_the_copy_is_not_served(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    stage.net(Net::HalfOpen);
    stage.set("k", "new");
    for _ in 0..3 {
        let error = pod.get_validated("k").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    }
    let pod = connect_after(stage);
    stage.part(&pod);
    let error = pod.get_validated("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

/// A pod on the network as it should be, with `k` resident.
fn connect_after(stage: &Stage) -> nearcache::blocking::NearCache {
    stage.net(Net::Pass);
    let pod = connect(stage.hasty());
    assert_eq!(pod.get("k").unwrap(), val("new"));
    pod
}

fn c7_a_validated_read_joins_no_earlier_flight(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..10 {
        let (old, new) = (format!("old {round}"), format!("new {round}"));
        stage.set("k", &old);
        pod.fence().unwrap();
        let (reads, fences) = (stage.calls("get"), pod.stats().totals.fences_total);
        stage.net(Net::StallReplies);
        let early = {
            let pod = pod.clone();
            spawn(move || pod.get("k").unwrap())
        };
        eventually("the early read was executed", || {
            stage.calls("get") == reads + 1
        });
        stage.set("k", &new);
        let validated = {
            let pod = pod.clone();
            spawn(move || pod.get_validated("k").unwrap())
        };
        eventually("its fence is on the way", || {
            pod.stats().totals.fences_total > fences
        });
        stage.net(Net::Pass);
        assert_eq!(joined(validated), val(&new));
        joined(early);
    }
}

fn c7_a_fence_brings_a_foreign_write(stage: &Stage) {
    let (reader, writer) = (stage.pod(), stage.pod());
    for round in 0..100 {
        let value = round.to_string();
        writer
            .set("k", value.clone(), nearcache::Ttl::NONE)
            .unwrap();
        reader.fence().unwrap();
        assert_eq!(reader.get("k").unwrap(), val(&value));
    }
}
