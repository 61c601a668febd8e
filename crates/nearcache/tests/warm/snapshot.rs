//! A pod that starts where L2 holds no manifest, from what its last life left behind.

use std::path::PathBuf;

use nearcache::{MemoryL2, WarmEnd};

use crate::support::{MANIFEST, builder, operator, read, resident, summed_up, write};

fn directory(name: &str) -> PathBuf {
    let name = format!("nearcache-warm-{name}-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

fn text(directory: &std::path::Path) -> String {
    directory.to_str().unwrap().to_owned()
}

/// A pod that has read and ended, and whose fleet's manifest is gone.
async fn left_behind(l2: &MemoryL2, directory: &std::path::Path) {
    let pod = builder().store(l2.clone()).snapshot_dir(text(directory));
    let pod = pod.connect().await.unwrap();
    write(&pod, 50, 1000).await;
    read(&pod, 50, 3).await;
    pod.shutdown().await;
    operator(l2).await.delete(MANIFEST).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_a_manifest_is_warm_from_the_snapshot() {
    let (l2, directory) = (MemoryL2::new(), directory("restart"));
    left_behind(&l2, &directory).await;
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().collect();
    assert_eq!(files.len(), 1, "one file, no draft");
    let bytes = std::fs::read(files[0].as_ref().unwrap().path()).unwrap();
    assert!(
        !String::from_utf8_lossy(&bytes).contains("vvvvvv"),
        "C13: no values"
    );

    let new = builder()
        .store(l2)
        .snapshot_dir(text(&directory))
        .connect()
        .await
        .unwrap();
    new.ready().await;
    let report = new.warm_report().unwrap();
    assert!(report.from_snapshot, "{report:?}");
    assert_eq!(report.end, WarmEnd::Complete);
    assert_eq!(resident(&new, 50), 50);
    new.shutdown().await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_snapshot_costs_a_cold_start() {
    let (l2, directory) = (MemoryL2::new(), directory("bad"));
    left_behind(&l2, &directory).await;
    let path = std::fs::read_dir(&directory)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let good = std::fs::read(&path).unwrap();
    let mut corrupt = good.clone();
    corrupt[good.len() / 2] ^= 1;
    let mut oversized = good.clone();
    oversized.resize(5 << 20, 7);
    for bad in [
        corrupt,
        oversized,
        good[..good.len() - 3].to_vec(),
        Vec::new(),
        vec![0xff; 999],
    ] {
        std::fs::write(&path, bad).unwrap();
        let new = builder()
            .store(l2.clone())
            .snapshot_dir(text(&directory))
            .publish_every("1h");
        let new = new.connect().await.unwrap();
        new.ready().await;
        assert_eq!(new.warm_report().unwrap().end, WarmEnd::NothingKnown);
        assert_eq!(new.stats().totals.ignored_total, 1);
        new.shutdown().await;
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hashed_names_and_a_snapshot_make_a_warm_start() {
    let (l2, directory) = (MemoryL2::new(), directory("hashed"));
    let pod = || {
        builder()
            .store(l2.clone())
            .manifest_keys("hashed")
            .snapshot_dir(text(&directory))
    };
    let old = pod().connect().await.unwrap();
    write(&old, 50, 1000).await;
    read(&old, 50, 3).await;
    summed_up(&old).await;
    old.shutdown().await;
    let new = pod().connect().await.unwrap();
    new.ready().await;
    let report = new.warm_report().unwrap();
    assert!(!report.from_snapshot, "ranked by the fleet: {report:?}");
    assert_eq!(resident(&new, 50), 50);
    new.shutdown().await;
    std::fs::remove_dir_all(directory).unwrap();
}
