//! Addresses and credentials, as a user writes them: what works, and what is said when it does not.

use nearcache::blocking::NearCache;
use nearcache::{Error, ErrorKind, LaneState, NearCache as Async, Ttl};
use nearcache_testkit::Server;

use super::stage::connect;
use super::{Stage, all, says, val};

fn at(url: impl Into<String>) -> nearcache::Builder {
    Async::builder()
        .redis(url)
        .connect_timeout("5s")
        .warm_deadline("50ms")
}

#[track_caller]
fn refused(builder: nearcache::Builder, kind: ErrorKind, words: &[&str]) -> Error {
    let error = builder.connect_blocking().map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    says(&error, words);
    error
}

#[track_caller]
fn works(pod: &NearCache, server: &Server) {
    pod.set("k", "v", Ttl::NONE).unwrap();
    assert_eq!(pod.get("k").unwrap(), val("v"));
    assert_eq!(pod.get("k").unwrap(), val("v"));
    assert_eq!(pod.stats().totals.hits_total, 1);
    assert_eq!(
        pod.stats().lanes[0].state,
        LaneState::Up,
        "{}",
        server.version().path.display()
    );
}

#[test]
fn a_unix_socket() {
    Stage::watch(|| {
        let server = Server::start();
        works(&connect(at(server.unix_url())), &server);
    });
}

#[test]
fn a_password_over_tcp_and_unix() {
    Stage::watch(|| {
        let server = Server::builder().password("s3cret").start();
        works(&connect(at(server.url())), &server);
        works(&connect(at(server.unix_url())), &server);
        let none = format!("redis://127.0.0.1:{}", server.port());
        refused(at(none), ErrorKind::Configuration, &["password", "URL"]);
    });
}

#[test]
fn c12_a_wrong_password_is_a_matter_of_configuration() {
    Stage::watch(|| {
        let server = Server::builder().password("right").start();
        let wrong = format!("redis://:wr0ng@127.0.0.1:{}", server.port());
        let error = refused(
            at(wrong),
            ErrorKind::Configuration,
            &["password", "127.0.0.1"],
        );
        assert!(!format!("{error} {error:?}").contains("wr0ng"), "{error}");
    });
}

#[test]
fn a_db_in_the_url() {
    Stage::watch(|| {
        let server = Server::start();
        let mut writer = server.client();
        let pod = connect(at(format!("{}/4", server.url())));
        assert_eq!(pod.db(), 4);
        writer.ok(&["SET", "k", "zero"]);
        works(&pod, &server);
        writer.ok(&["SELECT", "4"]);
        writer.ok(&["SET", "k", "four"]);
        pod.fence().unwrap();
        assert_eq!(pod.get("k").unwrap(), val("four"));
        assert_eq!(pod.with_db(0).get("k").unwrap(), val("zero"));
        assert_eq!(pod.get("k").unwrap(), val("four"));
        let mut session = pod.session();
        session.command(&["MULTI"]).unwrap();
        session.command(&["SET", "k", "in a transaction"]).unwrap();
        session.command(&["EXEC"]).unwrap();
        assert_eq!(pod.get("k").unwrap(), val("in a transaction"));
        let much = format!("{}/99", server.url());
        refused(at(much), ErrorKind::Configuration, &["database"]);
    });
}

#[test]
fn c16_a_user_reads_what_its_acl_allows() {
    Stage::watch(|| {
        let server = Server::start();
        let mut writer = server.client();
        writer.ok(&[
            "ACL",
            "SETUSER",
            "alice",
            "on",
            ">p@ss",
            "~allowed:*",
            "~nearcache:*",
            "+@all",
        ]);
        writer.ok(&["SET", "allowed:k", "v"]);
        writer.ok(&["SET", "forbidden", "v"]);
        let address = |user: &str| format!("redis://{user}@127.0.0.1:{}", server.port());
        let everyone = connect(at(server.url()));
        assert_eq!(everyone.get("forbidden").unwrap(), val("v"));
        let alice = connect(at(address("alice:p%40ss")));
        assert_eq!(alice.stats().lanes[0].state, LaneState::Up);
        for _ in 0..2 {
            assert_eq!(alice.get("allowed:k").unwrap(), val("v"));
            let errors = [
                alice.get("forbidden").unwrap_err(),
                alice.set("forbidden", "w", Ttl::NONE).unwrap_err(),
                alice.get_validated("forbidden").unwrap_err(),
                all(alice.get_many(&["allowed:k", "forbidden"])).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
                says(&error, &["NOPERM"]);
            }
        }
        assert_eq!(alice.stats().totals.disconnects_total, 0);
        refused(
            at(address("alice:wrong")),
            ErrorKind::Configuration,
            &["user or password"],
        );
        refused(
            at(address("nobody:p%40ss")),
            ErrorKind::Configuration,
            &["user or password"],
        );
    });
}

#[test]
fn c16_a_user_whose_keys_leave_no_room_for_the_self_test() {
    Stage::watch(|| {
        let server = Server::start();
        let mut writer = server.client();
        writer.ok(&["ACL", "SETUSER", "bob", "on", ">pw", "~bob:*", "+@all"]);
        let address = format!("redis://bob:pw@127.0.0.1:{}", server.port());
        let pod = connect(at(&*address));
        let LaneState::Degraded(why) = pod.stats().lanes[0].state.clone() else {
            panic!("not said aloud");
        };
        assert!(why.contains("lacks ~nearcache:*"), "{why}");
        writer.ok(&["ACL", "SETUSER", "bob", "~nearcache:*"]);
        let pod = connect(at(address));
        assert_eq!(pod.stats().lanes[0].state, LaneState::Up);
    });
}

#[test]
fn c16_a_user_that_may_not_select_keeps_its_lane() {
    Stage::watch(|| {
        let server = Server::start();
        let acl = [
            "ACL", "SETUSER", "dave", "on", ">pw", "~*", "+@all", "-select",
        ];
        server.client().ok(&acl);
        let pod = connect(at(format!("redis://dave:pw@127.0.0.1:{}", server.port())));
        pod.set("k", "v", Ttl::NONE).unwrap();
        for _ in 0..3 {
            says(&pod.with_db(5).get("k").unwrap_err(), &["db 5", "NOPERM"]);
            assert_eq!(pod.get("k").unwrap(), val("v"));
        }
        assert_eq!(pod.stats().totals.disconnects_total, 0);
    });
}

#[test]
fn c10_a_refused_connection_names_the_address() {
    Stage::watch(|| {
        let mut server = Server::start();
        let (port, url) = (server.port(), server.url());
        server.kill();
        let words = ["127.0.0.1", &port.to_string(), "nothing listens there"];
        refused(at(url), ErrorKind::Retry, &words);
        let words = ["/no/such/socket", "no such socket"];
        refused(at("unix:///no/such/socket"), ErrorKind::Retry, &words);
    });
}

#[test]
fn c12_addresses_that_are_none() {
    for (url, word) in [
        ("", "redis://"),
        ("127.0.0.1:6379", "redis://"),
        ("http://127.0.0.1", "redis://"),
        ("redis://", "host"),
        ("redis://h:port", "redis://"),
        ("redis://h/x", "database"),
        ("redis://h:99999", "redis://"),
        ("unix://", "path"),
    ] {
        let error = at(url).build().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}: {error}");
        assert!(error.to_string().contains(word), "{url}: {error}");
    }
}
