//! Points on the caller's clock. This module never reads a clock.

use std::time::Duration;

/// A point in time: microseconds on the caller's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);
    /// A time that never comes: the deadline of what does not expire.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a timestamp of a count of microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the count of microseconds since the clock's origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time `after` later, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Returns how much later this is than `earlier`, zero when it is not later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(
            Timestamp::ZERO.saturating_add(second).as_micros(),
            1_000_000
        );
        assert_eq!(Timestamp::MAX.saturating_add(second), Timestamp::MAX);
        assert_eq!(
            Timestamp::ZERO.saturating_add(Duration::MAX),
            Timestamp::MAX
        );
        assert_eq!(
            Timestamp::ZERO.saturating_since(Timestamp::MAX),
            Duration::ZERO
        );
        assert_eq!(
            Timestamp::from_micros(7).saturating_since(Timestamp::from_micros(4)),
            Duration::from_micros(3)
        );
    }
}
