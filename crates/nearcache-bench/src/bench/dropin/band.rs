//! Figures of one slice, and of several: the spread of latencies, and the least, the median and the most over rounds.
//! Never averages: one pause of the machine must not move a figure.

use serde::Serialize;

/// One figure over the rounds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Band {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Band {
    /// The band of these figures; all zero when there are none.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (figures.first(), figures.last()) else {
            return Self::default();
        };
        Self {
            min: *min,
            median: figures[figures.len() / 2],
            max: *max,
        }
    }

    /// `min / median / max` with so many decimals.
    pub(super) fn text(&self, decimals: usize) -> String {
        format!(
            "{:.decimals$} / {:.decimals$} / {:.decimals$}",
            self.min, self.median, self.max
        )
    }
}

/// Latencies of one slice, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    pub(super) calls: u64,
    /// Of the calls, where hits are counted.
    pub(super) hits: u64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

impl Spread {
    /// The spread of these latencies; all zero when there are none.
    pub(super) fn of(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let place = (times.len() as f64 * share) as usize;
            times.get(place).map_or(0.0, |time| f64::from(*time))
        };
        Self {
            calls: times.len() as u64,
            hits: 0,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

/// The least, the median and the most of each figure of several spreads.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spreads {
    pub(super) calls: u64,
    pub(super) p50_ns: Band,
    pub(super) p99_ns: Band,
    pub(super) p999_ns: Band,
}

impl Spreads {
    pub(super) fn of(rounds: &[Spread]) -> Self {
        Self {
            calls: rounds.iter().map(|spread| spread.calls).sum(),
            p50_ns: Band::of(rounds.iter().map(|spread| spread.p50)),
            p99_ns: Band::of(rounds.iter().map(|spread| spread.p99)),
            p999_ns: Band::of(rounds.iter().map(|spread| spread.p999)),
        }
    }
}

/// The same figure of two clients, divided round by round: what the machine did meanwhile falls on both.
pub(super) fn ratio(above: &[f64], below: &[f64]) -> Band {
    Band::of(above.iter().zip(below).map(|(above, below)| above / below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_where_they_should_be() {
        let spread = Spread::of((1..=1000).rev().collect());
        assert_eq!((spread.calls, spread.p50), (1000, 501.0));
        assert_eq!((spread.p99, spread.p999), (991.0, 1000.0));
        let band = ratio(&[2.0, 9.0, 8.0], &[1.0, 3.0, 2.0]);
        assert_eq!(band.text(0), "2 / 3 / 4");
        assert_eq!(Band::of([]).median, 0.0);
    }
}
