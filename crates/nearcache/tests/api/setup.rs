//! Building and connecting: what is refused, when, and in which words.

use std::sync::{Arc, Mutex};

use nearcache::{
    Builder, Error, ErrorKind, Key, LaneState, MemoryL2, NearCache, ReadPolicy, RemovalCause,
    Settings, Ttl, Weigher,
};

use super::{builder, bytes, pod};

fn refused(result: Result<NearCache, Error>, words: &[&str]) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    for word in words {
        assert!(
            error.to_string().contains(word),
            "{word} is not in: {error}"
        );
    }
}

#[test]
fn c12_what_is_wrong_is_said_by_build() {
    let memory = || NearCache::builder().memory();
    refused(NearCache::builder().build(), &["url", "redis://"]);
    refused(
        NearCache::builder().redis("http://h").build(),
        &["url", "rediss://"],
    );
    refused(memory().capacity(0).build(), &["capacity"]);
    refused(memory().capacity("lots").build(), &["capacity", "256MiB"]);
    refused(
        memory().set("capasity", "1MiB").build(),
        &["capasity", "capacity"],
    );
    refused(
        memory().max_staleness("1").build(),
        &["max_staleness", "unit"],
    );
    refused(
        memory().file("no such file.toml").build(),
        &["no such file.toml"],
    );
    refused(
        NearCache::builder().redis("redis://h/nine").build(),
        &["database"],
    );
}

#[test]
fn stale_values_are_served_when_a_setting_says_so() {
    let max = std::time::Duration::from_secs(9);
    let stale = ReadPolicy::ServeStale { max };
    let asked = NearCache::builder().memory().on_unproven(stale);
    assert_eq!(asked.build().unwrap().settings().on_unproven, stale);
    for wrong in [
        "serve_stale",
        "serve_stale()",
        "serve_stale(9)",
        "serve_stale(0s)",
        "serve_stale(9s",
    ] {
        let asked = NearCache::builder().memory().on_unproven(wrong);
        refused(asked.build(), &["on_unproven"]);
    }
}

#[test]
fn calls_win_over_settings_and_a_store_over_both() {
    let settings =
        Settings::from_toml("url = 'redis://nowhere.invalid'\ncapacity = '8MiB'").unwrap();
    let cache = NearCache::builder()
        .capacity("4MiB")
        .settings(settings.clone())
        .build()
        .unwrap();
    assert_eq!(cache.settings().capacity, 4 << 20);
    assert_eq!(cache.stats().lanes[0].l2, "redis://nowhere.invalid:6379/0");
    let cache = NearCache::builder()
        .settings(settings)
        .store(MemoryL2::new())
        .build()
        .unwrap();
    assert_eq!(
        (
            cache.stats().lanes[0].l2.as_str(),
            cache.settings().url.as_str()
        ),
        ("memory:", "")
    );
    let cache = NearCache::builder()
        .store(MemoryL2::new())
        .redis("redis://h/3")
        .build()
        .unwrap();
    assert_eq!(
        (cache.stats().lanes[0].l2.as_str(), cache.db()),
        ("redis://h:6379/3", 3)
    );
}

#[tokio::test]
async fn build_opens_nothing_and_the_first_call_does() {
    let cache = NearCache::builder().memory().build().unwrap();
    assert!(matches!(cache.stats().lanes[0].state, LaneState::Down(_)));
    assert_eq!(cache.get_resident("k"), None);
    assert_eq!(cache.stats().totals.connects_total, 0);
    assert_eq!(cache.get("k").await.unwrap(), None);
    assert_eq!(cache.stats().totals.connects_total, 1);
    assert_eq!(cache.stats().lanes[0].state, LaneState::Up);
}

/// Does not wait for what can heal.
fn hasty(l2: &MemoryL2) -> Builder {
    builder(l2).warm_deadline("1ms")
}

#[tokio::test]
async fn connect_fails_when_l2_refuses_and_build_does_not() {
    let l2 = MemoryL2::new();
    l2.refuse_connections(true);
    let error = hasty(&l2).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(hasty(&l2).connect_blocking().is_err());
    let cache = builder(&l2).backoff_max("50ms").build().unwrap();
    assert_eq!(cache.get("k").await.unwrap_err().kind(), ErrorKind::Retry);
    l2.refuse_connections(false);
    super::eventually("it connects by itself", || {
        cache.stats().lanes[0].state == LaneState::Up
    })
    .await;
    assert_eq!(cache.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn connect_fails_on_a_replica() {
    let l2 = MemoryL2::new();
    l2.with_server(|server| server.set_role(false));
    let error = hasty(&l2).connect().await.unwrap_err();
    assert!(error.to_string().contains("replica"), "{error}");
}

#[tokio::test]
async fn a_refused_tracking_is_said_aloud_and_survived() {
    let l2 = MemoryL2::new();
    l2.with_server(|server| server.refuse_tracking(true));
    let cache = pod(&l2).await;
    assert!(matches!(
        cache.stats().lanes[0].state,
        LaneState::Degraded(_)
    ));
    assert!(cache.stats().to_string().contains("WITHOUT INVALIDATIONS"));
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
}

#[tokio::test]
async fn the_removal_hook_hears_of_keys_and_causes() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let hook = move |key: Key<'_>, cause: RemovalCause| {
        log.lock()
            .unwrap()
            .push((key.db, key.bytes.to_vec(), cause));
    };
    let cache = builder(&MemoryL2::new())
        .on_removal(hook)
        .connect()
        .await
        .unwrap();
    for key in ["forgotten", "written"] {
        cache.set(key, "v", Ttl::NONE).await.unwrap();
        cache.get(key).await.unwrap();
    }
    assert!(cache.forget("forgotten"));
    assert!(!cache.forget("forgotten"));
    cache.set("written", "w", Ttl::NONE).await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.contains(&(0, b"forgotten".to_vec(), RemovalCause::Forgotten)));
    assert!(seen.contains(&(0, b"written".to_vec(), RemovalCause::Invalidated)));
}

#[tokio::test]
async fn a_weigher_counts_in_units_of_its_own() {
    struct Units;
    impl Weigher for Units {
        fn weigh(&self, _: Key<'_>, _: usize, _: usize) -> usize {
            1
        }
    }
    let cache = builder(&MemoryL2::new())
        .weigher(Units)
        .capacity(16)
        .max_entry(1);
    let cache = cache.connect().await.unwrap();
    for key in 0..100u32 {
        cache.get(key.to_string()).await.unwrap();
    }
    let store = cache.stats().store;
    assert!(
        store.weight <= 16 && store.entries <= 16 && store.evictions > 0,
        "{store:?}"
    );
}
