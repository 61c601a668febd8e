//! Bounded waiting for a condition: the only way a test may let time pass.

use std::time::{Duration, Instant};

/// The longest any wait of this crate lasts: far above what a loaded machine needs, so that only a hang reaches it.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits until `condition` is true, for at most [`WAIT_MAX`], and tells whether it became true.
pub fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    while !condition() {
        if start.elapsed() > WAIT_MAX {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    true
}

/// Waits until `condition` is true and panics with `what` when it is still false after [`WAIT_MAX`].
///
/// `what` finishes the sentence "gave up waiting until ...".
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        wait_until(condition),
        "gave up after {WAIT_MAX:?} waiting until {what}"
    );
}
