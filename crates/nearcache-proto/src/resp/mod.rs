//! RESP values and how ops become commands and replies become answers.
//!
//! Pure functions over values: no framing, no sockets. What a command does is the business of `commands`.

mod decode;
mod double;
mod encode;
mod reply;

pub use decode::decode;
pub use double::DoubleText;
pub use encode::{Span, encode};
pub use reply::Reply;

#[cfg(test)]
mod tests;
