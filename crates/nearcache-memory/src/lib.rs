//! The embedded store: a small server in memory that answers commands the way Redis and Valkey do,
//! with the same tracking and the same order of replies and pushes.
//!
//! Sans IO: commands and `now` in, replies and pushes out. It never reads a clock and never waits.

mod args;
mod collections;
mod commands;
mod connections;
mod expiry;
mod keys;
mod keyspace;
mod numbers;
mod script;
mod server;
mod session;
mod sorted;
mod strings;
mod tracking;
mod transaction;
mod value;

pub use commands::command_names;
pub use server::MemoryServer;
pub use session::{ConnId, Output, Push};
