//! What a new pod holds before its first request.

use nearcache::{MemoryL2, Phase, WarmEnd};

use crate::support::{builder, name, until, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pod_holds_what_the_fleet_reads() {
    let l2 = MemoryL2::new();
    let old = builder().store(l2.clone()).connect().await.unwrap();
    write(&old, 200, 1000).await;
    for _ in 0..5 {
        for n in 0..100 {
            old.get(name(n)).await.unwrap();
        }
    }
    until("a manifest is there", || {
        old.stats().totals.merges_total >= 3
    })
    .await;

    let new = builder().store(l2).connect().await.unwrap();
    new.ready().await;
    let readiness = new.readiness();
    assert!(readiness.ready, "{readiness:?}");
    assert_eq!(readiness.phase, Phase::Ready);
    let report = new.warm_report().unwrap();
    assert_eq!(report.end, WarmEnd::Complete, "{report:?}");
    assert_eq!(report.keys, 100, "{report:?}");
    assert!(report.share_of_reads > 0.99, "{report:?}");
    for n in 0..100 {
        assert!(new.get_resident(name(n)).is_some(), "{n}");
    }
    assert!(new.get_resident(name(150)).is_none());
    let totals = new.stats().totals;
    assert_eq!(totals.misses_total, 0);
    old.shutdown().await;
    new.shutdown().await;
}
