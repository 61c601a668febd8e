//! The finding in one sentence, and how sure it is. Judges by the trace; knows nothing of the service.

use nearcache_sim::{Capacity, Options, Report, SizingRow};

use super::input::Guessed;
use super::table::span;
use crate::show::{bytes, count};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// Reads of a pod from which on its hit rate means something.
const READS: f64 = 1000.0;

/// What is printed last.
pub(super) fn text(report: &Report, options: &Options, guessed: Guessed) -> String {
    let row = report.sizing.iter().find(|row| row.knee);
    let own = own(report, options);
    let row = row.unwrap_or(&own);
    let advice = format!(
        "Set capacity to {}: expect {:.1} % hits (no cache could have more than {:.1} %), L2 reads {:+.1} %, at most {} of RAM \
         for {} pods.",
        setting(row, options),
        100.0 * row.hit_rate,
        100.0 * report.bound,
        100.0 * (row.l2_reads_per_read - 1.0),
        bytes(row.about_bytes as f64 * options.pods as f64),
        options.pods
    );
    let (sure, because) = sure(report, options, guessed);
    let because = because.join("; ");
    format!("{advice} How sure: {sure} - {because}.")
}

/// The capacity that was asked about, where no other was tried.
fn own(report: &Report, options: &Options) -> SizingRow {
    let (capacity, about_bytes) = match options.capacity {
        Capacity::Bytes(bytes) => (bytes as u64, bytes as u64),
        Capacity::Entries(entries) => {
            let mean = report.data_bytes / report.keys.max(1);
            (entries as u64, mean * entries as u64)
        }
    };
    SizingRow {
        capacity,
        about_bytes,
        hit_rate: report.hit_rate.no_warm,
        l2_reads_per_read: report.l2_reads_per_read.no_warm,
        knee: false,
    }
}

/// As the setting is written.
fn setting(row: &SizingRow, options: &Options) -> String {
    let size = match row.about_bytes {
        size if size >= 1 << 20 => format!("{}MiB", size.div_ceil(1 << 20)),
        size => format!("{}KiB", size.div_ceil(1 << 10)),
    };
    match options.capacity {
        Capacity::Bytes(_) => size,
        Capacity::Entries(_) => format!("{size} ({} entries)", count(row.capacity as f64)),
    }
}

fn sure(report: &Report, options: &Options, guessed: Guessed) -> (&'static str, Vec<String>) {
    let long = span(report.span_seconds);
    let mut because = Vec::new();
    let mut sure = match report.span_seconds {
        s if s < HOUR => {
            because.push(format!(
                "the trace is {long} long and says little: what is read less often than that looks as if it were read once, \
                 and neither the peak nor the writes of a day are in it"
            ));
            "not at all"
        }
        s if s < DAY => {
            because.push(format!("the trace is {long} long, not a whole day"));
            "roughly"
        }
        _ => {
            because.push(format!("the trace is {long} long"));
            "well, if these are ordinary days"
        }
    };
    let reads = report.steady_reads as f64 / options.pods as f64;
    if reads < READS {
        because.push(format!(
            "a pod has {} reads in it, too few to fill up",
            count(reads)
        ));
        sure = "not at all";
    }
    if guessed.keys * 5 > report.keys as usize {
        let share = 100.0 * guessed.keys as f64 / report.keys as f64;
        because.push(format!("the sizes of {share:.0} % of the keys are guessed"));
    }
    if report.data_bytes < report.sizing.first().map_or(0, |row| row.about_bytes) {
        let all = bytes(report.data_bytes as f64);
        because.push(format!("all of its keys take {all} a pod"));
    }
    (sure, because)
}
