//! The figures as people read them: units, and a table that fits a terminal.

use super::report::{Run, Side};

/// Microseconds in the unit that suits them.
pub(crate) fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{:.2} s", us / 1e6),
        us if us >= 1e3 => format!("{:.2} ms", us / 1e3),
        us if us >= 100.0 => format!("{us:.0} us"),
        us if us >= 1.0 => format!("{us:.1} us"),
        us => format!("{us:.2} us"),
    }
}

/// Bytes in the unit that suits them.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} KB", b / 1e3),
        b => format!("{b:.0} B"),
    }
}

/// A number with its thousands set apart.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many times less the second is.
pub(crate) fn factor(before: f64, after: f64) -> String {
    match before / after {
        ratio if !ratio.is_finite() || before <= 0.0 => "-".to_owned(),
        ratio if ratio >= 10.0 => format!("{}x less", count(ratio)),
        ratio if ratio > 1.05 => format!("{ratio:.1}x less"),
        ratio if ratio >= 0.95 => "the same".to_owned(),
        ratio if ratio > 0.1 => format!("{:.1}x more", 1.0 / ratio),
        ratio => format!("{}x more", count(1.0 / ratio)),
    }
}

/// The table of a run.
pub(crate) fn table(run: &Run) -> String {
    let (before, after) = (&run.before, &run.after);
    let mut rows: Vec<[String; 4]> = Vec::new();
    let mut row = |name: &str,
                   pick: &dyn Fn(&Side) -> Option<f64>,
                   show: &dyn Fn(f64) -> String,
                   compare: bool| {
        let shown = |side| pick(side).map_or_else(|| "-".to_owned(), show);
        let change = match (pick(before), pick(after)) {
            (Some(before), Some(after)) if compare => factor(before, after),
            _ => String::new(),
        };
        rows.push([name.to_owned(), shown(before), shown(after), change]);
    };
    row("read, mean", &|side| Some(side.mean_us), &time, true);
    row("read, p50", &|side| Some(side.p50_us), &time, true);
    row("read, p99", &|side| Some(side.p99_us), &time, true);
    row("read, p99.9", &|side| Some(side.p999_us), &time, true);
    row("read, max", &|side| Some(side.max_us), &time, true);
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    row(
        &format!("hit rate at {}", bytes(run.capacity_bytes as f64)),
        &|side| Some(side.hit_rate),
        &percent,
        false,
    );
    row(
        "hit rate, cold start",
        &|side| Some(side.cold_hit_rate),
        &percent,
        false,
    );
    row(
        "reads/s at L2",
        &|side| Some(side.l2_reads_per_s),
        &count,
        true,
    );
    row(
        "bytes/s out of L2",
        &|side| side.l2_bytes_per_s,
        &bytes,
        true,
    );
    row(
        "processor used by L2",
        &|side| side.l2_cpu_percent,
        &|share| format!("{share:.0} %"),
        true,
    );
    row(
        "connections at L2",
        &|side| side.connections.map(|n| n as f64),
        &count,
        true,
    );
    row(
        "memory per pod (RSS)",
        &|side| side.rss_bytes_per_pod.map(|n| n as f64),
        &bytes,
        true,
    );
    row(
        "write to visible, p50",
        &|side| side.lag_p50_us,
        &time,
        false,
    );
    row(
        "write to visible, p99",
        &|side| side.lag_p99_us,
        &time,
        false,
    );
    row(
        "write to visible, max",
        &|side| side.lag_max_us,
        &time,
        false,
    );
    row(
        "reads checked",
        &|side| Some(side.checked_reads as f64),
        &count,
        false,
    );
    row(
        "- stale",
        &|side| Some(side.stale_reads as f64),
        &count,
        false,
    );
    row(
        "- behind a write",
        &|side| Some(side.behind_reads as f64),
        &count,
        false,
    );
    row(
        "- by at most",
        &|side| Some(side.behind_max_us),
        &time,
        false,
    );
    row(
        "reads/s, as paced",
        &|side| Some(side.reads_per_s),
        &count,
        false,
    );
    row(
        "reads/s, flat out",
        &|side| Some(side.flat_out_reads_per_s),
        &count,
        true,
    );
    let head = ["", "before", "after", ""].map(str::to_owned);
    let line = |row: &[String; 4]| {
        let [name, before, after, change] = row;
        format!("  {name:<25}{before:>14}{after:>14}   {change}")
            .trim_end()
            .to_owned()
            + "\n"
    };
    std::iter::once(&head).chain(&rows).map(line).collect()
}

/// What a reader of the table should know.
pub(crate) fn notes(run: &Run) -> Vec<String> {
    let plan = &run.plan;
    let mut notes = vec![
        format!(
            "Reads are asked for at random moments, {} a second and pod, on both sides; each is timed from the call, \
             waiting for a connection included. Both sides start cold ({} s), run flat out ({} s), and then are timed.",
            count(plan.reads_per_pod),
            plan.cold_seconds,
            plan.flat_out_seconds
        ),
        "Flat out: how much the same pods read when each question follows the last answer."
            .to_owned(),
        format!(
            "Stale: older than a write acknowledged more than {} before the read began. Behind: older than any \
             write acknowledged before it began. Checked against the writer's own log.",
            time(plan.max_staleness_ms as f64 * 1e3)
        ),
    ];
    if run.pods_are_processes {
        notes.push("Everything runs on one machine: a network would make `before` slower, and hardly `after`.".to_owned());
        notes.push(
            "Hit rate: the share of reads that the server did not see, by its own count."
                .to_owned(),
        );
    } else {
        notes.push(
            "There is no server: L2 is embedded, the pods are threads of this process, and `before` is nearcache \
             keeping nothing. Put valkey-server or redis-server on PATH to see the real thing."
                .to_owned(),
        );
    }
    if run.capacity_bytes as u64 > run.data_bytes {
        notes.push(format!(
            "All {} of values fit each pod's {}; see what a smaller one does with --capacity.",
            bytes(run.data_bytes as f64),
            bytes(run.capacity_bytes as f64)
        ));
    }
    notes.extend(run.hardware.busy().map(|busy| format!("Note: {busy}.")));
    for (name, side) in [("before", &run.before), ("after", &run.after)] {
        let strained = side.reads_late + side.reads_shed;
        if strained * 100 > side.reads {
            notes.push(format!(
                "{name}: {} reads began over 10 ms late and {} not at all: this machine is too small for --rate {}.",
                count(side.reads_late as f64),
                count(side.reads_shed as f64),
                plan.reads_per_pod
            ));
        }
    }
    notes
}

/// Breaks a text into lines of at most `width` characters, each after `indent`.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join(&format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(999.4), "999");
        assert_eq!(time(0.12), "0.12 us");
        assert_eq!(time(1234.0), "1.23 ms");
        assert_eq!(bytes(20_500_000.0), "20.5 MB");
        assert_eq!(factor(300.0, 2.0), "150x less");
        assert_eq!(factor(2.0, 3.0), "1.5x more");
        assert_eq!(factor(0.0, 3.0), "-");
    }

    #[test]
    fn long_text_is_broken() {
        assert_eq!(wrapped("one two three", "  ", 7), "one two\n  three");
    }
}
