//! `bench soak` as a user runs it, for seconds: L1 stays within its capacity while it evicts. Judges no figure
//! but those that must not depend on the machine.

mod benches;

use std::fs;
use std::process::Command;

use serde_json::Value;

use benches::{every_figure_is_documented, refuses};

#[test]
fn c9_l1_stays_within_its_capacity() {
    let json = std::env::temp_dir().join(format!("nearcache-soak-{}", std::process::id()));
    let program = nearcache_testkit::try_find().expect("a server: run scripts/servers");
    let out = Command::new(env!("CARGO_BIN_EXE_nearcache-bench"))
        .args(["bench", "soak", "--duration", "4s", "--keys", "3000"])
        .args(["--capacity", "4MiB", "--server-memory", "32MiB", "--server"])
        .arg(program)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("the program was built for this test");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(out.status.code(), Some(0), "{said}");
    let text = fs::read_to_string(&json).expect("the file was written");
    fs::remove_file(&json).expect("the file can be removed");
    let figures: Value = serde_json::from_str(&text).expect("the figures are JSON");
    let number = |name: &str| figures[name].as_u64().expect("a number");
    for some in ["reads", "hits", "fills", "writes", "evictions"] {
        assert!(number(some) > 0, "{some}: {said}");
    }
    assert_eq!(number("wrong_values"), 0, "{said}");
    assert!(figures["errors"].is_object(), "{said}");
    assert!(number("l1_bytes_max") <= 4 << 20, "{said}");
    assert!(number("resident_bytes_max") >= number("resident_bytes_start"));
    assert_eq!(figures["goals"][0]["reached"], true, "{said}");
    for part in [
        &figures,
        &figures["options"],
        &figures["value_bytes"],
        &figures["tenths"][0],
        &figures["samples"][0],
    ] {
        every_figure_is_documented(part);
    }
}

#[test]
fn bad_input_ends_with_2_and_says_what_to_do() {
    let cases: &[(&[&str], &str)] = &[
        (&["--redis", "redis://127.0.0.1:1"], "--redis"),
        (&["--server", "/nonexistent/server"], "/nonexistent/server"),
        (&["--duration", "1s"], "--duration"),
        (&["--capacity", "1KB"], "--capacity"),
        (&["--writes", "10001"], "--writes"),
        (&["--zipf", "11"], "--zipf"),
    ];
    refuses("soak", cases);
}
