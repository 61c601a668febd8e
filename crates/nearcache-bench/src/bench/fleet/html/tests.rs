//! The page of a made-up run.

use nearcache_cli::text::command;

use super::*;
use crate::bench::fleet::options::Options;
use crate::bench::fleet::report::{Figures, PhaseKind, Row, Second};
use crate::document::{Document, Head};
use crate::fleet::plan::{Asked, Plan};
use crate::fleet::side::Side;
use crate::goal::Goal;
use crate::machine::Hardware;

const EVIL: &str = "</td><script>alert('\"&')</script>";

fn figures(scale: f64) -> Figures {
    let second = |second| Second {
        second,
        reads_per_s: 100.0,
        hit_rate: 0.9,
        l2_reads_per_s: 10.0 * scale,
        l2_bytes_per_s: 20.0,
        l2_cpu_percent: 3.0,
    };
    Figures {
        side: Side {
            mean_us: 3.0 * scale,
            reads_per_s: 100.0,
            ..Side::default()
        },
        intended_mean_us: Some(4.0),
        intended_p50_us: None,
        intended_p99_us: Some(9.0),
        intended_p999_us: None,
        intended_max_us: None,
        asked_reads_per_s: Some(100.0),
        updates_per_s: 2.0,
        writes_per_s: 2.5,
        updates_skewed: false,
        steady_hit_rate: None,
        seconds: 2.0,
        l2_commands_per_s: 10.0,
        l2_memory_bytes: 1 << 20,
        probe_reads_per_s: 0.0,
        rss_bytes_fleet: Some(3 << 20),
        everywhere_samples: 0,
        everywhere_unseen: 0,
        everywhere_p50_us: None,
        everywhere_max_us: None,
        sidecars: None,
        latency_buckets: vec![(1.0 * scale, 90), (10.0 * scale, 10)],
        intended_buckets: vec![(2.0 * scale, 90), (30.0 * scale, 10)],
        age_samples: 100,
        age_p50_us: Some(0.0),
        age_p99_us: Some(0.0),
        age_p999_us: None,
        age_buckets: Vec::new(),
        series: vec![second(0), second(1)],
    }
}

fn document() -> Document<Run> {
    let row = |arm, kind, name: &str| Row {
        arm,
        kind,
        name: name.to_owned(),
        capacity_bytes: 1 << 20,
        figures: figures(1.0),
    };
    let plan = Plan {
        tasks: 10,
        pool: 10,
        sidecar_ttl_ms: 3000,
        flat_out_seconds: 1,
        ..Plan::new(Asked {
            pods: 3,
            keys: 60,
            value_bytes: 2000,
            zipf: 0.99,
            reads_per_pod: 0.0,
            writes: 2.0,
            capacity_bytes: 1 << 20,
            seconds: 2,
            seed: 7,
            prefix: String::new(),
        })
    };
    let hardware = Hardware {
        cpu: EVIL.to_owned(),
        cores: 2,
        memory_bytes: None,
        system: String::new(),
        load_before: Some(0.25),
    };
    let run = Run {
        pods_are_processes: true,
        capacity_bytes: 1 << 20,
        data_bytes: 120_000,
        plan,
        options: Options {
            writes_percent: 0.01,
            writes_min_per_s: 2.0,
            rate: None,
            l2_latency_us: 1000,
            sidecar: true,
            trace: None,
            trace_reads_per_s: None,
        },
        base_rate_per_s: 100.0,
        before: figures(100.0),
        after: figures(1.0),
        sidecar: Some(figures(10.0)),
        rows: vec![
            row(Arm::After, PhaseKind::Fill, EVIL),
            row(Arm::After, PhaseKind::Rate, EVIL),
            row(Arm::After, PhaseKind::Sensitivity, EVIL),
        ],
    };
    let head = Head {
        seed: 7,
        hardware,
        server: EVIL.to_owned(),
    };
    let mut document = Document::new(head, run, 12_000_000_000, (EVIL.to_owned(), true));
    document.goals = Some(vec![Goal {
        name: EVIL.to_owned(),
        wanted: EVIL.to_owned(),
        found: EVIL.to_owned(),
        reached: false,
    }]);
    document
}

/// Fails where a tag is not closed by its own.
fn balanced(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in page.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty());
        let name = name.expect("a tag has a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> after {open:?}");
        } else if !["!DOCTYPE", "meta", "input"].contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} is not closed");
}

#[test]
fn the_page_is_whole_and_alone() {
    let page = page(&document(), &command([EVIL.to_owned()].into_iter()));
    balanced(&page);
    for outside in [
        "://", "src=", "href=", "@import", "url(", "NaN", "inf,", ",inf",
    ] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    for part in [
        "Side by side",
        "since intended start, p99.9",
        "<polyline",
        "data-kind=\"total\"",
        "0.25",
    ] {
        assert!(page.contains(part), "no {part} in the page");
    }
    assert_eq!(
        page.matches("<svg").count(),
        8,
        "two distributions, six series"
    );
}

#[test]
fn what_matters_comes_first_and_is_of_four_fifths_of_the_rate() {
    let mut document = document();
    let run = &mut document.run;
    for (arm, scale) in [(Arm::Before, 700.0), (Arm::After, 7.0)] {
        let mut figures = figures(scale);
        figures.asked_reads_per_s = Some(80.0);
        figures.side.checked_reads = 5;
        figures.side.reads_per_s = 80.0;
        figures.side.l2_reads_per_s = scale;
        run.rows.push(Row {
            arm,
            kind: PhaseKind::Rate,
            name: String::new(),
            capacity_bytes: 1 << 20,
            figures,
        });
    }
    let (verdict, good) = crate::bench::fleet::verdict::verdict(run);
    assert!(good, "{verdict}");
    for part in [
        "80 reads/s of 3 pods, 80 % of before's maximum",
        "2.10 ms -> 21.0 us",
        "99.00 %",
    ] {
        assert!(verdict.contains(part), "no {part} in {verdict}");
    }
    let page = page(&document, "");
    balanced(&page);
    assert_eq!(page.matches("class=\"tile\"").count(), 4);
    let at = |part: &str| page.find(part).unwrap_or_else(|| panic!("no {part}"));
    assert!(at("<b>21.0 us</b>") < at("<svg"), "tiles before charts");
    assert!(at("<svg") < at("<table"), "charts before tables");
    assert!(page.rfind("<svg").unwrap() < at("<table"), "all of them");
}

#[test]
fn ages_have_a_chart_where_something_was_old() {
    let mut document = document();
    let run = &mut document.run;
    run.sidecar.as_mut().unwrap().age_buckets = vec![(2_000_000.0, 3), (9_000_000.0, 1)];
    let page = page(&document, "");
    balanced(&page);
    assert_eq!(page.matches("<svg").count(), 9);
    assert!(page.contains("Age of what was served"));
}

#[test]
fn text_stays_text() {
    let page = page(&document(), &command([EVIL.to_owned()].into_iter()));
    assert_eq!(page.matches("<script>").count(), 1, "its own");
    assert!(!page.contains("alert('"));
    let times = page.matches("alert(&#39;&quot;&amp;&#39;)").count();
    assert!(times >= 8, "only {times}");
}

#[test]
fn a_run_without_figures_has_a_page() {
    let mut document = document();
    let run = &mut document.run;
    for figures in [&mut run.before, &mut run.after] {
        figures.latency_buckets.clear();
        figures.intended_buckets.clear();
        figures.series.clear();
    }
    run.sidecar = None;
    run.rows.clear();
    let page = page(&document, "");
    balanced(&page);
    assert!(!page.contains("<svg") && !page.contains("id=\"cost-sidecar\""));
}
