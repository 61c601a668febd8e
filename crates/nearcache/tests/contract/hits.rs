//! C1: what a hit costs and what it compares. That it allocates nothing is tested in `hit_cost`.

use std::task::Poll;

use nearcache::{Bytes, Source};

use super::{STALE, Stage, all, on_both, poll, val};

on_both!(
    c1_a_hit_sends_nothing_and_copies_nothing,
    c1_a_hit_takes_no_await_point,
    c1_the_full_key_and_the_db_are_compared,
);

/// Commands that a read could cause.
const SENT: [&str; 6] = ["get", "mget", "pttl", "echo", "exists", "client|caching"];

fn c1_a_hit_sends_nothing_and_copies_nothing(stage: &Stage) {
    let pod = stage.pod();
    let big = "x".repeat(200_000);
    stage.set("k", &big);
    let first = pod.get("k").unwrap().unwrap();
    let sent = SENT.map(|name| stage.calls(name));
    for _ in 0..1000 {
        let again = pod.get("k").unwrap().unwrap();
        assert_eq!(again.as_ptr(), first.as_ptr(), "a copy");
        assert_eq!(
            pod.get_resident("k").map(|value| value.as_ptr()),
            Some(first.as_ptr())
        );
    }
    assert_eq!(pod.get_with("k", STALE).unwrap().source, Source::L1);
    assert_eq!(
        all(pod.get_many(&["k", "k"])).unwrap(),
        [Some(first.clone()), Some(first)]
    );
    assert_eq!(SENT.map(|name| stage.calls(name)), sent);
}

fn c1_a_hit_takes_no_await_point(stage: &Stage) {
    let pod = stage.pod();
    stage.set("k", "v");
    assert_eq!(pod.get("k").unwrap(), val("v"));
    let mut hit = Box::pin(pod.as_async().get("k"));
    assert!(matches!(poll(&mut hit), Poll::Ready(Ok(Some(_)))));
}

fn c1_the_full_key_and_the_db_are_compared(stage: &Stage) {
    let pod = stage.pod();
    // Keys that differ in one bit, in length, in a trailing zero, or only in their db.
    let mut keys: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
    keys.extend((0..=255u8).map(|byte| vec![byte, 0]));
    keys.extend((0..64usize).map(|len| vec![b'k'; len + 2]));
    keys.extend((0..500u32).map(|n| format!("product:{n}").into_bytes()));
    for db in [0, 1] {
        for (at, key) in keys.iter().enumerate() {
            let value = format!("{db}:{at}");
            stage.cmd_in(db, &[b"SET", &key[..], value.as_bytes()]);
        }
    }
    for round in ["from L2", "from L1"] {
        for db in [0, 1] {
            let pod = pod.with_db(db);
            for (at, key) in keys.iter().enumerate() {
                let expected = Some(Bytes::from(format!("{db}:{at}")));
                assert_eq!(pod.get(key).unwrap(), expected, "{round}, {key:?}");
            }
        }
    }
    assert_eq!(pod.stats().totals.hits_total, 2 * keys.len() as u64);
}
