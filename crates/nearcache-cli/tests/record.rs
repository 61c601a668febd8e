//! `nearcache record` on a real server while a client works, and what it made of it.

#[path = "../../nearcache-redis/tests/support/front.rs"]
mod front;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use front::{Authority, Front};
use nearcache_testkit::{Server, eventually};

fn file(name: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("nearcache-record-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&file);
    file
}

fn record(server: &Server, file: &PathBuf, args: &[&str]) -> Child {
    record_at(&server.url(), server, file, args)
}

fn record_at(url: &str, server: &Server, file: &PathBuf, args: &[&str]) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_nearcache"))
        .args(["record", "--redis", url, "-o"])
        .arg(file)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    eventually("MONITOR begins", || is_monitored(server));
    child
}

fn is_monitored(server: &Server) -> bool {
    let mut client = server.client();
    let clients = client.cmd(&["CLIENT", "LIST"]);
    clients.text().contains("cmd=monitor")
}

fn said(child: Child) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&stdout).into_owned();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}\n{errors}");
    said
}

#[test]
fn what_clients_ask_is_recorded_and_can_be_played() {
    let server = Server::builder().password("se cret").start();
    let mut client = server.client();
    client.ok(&["SET", "before", &"x".repeat(300)]);
    let path = file("plain");
    let recording = record(
        &server,
        &path,
        &["--duration", "3s", "--max-rate", "10000000"],
    );
    let rounds = 2_000;
    for _ in 0..rounds {
        client.ok(&["SET", "a,b", "12345"]);
        client.ok(&["GET", "before"]);
        client.ok(&["MGET", "a,b", "gone"]);
        client.ok(&["EVAL", "return redis.call('get', KEYS[1])", "1", "a,b"]);
        client.ok(&["PING"]);
    }
    client.ok(&["DEL", "a,b"]);
    let said = said(recording);
    for word in ["halves", "Recorded", "Skipped"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    assert!(!said.contains("NOT ALL"), "{said}");
    let text = fs::read_to_string(&path).expect("the trace was written");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0].join(","), "ts_ms,client,op,key,size");
    let count = |op: &str, key: &str, size: &str| {
        let same = |line: &&Vec<&str>| line[2..] == [op, key, size];
        lines.iter().filter(same).count()
    };
    assert_eq!(count("set", "a%2cb", "5"), rounds, "{text}");
    assert_eq!(count("get", "a%2cb", "5"), 2 * rounds, "{text}");
    assert_eq!(count("del", "a%2cb", ""), 1, "{text}");
    // Asked for the first time it was read, and known soon after; the questions themselves are no requests.
    let (known, unknown) = (count("get", "before", "300"), count("get", "before", ""));
    assert_eq!(known + unknown, rounds, "{text}");
    assert!(known > rounds / 2, "{text}");
    let players: std::collections::HashSet<&str> = lines[1..].iter().map(|line| line[1]).collect();
    assert_eq!(players.len(), 2, "the client, and the script: {text}");
    fs::remove_file(&path).expect("it can be removed");
}

/// Two connections of a pool that reads through: what it missed it sets, and now and then something changes.
#[test]
fn fills_are_no_updates_and_a_pool_is_one_client() {
    let server = Server::start();
    let (mut one, mut other) = (server.client(), server.client());
    let path = file("fills");
    let recording = record(&server, &path, &["--duration", "3s"]);
    for n in 0..300 {
        let key = format!("k{n}");
        one.cmd(&["GET", &key]);
        other.ok(&["SET", &key, "filled", "EX", "60"]);
        one.cmd(&["GET", &key]);
        if n % 10 == 0 {
            other.ok(&["SET", &key, "changed"]);
        }
        if n % 30 == 0 {
            one.ok(&["DEL", &key]);
            other.cmd(&["GET", &key]);
            one.ok(&["SETEX", &key, "60", "again"]);
        }
    }
    let said = said(recording);
    let text = fs::read_to_string(&path).expect("the trace was written");
    let count = |op: &str| text.matches(&format!(",{op},")).count();
    assert_eq!(
        (count("fill"), count("set"), count("del")),
        (310, 30, 10),
        "{said}\n{text}"
    );
    let clients = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(1));
    assert_eq!(clients.collect::<std::collections::HashSet<_>>().len(), 1);
    assert!(
        said.contains("310 fills") && said.contains("one client address"),
        "{said}"
    );
    fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn keys_are_hidden_and_a_rate_is_kept() {
    let server = Server::start();
    let path = file("hashed");
    let args = ["--duration", "2", "--max-rate", "50", "--hash-keys", "salt"];
    let recording = record(&server, &path, &args);
    let (start, mut client) = (Instant::now(), server.client());
    while start.elapsed() < Duration::from_millis(1500) {
        client.ok(&["SET", "secret", "v"]);
    }
    let said = said(recording);
    for word in ["NOT ALL", "Cost to the server: MONITOR for"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    let text = fs::read_to_string(&path).expect("the trace was written");
    // Two seconds touch three of the server's, and starting may touch another.
    assert!(text.lines().count() <= 1 + 4 * 50, "{text}");
    assert!(!text.contains("secret"), "{text}");
    let names: std::collections::HashSet<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(3))
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names.iter().all(|name| name.len() == 16), "{names:?}");
    fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn a_server_that_is_too_busy_is_left_alone() {
    let server = Server::start();
    let path = file("busy");
    let recording = record(&server, &path, &["--duration", "4s", "--max-rate", "5"]);
    let mut client = server.client();
    eventually("MONITOR ends", || {
        for _ in 0..20 {
            client.ok(&["SET", "k", "v"]);
        }
        !is_monitored(&server)
    });
    let said = said(recording);
    assert!(said.contains("what it costs ends with it"), "{said}");
    fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn what_was_recorded_outlives_the_server() {
    let mut server = Server::start();
    let path = file("lost");
    let recording = record(&server, &path, &["--duration", "3s"]);
    server.client().ok(&["SET", "k", "v"]);
    let recorded = || fs::read_to_string(&path).is_ok_and(|text| text.contains(",set,k,1"));
    eventually("it is in the file", recorded);
    server.kill();
    let said = said(recording);
    for word in ["NOT ALL", "The connection was lost at the end", "1 set"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    assert!(recorded(), "{said}");
    fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn a_server_that_comes_back_is_recorded_again() {
    let mut server = Server::start();
    let path = file("back");
    let recording = record(&server, &path, &["--duration", "6s"]);
    server.client().ok(&["SET", "before", "v"]);
    server.restart();
    eventually("MONITOR begins again", || is_monitored(&server));
    server.client().ok(&["SET", "after", "v"]);
    let said = said(recording);
    assert!(!said.contains("lost at the end"), "{said}");
    let text = fs::read_to_string(&path).expect("the trace was written");
    for key in [",set,before,1", ",set,after,1"] {
        assert!(text.contains(key), "no {key} in {text}");
    }
    fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn a_server_is_recorded_over_tls() {
    let server = Server::builder().password("se cret").start();
    let authority = Authority::new("the one of this test");
    let front = Front::start(&authority.server("127.0.0.1"), server.port());
    let (path, pem) = (file("tls"), file("authority"));
    fs::write(&pem, authority.pem()).expect("a file can be written");
    let url = format!("rediss://:se%20cret@127.0.0.1:{}", front.port());
    let cacert = pem.to_str().expect("a plain path");
    let args = ["--duration", "2s", "--cacert", cacert];
    let recording = record_at(&url, &server, &path, &args);
    let long = "x".repeat(1 << 20);
    server.client().ok(&["SET", "k", &long]);
    let said = said(recording);
    let text = fs::read_to_string(&path).expect("the trace was written");
    assert!(text.contains(",set,k,1048576"), "{said}{text}");
    fs::remove_file(&path).expect("it can be removed");
    fs::remove_file(&pem).expect("it can be removed");

    // Nobody but this test believes that authority.
    let out = Command::new(env!("CARGO_BIN_EXE_nearcache"))
        .args(["record", "--redis", &url, "--duration", "1s", "-o"])
        .arg(&path)
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(2));
    assert!(!path.exists(), "nothing was recorded");
}
