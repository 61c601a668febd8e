//! What a benchmark was to reach and what it did, and the table of it.

use nearcache_cli::grid::Grid;
use serde::Serialize;

/// Something to be reached.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) wanted: String,
    pub(crate) found: String,
    pub(crate) reached: bool,
}

/// What was to be reached and what was, as a table in lines that fit.
pub(crate) fn table(goals: &[Goal], columns: usize) -> String {
    if goals.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new(["goal", ">found", "wanted", "reached"]);
    for goal in goals {
        let reached = if goal.reached { "yes" } else { "NO" };
        grid.row([&goal.name, &goal.found, &goal.wanted, reached]);
    }
    grid.text(columns)
}
