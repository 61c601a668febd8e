//! A new pod starts warm: the exchange, the warm start, readiness and what can go wrong with them, through the facade.

mod exchange;
mod faults;
mod keep;
mod log;
mod services;
mod snapshot;
mod start;
mod support;
