//! The order of a run: which phases each arm goes through, with which load and which updates.
//! Makes rows; shows and judges nothing.

use std::path::PathBuf;

use nearcache_cli::outcome::Failure;

use super::figures::Done;
use super::options::Options;
use super::report::{Figures, PhaseKind, Row};
use super::sidecar::{Servers, between};
use crate::fleet::check::Acks;
use crate::fleet::control::{Control, Place};
use crate::fleet::measure::{Work, measure};
use crate::fleet::message::Load;
use crate::fleet::plan::{Arm, Plan};
use crate::fleet::pods::Fleet;
use crate::fleet::progress::Progress;
use crate::fleet::writer::{Updates, Writer};

/// The three rates, in per cent of the base.
const RATES: [u32; 3] = [50, 80, 100];
/// Updates of the sensitivity rows, in per cent of the reads.
const MORE_WRITES: [f64; 2] = [0.1, 1.0];
/// How much above the base rate nearcache is timed as well.
const FAR_ABOVE: f64 = 10.0;

/// A run under way.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a Options,
    /// Where the pods find L2, through the proxy if there is one.
    pub(crate) place: &'a Place,
    pub(crate) control: Control,
    pub(crate) writer: Option<Writer>,
    pub(crate) acks: Acks,
    pub(crate) progress: Progress,
    /// The program of the sidecars.
    pub(crate) program: Option<PathBuf>,
    pub(crate) rows: Vec<Row>,
    /// Connections that L2 had before there were pods. Only then: those of the pods of one arm may end after the next begins.
    pub(crate) other_connections: u64,
    /// Streams of random choices given away so far.
    pub(crate) stream: u64,
}

/// The name of the row at the trace's own rate.
pub(crate) const OWN_RATE: &str = "the trace's own rate";
/// Reads that a phase must have to be worth its time.
const READS_MIN: f64 = 100.0;

/// What follows from an arm.
pub(crate) struct Arms {
    pub(crate) base_rate_per_s: f64,
    pub(crate) before: Figures,
    pub(crate) after: Figures,
    pub(crate) sidecar: Option<Figures>,
}

/// The pods of an arm, and their own servers where they have such.
struct Stage {
    fleet: Fleet,
    servers: Option<Servers>,
    arm: Arm,
    plan: Plan,
}

/// What to do in a phase.
#[derive(Clone, Copy)]
struct Step {
    load: Load,
    seconds: f64,
    reads_per_s: f64,
    updates: Updates,
    /// Reads of each pod that end it, instead of its time.
    reads: Option<u64>,
}

impl Bench<'_> {
    /// All arms, one after the other.
    pub(crate) fn run(&mut self) -> Result<Arms, Failure> {
        let (base, before) = self.before()?;
        let after = self.ahead(Arm::After, base)?;
        self.smaller(base)?;
        let sidecar = match self.options.sidecar {
            true => Some(self.ahead(Arm::Sidecar, base)?),
            false => None,
        };
        Ok(Arms {
            base_rate_per_s: base,
            before,
            after,
            sidecar,
        })
    }

    fn before(&mut self) -> Result<(f64, Figures), Failure> {
        let mut stage = self.stage(Arm::Before, self.plan)?;
        let warm = self.step(Load::FlatOut, self.share(0.1), 0.0);
        let warm = self.phase(&mut stage, "warming up", warm)?;
        self.keep(&warm, PhaseKind::Prepare, "warming up");
        let step = self.step(Load::FlatOut, self.share(0.5), 0.0);
        let max = self.phase(&mut stage, "own maximum", step)?;
        self.keep(&max, PhaseKind::Max, "own maximum");
        let measured = max.measured.sum(|report| report.reads) as f64 / max.measured.seconds;
        let base = self.options.rate.unwrap_or(measured).max(1.0);
        let timed = self.rates(&mut stage, base)?;
        let figures = timed.with(&timed.measured, &max.measured, &self.acks);
        Ok((base, figures))
    }

    /// An arm with something in front of L2: filled first, then timed.
    fn ahead(&mut self, arm: Arm, base: f64) -> Result<Figures, Failure> {
        let mut stage = self.stage(arm, self.plan)?;
        let fill = self.step(Load::Fill, 0.0, base);
        let fill = self.phase(&mut stage, "filling", fill)?;
        self.keep(&fill, PhaseKind::Fill, "filling");
        let timed = self.rates(&mut stage, base)?;
        if arm == Arm::After {
            self.more_writes(&mut stage, base)?;
        }
        let step = self.step(Load::FlatOut, self.share(0.4), base);
        let max = self.phase(&mut stage, "own maximum", step)?;
        self.keep(&max, PhaseKind::Max, "own maximum");
        if arm == Arm::After {
            let own = max.measured.sum(|report| report.reads) as f64 / max.measured.seconds;
            // Not so far above that it would be another maximum.
            let far = (base * FAR_ABOVE).min(own / 4.0).max(base);
            let name = self.part(100.0 * far / base);
            let step = self.paced(0.6, far, base);
            let done = self.phase(&mut stage, &name, step)?;
            self.keep(&done, PhaseKind::Rate, &name);
        }
        Ok(timed.with(&fill.measured, &max.measured, &self.acks))
    }

    fn rates(&mut self, stage: &mut Stage, base: f64) -> Result<Done, Failure> {
        if let Some(own) = self.own_rate() {
            let step = self.step(Load::Paced, self.share(1.0), own);
            let done = self.phase(stage, OWN_RATE, step)?;
            self.keep(&done, PhaseKind::Rate, OWN_RATE);
        }
        let mut last = None;
        for percent in RATES {
            let name = self.part(percent.into());
            let rate = base * f64::from(percent) / 100.0;
            let step = self.paced(1.0, rate, base);
            let done = self.phase(stage, &name, step)?;
            self.keep(&done, PhaseKind::Rate, &name);
            last = Some(done);
        }
        last.ok_or_else(|| "no rate was timed".to_owned())
    }

    /// The name of a rate.
    fn part(&self, percent: f64) -> String {
        let whole = match self.options.rate {
            Some(_) => "--rate",
            None => "before's maximum",
        };
        format!("{percent:.0} % of {whole}")
    }

    fn more_writes(&mut self, stage: &mut Stage, base: f64) -> Result<(), Failure> {
        for percent in MORE_WRITES {
            for skewed in [false, true] {
                let how = if skewed { "skewed" } else { "uniform" };
                let name = format!("updates {percent} % of reads, {how}");
                let mut step = self.paced(0.5, base, base);
                step.updates.per_s = self.options.updates_per_s(base, percent);
                step.updates.skewed = skewed;
                step.updates.traced = false;
                let done = self.phase(stage, &name, step)?;
                self.keep(&done, PhaseKind::Sensitivity, &name);
            }
        }
        Ok(())
    }

    /// nearcache with room for a tenth of the data.
    fn smaller(&mut self, base: f64) -> Result<(), Failure> {
        let tenth = usize::try_from(self.plan.data_bytes() / 10).unwrap_or(usize::MAX);
        let plan = Plan {
            capacity_bytes: tenth.max(64 << 10),
            ..self.plan.clone()
        };
        let name = "capacity 10 % of the data";
        let mut stage = self.stage(Arm::After, &plan)?;
        let fill = self.step(Load::Fill, 0.0, base);
        let fill = self.phase(&mut stage, "filling, a tenth", fill)?;
        self.keep(&fill, PhaseKind::Prepare, "filling, a tenth");
        // What is kept settles while the load is that of the timed part.
        let settle = self.paced(0.3, base, base);
        let settle = self.phase(&mut stage, "settling, a tenth", settle)?;
        self.keep(&settle, PhaseKind::Prepare, "settling, a tenth");
        let step = self.paced(0.6, base, base);
        let done = self.phase(&mut stage, name, step)?;
        self.keep(&done, PhaseKind::Sensitivity, name);
        Ok(())
    }

    fn stage(&mut self, arm: Arm, plan: &Plan) -> Result<Stage, Failure> {
        self.progress
            .say(&format!("{}: starting {} pods", arm.name(), plan.pods));
        let servers = match (arm, &self.program) {
            (Arm::Sidecar, Some(program)) => Some(Servers::start(program, plan)?),
            (Arm::Sidecar, None) => return Err("there is no program for the sidecars".to_owned()),
            _ => None,
        };
        let urls = servers.as_ref().map(Servers::urls).unwrap_or_default();
        Ok(Stage {
            fleet: Fleet::start(plan, arm, self.place, &urls, &mut self.progress)?,
            servers,
            arm,
            plan: plan.clone(),
        })
    }

    /// This share of the set duration, in seconds.
    fn share(&self, share: f64) -> f64 {
        (self.plan.seconds as f64 * share).max(0.5)
    }

    fn step(&self, load: Load, seconds: f64, reads_per_s: f64) -> Step {
        let percent = self.options.writes_percent;
        Step {
            load,
            seconds,
            reads_per_s,
            updates: Updates {
                per_s: self.options.updates_per_s(reads_per_s, percent),
                skewed: false,
                twice: false,
                traced: self.plan.traffic.is_some(),
            },
            reads: None,
        }
    }

    /// Paced for this share of the set duration; with a trace, for as many reads as the base rate has in all of it, so that
    /// every row is of the same requests.
    fn paced(&self, share: f64, reads_per_s: f64, base: f64) -> Step {
        if self.plan.traffic.is_none() {
            return self.step(Load::Paced, self.share(share), reads_per_s);
        }
        let reads = (base * self.share(1.0) / self.plan.pods as f64).round();
        let reads = reads.max(1.0);
        let seconds = reads * self.plan.pods as f64 / reads_per_s;
        Step {
            reads: Some(reads as u64),
            ..self.step(Load::Paced, seconds, reads_per_s)
        }
    }

    /// The trace's own rate, where it is enough to be timed.
    fn own_rate(&self) -> Option<f64> {
        let own = self.options.trace_reads_per_s?;
        (own * self.share(1.0) >= READS_MIN).then_some(own)
    }

    /// Does a phase, with the writer beside it.
    fn phase(&mut self, stage: &mut Stage, name: &str, step: Step) -> Result<Done, Failure> {
        self.stream += 1;
        let work = Work {
            load: step.load,
            seconds: step.seconds,
            stream: self.stream,
            reads_per_pod: step.reads_per_s / self.plan.pods as f64,
            reads: step.reads,
        };
        let title = format!("{:<8}{name:<36}", stage.arm.name());
        let start = stage.servers.as_mut().map(Servers::snapshots).transpose()?;
        let writer = self.writer.take().ok_or("the writer is gone")?;
        let writing = writer.start(step.updates, self.stream << 1);
        let measured = measure(
            &mut stage.fleet,
            &mut self.control,
            &mut self.progress,
            &title,
            work,
        );
        let (writer, log) = writing.stop()?;
        self.writer = Some(writer);
        self.acks.add(&log);
        let measured = measured.map_err(|why| format!("{}, {name}: {why}", stage.arm.name()))?;
        let end = stage.servers.as_mut().map(Servers::snapshots).transpose()?;
        let sidecars = start.zip(end);
        Ok(Done {
            arm: stage.arm,
            load: step.load,
            reads_per_s: step.reads_per_s,
            updates: step.updates,
            sidecars: sidecars.map(|(start, end)| between(&start, &end, measured.seconds)),
            measured,
            other_connections: self.other_connections,
            writes: log.len() as u64,
            plan: stage.plan.clone(),
        })
    }

    fn keep(&mut self, done: &Done, kind: PhaseKind, name: &str) {
        self.rows.push(Row {
            arm: done.arm,
            kind,
            name: name.to_owned(),
            capacity_bytes: done.plan.capacity_bytes,
            figures: done.figures(&self.acks),
        });
    }
}
