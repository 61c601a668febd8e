//! Several services on one server: each is a fleet of its own, as long as each has a name of its own.

use std::ops::Range;

use nearcache::{Builder, LaneState, NearCache, Ttl, WarmEnd, fleet_key};
use nearcache_proto::working_set::Manifest;
use nearcache_testkit::{Client, Server, Value};

use crate::log;
use crate::support::{builder, resident, until};

/// A pod on a server that has read these keys of its service, ten times each.
async fn pod(server: &Server, builder: Builder, prefix: &str, keys: Range<usize>) -> NearCache {
    let pod = builder.redis(server.url()).connect().await.unwrap();
    // What others published is met before anything is read.
    pod.ready().await;
    for n in keys.clone() {
        let key = format!("{prefix}{n}");
        pod.set(key, "value", Ttl::NONE).await.unwrap();
    }
    for _ in 0..10 {
        for n in keys.clone() {
            pod.get(format!("{prefix}{n}")).await.unwrap();
        }
    }
    pod
}

/// Lets pods read their keys again and again until it is so.
async fn reading(pods: &[(&NearCache, &str, Range<usize>)], what: &str, so: impl Fn() -> bool) {
    let runtime = tokio::runtime::Handle::current();
    until(what, || {
        for (pod, prefix, keys) in pods {
            for n in keys.clone() {
                let read = runtime.block_on(pod.get(format!("{prefix}{n}")));
                assert!(read.unwrap().is_some());
            }
        }
        so()
    })
    .await;
}

/// Waits until so many keys are in the manifest of a service, of a fleet that is not young any more.
async fn summed_up(client: &mut Client, service: &str, keys: usize) {
    let key = fleet_key(service, "manifest");
    until("it is summed up", || match client.cmd(&["GET", &key]) {
        Value::Bulk(bytes) => {
            let manifest = Manifest::decode(&bytes).unwrap();
            manifest.version >= 8 && manifest.items.len() >= keys
        }
        _ => false,
    })
    .await;
}

async fn has_merged(pod: &NearCache, times: u64) {
    let merges = || pod.stats().totals.merges_total;
    let before = merges();
    until("it has merged", || merges() >= before + times).await;
}

fn keys(client: &mut Client, pattern: &str) -> Vec<String> {
    match client.cmd(&["KEYS", pattern]) {
        Value::Array(keys) => keys.iter().map(|key| key.text()).collect(),
        other => panic!("{other:?}"),
    }
}

fn named(service: &str) -> Builder {
    builder().service(service)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_on_one_server_do_not_see_each_others_manifest() {
    let server = Server::start();
    let mut client = server.client();
    let shop = pod(&server, named("shop"), "k", 0..50).await;
    summed_up(&mut client, "shop", 50).await;
    let mail = pod(&server, named("mail"), "letter", 0..50).await;
    assert_eq!(mail.warm_report().unwrap().end, WarmEnd::NothingKnown);
    summed_up(&mut client, "mail", 50).await;
    // Each goes on for itself, and warms its own.
    let another = pod(&server, named("mail"), "letter", 0..0).await;
    assert_eq!(another.warm_report().unwrap().keys, 50);
    let another = pod(&server, named("shop"), "k", 0..0).await;
    assert_eq!(resident(&another, 50), 50);
    has_merged(&shop, 3).await;
    has_merged(&mail, 3).await;
    for pod in [&shop, &mail] {
        let totals = pod.stats().totals;
        assert_eq!((totals.ahead_total, totals.strangers_total), (0, 0));
    }
    // One hash slot and one pattern for each.
    let all = keys(&mut client, "nearcache:*");
    let of = |service: &str| keys(&mut server.client(), &fleet_key(service, "*")).len();
    assert!(of("shop") > 2 && of("mail") > 2, "{all:?}");
    let theirs = |key: &&String| !key.contains("{shop}:fleet:") && !key.contains("{mail}:fleet:");
    assert_eq!(all.iter().find(theirs), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_of_one_name_are_told_of() {
    log::listen();
    let server = Server::start();
    let one = pod(&server, named("two-as-one"), "k", 0..50).await;
    summed_up(&mut server.client(), "two-as-one", 50).await;
    // It finds a manifest of nothing that it reads; the other meets it when it merges.
    let two = pod(&server, named("two-as-one"), "letter", 0..50).await;
    assert_eq!(two.warm_report().unwrap().keys, 50, "the fault itself");
    let told = |pod: &NearCache| pod.stats().totals.strangers_total > 0;
    let both = [(&one, "k", 0..50), (&two, "letter", 0..50)];
    reading(&both, "both have found out", || told(&one) && told(&two)).await;
    has_merged(&one, 3).await;
    has_merged(&two, 3).await;
    let told = log::lines("two-as-one");
    assert_eq!(told.len(), 2, "once each: {told:?}");
    for line in told {
        assert!(line.contains("service `two-as-one`"), "{line}");
        assert!(line.contains("NEARCACHE_SERVICE"), "{line}");
        assert!(!line.contains("letter"), "C13: no names of keys: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_one_service_are_no_strangers() {
    let server = Server::start();
    let one = pod(&server, named("shop"), "k", 0..50).await;
    summed_up(&mut server.client(), "shop", 50).await;
    // They share little, and with the first a little more.
    let two = pod(&server, named("shop"), "k", 0..25).await;
    let three = pod(&server, named("shop"), "k", 20..90).await;
    let all = [
        (&one, "k", 0..50),
        (&two, "k", 0..25),
        (&three, "k", 20..90),
    ];
    let often = || {
        all.iter()
            .all(|(pod, ..)| pod.stats().totals.merges_total >= 10)
    };
    reading(&all, "each has met the others often", often).await;
    for (pod, ..) in &all {
        assert_eq!(pod.stats().totals.strangers_total, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_the_program_is_doubted_where_others_can_be() {
    log::listen();
    let server = Server::start();
    // Nobody set a name: it is that of this test.
    let unnamed = || NearCache::builder().publish_every("100ms");
    let pod = unnamed().memory().strict(true).build().unwrap();
    let program = pod.settings().service.clone();
    assert!(program.starts_with("warm-"), "{program}");
    assert_eq!(log::lines(&program).len(), 0);
    let pod = unnamed().redis(server.url()).connect().await.unwrap();
    assert_eq!(pod.settings().service, program);
    let told = log::lines(&program);
    assert_eq!(told.len(), 1, "once: {told:?}");
    assert!(told[0].contains("NEARCACHE_SERVICE"), "{told:?}");
    let error = unnamed().redis(server.url()).strict(true).build();
    let error = error.map(drop).unwrap_err().to_string();
    assert!(error.contains("strict = true"), "{error}");
    let quiet = unnamed().statistics(false).redis(server.url()).strict(true);
    quiet.build().unwrap();
    let error = unnamed().memory().service("{shop}").build();
    let error = error.map(drop).unwrap_err().to_string();
    assert!(error.contains("setting `service` is \"{shop}\""), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_db_for_the_fleets_keys_hides_them_from_the_application() {
    let server = Server::start();
    let hidden = || named("shop").fleet_db(5_usize);
    let old = pod(&server, hidden(), "k", 0..20).await;
    let mut fifth = server.client();
    fifth.ok(&["SELECT", "5"]);
    summed_up(&mut fifth, "shop", 20).await;
    assert_eq!(old.stats().lanes[0].state, LaneState::Up);
    let mut client = server.client();
    assert_eq!(client.cmd(&["DBSIZE"]).int(), 20);
    assert_eq!(keys(&mut client, "nearcache:*"), [""; 0]);
    client.ok(&["FLUSHDB"]);
    assert!(keys(&mut fifth, "*").contains(&fleet_key("shop", "manifest")));
    let new = pod(&server, hidden(), "k", 0..0).await;
    assert_eq!(new.warm_report().unwrap().keys, 20, "absent, all of them");
    assert_eq!(new.get("k7").await.unwrap(), None);
    assert_eq!(new.stats().totals.misses_total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_db_that_cannot_be_had_costs_the_warm_start_and_is_told_of() {
    log::listen();
    let server = Server::start();
    let mut client = server.client();
    let acl = [
        "ACL", "SETUSER", "eve", "on", ">pw", "~*", "+@all", "-select",
    ];
    client.ok(&acl);
    let eve = format!("redis://eve:pw@127.0.0.1:{}", server.port());
    for (service, url, db, why) in [
        ("without-db", server.url(), 99_usize, "out of range"),
        ("without-select", eve, 5, "NOPERM"),
    ] {
        let cache = named(service).redis(url).fleet_db(db).connect();
        let cache = cache.await.unwrap();
        cache.ready().await;
        assert_eq!(cache.stats().lanes[0].state, LaneState::Up, "{service}");
        cache.set("k", "v", Ttl::NONE).await.unwrap();
        assert_eq!(cache.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
        let errors = || cache.stats().totals.exchange_errors_total;
        until("it has been tried again", || errors() >= 3).await;
        let told = log::lines(service);
        assert_eq!(told.len(), 1, "once: {told:?}");
        let words = [why, "`fleet_db`", &format!("db {db} ")];
        let missing = words.iter().find(|word| !told[0].contains(**word));
        assert_eq!(missing, None, "{told:?}");
    }
}
