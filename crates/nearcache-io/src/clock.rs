//! The clock that leases and deadlines are measured with.
//!
//! The only place of this crate that reads a clock. Never the wall clock: that one is set by people.

use nearcache_l1::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Goes on counting while the machine is suspended, so that a copy filled before the suspension is
/// as old after it as it really is. `CLOCK_MONOTONIC` stands still meanwhile.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// The present moment on a clock that never goes back.
///
/// Only good for comparing with other readings of the same machine since it was started.
///
/// # Cost
/// On Linux about 20-50 ns and no system call (vDSO).
#[inline]
pub fn now() -> Timestamp {
    let reading = clock_gettime(CLOCK);
    // Both parts are never negative for these clocks.
    let seconds = u64::try_from(reading.tv_sec).unwrap_or(0);
    let micros = u64::try_from(reading.tv_nsec).unwrap_or(0) / 1_000;
    Timestamp::from_micros(seconds * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let mut last = now();
        for _ in 0..100_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        assert!(last > Timestamp::from_micros(0));
    }
}
