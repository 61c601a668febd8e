//! What a command shows: that it fits the terminal, and ends quietly when nobody reads on.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

fn nearcache(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearcache"));
    command.args(args);
    command
}

fn small_trace(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("nearcache-{name}-{}.csv", std::process::id()));
    let rows = (0..3000).map(|at| format!("{},c{},get,key{},500\n", at * 20, at % 3, at * 7 % 40));
    let text = "ts_ms,client,op,key,size\n".to_owned() + &rows.collect::<String>();
    fs::write(&path, text).expect("a file for the test");
    path
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
fn a_simulation_fits_and_ends_quietly_when_nobody_reads_on() {
    let trace = small_trace("screen");
    let path = trace.to_str().expect("a plain path");
    let args = [
        "simulate",
        "--trace",
        path,
        "--pods",
        "3",
        "--restarts",
        "2",
    ];
    for columns in [40, 80, 120] {
        let out = nearcache(&args)
            .env("COLUMNS", columns.to_string())
            .output()
            .expect("the program was built for this test");
        assert!(out.status.success(), "{out:?}");
        fits(&out, columns, &["hit rate", "requests", "How sure"]);
    }
    let mut child = nearcache(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    // As `head` does, only earlier.
    drop(child.stdout.take());
    let mut said = String::new();
    let stderr = child.stderr.as_mut().expect("it is piped");
    stderr.read_to_string(&mut said).expect("text");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(141), "{said}");
    assert!(
        !said.contains("panicked") && !said.contains("backtrace"),
        "{said}"
    );
    fs::remove_file(trace).expect("the file can be removed");
}

#[test]
fn a_duration_means_what_it_does_in_other_commands() {
    let redis = "redis://127.0.0.1:1";
    let args = ["record", "--redis", redis, "-o", "/dev/null", "--duration"];
    let said = |more: &[&str]| {
        let out = nearcache(&args).args(more).output();
        let out = out.expect("the program was built for this test");
        assert_eq!(out.status.code(), Some(2), "{out:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    for bad in ["soon", "1500ms", "0"] {
        let said = said(&[bad]);
        assert!(said.contains("a time from 1s to 24h"), "{said}");
    }
    // What follows is an error of another kind: the time was understood.
    for good in ["90", "90s", "1m 30s"] {
        let said = said(&[good, "--no-such-option"]);
        assert!(said.contains("--no-such-option"), "{said}");
    }
}
