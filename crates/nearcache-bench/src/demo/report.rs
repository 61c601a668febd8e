//! What a run found: the figures of both sides, as JSON (`docs/demo-json.md` documents it) and what follows from them.

use nearcache_cli::show;
use serde::Serialize;

use crate::fleet::plan::Plan;
use crate::fleet::side::Side;

/// What was asked for, and what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Whether pods were processes, or threads of one process.
    pub(crate) pods_are_processes: bool,
    /// Bytes L1 may hold, per pod.
    pub(crate) capacity_bytes: usize,
    /// Bytes of all values.
    pub(crate) data_bytes: u64,
    /// Everything that was asked for.
    pub(crate) plan: Plan,
    /// Without nearcache.
    pub(crate) before: Side,
    /// With it.
    pub(crate) after: Side,
}

/// The finding in one sentence, and whether it is a good one.
pub(crate) fn verdict(before: &Side, after: &Side, max_staleness_ms: u64) -> (String, bool) {
    let bad = |side: &Side| side.stale_reads + side.wrong_values + side.errors;
    if bad(before) + bad(after) > 0 {
        let of = |name, side: &Side| {
            format!(
                "{name}: {} stale, {} wrong, {} failed{}",
                side.stale_reads,
                side.wrong_values,
                side.errors,
                side.error
                    .as_ref()
                    .map(|error| format!(" ({error})"))
                    .unwrap_or_default()
            )
        };
        return (
            format!(
                "NOT GOOD: {}; {}.",
                of("before", before),
                of("after", after)
            ),
            false,
        );
    }
    let better = after.mean_us < before.mean_us && after.l2_reads_per_s < before.l2_reads_per_s;
    let text = format!(
        "{}: mean {} -> {} ({}), {:.1} % of the reads gone from L2, and none of {} checked reads older than {}.",
        if better { "Better" } else { "NOT BETTER" },
        show::time(before.mean_us),
        show::time(after.mean_us),
        show::factor(before.mean_us, after.mean_us),
        100.0 * (1.0 - after.l2_reads_per_s / before.l2_reads_per_s.max(f64::MIN_POSITIVE)),
        show::count(after.checked_reads as f64),
        show::time(max_staleness_ms as f64 * 1e3),
    );
    (text, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(mean_us: f64, l2_reads_per_s: f64) -> Side {
        Side {
            mean_us,
            l2_reads_per_s,
            checked_reads: 10,
            ..Side::default()
        }
    }

    #[test]
    fn better_is_good() {
        let (text, good) = verdict(&side(100.0, 1000.0), &side(1.0, 10.0), 1000);
        assert!(good && text.starts_with("Better"), "{text}");
        assert!(text.contains("100x") && text.contains("99.0 %"), "{text}");
    }

    #[test]
    fn not_better_is_not() {
        assert!(!verdict(&side(1.0, 1000.0), &side(2.0, 10.0), 1000).1);
        assert!(!verdict(&side(2.0, 10.0), &side(1.0, 10.0), 1000).1);
    }

    #[test]
    fn one_stale_read_is_bad_however_fast() {
        let after = Side {
            stale_reads: 1,
            ..side(1.0, 10.0)
        };
        let (text, good) = verdict(&side(100.0, 1000.0), &after, 1000);
        assert!(!good && text.contains("after: 1 stale"), "{text}");
    }

    #[test]
    fn errors_are_shown() {
        let after = Side {
            errors: 3,
            error: Some("why".to_owned()),
            ..side(1.0, 10.0)
        };
        let (text, good) = verdict(&side(100.0, 1000.0), &after, 1000);
        assert!(!good && text.contains("3 failed (why)"), "{text}");
    }
}
