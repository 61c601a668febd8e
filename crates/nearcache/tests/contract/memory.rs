//! C9: what L1 holds stays within its budget, and what is too large for it passes through.

use nearcache::{Bytes, Ttl};

use super::stage::connect;
use super::{Stage, all, eventually, on_both, val};

on_both!(
    c9_the_weight_stays_within_the_capacity,
    c9_a_value_above_its_share_passes_through,
    c9_each_read_of_a_large_value_is_counted,
    trap_a_large_value_does_not_hold_up_the_lane,
    c9_a_large_value_that_shrinks_is_kept_again,
);

fn c9_the_weight_stays_within_the_capacity(stage: &Stage) {
    let pod = connect(stage.builder().capacity("1MiB"));
    let pad = "x".repeat(4000);
    for n in 0..1000 {
        let key = format!("k{n}");
        stage.set(&key, &format!("{n}:{pad}"));
        let value = pod.get(&key).unwrap().unwrap();
        assert!(value.starts_with(format!("{n}:").as_bytes()));
        let store = pod.stats().store;
        assert!(store.weight <= store.capacity, "{store:?}");
    }
    let store = pod.stats().store;
    assert!(store.evictions > 0 && store.entries > 100, "{store:?}");
    for n in 0..1000 {
        let value = pod.get(format!("k{n}")).unwrap().unwrap();
        assert!(value.starts_with(format!("{n}:").as_bytes()));
    }
}

fn c9_a_value_above_its_share_passes_through(stage: &Stage) {
    let pod = connect(stage.builder().capacity("1MiB"));
    stage.set("small", "v");
    assert_eq!(pod.get("small").unwrap(), val("v"));
    let large = "x".repeat(200 << 10);
    stage.set("k", &large);
    let before = stage.calls("get");
    for _ in 0..3 {
        assert_eq!(pod.get("k").unwrap(), val(&large));
        assert_eq!(pod.get_resident("k"), None);
    }
    assert_eq!(stage.calls("get"), before + 3);
    assert_eq!(pod.stats().totals.oversize_total, 3);
    assert_eq!(pod.get_resident("small"), val("v"), "it evicted nothing");
    stage.set("k", &large.replace('x', "y"));
    assert_eq!(pod.get("k").unwrap(), val(&large.replace('x', "y")));
}

fn c9_each_read_of_a_large_value_is_counted(stage: &Stage) {
    let pod = connect(stage.builder().max_inline("64KiB"));
    stage.set("k", &"a".repeat(100 << 10));
    for _ in 0..10 {
        assert_eq!(pod.get("k").unwrap().map(|v| v.len()), Some(100 << 10));
    }
    let stats = pod.stats();
    assert_eq!(stats.totals.oversize_total, 10);
    let shown = stats.to_string();
    assert!(shown.contains("10 too large to keep"), "{shown}");
}

fn trap_a_large_value_does_not_hold_up_the_lane(stage: &Stage) {
    let pod = connect(stage.builder().max_inline("64KiB"));
    let mut large = "a".repeat(100 << 10);
    stage.set("k", &large);
    assert_eq!(pod.get("k").unwrap(), val(&large));
    assert_eq!(pod.get_resident("k"), None, "not kept");
    assert_eq!(stage.l2().connections(), 1);
    // Known to be large by now: it is read beside the lane.
    assert_eq!(pod.get("k").unwrap(), val(&large));
    assert_eq!(stage.l2().connections(), 2);
    for round in 0..20u8 {
        large = char::from(b'b' + round).to_string().repeat(100 << 10);
        if round % 2 == 0 {
            stage.set("k", &large);
        } else {
            pod.set("k", Bytes::from(large.clone()), Ttl::NONE).unwrap();
        }
        assert_eq!(pod.get("k").unwrap(), val(&large));
        assert_eq!(pod.get_validated("k").unwrap(), val(&large));
        assert_eq!(all(pod.get_many(&["k", "l"])).unwrap(), [val(&large), None]);
    }
    assert_eq!(stage.l2().connections(), 2);
}

fn c9_a_large_value_that_shrinks_is_kept_again(stage: &Stage) {
    let pod = connect(stage.builder().max_inline("64KiB"));
    stage.set("k", &"a".repeat(100 << 10));
    pod.get("k").unwrap();
    pod.get("k").unwrap();
    stage.set("k", "small");
    eventually("it is kept", || {
        assert_eq!(pod.get("k").unwrap(), val("small"));
        pod.get_resident("k") == val("small")
    });
}
