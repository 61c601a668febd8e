//! A new pod starts warm: the exchange, the warm start and readiness, through the facade.

mod start;
mod support;
