//! `bench rollout` and `bench statistics` as a user runs them, small: what they print and what they write.
//! Judges no figure but those that must not depend on the machine.

mod benches;

use std::fs;
use std::process::{Command, Output};

use nearcache_testkit::Server;
use serde_json::Value;

use benches::{every_figure_is_documented, refuses};

fn nearcache(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearcache-bench"))
        .args(args)
        .output()
        .expect("the program was built for this test")
}

/// A file for the figures of one test.
fn file(name: &str) -> String {
    let file = std::env::temp_dir().join(format!("nearcache-{name}-{}", std::process::id()));
    file.to_str().expect("a plain path").to_owned()
}

/// Reads and removes it.
fn taken(path: &str) -> String {
    let text = fs::read_to_string(path).expect("the file was written");
    fs::remove_file(path).expect("the file can be removed");
    text
}

#[test]
fn a_pod_that_starts_warm_hits_from_its_first_reads_on() {
    let server = Server::start();
    let (url, json, html) = (server.url(), file("rollout.json"), file("rollout.html"));
    let mut args = vec!["bench", "rollout", "--pods", "4", "--restarts", "2"];
    args.extend(["--join", "2", "--keys", "400", "--rate", "800"]);
    args.extend(["--duration", "1", "--publish-every", "1s"]);
    args.extend(["--redis", &url, "--json", &json, "--html", &html]);
    let out = nearcache(&args);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(matches!(out.status.code(), Some(0 | 1)), "{said}\n{errors}");
    let figures: Value = serde_json::from_str(&taken(&json)).expect("the figures are JSON");
    for stage in ["rolling", "join"] {
        let (warm, cold) = (&figures["warm"][stage], &figures["cold"][stage]);
        for side in [warm, cold] {
            for none in ["errors", "wrong_values", "stale_reads"] {
                assert_eq!(side[none], 0, "{none} of {stage}: {said}");
            }
            assert!(side["checked_reads"].as_u64() > Some(0), "{said}");
            assert!(side["steady"]["reads"].as_u64() > Some(0), "{said}");
            assert_eq!(side["published"], true, "{said}");
            assert_eq!(side["first_100"]["pods"], 2, "{said}");
            let new = side["newcomers"].as_array().expect("new pods");
            assert_eq!(new.len(), 2);
            assert!(
                new.iter()
                    .all(|pod| pod["ready_seconds"].as_f64() > Some(0.0))
            );
        }
        let hits = |side: &Value| side["first_100"]["hit_rate"].as_f64().expect("a hit rate");
        assert!(hits(warm) > hits(cold) + 0.2, "{stage}: {said}");
        let keys = |side: &Value| side["newcomers"][0]["warm_keys"].as_u64();
        assert!(
            keys(warm) > Some(0) && keys(cold) == Some(0),
            "{stage}: {said}"
        );
        every_figure_is_documented(warm);
        every_figure_is_documented(&warm["steady"]);
        every_figure_is_documented(&warm["first_100"]);
        every_figure_is_documented(&warm["newcomers"][0]);
        every_figure_is_documented(&warm["seconds"][0]);
    }
    every_figure_is_documented(&figures);
    every_figure_is_documented(&figures["options"]);
    let page = taken(&html);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<svg").count(), 14);
    for outside in ["http:", "https:", "src=", "href=", "url(", "NaN"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    let left = format!("{:?}", server.client().cmd(&["KEYS", "*"]));
    assert!(!left.contains("nearcache"), "{left}");
}

#[test]
fn counting_is_measured() {
    let json = file("statistics.json");
    let args = [
        "bench",
        "statistics",
        "--rounds",
        "3",
        "--hits",
        "2000",
        "--json",
        &json,
    ];
    let out = nearcache(&args);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(matches!(out.status.code(), Some(0 | 1)), "{said}");
    let figures: Value = serde_json::from_str(&taken(&json)).expect("the figures are JSON");
    let threads: Vec<_> = figures["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["threads"].as_u64())
        .collect();
    assert_eq!(threads, [Some(1), Some(2)]);
    every_figure_is_documented(&figures);
    every_figure_is_documented(&figures["rows"][0]);
}

#[test]
fn bad_input_ends_with_2_and_says_what_to_do() {
    let cases: &[(&[&str], &str)] = &[
        (&["--redis", "redis://127.0.0.1:1"], "cannot reach L2"),
        (&["--server", "/nonexistent/server"], "/nonexistent/server"),
        (&["--capacity", "0"], "--capacity"),
        (&["--pods", "4", "--join", "4"], "--join"),
        (
            &["--pods", "4", "--restarts", "5", "--join", "1"],
            "--restarts",
        ),
        (&["--rate", "0"], "--rate"),
    ];
    refuses("rollout", cases);
}
