//! Test support for nearcache: real servers on free loopback ports, an independent client, a fault proxy.
//! Shares no code with nearcache, so that a bug there cannot hide itself here. Std only, blocking, never published.
//! A test that needs a server and finds none panics with what to run; nothing here ever skips.

mod binary;
mod client;
mod port;
mod proxy;
mod server;
mod wait;
mod watchdog;

pub use binary::{Binary, all, try_find};
pub use client::{Client, Value};
pub use proxy::Proxy;
pub use server::{Server, ServerBuilder};
pub use wait::{WAIT_MAX, eventually, wait_until};
