//! C15: a write is sent once or not at all, and its error says which.

use nearcache::{Bytes, Error, ErrorKind, Reply, Ttl, WriteOutcome};

use super::stage::{Refuse, connect};
use super::{Net, Stage, eventually, joined, on_both, spawn, val};

on_both!(
    c15_a_write_whose_answer_is_lost_is_executed_once,
    c15_a_write_held_up_on_its_way_is_executed_once,
    c15_a_write_in_flight_when_the_lane_ends_is_not_repeated,
    c15_a_write_without_a_lane_is_not_sent,
    c15_a_refused_write_is_said_to_be_refused,
    c3_after_an_unknown_outcome_the_copy_is_gone,
);

#[track_caller]
fn ended(error: &Error, outcome: WriteOutcome) {
    assert_eq!(error.write_outcome(), Some(outcome), "{error}");
    let words = match outcome {
        WriteOutcome::NotSent => "not sent",
        WriteOutcome::Unknown => "unknown outcome",
        WriteOutcome::Refused => "",
    };
    assert!(error.to_string().contains(words), "{error}");
}

/// Whatever the lane still had to send has been executed after this.
#[track_caller]
fn settle(pod: &nearcache::blocking::NearCache) {
    eventually("the lane answers", || pod.fence().is_ok());
}

fn c15_a_write_whose_answer_is_lost_is_executed_once(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.net(Net::StallReplies);
    let error = pod.session().command(&["INCR", "n"]).unwrap_err();
    ended(&error, WriteOutcome::Unknown);
    assert_eq!(stage.stored("n"), val("1"));
    stage.net(Net::Pass);
    settle(&pod);
    assert_eq!(stage.stored("n"), val("1"));
    assert_eq!(pod.get("n").unwrap(), val("1"));
    assert_eq!(stage.calls("incr"), 1);
}

fn c15_a_write_held_up_on_its_way_is_executed_once(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.net(Net::Stall);
    let error = pod.session().command(&["INCR", "n"]).unwrap_err();
    ended(&error, WriteOutcome::Unknown);
    assert_eq!(stage.stored("n"), None);
    stage.net(Net::Pass);
    settle(&pod);
    assert_eq!(stage.stored("n"), val("1"), "it came late, and once");
    assert_eq!(pod.get("n").unwrap(), val("1"));
}

fn c15_a_write_in_flight_when_the_lane_ends_is_not_repeated(stage: &Stage) {
    let pod = stage.pod();
    for (round, way) in ["command", "script", "transaction", "side"]
        .iter()
        .enumerate()
    {
        let before = stage.calls("incr") + stage.calls("eval");
        stage.net(Net::StallReplies);
        let call = {
            let pod = pod.clone();
            spawn(move || -> Result<Reply, Error> {
                let mut session = pod.session();
                let incr = "return redis.call('INCR', 'n')";
                match round {
                    0 => session.command(&["INCR", "n"]),
                    1 => session.command(&["EVAL", incr, "0"]),
                    2 => session.transaction(vec![vec![Bytes::from("INCR"), Bytes::from("n")]]),
                    _ => {
                        session.command(&["MULTI"])?;
                        session.command(&["INCR", "n"])
                    }
                }
            })
        };
        if *way != "side" {
            eventually("it was executed", || {
                stage.calls("incr") + stage.calls("eval") > before
            });
        }
        stage.l2().cut();
        let error = joined(call).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{way}: {error}");
        if *way != "side" {
            ended(&error, WriteOutcome::Unknown);
        }
        stage.net(Net::Pass);
        settle(&pod);
        let expected = (round + 1).min(3).to_string();
        assert_eq!(stage.stored("n"), val(&expected), "{way}");
        assert_eq!(pod.get("n").unwrap(), val(&expected), "{way}");
    }
}

fn c15_a_write_without_a_lane_is_not_sent(stage: &Stage) {
    let pod = stage.pod();
    stage.part(&pod);
    eventually("the lane is known to be down", || {
        pod.stats().totals.connect_failures_total > 0
    });
    for _ in 0..3 {
        ended(
            &pod.set("k", "v", Ttl::NONE).unwrap_err(),
            WriteOutcome::NotSent,
        );
        ended(&pod.delete("k").unwrap_err(), WriteOutcome::NotSent);
        let mut session = pod.session();
        ended(
            &session.command(&["INCR", "n"]).unwrap_err(),
            WriteOutcome::NotSent,
        );
        ended(
            &session
                .transaction(vec![vec![Bytes::from("INCR"), Bytes::from("n")]])
                .unwrap_err(),
            WriteOutcome::NotSent,
        );
    }
    stage.l2().refuse_connections(false);
    settle(&pod);
    assert_eq!((stage.stored("k"), stage.stored("n")), (None, None));
}

fn c15_a_refused_write_is_said_to_be_refused(stage: &Stage) {
    let pod = stage.pod();
    stage.cmd(&["RPUSH", "list", "x"]);
    let error = pod.session().command(&["INCR", "list"]).unwrap_err();
    ended(&error, WriteOutcome::Refused);
    assert_eq!(error.kind(), ErrorKind::Usage);
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    stage.l2().refuse(Refuse::Memory);
    let error = pod.set("k", "new".repeat(100), Ttl::NONE).unwrap_err();
    ended(&error, WriteOutcome::Refused);
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(pod.get("k").unwrap(), val("old"));
}

fn c3_after_an_unknown_outcome_the_copy_is_gone(stage: &Stage) {
    let pod = connect(stage.hasty());
    let stale = nearcache::ReadPolicy::ServeStale {
        max: std::time::Duration::from_secs(3600),
    };
    for net in [Net::Stall, Net::StallReplies] {
        stage.set("k", "old");
        settle(&pod);
        eventually("it is resident", || {
            pod.get("k").is_ok_and(|read| read == val("old"))
        });
        stage.net(net);
        let error = pod.set("k", "new", Ttl::NONE).unwrap_err();
        ended(&error, WriteOutcome::Unknown);
        let read = pod.get_with("k", stale);
        assert!(read.is_err(), "{net:?}: {read:?}");
        stage.net(Net::Pass);
        settle(&pod);
        assert_eq!(pod.get("k").unwrap(), val("new"), "{net:?}");
        assert_eq!(stage.stored("k"), val("new"));
    }
}
