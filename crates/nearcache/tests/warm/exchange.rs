//! What pods write to L2 about their reads, and what they do not.

use nearcache::{ManifestKeys, MemoryL2, Settings, fleet_key};
use nearcache_proto::working_set::Manifest;

use crate::support::{
    MANIFEST, builder, fleet, name, operator, read, stored, summed_up, until, write,
};

/// Everything that the fleet has written, as one text.
async fn published(l2: &MemoryL2) -> String {
    let operator = operator(l2).await;
    let mut text = String::new();
    let mut session = operator.session();
    let pods = session
        .command(&["SMEMBERS", fleet_key("shop", "pods").as_str()])
        .await
        .unwrap();
    let ids = match pods {
        nearcache::Reply::Set(ids) | nearcache::Reply::Array(ids) => ids,
        _ => Vec::new(),
    };
    let mut keys = vec![MANIFEST.to_owned()];
    for id in ids {
        if let nearcache::Reply::Bulk(id) = id {
            let blob = format!("blob:{}", String::from_utf8_lossy(&id));
            keys.push(fleet_key("shop", &blob));
        }
    }
    for key in keys {
        let value = operator.get(&key).await.unwrap().unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&value));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn c13_names_are_published_only_as_asked_and_values_never() {
    for keys in ["plain", "hashed", "off"] {
        let l2 = MemoryL2::new();
        let pod = builder().store(l2.clone()).manifest_keys(keys);
        let pod = pod.connect().await.unwrap();
        write(&pod, 20, 1000).await;
        read(&pod, 20, 5).await;
        if keys == "off" {
            // Its rounds have passed when as many of another pod have, which tells nothing of it.
            until("it has counted", || pod.stats().totals.hits_total >= 80).await;
            let other = builder().store(l2.clone()).connect().await.unwrap();
            let merges = || other.stats().totals.merges_total;
            until("rounds have passed", || merges() >= 5).await;
            assert!(!published(&l2).await.contains(&name(7)));
            assert_eq!(pod.stats().totals.published_total, 0);
            continue;
        }
        summed_up(&pod).await;
        let text = published(&l2).await;
        assert_eq!(text.contains(&name(7)), keys == "plain", "{keys}");
        assert!(!text.contains("vvvvvvvv"), "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_reads_what_it_did_publishes_less_often() {
    let l2 = MemoryL2::new();
    let pod = builder().store(l2).connect().await.unwrap();
    write(&pod, 10, 10).await;
    read(&pod, 10, 50).await;
    let merges = || pod.stats().totals.merges_total;
    let before = merges();
    until("ten rounds have passed", || merges() >= before + 10).await;
    let published = pod.stats().totals.published_total;
    assert!(published < merges(), "{published} of {}", merges());
    assert!(published >= 2, "{published}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_written_expires() {
    let l2 = MemoryL2::new();
    let pod = builder().store(l2.clone()).connect().await.unwrap();
    write(&pod, 10, 10).await;
    read(&pod, 10, 2).await;
    summed_up(&pod).await;
    let operator = operator(&l2).await;
    let mut session = operator.session();
    let keys = match session
        .command(&["KEYS", fleet_key("shop", "*").as_str()])
        .await
        .unwrap()
    {
        nearcache::Reply::Array(keys) | nearcache::Reply::Set(keys) => keys,
        other => panic!("{other:?}"),
    };
    assert!(keys.len() >= 3, "{keys:?}");
    for key in keys {
        let nearcache::Reply::Bulk(key) = key else {
            panic!()
        };
        let ttl = session.command(&[&b"PTTL"[..], &key]).await.unwrap();
        assert!(!matches!(ttl, nearcache::Reply::Int(-1)), "{key:?}");
    }
}

#[test]
fn settings_are_what_they_say() {
    let mut settings = Settings::default();
    settings.set("manifest_keys", "hashed").unwrap();
    assert_eq!(settings.manifest_keys, ManifestKeys::Hashed);
    assert!(settings.set("manifest_keys", "some").is_err());
    settings.set("top_up", "").unwrap();
    assert_eq!(settings.top_up, None);
    assert!(settings.set("top_up", "-1").is_err());
    assert!(settings.set("top_up", "NaN").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_left_is_not_one_of_the_fleet_any_more() {
    let l2 = MemoryL2::new();
    let leaves = fleet(&l2, 10).await;
    let _stays = fleet(&l2, 10).await;
    let runtime = tokio::runtime::Handle::current();
    let pods = || {
        let bytes = runtime.block_on(stored(&l2, MANIFEST)).expect("a manifest");
        Manifest::decode(&bytes).expect("a whole one").fleet
    };
    until("both are counted", || pods() == 2).await;
    leaves.shutdown().await;
    until("the other is alone", || pods() == 1).await;
}
