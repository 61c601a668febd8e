//! The chart of a distribution: how long all but the slowest took, on logarithmic axes. Knows nothing of what was timed.

use hdrhistogram::Histogram;
use nearcache_cli::chart::{Axis, Line, chart};
use nearcache_cli::show::time;

/// Upper ends in microseconds, with how many lie below each and above the one before.
pub(crate) type Buckets = [(f64, u64)];

/// Buckets in a power of ten.
const PER_DECADE: f64 = 20.0;

/// Upper ends in microseconds, with how many lie below each and above the one before. Empty ones are left out.
pub(crate) fn buckets(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(i64, u64)> = Vec::new();
    for bar in histogram.iter_recorded() {
        let us = bar.value_iterated_to() as f64 / 1e3;
        let number = (us.log10() * PER_DECADE).ceil() as i64;
        match buckets.last_mut() {
            Some((last, count)) if *last == number => *count += bar.count_at_value(),
            _ => buckets.push((number, bar.count_at_value())),
        }
    }
    let end = |number: i64| 10f64.powf(number as f64 / PER_DECADE);
    buckets
        .into_iter()
        .map(|(number, count)| ((end(number) * 1e4).round() / 1e4, count))
        .collect()
}

/// Lines over the percentiles of the reads; nothing, where no line has a point.
pub(crate) fn percentiles(
    title: &str,
    what: &'static str,
    lines: impl Iterator<Item = Line>,
) -> String {
    let lines: Vec<Line> = lines.collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = points().fold((f64::MAX, f64::MIN), |(least, most), point| {
        (least.min(point.1), most.max(point.1))
    });
    if range.0 > range.1 {
        return String::new();
    }
    let most = points().fold(2.0f64, |most, point| most.max(point.0));
    let names = ["0", "p90", "p99", "p99.9", "p99.99", "p99.999", "p99.9999"];
    let ticks = names.iter().zip(0u32..);
    let x = Axis {
        name: "percentile of the reads",
        from: 0.0,
        to: most,
        ticks: ticks
            .map(|(name, nines)| (f64::from(nines), (*name).to_owned()))
            .filter(|(nines, _)| *nines <= most)
            .chain([(0.5f64.log10().abs(), "p50".to_owned())])
            .collect(),
    };
    let y = Axis::decades(what, range, round_time);
    chart(title, "", &x, &y, &lines)
}

/// A power of ten of microseconds.
pub(crate) fn round_time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{:.0} s", us / 1e6),
        us if us >= 1e3 => format!("{:.0} ms", us / 1e3),
        us if us >= 1.0 => format!("{us:.0} us"),
        us => time(us),
    }
}

/// Nines of the share of all reads, against the logarithm of the time they took at most. Those in no bucket took none.
pub(crate) fn steps(buckets: &Buckets, all: u64) -> Vec<(f64, f64)> {
    let nines = |slower: f64| (all as f64 / slower.max(0.5)).log10();
    let mut slower: u64 = buckets.iter().map(|bucket| bucket.1).sum();
    let mut points = Vec::new();
    for &(upper_us, reads) in buckets.iter().filter(|bucket| bucket.1 > 0) {
        let height = upper_us.max(1e-3).log10();
        points.push((nines(slower as f64), height));
        slower -= reads;
        points.push((nines(slower as f64), height));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_rise_with_the_share_of_reads() {
        let points = steps(&[(10.0, 90), (100.0, 0), (1000.0, 10)], 100);
        let expected = [(0.0, 1.0), (1.0, 1.0), (1.0, 3.0), (200f64.log10(), 3.0)];
        for (found, expected) in points.iter().zip(expected) {
            assert!((found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9);
        }
        assert_eq!(points.len(), 4);
        assert!(steps(&[], 0).is_empty());
    }
}
