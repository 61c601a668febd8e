//! `nearcache record` on a real server while a client works, and that `bench` reads what it made.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nearcache_testkit::{Server, eventually};

fn file(name: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("nearcache-record-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&file);
    file
}

fn record(server: &Server, file: &PathBuf, args: &[&str]) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_nearcache"))
        .args(["record", "--redis", &server.url(), "-o"])
        .arg(file)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    let mut client = server.client();
    eventually("MONITOR begins", || {
        client
            .cmd(&["CLIENT", "LIST"])
            .text()
            .contains("cmd=monitor")
    });
    child
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
    assert!(said.contains("NOT ALL"), "{said}");
    let text = fs::read_to_string(&path).expect("the trace was written");
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
