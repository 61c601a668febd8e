//! `bench fleet` as a user runs it, small: what it prints, what it writes, and that it leaves nothing. Judges
//! no figure but those that must not depend on the machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nearcache_testkit::Server;
use serde_json::Value;

const SMALL: [&str; 14] = [
    "bench",
    "fleet",
    "--pods",
    "3",
    "--keys",
    "60",
    "--value-size",
    "2KB",
    "--capacity",
    "8MiB",
    "--rate",
    "600",
    "--duration",
    "2s",
];

fn nearcache(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearcache-bench"))
        .args(args)
        .output()
        .expect("the program was built for this test")
}

/// Runs a small fleet; its figures and what it printed.
fn fleet(name: &str, args: &[&str]) -> (Value, String) {
    let file = std::env::temp_dir().join(format!(
        "nearcache-fleet-{name}-{}.json",
        std::process::id()
    ));
    let path = file
        .to_str()
        .expect("the folder for temporary files has a plain name");
    let args: Vec<&str> = args.iter().copied().chain(["--json", path]).collect();
    let out = nearcache(&args);
    let (said, errors) = (
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr),
    );
    // A machine under load may find nearcache no better; it may not find an error.
    assert!(matches!(out.status.code(), Some(0 | 1)), "{said}\n{errors}");
    let figures = fs::read_to_string(&file).expect("the figures were written");
    fs::remove_file(&file).expect("the figures can be removed");
    let figures = serde_json::from_str(&figures).expect("the figures are JSON");
    (figures, said)
}

#[test]
fn a_small_fleet_in_all_three_architectures() {
    let server = Server::start();
    let url = server.url();
    let program = nearcache_testkit::try_find().expect("a server: run scripts/servers");
    let program = program.to_str().expect("a plain path");
    let mut args = SMALL.to_vec();
    args.extend(["--redis", &url, "--server", program]);
    args.extend(["--sidecar", "--sidecar-ttl", "3", "--l2-latency", "1ms"]);
    let page = std::env::temp_dir().join(format!("nearcache-fleet-{}.html", std::process::id()));
    args.extend(["--html", page.to_str().expect("a plain path")]);
    let (figures, said) = fleet("small", &args);
    a_page_was_written(&page);
    let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [
        "before",
        "after",
        "sidecar",
        "stale",
        "Seed 1",
        "due p99",
        "room",
        "age of a served value",
        "own maximum",
        "capacity 10 % of the data",
        "updates 1 % of reads, skewed",
        "50 % of --rate",
        "hit rate at 8.4 MB",
        "memory of the fleet",
        "fill from a peer",
        "by at most",
        "A proxy adds 1.00 ms",
    ] {
        assert!(plain.contains(word), "no {word} in:\n{said}");
    }
    for arm in ["before", "after", "sidecar"] {
        let side = &figures[arm];
        for none in ["wrong_values", "errors"] {
            assert_eq!(side[none], 0, "{none} of {arm}: {side:#}");
        }
        for some in [
            "mean_us",
            "intended_mean_us",
            "intended_p99_us",
            "checked_reads",
        ] {
            assert!(side[some].as_f64() > Some(0.0), "{some} of {arm}: {side:#}");
        }
        for distribution in ["latency_buckets", "intended_buckets"] {
            let buckets = side[distribution].as_array().expect("a distribution");
            let reads: u64 = buckets.iter().filter_map(|bucket| bucket[1].as_u64()).sum();
            assert_eq!(
                Some(reads),
                side["reads"].as_u64(),
                "{distribution} of {arm}"
            );
        }
        assert_eq!(side["series"].as_array().map(Vec::len), Some(2), "{side:#}");
    }
    // A pool of ten each; one lane each.
    assert_eq!(figures["before"]["connections"], 30);
    assert_eq!(figures["after"]["connections"], 3);
    assert_eq!(figures["before"]["hit_rate"], 0.0);
    assert!(figures["after"]["hit_rate"].as_f64() > Some(0.5), "{said}");
    assert!(figures["sidecar"]["sidecars"]["rss_bytes"].as_u64() > Some(0));
    // Delayed, each read of `before` takes the delay at least.
    assert!(
        figures["before"]["p50_us"].as_f64() > Some(1000.0),
        "{said}"
    );

    let rows = figures["rows"].as_array().expect("rows");
    let of = |arm: &str, kind: &str| {
        let matching = |row: &&Value| row["arm"] == arm && row["kind"] == kind;
        rows.iter().filter(matching).count()
    };
    assert_eq!((of("before", "rate"), of("before", "max")), (3, 1));
    assert_eq!((of("after", "fill"), of("after", "max")), (1, 1));
    assert_eq!((of("after", "rate"), of("after", "sensitivity")), (4, 5));
    assert_eq!((of("sidecar", "rate"), of("sidecar", "fill")), (3, 1));
    assert_eq!((of("before", "prepare"), of("after", "prepare")), (1, 2));
    for row in rows {
        let name = row["name"].as_str().unwrap_or_default();
        // --rate was given: it is not the maximum of anything.
        assert!(!name.contains("before's"), "{row:#}");
        assert!(row["checked_reads"].as_u64() > Some(0), "{row:#}");
    }
    for row in rows.iter().filter(|row| row["arm"] != "sidecar") {
        assert_eq!(row["stale_reads"], 0, "{row:#}");
        assert_eq!(row["wrong_values"], 0, "{row:#}");
    }

    let left = format!("{:?}", server.client().cmd(&["KEYS", "nearcache-bench:*"]));
    assert!(!left.contains("product"), "{left}");
    every_figure_is_documented(&figures);
}

/// It has a chart of every kind and the command, and it fetches nothing.
fn a_page_was_written(path: &Path) {
    let page = fs::read_to_string(path).expect("the page was written");
    fs::remove_file(path).expect("the page can be removed");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    // Two distributions at two rates, and four series; more, where filling took a second.
    assert!(page.matches("<svg").count() >= 8);
    for part in ["bench fleet --pods 3", "id=\"cost-sidecar\"", "updates 1 %"] {
        assert!(page.contains(part), "no {part} in the page");
    }
    for outside in ["http:", "https:", "src=", "href=", "url(", "NaN"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    let folder = std::env::temp_dir();
    let folder = folder.to_str().expect("a plain path");
    assert!(!page.contains(folder), "a folder of this machine is in it");
}

#[test]
fn a_trace_is_played() {
    let server = Server::start();
    let mut text = "ts_ms,client,op,key,size\n".to_owned();
    for turn in 0..1_000 {
        let op = if turn % 10 == 9 { "set" } else { "get" };
        let (key, size) = (turn * turn % 37, if turn % 2 == 0 { "3000" } else { "" });
        text += &format!("{turn},{},{op},key{key},{size}\n", turn % 23);
    }
    let packed = zstd::encode_all(text.as_bytes(), 3).expect("it can be packed");
    let trace = std::env::temp_dir().join(format!("nearcache-played-{}.zst", std::process::id()));
    fs::write(&trace, packed).expect("a file can be written");
    let (url, path) = (server.url(), trace.to_str().expect("a plain path"));
    let mut args = vec![
        "bench",
        "fleet",
        "--pods",
        "2",
        "--value-size",
        "500",
        "--capacity",
    ];
    args.extend([
        "8MiB",
        "--rate",
        "300",
        "--duration",
        "1",
        "--redis",
        &url,
        "--trace",
        path,
    ]);
    let (figures, said) = fleet("trace", &args);
    args.extend(["--writes", "1"]);
    let refused = nearcache(&args);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("writes of its own"), "{why}");
    fs::remove_file(&trace).expect("it can be removed");
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("those of its clients"), "{said}");
    assert_eq!(figures["options"]["writes_min_per_s"], 0.0);
    let percent = figures["options"]["writes_percent"].as_f64();
    assert!(
        (percent.unwrap_or(0.0) - 100.0 / 9.0).abs() < 1e-6,
        "{said}"
    );
    // Squares modulo 37: 0 and half of the others.
    assert_eq!(figures["plan"]["keys"], 19, "{said}");
    for arm in ["before", "after"] {
        for none in ["wrong_values", "errors", "stale_reads"] {
            assert_eq!(figures[arm][none], 0, "{none} of {arm}: {said}");
        }
    }
    every_figure_is_documented(&figures);
}

/// What a trace does not say is taken from it, every row plays the same requests, and its own rate comes first.
#[test]
fn a_trace_decides_sizes_and_rates_and_is_played_anew_in_every_row() {
    let server = Server::start();
    let mut text = "ts_ms,client,op,key,size\n".to_owned();
    for turn in 0..1_000 {
        let key = turn * turn % 37;
        let size = if key % 4 == 0 { "900" } else { "" };
        text += &format!("{},{},get,key{key},{size}\n", turn * 5, turn % 23);
    }
    let trace = std::env::temp_dir().join(format!("nearcache-anew-{}.csv", std::process::id()));
    fs::write(&trace, text).expect("a file can be written");
    let (url, path) = (server.url(), trace.to_str().expect("a plain path"));
    let args = [
        "bench",
        "fleet",
        "--pods",
        "2",
        "--capacity",
        "8MiB",
        "--rate",
        "600",
        "--duration",
        "1",
        "--redis",
        &url,
        "--trace",
        path,
    ];
    let (figures, said) = fleet("anew", &args);
    fs::remove_file(&trace).expect("it can be removed");
    let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // Squares modulo 37 are 19 numbers; 0, 4, 12, 16, 28 and 36 are divisible by 4.
    assert_eq!(figures["data_bytes"], 19 * 900, "{said}");
    assert!(plain.contains("13 of 19 keys"), "{said}");
    let own = figures["options"]["trace_reads_per_s"]
        .as_f64()
        .expect("a rate");
    assert!((own - 200.2).abs() < 0.1, "{own}");
    assert!(plain.contains("3.0 times the trace's own 200"), "{said}");
    let rows = figures["rows"].as_array().expect("rows");
    for arm in ["before", "after"] {
        let of = |kind: &'static str| {
            let ours = move |row: &&Value| row["arm"] == arm && row["kind"] == kind;
            rows.iter().filter(ours)
        };
        let first = of("rate").next().expect("a row");
        assert_eq!(first["name"], "the trace's own rate", "{said}");
        assert_eq!(first["asked_reads_per_s"].as_f64(), Some(own));
        let others = of("rate").skip(1).chain(of("sensitivity"));
        for row in others {
            assert_eq!(row["reads"], 600, "{row:#}");
        }
    }
    // The project's own goals are for its own load.
    assert_eq!(figures["goals"].as_array().map(Vec::len), Some(0));
    assert!(!plain.contains("wanted"), "{said}");
}

fn every_figure_is_documented(figures: &Value) {
    let pages = [
        include_str!("../../../docs/benchmarks.md"),
        include_str!("../../../docs/demo-json.md"),
    ];
    let side = match &figures["sidecar"] {
        Value::Null => &figures["after"],
        side => side,
    };
    for object in [
        figures,
        side,
        &figures["rows"][0],
        &side["series"][0],
        &figures["options"],
    ]
    .into_iter()
    .chain(figures["goals"].get(0))
    .chain(side["sidecars"].is_object().then(|| &side["sidecars"]))
    {
        for field in object.as_object().expect("an object").keys() {
            assert!(
                pages
                    .iter()
                    .any(|page| page.contains(&format!("`{field}`"))),
                "no document says what {field} is"
            );
        }
    }
}

#[test]
fn c12_bad_input_ends_with_2_and_says_what_to_do() {
    let cases: [(&[&str], &str); 12] = [
        (&["--redis", "redis://127.0.0.1:1"], "cannot reach L2"),
        (&["--server", "/nonexistent/server"], "/nonexistent/server"),
        (&["--capacity", "0"], "--capacity"),
        (&["--value-size", "1B"], "--value-size"),
        (&["--rate", "0"], "--rate"),
        (&["--duration", "2h"], "--duration"),
        (&["--sidecar-ttl", "3"], "--sidecar"),
        (&["--duration", "soon"], "30s"),
        (&["--l2-latency", "1"], "1ms"),
        (&["--trace", "nowhere"], "trace nowhere"),
        (&["--trace", "x", "--zipf", "1"], "--zipf"),
        (&["--keys", "10000000", "--capacity", "1TB"], "lower --pods"),
    ];
    for (args, expected) in cases {
        let args: Vec<&str> = ["bench", "fleet"].iter().chain(args).copied().collect();
        let out = nearcache(&args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

/// The check can fail: with a mechanism of nearcache switched off there are stale reads, and with none there are none.
#[cfg(nearcache_break)]
#[test]
fn what_is_broken_is_found() {
    let program = nearcache_testkit::try_find().expect("a server: run scripts/servers");
    let program = program.to_str().expect("a plain path");
    for (broken, found) in [
        ("none", false),
        ("token", true),
        ("lease", true),
        ("fence", true),
        ("null", true),
    ] {
        let args = ["bench", "fleet", "--server", program, "--break", broken];
        let (figures, said) = fleet(broken, &args);
        let stale = figures["stale_reads"].as_u64();
        assert_eq!(stale > Some(0), found, "{broken}: {said}");
    }
}
