//! How fast: backoff between attempts to connect, bytes of fills in flight.

use std::time::Duration;

use crate::random::Random;

/// Exponential backoff with full jitter over its upper half.
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
    pub(super) random: Random,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self {
            min,
            max,
            attempts: 0,
            random: Random::new(seed),
        }
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The pause after a connection that was good: anything up to the shortest.
    pub(super) fn first(&mut self) -> Duration {
        let micros = self.min.as_micros() as u64;
        Duration::from_micros(self.random.next() % (micros + 1))
    }

    pub(super) fn next(&mut self) -> Duration {
        let full = self
            .min
            .saturating_mul(1 << self.attempts.min(16))
            .min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        let micros = full.as_micros() as u64;
        Duration::from_micros(micros / 2 + self.random.next() % (micros / 2 + 1))
    }
}

/// Caps the bytes that fills may have in flight. Sizes are unknown before the reply, so it counts
/// keys times the mean of what was read lately.
pub(super) struct FillPace {
    limit: usize,
    in_flight: usize,
    mean: usize,
}

impl FillPace {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            in_flight: 0,
            mean: 1024,
        }
    }

    /// How many keys may be sent now; at least one when nothing is in flight.
    pub(super) fn allowance(&self) -> usize {
        let room = self.limit.saturating_sub(self.in_flight) / self.mean;
        if self.in_flight == 0 {
            room.max(1)
        } else {
            room
        }
    }

    pub(super) fn sent(&mut self, keys: usize) -> usize {
        let estimate = keys.saturating_mul(self.mean);
        self.in_flight = self.in_flight.saturating_add(estimate);
        estimate
    }

    pub(super) fn ended(&mut self, estimate: usize) {
        self.in_flight = self.in_flight.saturating_sub(estimate);
    }

    pub(super) fn observe(&mut self, bytes: usize) {
        // An eighth of the news; the entry's own cost keeps the mean above zero.
        self.mean = (self.mean * 7 + bytes + 64) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_maximum_with_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2), 7);
        for attempt in 0..40_u32 {
            let full = Duration::from_millis(50 << attempt.min(10)).min(Duration::from_secs(2));
            let pause = backoff.next();
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }

    #[test]
    fn fills_in_flight_are_bounded_by_bytes_but_one_always_goes() {
        let mut pace = FillPace::new(100_000);
        for _ in 0..100 {
            pace.observe(50_000);
        }
        let first = pace.allowance();
        assert!((1..=2).contains(&first), "{first}");
        let estimate = pace.sent(first);
        assert_eq!(
            pace.allowance(),
            100_000_usize.saturating_sub(estimate) / pace.mean
        );
        pace.observe(10_000_000);
        assert_eq!(pace.allowance(), 0);
        pace.ended(estimate);
        assert_eq!(pace.allowance(), 1, "a huge value must not block for ever");
    }
}
