//! What every page says of how its run was measured.

use crate::fleet::plan::Plan;
use crate::fleet::show::{bytes, count};
use crate::machine::Hardware;

/// A name and its value.
pub(crate) type Fact = (&'static str, String);

/// The data, and the room for it.
pub(crate) fn data(plan: &Plan, data_bytes: u64, capacity_bytes: usize) -> Fact {
    let text = format!(
        "{} keys of {}, {} in all; {} of L1 per pod",
        count(plan.keys.into()),
        bytes(plan.value_bytes as f64),
        bytes(data_bytes as f64),
        bytes(capacity_bytes as f64)
    );
    ("data", text)
}

/// What would have to be the same for the same run.
pub(crate) fn setting(seed: u64, hardware: &Hardware, version: &str, server: &str) -> [Fact; 3] {
    let versions = format!("nearcache {version}; {server}");
    [
        ("seed", seed.to_string()),
        ("machine", hardware.line()),
        ("versions", versions),
    ]
}

/// What else the machine did, and how long it took.
pub(crate) fn effort(hardware: &Hardware, elapsed_seconds: f64) -> [Fact; 2] {
    let load = hardware.load_before;
    [
        (
            "load average before",
            load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}")),
        ),
        ("took", format!("{elapsed_seconds:.0} s")),
    ]
}
