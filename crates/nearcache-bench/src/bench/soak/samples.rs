//! What was seen of memory while `bench soak` ran, and what follows from it. Plain arithmetic.

use serde::Serialize;

/// One look.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Sample {
    /// Seconds since the load began.
    pub(super) at_seconds: f64,
    /// Memory of the process that is in RAM.
    pub(super) resident_bytes: u64,
    /// The most that L1 counted since the look before: entries and its tables.
    pub(super) l1_bytes: u64,
    /// Entries in L1.
    pub(super) entries: u64,
    /// Entries that L1 has evicted so far.
    pub(super) evictions: u64,
    /// Values asked for so far.
    pub(super) reads: u64,
}

/// A tenth of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Tenth {
    /// When it ended.
    pub(super) until_seconds: f64,
    /// The most that L1 counted.
    pub(super) l1_bytes_max: u64,
    /// Memory of the process, in the middle and at most.
    pub(super) resident_bytes_median: u64,
    /// As said.
    pub(super) resident_bytes_max: u64,
    /// Entries in L1 at its end.
    pub(super) entries: u64,
    /// Entries evicted in it.
    pub(super) evictions: u64,
    /// Values asked for in it.
    pub(super) reads: u64,
}

/// The tenths of a run, the empty ones of a very short one left out.
pub(super) fn tenths(samples: &[Sample]) -> Vec<Tenth> {
    let mut before = Sample::default();
    let mut tenths = Vec::new();
    for number in 0..10 {
        let cut = |tenth: usize| samples.len() * tenth / 10;
        let part = &samples[cut(number)..cut(number + 1)];
        let Some(last) = part.last() else { continue };
        let mut resident: Vec<u64> = part.iter().map(|sample| sample.resident_bytes).collect();
        resident.sort_unstable();
        let counted = part.iter().map(|sample| sample.l1_bytes);
        tenths.push(Tenth {
            until_seconds: last.at_seconds,
            l1_bytes_max: counted.max().unwrap_or(0),
            resident_bytes_median: resident[resident.len() / 2],
            resident_bytes_max: resident[resident.len() - 1],
            entries: last.entries,
            evictions: last.evictions.saturating_sub(before.evictions),
            reads: last.reads.saturating_sub(before.reads),
        });
        before = *last;
    }
    tenths
}

/// By how many bytes a minute the memory of the process grew over the second half: the straight line with the least
/// squares. `None` where there is no line.
pub(super) fn slope(samples: &[Sample]) -> Option<f64> {
    let half = &samples[samples.len() / 2..];
    let mean = |of: fn(&Sample) -> f64| half.iter().map(of).sum::<f64>() / half.len() as f64;
    let (at, bytes) = (
        mean(|sample| sample.at_seconds),
        mean(|sample| sample.resident_bytes as f64),
    );
    let (mut covariance, mut variance) = (0.0, 0.0);
    for sample in half {
        let away = sample.at_seconds - at;
        covariance += away * (sample.resident_bytes as f64 - bytes);
        variance += away * away;
    }
    (variance > 0.0).then(|| covariance / variance * 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |second: u64| Sample {
            at_seconds: second as f64,
            resident_bytes: of(second),
            l1_bytes: second,
            entries: second,
            evictions: 2 * second,
            reads: 3 * second,
        };
        (1..=100).map(sample).collect()
    }

    #[test]
    fn a_tenth_has_a_tenth_of_the_samples() {
        let found = tenths(&samples(|second| second * 10));
        assert_eq!(found.len(), 10);
        let second = found[1];
        assert_eq!(
            (second.resident_bytes_median, second.resident_bytes_max),
            (160, 200)
        );
        assert_eq!((second.l1_bytes_max, second.entries), (20, 20));
        assert_eq!((second.evictions, second.reads), (20, 30));
        assert!(tenths(&[]).is_empty());
        assert_eq!(tenths(&samples(|_| 0)[..3]).len(), 3);
    }

    #[test]
    fn only_growth_in_the_second_half_has_a_slope() {
        let grew_early = samples(|second| 1000 + second.min(40) * 100);
        assert!(slope(&grew_early).is_some_and(|slope| slope.abs() < 1e-6));
        let grows = samples(|second| 1000 + second * 5);
        assert!(slope(&grows).is_some_and(|slope| (slope - 300.0).abs() < 1e-6));
        assert_eq!(slope(&grows[..1]), None);
        assert_eq!(slope(&[]), None);
    }
}
