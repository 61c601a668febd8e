//! What the tests of the benchmarks ask of each of them: that its figures are documented, and what it says to bad input.

use std::process::Command;

use serde_json::Value;

/// Every field has its place in the page on benchmarks.
#[track_caller]
pub(crate) fn every_figure_is_documented(figures: &Value) {
    let page = include_str!("../../../../docs/benchmarks.md");
    for field in figures.as_object().expect("an object").keys() {
        let known = page.contains(&format!("`{field}`"));
        assert!(known, "no document says what {field} is");
    }
}

/// A benchmark refuses each of these lists of arguments with exit code 2 and these words.
#[track_caller]
pub(crate) fn refuses(bench: &str, cases: &[(&[&str], &str)]) {
    for (args, expected) in cases {
        let out = Command::new(env!("CARGO_BIN_EXE_nearcache-bench"))
            .args(["bench", bench])
            .args(*args)
            .output()
            .expect("the program was built for this test");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
