//! A fleet under load: pods as processes, the load they make, a writer beside them, a checker behind them, and the
//! server they share. What the demo and the benchmark have in common; neither what they compare nor how they show it.

pub(crate) mod check;
pub(crate) mod control;
pub(crate) mod header;
pub(crate) mod load;
pub(crate) mod measure;
pub(crate) mod message;
pub(crate) mod plan;
pub(crate) mod pod;
pub(crate) mod pods;
pub(crate) mod program;
pub(crate) mod progress;
pub(crate) mod proxy;
mod reader;
#[cfg(nearcache_break)]
pub(crate) mod sabotage;
pub(crate) mod server;
pub(crate) mod side;
mod timer;
pub(crate) mod traffic;
pub(crate) mod writer;

pub(crate) use pod::run_process as run_pod;

/// The word that makes this program a pod.
pub(crate) const POD: &str = "demo-pod";
