//! `nearcache simulate` on small traces: what it prints, what its JSON holds, that a seed replays, and what it says to bad input.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder of one test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("nearcache-simulate-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Half an hour of thirty clients who read low numbers more often, and write now and then.
    fn trace(&self) -> PathBuf {
        let mut csv = "ts_ms,client,op,key,size\n".to_owned();
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        for number in 0..18_000_u64 {
            let key = next(300) * next(300) / 300;
            let op = if number % 200 == 199 { "set" } else { "get" };
            let _ = writeln!(csv, "{},{},{op},product:{key},400", number * 100, next(30));
        }
        let path = self.file("trace.csv");
        fs::write(&path, csv).expect("a trace");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn simulate(trace: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearcache"))
        .args(["simulate", "--trace"])
        .arg(trace)
        .args(args)
        .output()
        .expect("the program was built for this test")
}

fn printed(trace: &Path, args: &[&str]) -> String {
    let output = simulate(trace, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

fn refused(trace: &Path, args: &[&str]) -> String {
    let output = simulate(trace, args);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Five pods with room for a tenth of the keys.
const SMALL: [&str; 10] = [
    "--pods",
    "5",
    "--capacity-entries",
    "30",
    "--restarts",
    "4",
    "--top-up",
    "1,0.25",
    "--exchange",
    "10",
];

#[test]
fn all_sections_are_printed_and_the_json_has_what_the_docs_name() {
    let folder = Folder::new("sections");
    let (json, plot) = (folder.file("found.json"), folder.file("plots"));
    let (json_name, plot_name) = (json.to_string_lossy(), plot.to_string_lossy());
    let mut args = SMALL.to_vec();
    args.extend(["--json", &json_name, "--plot", &plot_name]);
    let text = printed(&folder.trace(), &args);
    for section in [
        "18,000 requests for ",
        "hit rate of the fleet",
        "bound: keys that anyone had read before",
        "Hit rate of a restarted pod, mean of 4 restarts",
        "warm start",
        "Fetching ahead what a pod expects to read",
        "capacity of a pod",
        "What 5 pods tell each other",
        "all of the exchange",
        "A merge reads ",
    ] {
        assert!(text.contains(section), "{section}\n{text}");
    }
    for curve in ["join.svg", "join-seconds.svg", "top-up.svg", "sizing.svg"] {
        assert!(plot.join(curve).is_file(), "{curve}");
    }
    let found: Value = serde_json::from_slice(&fs::read(&json).expect("findings")).expect("JSON");
    let docs = include_str!("../../../docs/simulate.md");
    let docs = docs.split("## JSON").nth(1).expect("a section about JSON");
    let docs = docs.split("\n## ").next().unwrap_or(docs);
    are_named(&found, docs);
    let number = |path: &str| {
        found
            .pointer(path)
            .and_then(Value::as_f64)
            .expect("a number")
    };
    assert_eq!(
        number("/failed_reads") + number("/exchange/failed_reads"),
        0.0
    );
    assert!((0.1..0.9).contains(&number("/hit_rate/no_warm")));
    assert!(number("/exchange/merges/number") > 0.0 && number("/speed/merge_us/mean") > 0.0);
    assert_eq!(number("/exchange/manifest_pods"), 5.0);
    let rows = |path: &str| {
        found
            .pointer(path)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    assert_eq!((rows("/topup_frontier"), rows("/sizing")), (3, 7));
}

/// Every field of every object is in the docs, in code font.
fn are_named(value: &Value, docs: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert!(docs.contains(&format!("`{name}`")), "{name}");
                are_named(value, docs);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| are_named(value, docs)),
        _ => {}
    }
}

/// What a test of a minute on a quiet service records: 33 s, and sizes of every third key.
#[test]
fn a_short_trace_is_called_short_and_its_figures_are_possible() {
    let folder = Folder::new("minute");
    let trace = folder.file("minute.csv");
    let mut csv = "ts_ms,client,op,key,size\n".to_owned();
    for number in 0..30_000_u64 {
        let key = number * number % 997 * (number % 7) / 7;
        let size = if key % 3 == 0 { "2500" } else { "" };
        let _ = writeln!(
            csv,
            "{},{},get,k{key},{size}",
            number * 11 / 10,
            number % 13
        );
    }
    fs::write(&trace, csv).expect("a trace");
    let json = folder.file("found.json");
    let name = json.to_string_lossy();
    let text = printed(
        &trace,
        &[
            "--pods",
            "5",
            "--restarts",
            "200",
            "--skip-top-up",
            "--json",
            &name,
        ],
    );
    let found: Value = serde_json::from_slice(&fs::read(&json).expect("findings")).expect("JSON");
    let number = |path: &str| {
        found
            .pointer(path)
            .and_then(Value::as_f64)
            .expect("a number")
    };
    for bound in ["/bound", "/join_bound/first_100", "/join_bound/first_400"] {
        assert!(number(bound) <= 1.0, "{bound}: {text}");
    }
    for (mean, peak) in [("reads", "peak_reads"), ("bytes", "peak_bytes")] {
        let of = |what: &str| number(&format!("/l2/{what}_per_second"));
        assert!(of(peak) >= of(mean), "{what}: {text}", what = peak);
    }
    let watched = number("/restarts");
    assert!(watched < 200.0 && found["restarts_asked"] == 200, "{text}");
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "keys in 33 s;",
        &format!("{watched} of the 200 restarts"),
        "2.5 KB",
        "Set capacity to ",
        " % hits",
        "of RAM for 5 pods",
        "How sure: not at all",
        "33 s",
    ] {
        assert!(plain.contains(words), "no {words:?} in:\n{text}");
    }
    let last = text.lines().rev().find(|line| !line.is_empty());
    assert!(
        last.is_some_and(|line| !line.contains("simulated")),
        "the verdict is last: {text}"
    );
}

#[test]
fn a_seed_replays_and_another_does_not() {
    let folder = Folder::new("seed");
    let trace = folder.trace();
    let json = folder.file("found.json");
    let run = |seed: &str| {
        let name = json.to_string_lossy();
        let mut args = SMALL.to_vec();
        args.extend(["--skip-sizing", "--seed", seed, "--json", &name]);
        printed(&trace, &args);
        let mut found: Value =
            serde_json::from_slice(&fs::read(&json).expect("findings")).expect("JSON");
        // What depends on the machine, and what was typed.
        let fields = found.as_object_mut().expect("an object");
        assert!(fields.remove("speed").is_some() && fields.remove("command").is_some());
        found.to_string()
    };
    assert_eq!(run("1"), run("1"));
    assert_ne!(run("1"), run("2"));
}

#[test]
fn what_is_left_out_is_not_there() {
    let folder = Folder::new("short");
    let json = folder.file("found.json");
    let name = json.to_string_lossy();
    let short = [
        "--pods",
        "2",
        "--capacity",
        "1MiB",
        "--restarts",
        "0",
        "--skip-top-up",
        "--skip-sizing",
        "--json",
        &name,
    ];
    let text = printed(&folder.trace(), &short);
    for section in [
        "restarted pod",
        "Fetching ahead",
        "capacity of a pod",
        "tell each other",
    ] {
        assert!(!text.contains(section), "{section}\n{text}");
    }
    let found: Value = serde_json::from_slice(&fs::read(&json).expect("findings")).expect("JSON");
    assert!(found["exchange"].is_null() && found["speed"]["merge_us"].is_null());
}

#[test]
fn c12_bad_input_is_told_what_to_do() {
    let folder = Folder::new("bad");
    let trace = folder.trace();
    let says = |args: &[&str], words: &str| {
        let said = refused(&trace, args);
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    };
    says(&["--pods", "0"], "1..=4096");
    says(&["--capacity", "0"], "the capacity is zero");
    says(&["--capacity-entries", "0"], "the capacity is zero");
    says(&["--rate", "0"], "--rate must be from");
    says(&["--writes", "101"], "writes must be from 0 to 100");
    says(&["--top-up", "0"], "fetched ahead must be from");
    says(&["--sizes", "big"], "lognormal:2KB,50KB");
    says(&["--exchange", "0"], "1 to 10080 minutes");
    let nowhere = folder.file("nowhere.csv");
    assert!(refused(&nowhere, &[]).contains("nowhere.csv"));
    let empty = folder.file("empty.csv");
    fs::write(&empty, "ts_ms,client,op,key,size\n").expect("a file");
    let said = refused(&empty, &[]);
    assert!(
        said.contains("no re") && !said.contains("panicked"),
        "{said}"
    );
}

#[test]
fn what_a_pod_exports_of_its_own_reads_is_a_trace() {
    let folder = Folder::new("exported");
    let builder = nearcache::NearCache::builder().memory();
    let cache = builder
        .publish_every("200ms")
        .build()
        .expect("good settings");
    let cache = cache.into_blocking();
    let salt = nearcache::TraceNames::Hashed("salt".to_owned());
    let trace = cache.export_trace(salt, 1 << 20).expect("the first");
    for number in 0..600 {
        let key = format!("product:{}", number % 50);
        if number < 50 {
            cache
                .set(&key, "a value", nearcache::Ttl::NONE)
                .expect("it is there");
        }
        cache.get(&key).expect("it is there");
    }
    nearcache_testkit::eventually("all reads were counted", || trace.lines_total() >= 600);
    let file = folder.file("pod.csv");
    fs::write(&file, trace.take()).expect("a trace");
    let output = simulate(
        &file,
        &[
            "--pods",
            "1",
            "--restarts",
            "0",
            "--skip-top-up",
            "--skip-sizing",
        ],
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("600") && said.contains("50 keys"), "{said}");
}
