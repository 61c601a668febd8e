//! What a command shows: that it fits the terminal, and offers only what there is.

use std::process::{Command, Output};

fn nearcache(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearcache-bench"));
    command.args(args);
    command
}

fn output(args: &[&str]) -> Output {
    nearcache(args)
        .output()
        .expect("the program was built for this test")
}

fn demo(columns: &str) -> Output {
    let args = ["demo", "--embedded", "--pods", "1", "--keys", "20"];
    nearcache(&args)
        .args(["--rate", "100", "--duration", "1s"])
        .env("COLUMNS", columns)
        .output()
        .expect("the program was built for this test")
}

/// Fails where a line is wider than the terminal, or a figure is missing.
#[track_caller]
fn fits(out: &Output, columns: usize, figures: &[&str]) {
    let text = String::from_utf8_lossy(&out.stdout);
    for line in text.lines() {
        assert!(line.chars().count() <= columns, "{line:?} in:\n{text}");
    }
    for figure in figures {
        assert!(text.contains(figure), "no {figure} at {columns}:\n{text}");
    }
}

#[test]
fn tables_fit_the_terminal() {
    let figures = ["before", "after", "p99.9", "stale", "reads/s"];
    fits(&demo("40"), 40, &figures);
}

#[test]
fn who_mistypes_is_offered_only_what_there_is() {
    for typo in ["demo-po", "demox", "demo_pod", "deom"] {
        let out = output(&[typo]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(!said.replace(typo, "").contains("demo-pod"), "{said}");
        assert!(said.contains("'demo'"), "{said}");
    }
}

#[test]
fn a_duration_means_the_same_everywhere() {
    let commands: [&[&str]; 6] = [
        &["demo"],
        &["bench", "fleet"],
        &["bench", "rollout"],
        &["bench", "chaos"],
        &["bench", "soak"],
        &[
            "record",
            "--redis",
            "redis://127.0.0.1:1",
            "-o",
            "/dev/null",
        ],
    ];
    for command in commands {
        for bad in ["soon", "1500ms", "0"] {
            let out = output(&[command, &["--duration", bad]].concat());
            let said = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{command:?}: {said}");
            assert!(
                said.contains("a time from 1s to 24h"),
                "{command:?}: {said}"
            );
        }
        // What follows is an error of another kind: the time was understood.
        for good in ["90", "90s", "1m 30s"] {
            let out = output(&[command, &["--duration", good, "--no-such-option"]].concat());
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(said.contains("--no-such-option"), "{command:?}: {said}");
        }
    }
}
