//! RESP as bytes: commands written, replies and pushes read. No IO.

mod decoder;
mod exchange;
mod line;
mod nest;
mod writer;

pub use decoder::{Decoder, Incoming};
pub use exchange::Exchange;
pub use writer::Commands;

use std::fmt;

/// Why what was received is not RESP, or not a RESP that can be read: the connection is of no use any more.
///
/// Never holds what was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError(&'static str);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WireError {}

#[cfg(all(test, not(nearcache_loom)))]
mod tests;
