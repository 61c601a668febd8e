//! C2, C10, C12: a network that cuts replies and pushes at every byte, or brings them drop by drop.

use std::time::Duration;

use nearcache::{ErrorKind, Freshness, ReadPolicy, Ttl};

use super::stage::connect;
use super::{Net, STALE, Stage, all, eventually, on_server, val};

on_server!(
    c12_replies_and_pushes_cut_at_every_byte,
    c10_a_server_that_drips_is_not_waited_for,
);

fn c12_replies_and_pushes_cut_at_every_byte(stage: &Stage) {
    // The handshake as well.
    stage.net(Net::Drip(Duration::ZERO));
    let pod = stage.pod();
    let large = "\r\n$5\r\n>2\r\n".repeat(2_000);
    for round in 0..20 {
        let number = round.to_string();
        let expected = if round % 5 == 0 { &large } else { &number };
        stage.set("k", expected);
        pod.fence().unwrap();
        for _ in 0..2 {
            assert_eq!(pod.get("k").unwrap(), val(expected));
        }
        pod.set("own", number.clone(), Ttl::NONE).unwrap();
        let both = all(pod.get_many(&["own", "k", "missing"])).unwrap();
        assert_eq!(both, [val(&number), val(expected), None]);
        stage.cmd(&["FLUSHALL"]);
        assert_eq!(pod.get_validated("own").unwrap(), None);
        let mut session = pod.session();
        for command in [&["MULTI"][..], &["SET", "k", "x"], &["EXEC"]] {
            session.command(command).unwrap();
        }
        assert_eq!(pod.get("k").unwrap(), val("x"));
    }
    let totals = pod.stats().totals;
    assert!(totals.hits_total >= 20, "{totals:?}");
    assert_eq!((totals.connects_total, totals.disconnects_total), (1, 0));
}

fn c10_a_server_that_drips_is_not_waited_for(stage: &Stage) {
    let pod = connect(stage.hasty());
    stage.set("k", "old");
    assert_eq!(pod.get("k").unwrap(), val("old"));
    // The answer to a heartbeat takes seconds, the lease lasts 300 ms.
    stage.net(Net::Drip(Duration::from_millis(20)));
    stage.set("k", "new");
    eventually(
        "the copy cannot be proven fresh any more, or is gone",
        || pod.get_with("k", ReadPolicy::Error).is_err(),
    );
    for _ in 0..10 {
        let error = pod.get("missing").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        // Its push may or may not be through by now.
        match pod.get_with("k", STALE) {
            Ok(read) => {
                assert_eq!(read.value, val("old"));
                assert!(matches!(read.freshness, Freshness::Stale(_)), "{read:?}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "{error}"),
        }
    }
    stage.net(Net::Pass);
    eventually("reads are served", || {
        pod.get("k").is_ok_and(|read| read == val("new"))
    });
}
