//! A whole fleet in one thread: replays a request stream through real pods and the embedded server on a virtual clock.
//!
//! Never reads a clock, opens a socket or uses randomness that is not seeded: the same trace, options and seed give the
//! same report, bit for bit.

mod bound;
mod exchange;
mod fleet;
mod io;
mod join;
mod l2;
mod pod;
mod random;
mod replay;
mod report;
mod restarts;
mod simulate;
mod sizes;
mod sizing;
mod trace;
mod working_set;

pub use exchange::{ExchangeKind, ExchangeOptions, MergeTimes, exchange};
pub use join::Arm;
pub use report::{
    Bound, Curve, Exchange, ExchangeCost, FrontierRow, HitRate, Join, JoinBound, L2Load, Merges,
    PodRates, Point, Report, SizingRow, Spread, Warm, WarmStarts,
};
pub use simulate::{Capacity, Error, Options, simulate};
pub use sizes::Sizes;
pub use trace::{Key, Kind, Lines, Request, Trace};
