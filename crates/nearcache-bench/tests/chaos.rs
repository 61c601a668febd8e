//! `bench chaos` as a user runs it, small: nothing wrong is answered while everything around it breaks, and what
//! is broken on purpose is found. Judges no figure but those that must not depend on the machine.

mod benches;

use std::fs;
use std::process::Command;

use serde_json::Value;

use benches::{every_figure_is_documented, refuses};

/// Runs it; the figures, what it printed, and its exit code.
fn chaos(name: &str, args: &[&str]) -> (Value, String, Option<i32>) {
    let json = std::env::temp_dir().join(format!("nearcache-chaos-{name}-{}", std::process::id()));
    let program = nearcache_testkit::try_find().expect("a server: run scripts/servers");
    let out = Command::new(env!("CARGO_BIN_EXE_nearcache-bench"))
        .args(["bench", "chaos", "--redis", "auto", "--server"])
        .arg(program)
        .args(["--pods", "3", "--every", "400ms", "--json"])
        .arg(&json)
        .args(args)
        .output()
        .expect("the program was built for this test");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    let text = fs::read_to_string(&json).unwrap_or_else(|_| panic!("no figures: {said}"));
    fs::remove_file(&json).expect("the file can be removed");
    let figures = serde_json::from_str(&text).expect("the figures are JSON");
    (figures, said, out.status.code())
}

#[test]
fn nothing_wrong_is_answered_through_faults() {
    let (figures, said, code) = chaos("none", &["--duration", "7s", "--seed", "3"]);
    assert_eq!(figures["violations"], 0, "{said}");
    assert_eq!(code, Some(0), "{said}");
    assert!(figures["faults"].as_u64() > Some(0), "{said}");
    assert!(figures["reads"].as_u64() > Some(0), "{said}");
    assert!(figures["writes"].as_u64() > Some(0), "{said}");
    assert!(figures["errors"].is_object(), "{said}");
    every_figure_is_documented(&figures);
    every_figure_is_documented(&figures["options"]);
    every_figure_is_documented(&figures["fault_kinds"][0]);
}

/// The check can fail: with a mechanism of nearcache switched off there are wrong answers.
#[cfg(nearcache_break)]
#[test]
fn what_is_broken_is_found() {
    for broken in ["token", "lease", "null"] {
        // Few keys and many writes: a fetch and the word that its key was changed must come in one read.
        let args = [
            "--duration",
            "20s",
            "--seed",
            "1",
            "--keys",
            "10",
            "--writes",
            "400",
            "--break",
            broken,
        ];
        let (figures, said, code) = chaos(broken, &args);
        assert!(figures["violations"].as_u64() > Some(0), "{broken}: {said}");
        assert_eq!(code, Some(1), "{broken}: {said}");
        let example = &figures["violation_examples"][0];
        every_figure_is_documented(example);
    }
}

#[test]
fn bad_input_ends_with_2_and_says_what_to_do() {
    let cases: &[(&[&str], &str)] = &[
        (&["--redis", "redis://127.0.0.1:1"], "--redis"),
        (&["--server", "/nonexistent/server"], "/nonexistent/server"),
        (&["--duration", "1s"], "--duration"),
        (&["--every", "1ms"], "--every"),
        (&["--reads", "0"], "--reads"),
    ];
    refuses("chaos", cases);
}
