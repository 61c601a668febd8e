//! The command as a user runs it: what it prints, what it writes, how it ends. Judges no figure but those that must
//! not depend on the machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use nearcache_testkit::Server;
use serde_json::Value;

/// Few pods, few reads: what is tested is that it works.
const SMALL: [&str; 12] = [
    "demo",
    "--pods",
    "2",
    "--keys",
    "50",
    "--rate",
    "200",
    "--writes",
    "50",
    "--duration",
    "1",
    "--json",
];

fn nearcache(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearcache-bench"));
    command
        .args(args)
        .output()
        .expect("the program was built for this test")
}

/// Runs a small demo and returns its figures.
fn demo(name: &str, more: &[&str]) -> Value {
    let file: PathBuf =
        std::env::temp_dir().join(format!("nearcache-{name}-{}.json", std::process::id()));
    let path = file
        .to_str()
        .expect("the folder for temporary files has a plain name");
    let page = path.replace(".json", ".html");
    let args: Vec<&str> = SMALL
        .iter()
        .copied()
        .chain([path, "--html", &page])
        .chain(more.iter().copied())
        .collect();
    let out = nearcache(&args);
    let (table, errors) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    // A machine under load may find nearcache no better; it may not find an error.
    assert!(
        matches!(out.status.code(), Some(0 | 1)),
        "{table}\n{errors}"
    );
    for word in ["before", "after", "p99.9", "hit rate", "stale", "Seed 1"] {
        assert!(table.contains(word), "no {word} in:\n{table}");
    }
    let html = fs::read_to_string(&page).expect("the page was written");
    fs::remove_file(&page).expect("the page can be removed");
    readable(&html);
    let figures = fs::read_to_string(&file).expect("the figures were written");
    fs::remove_file(&file).expect("the figures can be removed");
    serde_json::from_str(&figures).expect("the figures are JSON")
}

/// A page that is whole, asks for nothing, and shows first what matters.
fn readable(page: &str) {
    assert!(page.ends_with("</html>\n"));
    for outside in ["src=", "href=", "@import", "url(", "NaN"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    assert_eq!(page.matches("class=\"tile\"").count(), 4);
    let at = |part: &str| page.find(part).unwrap_or_else(|| panic!("no {part}"));
    assert!(at("class=\"tile\"") < at("<svg") && at("<svg") < at("<table"));
    for part in [
        "prefers-color-scheme: dark",
        "max-width: 640px",
        "width=device-width",
    ] {
        at(part);
    }
}

/// What holds on every machine.
fn judge(figures: &Value) {
    for side in ["before", "after"] {
        let side = &figures[side];
        for none in ["stale_reads", "wrong_values", "errors"] {
            assert_eq!(side[none], 0, "{none}: {side:#}");
        }
        assert!(side["checked_reads"].as_u64() > Some(100), "{side:#}");
        assert!(side["writes"].as_u64() > Some(0), "{side:#}");
    }
    assert!(
        figures["after"]["hit_rate"].as_f64() > Some(0.3),
        "{figures:#}"
    );
    let reads = |side: &str| figures[side]["l2_reads_per_s"].as_f64();
    assert!(reads("after") < reads("before"), "{figures:#}");
}

#[test]
fn it_runs_without_a_server_and_says_so() {
    let figures = demo("embedded", &["--embedded"]);
    judge(&figures);
    assert_eq!(figures["server"], "embedded L2");
    assert_eq!(figures["pods_are_processes"], false);
}

#[test]
fn it_runs_on_a_server_with_pods_as_processes_and_leaves_nothing() {
    let server = Server::start();
    let figures = demo("server", &["--redis", &server.url()]);
    judge(&figures);
    assert_eq!(figures["pods_are_processes"], true);
    // A pool of ten each; one lane each.
    assert_eq!(figures["before"]["connections"], 20, "{figures:#}");
    assert_eq!(figures["after"]["connections"], 2, "{figures:#}");
    assert!(
        figures["after"]["rss_bytes_per_pod"].as_u64() > Some(0),
        "{figures:#}"
    );
    let left = format!("{:?}", server.client().cmd(&["KEYS", "nearcache-demo:*"]));
    assert!(!left.contains("product"), "{left}");
}

#[test]
fn every_figure_is_documented() {
    let figures = demo("documented", &["--embedded"]);
    let page = include_str!("../../../docs/demo-json.md");
    let fields = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    for field in fields(&figures)
        .into_iter()
        .chain(fields(&figures["before"]))
        .chain(fields(&figures["hardware"]))
    {
        assert!(
            page.contains(&format!("`{field}`")),
            "docs/demo-json.md does not say what {field} is"
        );
    }
}

#[test]
fn c12_bad_input_ends_with_2_and_says_what_to_do() {
    let cases: [(&[&str], &str); 8] = [
        (&["demo", "--redis", "http://x"], "--redis"),
        (
            &["demo", "--redis", "redis://127.0.0.1:1"],
            "cannot reach L2",
        ),
        (
            &["demo", "--server", "/nonexistent/server"],
            "/nonexistent/server",
        ),
        (&["demo", "--capacity", "0"], "--capacity"),
        (&["demo", "--value-size", "1B"], "--value-size"),
        (&["demo", "--keys", "0"], "--keys"),
        (&["demo", "--rate", "0"], "--rate"),
        (&["demo-pod"], "a part of `demo`"),
    ];
    for (args, expected) in cases {
        let out = nearcache(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
