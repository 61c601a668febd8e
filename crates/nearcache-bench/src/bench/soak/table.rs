//! The figures of `bench soak` for people: what L1 counted, what the process took, and whether either grew.

use nearcache_cli::grid::Grid;
use nearcache_cli::show::count;

use super::report::{Run, bytes};
use crate::bench::errors;
use crate::document::Document;

/// Everything that is shown at the end.
pub(super) fn table(document: &Document<Run>, columns: usize) -> String {
    let run = &document.run;
    let capacity = run.options.capacity_bytes as u64;
    let mut grid = Grid::new([
        "until",
        ">L1 counted max",
        ">of capacity",
        ">process median",
        ">process max",
        ">entries",
        ">evictions",
        ">reads",
    ]);
    for tenth in &run.tenths {
        grid.row([
            format!("{:.1} s", tenth.until_seconds),
            bytes(tenth.l1_bytes_max),
            share(tenth.l1_bytes_max as f64 / capacity as f64),
            bytes(tenth.resident_bytes_median),
            bytes(tenth.resident_bytes_max),
            count(tenth.entries as f64),
            count(tenth.evictions as f64),
            count(tenth.reads as f64),
        ]);
    }
    let mut text = grid.text(columns);
    text += &format!(
        "\nL1 counted {} at most, {} of its capacity of {}.\n",
        bytes(run.l1_bytes_max),
        share(run.l1_bytes_max as f64 / capacity as f64),
        bytes(capacity)
    );
    text += &format!(
        "The process took {} before the first read, {} at most; in the last tenth {:.2} times the capacity.\n",
        bytes(run.resident_bytes_start),
        bytes(run.resident_bytes_max),
        run.resident_over_capacity
    );
    if let Some(slope) = run.resident_bytes_per_minute {
        text += &format!(
            "In the second half it grew by {:+.2} MiB a minute, {:+.2} % of the capacity.\n",
            slope / f64::from(1 << 20),
            slope / capacity as f64 * 100.0
        );
    }
    text += &format!(
        "{} reads, {} hits; {} values written because none was found, {} changes; {} evictions, {} expired, {} invalidated.\n",
        count(run.reads as f64),
        count(run.hits as f64),
        count(run.fills as f64),
        count(run.writes as f64),
        count(run.evictions as f64),
        count(run.expired as f64),
        count(run.invalidated as f64)
    );
    text += &errors::listed(&run.errors, columns);
    text += "\n";
    text += &document.goals_table(columns);
    text + "\n" + &document.verdict
}

fn share(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
