//! What the pod's clock may count: the contract allows it to be wrong by one per cent, and nothing is to live longer for that.

use std::time::Duration;

/// A time of the server's or the contract's, as a clock may count it that is slow.
pub(crate) fn cut(time: Duration) -> Duration {
    match off!(Rate) {
        true => time,
        false => time - time / 100,
    }
}

/// A time that this clock has measured as it may be at most.
pub(crate) fn stretched(time: Duration) -> Duration {
    match off!(Rate) {
        true => time,
        // A clock that is slow by one part in a hundred showed 99 of them.
        false => time.saturating_add(time / 99),
    }
}
