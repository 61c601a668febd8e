//! What options of several commands may be, and what is said when they are not. Knows no command.

use std::time::Duration;

use bytesize::ByteSize;
use nearcache_cli::outcome::Failure;

/// The longest that anything is measured.
const HOUR: Duration = Duration::from_secs(3600);

/// A size, in bytes.
pub(crate) fn bytes(name: &str, size: ByteSize, least: u64, most: u64) -> Result<usize, Failure> {
    usize::try_from(size.as_u64())
        .ok()
        .filter(|bytes| (least..=most).contains(&(*bytes as u64)))
        .ok_or_else(|| format!("--{name} must be from {least} to {most} bytes"))
}

/// The bytes that L1 may hold.
pub(crate) fn capacity(size: ByteSize) -> Result<usize, Failure> {
    bytes("capacity", size, 64 << 10, isize::MAX as u64)
}

/// The exponent of a Zipf distribution.
pub(crate) fn zipf(exponent: f64) -> Result<f64, Failure> {
    match (0.0..=10.0).contains(&exponent) {
        true => Ok(exponent),
        false => Err("--zipf must be from 0 to 10".to_owned()),
    }
}

/// How often a second.
pub(crate) fn per_second(name: &str, rate: f64, least: f64, most: f64) -> Result<f64, Failure> {
    match (least..=most).contains(&rate) {
        true => Ok(rate),
        false => Err(format!("--{name} must be from {least} to {most} a second")),
    }
}

/// How long something is measured, in seconds.
pub(crate) fn seconds(duration: Duration) -> Result<u64, Failure> {
    match duration > HOUR {
        true => Err("--duration must be at most 1h".to_owned()),
        false => Ok(duration.as_secs()),
    }
}
