//! The servers and the client themselves, on the default server of this machine.

use std::path::Path;

use nearcache_testkit::{Client, Server, Value, all, eventually};

#[test]
fn a_server_answers_over_tcp_and_unix_socket() {
    let server = Server::start();
    let mut tcp = server.client();
    assert_eq!(tcp.cmd(&["SET", "k", "v"]), Value::Simple("OK".into()));
    let mut unix = Client::unix(&server.unix_path()).unwrap();
    assert_eq!(unix.cmd(&["GET", "k"]), Value::Bulk(b"v".to_vec()));
    assert!(server.url().ends_with(&server.port().to_string()));
    assert!(server.unix_url().starts_with("unix:///"));
    assert!(server.version().version >= (7, 0, 0));
}

#[test]
fn servers_side_by_side_have_ports_of_their_own() {
    let (one, two) = (Server::start(), Server::start());
    assert_ne!(one.port(), two.port());
    one.client().ok(&["SET", "k", "one"]);
    assert_eq!(two.client().ok(&["GET", "k"]), Value::Nil);
    for server in [&one, &two] {
        let info = server.client().ok(&["INFO", "server"]).text();
        assert!(info.contains(&format!("process_id:{}\r\n", server.pid())));
    }
}

#[test]
fn a_dropped_server_is_gone() {
    let server = Server::start();
    let (port, socket, pid) = (server.port(), server.unix_path(), server.pid());
    drop(server);
    assert!(Client::tcp(port).is_err());
    assert!(!socket.parent().unwrap().exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_restarted_server_is_empty_and_keeps_its_port() {
    let mut server = Server::start();
    let port = server.port();
    let mut client = server.client();
    client.ok(&["SET", "k", "v"]);
    server.kill();
    assert!(client.try_cmd(&["GET", "k"]).is_err());
    assert!(Client::tcp(port).is_err());
    server.restart();
    assert_eq!(server.port(), port);
    assert_eq!(server.client().ok(&["GET", "k"]), Value::Nil);
}

#[test]
fn a_paused_server_answers_after_it_resumes() {
    let server = Server::start();
    let mut client = server.client();
    server.pause();
    client.send(&["PING"]).unwrap();
    server.resume();
    assert_eq!(client.recv().unwrap(), Value::Simple("PONG".into()));
}

#[test]
fn a_paused_server_can_be_dropped() {
    let server = Server::start();
    server.pause();
    drop(server);
}

#[test]
fn directives_and_passwords_reach_the_server() {
    let server = Server::builder()
        .password("secret")
        .arg("maxmemory", "64mb")
        .arg("user", "bob on nopass ~* +get")
        .start();
    let mut client = server.client();
    let reply = client.ok(&["CONFIG", "GET", "maxmemory"]);
    let expected = [&b"maxmemory"[..], b"67108864"].map(|word| Value::Bulk(word.to_vec()));
    assert_eq!(reply, Value::Array(expected.to_vec()));
    client.ok(&["AUTH", "bob", "any"]);
    assert!(client.cmd(&["SET", "k", "v"]).is_error());
    let mut stranger = Client::tcp(server.port()).unwrap();
    assert!(stranger.cmd(&["GET", "k"]).text().starts_with("NOAUTH"));
    assert!(server.url().starts_with("redis://:secret@"));
}

#[test]
fn the_client_reads_every_kind_of_reply() {
    let server = Server::start();
    let mut client = server.client();
    assert!(matches!(client.ok(&["HELLO", "3"]), Value::Map(_)));
    assert_eq!(client.ok(&["INCR", "n"]).int(), 1);
    assert_eq!(client.ok(&["GET", "none"]), Value::Nil);
    assert!(client.cmd(&["NOSUCH"]).text().starts_with("ERR"));
    assert_eq!(client.ok(&["DEBUG", "PROTOCOL", "true"]), Value::Bool(true));
    assert_eq!(
        client.ok(&["DEBUG", "PROTOCOL", "verbatim"]).text(),
        "This is a verbatim\nstring"
    );
    assert!(matches!(
        client.ok(&["DEBUG", "PROTOCOL", "double"]),
        Value::Number(_)
    ));
    assert!(
        matches!(client.ok(&["DEBUG", "PROTOCOL", "set"]), Value::Array(items) if items.len() == 3)
    );
    let big = vec![b'x'; 300_000];
    client.ok(&[&b"SET"[..], b"bytes\r\n\0", &big]);
    assert_eq!(client.ok(&[&b"GET"[..], b"bytes\r\n\0"]), Value::Bulk(big));
}

#[test]
fn the_client_reads_pushes() {
    let server = Server::start();
    let mut reader = server.client();
    reader.ok(&["HELLO", "3"]);
    reader.ok(&["CLIENT", "TRACKING", "ON"]);
    reader.ok(&["GET", "k"]);
    server.client().ok(&["SET", "k", "v"]);
    let keys = Value::Array(vec![Value::Bulk(b"k".to_vec())]);
    let push = Value::Push(vec![Value::Bulk(b"invalidate".to_vec()), keys]);
    assert_eq!(reader.recv().unwrap(), push);
}

#[test]
fn every_version_found_starts() {
    let found = all();
    assert!(!found.is_empty(), "run scripts/servers");
    for binary in found {
        let server = Server::start_version(&binary.path);
        assert_eq!(server.version(), &binary);
        server.client().ok(&["PING"]);
    }
}

#[test]
fn a_server_outlives_no_test_process() {
    if let Ok(report) = std::env::var("TESTKIT_ABORT_REPORT") {
        let server = Server::start();
        std::fs::write(
            report,
            format!("{} {}", server.pid(), server.unix_path().display()),
        )
        .unwrap();
        std::process::abort();
    }
    let report = std::env::temp_dir().join(format!("nearcache-abort-{}", std::process::id()));
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_outlives_no_test_process"])
        .env("TESTKIT_ABORT_REPORT", &report)
        .output()
        .unwrap();
    assert!(!child.status.success());
    let text = std::fs::read_to_string(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    let (pid, socket) = text.split_once(' ').unwrap();
    eventually("the orphaned server is killed", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Nobody may be there to reap it.
        stat.is_empty() || stat.contains(") Z ")
    });
    eventually("its files are gone", || {
        !Path::new(socket).parent().unwrap().exists()
    });
}
