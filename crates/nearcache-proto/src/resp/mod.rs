//! RESP values and how ops become commands and replies become answers.
//!
//! Pure functions over values: no framing, no sockets. What a command does is the business of `commands`.

mod batch;
mod check;
mod decode;
mod double;
mod encode;
mod handshake;
mod reply;
mod resp2;
pub mod wire;

pub use batch::Batch;
pub use decode::decode;
pub use double::DoubleText;
pub use encode::{Span, encode};
pub use reply::Reply;
pub(crate) use resp2::to_resp2;

#[cfg(test)]
mod tests;
