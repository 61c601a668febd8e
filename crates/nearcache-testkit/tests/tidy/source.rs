//! Rules about source files.

use std::path::Path;

use super::{crates, files, report, root, rust_files, short, text};

const LINES_MAX: usize = 500;

/// Words that mean unfinished work. In pieces, or this file would break its own rule.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
];

#[test]
fn every_file_begins_with_a_module_doc() {
    let bare = rust_files().into_iter().filter(|path| {
        let text = text(path).unwrap_or_default();
        !text
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("//! "))
    });
    let complaints: Vec<String> = bare
        .map(|path| format!("{} does not begin with a module doc (//!)", short(&path)))
        .collect();
    report(&complaints);
}

#[test]
fn no_file_is_too_long() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        let lines = text(&path).unwrap_or_default().lines().count();
        if lines > LINES_MAX {
            complaints.push(format!(
                "{} has {lines} lines: split it, {LINES_MAX} is the limit",
                short(&path)
            ));
        }
    }
    report(&complaints);
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    let mut complaints = Vec::new();
    let ignored = concat!("#[ig", "nore");
    for path in rust_files() {
        for (number, line) in text(&path).unwrap_or_default().lines().enumerate() {
            let unfinished = UNFINISHED.iter().find(|word| has_word(line, word));
            if let Some(word) = unfinished.or(line.contains(ignored).then_some(&ignored)) {
                complaints.push(format!("{}:{}: {word}", short(&path), number + 1));
            }
        }
    }
    report(&complaints);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut complaints = Vec::new();
    for path in files("") {
        for (number, line) in text(&path).unwrap_or_default().lines().enumerate() {
            if let Some(found) = MACHINE_PATHS.iter().find(|start| has_path(line, start)) {
                complaints.push(format!(
                    "{}:{}: a path under {found}",
                    short(&path),
                    number + 1
                ));
            }
        }
    }
    report(&complaints);
}

#[test]
fn tests_wait_for_events_and_never_sleep() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        // The test kit holds the one bounded wait that all tests share.
        if short(&path).starts_with("crates/nearcache-testkit/") {
            continue;
        }
        let mut in_tests = is_test_file(&path);
        for (number, line) in text(&path).unwrap_or_default().lines().enumerate() {
            in_tests |= line.trim() == "#[cfg(test)]";
            if in_tests && (line.contains("thread::sleep(") || line.contains("time::sleep(")) {
                let message =
                    "a test that sleeps; wait for an event, see nearcache_testkit::eventually";
                complaints.push(format!("{}:{}: {message}", short(&path), number + 1));
            }
        }
    }
    report(&complaints);
}

#[test]
fn the_sans_io_crates_start_no_threads() {
    let mut complaints = Vec::new();
    for path in rust_files() {
        let name = short(&path);
        let sans_io = [
            "crates/nearcache-l1/src/",
            "crates/nearcache-memory/src/",
            "crates/nearcache-proto/src/",
        ];
        if is_test_file(&path) || !sans_io.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let text = text(&path).unwrap_or_default();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for what in [
            "thread::spawn",
            "thread::scope",
            "thread::Builder",
            "Instant::now",
            "SystemTime",
        ] {
            if code.contains(what) {
                complaints.push(format!(
                    "{name} uses {what}: time and threads belong to the caller"
                ));
            }
        }
    }
    report(&complaints);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let mut complaints = Vec::new();
    for name in crates() {
        let manifest = root().join("crates").join(&name).join("Cargo.toml");
        if !text(&manifest).is_some_and(|text| text.contains("[lints]\nworkspace = true")) {
            complaints.push(format!(
                "{} has no [lints] workspace = true",
                short(&manifest)
            ));
        }
    }
    report(&complaints);
}

fn is_test_file(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

/// Whether `word` stands in `line` with no letter, digit or underscore on either side.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

/// Whether an absolute path that begins with `start` stands in `line`; `framework/x` and `a/work/b` are none.
fn has_path(line: &str, start: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || "._-}>*/".contains(c);
    line.match_indices(start)
        .any(|(at, _)| !line[..at].ends_with(part))
}

#[test]
fn words_and_paths_are_told_apart() {
    assert!(has_word("// XYZ: later", "XYZ") && !has_word("mktemp a.XYZXYZ", "XYZ"));
    assert!(has_path("see /opt/x", "/opt/") && !has_path("net/opt/x", "/opt/"));
}
