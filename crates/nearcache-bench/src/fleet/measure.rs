//! One phase: all pods do it, the server is asked before, about once a second, and afterwards.
//! Judges nothing; [`Side`](super::side::Side) and the benchmark make figures of it.

use nearcache_cli::outcome::Failure;

use super::control::{Control, Snapshot};
use super::message::{Load, Phase};
use super::pods::Fleet;
use super::progress::{Count, Progress};
use super::side::Measured;
use crate::machine::now_ns;

/// How long before a phase the pods are told of it.
const NOTICE_NS: u64 = 50_000_000;
/// How much longer than expected a set number of reads may take, beside half as long again: their moments are random.
const SPARE_NS: u64 = 2_000_000_000;
/// How long filling may take.
const FILL_NS: u64 = 120_000_000_000;

/// What the pods do in a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// How the reads come.
    pub(crate) load: Load,
    /// How long reads are started for; of no account while filling.
    pub(crate) seconds: f64,
    /// Distinguishes the random choices of one phase from those of another.
    pub(crate) stream: u64,
    /// Reads a second of each pod, where the load is paced.
    pub(crate) reads_per_pod: f64,
    /// Reads after which a pod is done, where it is not the time that ends it.
    pub(crate) reads: Option<u64>,
}

/// Does a phase.
pub(crate) fn measure(
    fleet: &mut Fleet,
    control: &mut Control,
    progress: &mut Progress,
    title: &str,
    work: Work,
) -> Result<Measured, Failure> {
    let start = control.snapshot()?;
    let filling = work.load == Load::Fill;
    let limit_ns = if filling {
        FILL_NS
    } else {
        (work.seconds * 1e9) as u64
    };
    let phase = Phase {
        load: work.load,
        start_ns: now_ns() + NOTICE_NS,
        duration_ns: match work.reads {
            Some(_) => limit_ns * 3 / 2 + SPARE_NS,
            None => limit_ns,
        },
        stream: work.stream,
        reads_per_pod: work.reads_per_pod,
        reads: work.reads,
    };
    // Time ends what is paced, and work what is not.
    let shown_ns = if filling { 0 } else { limit_ns };
    let whole = filling.then(|| fleet.fills());
    progress.begin(
        title,
        phase.start_ns,
        shown_ns,
        start.map(|snapshot| snapshot.reads),
    );
    let mut series: Vec<_> = start.into_iter().collect();
    let mut last = Count::default();
    let reports = fleet.run(phase, |reads| {
        last = reads;
        if progress.due() {
            let now = control.snapshot()?;
            progress.show(reads, now.map(at_l2), whole);
            series.extend(now);
        }
        Ok(())
    })?;
    // Not until the last report was here: that takes its time, and nobody reads meanwhile.
    let ended_ns = reports.iter().map(|report| report.ended_ns).max();
    let seconds = ended_ns.unwrap_or(0).saturating_sub(phase.start_ns) as f64 / 1e9;
    let seconds = if filling {
        seconds.max(1e-3)
    } else {
        seconds.max(work.seconds)
    };
    let end = control.snapshot()?;
    progress.finish(
        last,
        end.map(|end| Count {
            at_ns: last.at_ns,
            ..at_l2(end)
        }),
    );
    series.extend(end);
    Ok(Measured {
        reports,
        l2: start.zip(end),
        seconds,
        asked_seconds: if filling { seconds } else { work.seconds },
        start_ns: phase.start_ns,
        series,
    })
}

fn at_l2(snapshot: Snapshot) -> Count {
    Count {
        number: snapshot.reads,
        at_ns: snapshot.at_ns,
    }
}
