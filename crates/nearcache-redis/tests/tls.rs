//! The L2 over TLS: real handshakes with certificates made here, in front of a real server.

#[path = "support/front.rs"]
mod front;
#[path = "../../nearcache-io/tests/support/mod.rs"]
mod support;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use front::{Authority, Folder, Front, Identity};
use nearcache_proto::{
    ConnectionId, Endpoint, Error, ErrorKind, Events, L2, Op, OpReply, PodConfig, PrimaryId,
    Protocol, ReadPolicy, Source,
};
use nearcache_redis::{RedisL2, TlsFiles};
use nearcache_testkit::{Server, eventually};
use support::{Log, ask, handshake, lane, pod, pod_with, proven, read, send, value, wait};

/// Both must never be seen in an error.
const PASSWORD: &str = "s3cret-word";
const HOST: &str = "127.0.0.1";

fn server() -> Server {
    Server::builder().password(PASSWORD).start()
}

fn url(front: &Front) -> String {
    format!("rediss://default:{PASSWORD}@{HOST}:{}", front.port())
}

/// As a user writes it who has an authority of his own, and perhaps a certificate.
fn l2(front: &Front, root: Option<&Authority>, client: Option<&Identity>) -> RedisL2 {
    open(front, root, client).unwrap()
}

fn open(
    front: &Front,
    root: Option<&Authority>,
    client: Option<&Identity>,
) -> Result<RedisL2, Error> {
    let folder = front.folder();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let file = |name: &str, text: &str| folder.file(name, text);
    let files = TlsFiles {
        ca: root.map_or_else(String::new, |root| file("ca.pem", &text(root.pem()))),
        cert: client.map_or_else(String::new, |client| file("cert.pem", &client.certificate)),
        key: client.map_or_else(String::new, |client| file("key.pem", &client.key)),
        ..TlsFiles::default()
    };
    RedisL2::open_with(&url(front), Duration::from_secs(10), &files)
}

/// Why neither a lane nor a side connection can be opened; shows nothing that is secret.
async fn refusal(l2: &RedisL2) -> Error {
    let events = Events::new(
        ConnectionId {
            primary: PrimaryId::FIRST,
            number: 1,
        },
        Arc::new(Log::default()),
    );
    let error = l2
        .connect(&Endpoint::Given, events)
        .await
        .err()
        .expect("the lane connected");
    let side = l2
        .connect_side(&Endpoint::Given, Protocol::Resp3)
        .await
        .err()
        .expect("the side connected");
    assert_eq!(side.to_string(), error.to_string());
    assert_eq!(side.kind(), error.kind());

    let mut text = format!("{error} {error:?}");
    let mut source = StdError::source(&error);
    while let Some(inner) = source {
        text += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    for hidden in [PASSWORD, "PRIVATE KEY", "BEGIN CERTIFICATE"] {
        assert!(!text.contains(hidden), "{text}");
    }
    error
}

#[tokio::test]
async fn tracking_is_proven_and_a_foreign_write_is_pushed_over_tls() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let l2 = l2(&front, Some(&authority), None);
    assert_eq!(l2.describe(), format!("rediss://{HOST}:{}/0", front.port()));

    let (mut con, log) = lane(&l2).await;
    assert!(proven(handshake(&mut *con).await));
    let mut writer = server.client();
    writer.ok(&["SET", "k", "old"]);
    let old = ask(&mut *con, read(0, "k")).await;
    assert!(matches!(old, Ok(OpReply::Read { tracked: true, .. })));
    writer.ok(&["SET", "k", "new"]);
    log.wait_for(&mut *con, "k").await;
    let new = ask(&mut *con, read(0, "k")).await;
    assert_eq!(value(&new), Some(Bytes::from("new")));
    writer.ok(&["FLUSHALL"]);
    log.wait_for(&mut *con, "*").await;
    assert_eq!((front.accepted(), front.refused()), (1, 0));
    assert!(log.lines().iter().all(|line| line != "end"));
}

#[tokio::test]
async fn c4_a_fence_comes_after_every_push_over_tls_too() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let (mut con, log) = lane(&l2(&front, Some(&authority), None)).await;
    handshake(&mut *con).await.unwrap();
    let mut writer = server.client();
    // Larger than a TLS record, so that replies and pushes share and straddle records.
    let large = "x".repeat(40_000);
    for round in 0..100u64 {
        let key = format!("k{round}");
        writer.ok(&["SET", &key, &large]);
        let replies = send(&mut *con, vec![read(0, &key)]).await.unwrap();
        assert_eq!(value(&replies[0]).map(|value| value.len()), Some(40_000));
        writer.ok(&["SET", &key, "x"]);
        let fenced = ask(&mut *con, Op::Fence { nonce: round }).await;
        assert_eq!(fenced, Ok(OpReply::Fenced));
        assert!(log.lines().contains(&key), "round {round}");
    }
}

#[tokio::test]
async fn c6_a_peer_that_dies_without_a_goodbye_is_the_end() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let (mut con, log) = lane(&l2(&front, Some(&authority), None)).await;
    handshake(&mut *con).await.unwrap();
    front.cut();
    log.wait_for(&mut *con, "end").await;
    let error = send(&mut *con, vec![Op::Heartbeat]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(!format!("{error:?}").contains(PASSWORD), "{error}");
}

#[test]
fn a_pod_over_tls_hears_of_foreign_writes_and_comes_back() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let config = PodConfig {
        // Far longer than the test: only a push or the end of the connection can renew what is read.
        max_staleness: Duration::from_secs(3600),
        ..PodConfig::default()
    };
    let (cache, _io) = pod_with(Arc::new(l2(&front, Some(&authority), None)), config);
    let get = || {
        let read = wait(cache.read(0, b"k", ReadPolicy::PassThrough)).unwrap();
        (read.value, read.source)
    };
    let large = Bytes::from(vec![7; 200_000]);
    wait(cache.set(0, b"k", large.clone(), None)).unwrap();
    assert_eq!(get(), (Some(large.clone()), Source::L2));
    assert_eq!(get(), (Some(large), Source::L1));
    assert!(cache.pod().is_tracked());
    server.client().ok(&["SET", "k", "foreign"]);
    eventually("the foreign write is seen", || {
        get().0 == Some(Bytes::from("foreign"))
    });

    // What was asked for in the middle of the push is not kept.
    eventually("it is kept", || get().1 == Source::L1);
    front.cut();
    eventually("it is up again", || {
        cache.pod().totals().connects_total == 2
    });
    assert_eq!(get(), (Some(Bytes::from("foreign")), Source::L2));
    assert_eq!((front.accepted(), front.refused()), (2, 0));
}

#[tokio::test]
async fn c12_an_unknown_authority_is_refused_with_what_to_do() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let nobody = RedisL2::open(&url(&front), Duration::from_secs(10)).unwrap();
    let another = l2(&front, Some(&Authority::new("another")), None);
    for stranger in [nobody, another] {
        let error = refusal(&stranger).await;
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
        for word in [HOST, "TLS", "give the root certificate"] {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
    }
    assert_eq!(front.accepted(), 0);
}

#[tokio::test]
async fn c12_a_certificate_for_another_host_is_refused() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server("cache.example"), server.port());
    let error = refusal(&l2(&front, Some(&authority), None)).await;
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("another host name"), "{error}");
}

#[tokio::test]
async fn a_server_may_be_reached_by_another_name_than_its_certificates() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server("cache.example"), server.port());
    let folder = Folder::new();
    let ca = folder.file("ca.pem", authority.pem());
    let files = |server_name: &str| TlsFiles {
        ca: ca.clone(),
        server_name: server_name.to_owned(),
        ..TlsFiles::default()
    };
    let open = |name: &str| RedisL2::open_with(&url(&front), Duration::from_secs(10), &files(name));
    let (mut con, _log) = lane(&open("cache.example").unwrap()).await;
    assert!(proven(handshake(&mut *con).await));
    let error = refusal(&open("other.example").unwrap()).await;
    assert!(error.to_string().contains("another host name"), "{error}");
    let error = open("no name").err().unwrap();
    assert!(error.to_string().contains("host name"), "{error}");
}

#[test]
fn an_unknown_authority_fails_the_calls_and_opens_no_storm() {
    let server = server();
    let front = Front::start(&Authority::new("ours").server(HOST), server.port());
    let (cache, io) = pod(l2(&front, Some(&Authority::new("another")), None));
    for error in [
        wait(cache.ready(Duration::ZERO)).unwrap_err(),
        wait(cache.read(0, b"k", ReadPolicy::PassThrough)).unwrap_err(),
        wait(cache.set(0, b"k", Bytes::from("v"), None)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(!format!("{error:?}").contains(PASSWORD), "{error}");
    }
    io.shutdown();
    eventually("nothing is left open", || front.open() == 0);
    assert_eq!(front.accepted(), 0);
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let server = server();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let front = Front::mutual(&ours.server(HOST), &theirs, server.port());
    let member = theirs.client("a pod");
    let l2 = l2(&front, Some(&ours), Some(&member));
    let (mut con, _log) = lane(&l2).await;
    assert!(handshake(&mut *con).await.is_ok());
    assert!(
        l2.connect_side(&Endpoint::Given, Protocol::Resp3)
            .await
            .is_ok()
    );
    assert_eq!(front.accepted(), 2);
}

#[tokio::test]
async fn c12_without_a_client_certificate_it_is_said_what_is_missing() {
    let server = server();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let front = Front::mutual(&ours.server(HOST), &theirs, server.port());
    let stranger = Authority::new("another").client("somebody");
    for client in [None, Some(&stranger)] {
        let error = refusal(&l2(&front, Some(&ours), client)).await;
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
        assert!(text.contains("a client certificate"), "{text}");
    }
    assert_eq!(front.accepted(), 0);
}

#[tokio::test]
async fn c12_certificates_that_cannot_be_used_are_refused_before_anything_is_sent() {
    let server = server();
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let (one, other) = (authority.client("one"), authority.client("other"));
    let mixed = Identity {
        certificate: one.certificate,
        key: other.key,
    };
    let error = open(&front, Some(&authority), Some(&mixed)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("is not the key"), "{error}");
    assert_eq!((front.accepted(), front.refused()), (0, 0));
}
