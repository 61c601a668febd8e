//! `bench chaos`: a fleet of real processes read and written to while its server, its network and its pods are
//! broken every few seconds, and every answer checked against what may have been in L2.

mod history;
mod options;
mod report;
mod schedule;
mod stage;
mod table;
mod watch;
mod writers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::show;
use nearcache_cli::terminal::{self, outln};

use crate::document::{self, Document, Head};
use crate::fleet::control::{Control, Place};
use crate::fleet::message::{Event, Probed, Seen};
use crate::fleet::plan::Plan;
use crate::fleet::program;
use crate::fleet::progress::{Count, Progress};
use crate::fleet::server::Server;
use crate::machine::{Hardware, now_ns};
use history::{History, Wrong};
pub(super) use options::Args;
use options::Options;
use report::{FaultKind, Run, Violation};
use schedule::{Planned, schedule};
use stage::Stage;
use watch::Watch;
use writers::{WRITER, Writers};

/// Wrong answers that are told one by one.
const EXAMPLES_MAX: usize = 20;
/// How long pods may take to end, the last reads included.
const END_NS: u64 = 30_000_000_000;

/// Runs it.
pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let (plan, options) = options::parse(args)?;
    let hardware = Hardware::detect();
    let program = program::needed(args.server.as_deref())?;
    let started = Server::start(&program, &[])?;
    let place = Place::Server { url: started.url() };
    let product = Control::open(&place)?.describe()?;
    let planned = schedule(plan.seed, options.duration_ms, options.every_ms);
    announce(&plan, &options, &product, planned.len());
    let bound_ns = plan.max_staleness_ms * 1_000_000;
    let history = Arc::new(Mutex::new(History::new(plan.keys, bound_ns)));
    let url = started.url();
    let mut trial = Trial {
        stage: Stage::start(&plan, &options, started, &history)?,
        history: Arc::clone(&history),
        watch: Watch::new(plan.pods),
        start_ns: now_ns(),
        violations: BTreeMap::new(),
        examples: Vec::new(),
        ended: 0,
        progress: Progress::new(),
    };
    let writers = Writers::start(&plan, &url, &history, &trial.stage.sender());
    let gone = trial.go(&options, planned);
    let errors = writers.stop();
    trial.progress.end();
    let server_bytes_max = gone?;
    for (error, times) in errors {
        trial.watch.count(&error, times);
    }
    trial.stop(plan.pods)?;
    let head = Head {
        seed: plan.seed,
        hardware,
        server: product,
    };
    let document = trial.report(plan.clone(), options, head, server_bytes_max);
    outln!("\n{}", table::table(&document, terminal::columns()));
    if let Some(path) = &args.json {
        document::write(path, &document)?;
    }
    Ok(document.outcome())
}

/// A run under way.
struct Trial<'a> {
    stage: Stage<'a>,
    history: Arc<Mutex<History>>,
    watch: Watch,
    start_ns: u64,
    violations: BTreeMap<&'static str, u64>,
    examples: Vec<Violation>,
    /// Pods that have ended as told.
    ended: usize,
    progress: Progress,
}

impl Trial<'_> {
    /// Lets the faults come in their time; returns how much memory the server had at most, by two looks.
    fn go(&mut self, options: &Options, planned: Vec<Planned>) -> Result<u64, Failure> {
        let mut queue = VecDeque::from(planned);
        let mut current: Option<(Planned, u64)> = None;
        let before = self.stage.server_bytes()?;
        self.start_ns = now_ns();
        let end_ns = self.start_ns + options.duration_ms * 1_000_000;
        self.progress
            .begin("chaos", self.start_ns, end_ns - self.start_ns, None);
        while now_ns() < end_ns || current.is_some() {
            let gone_ms = (now_ns() - self.start_ns) / 1_000_000;
            match current {
                Some((planned, over_ns)) if now_ns() >= over_ns => {
                    self.stage.finish(planned.fault)?;
                    self.watch.end(now_ns());
                    current = None;
                }
                None if queue.front().is_some_and(|next| next.at_ms <= gone_ms) => {
                    if let Some(planned) = queue.pop_front() {
                        self.tell(planned, gone_ms);
                        self.watch.begin(planned.fault, now_ns());
                        self.stage.begin(planned)?;
                        current = Some((planned, now_ns() + planned.length_ms * 1_000_000));
                    }
                }
                _ => {}
            }
            self.listen(Duration::from_millis(5))?;
            if self.progress.due() {
                let answers = Count::now(self.watch.answers());
                self.progress.show(answers, None, None);
            }
        }
        self.progress.finish(Count::now(self.watch.answers()), None);
        Ok(before.max(self.stage.server_bytes()?))
    }

    fn tell(&mut self, planned: Planned, gone_ms: u64) {
        let line = format!(
            "{:>7.1} s: {}, {} ms",
            gone_ms as f64 / 1e3,
            planned.fault.name(),
            planned.length_ms
        );
        self.progress.note(&line);
    }

    /// Ends the pods, and hears them out.
    fn stop(&mut self, pods: usize) -> Result<(), Failure> {
        self.stage.stop()?;
        let end_ns = now_ns() + END_NS;
        while self.ended < pods {
            if now_ns() > end_ns {
                return Err(format!("{} of {pods} pods do not end", pods - self.ended));
            }
            self.listen(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// Waits a little for what pods and writers say, and hears all of it.
    fn listen(&mut self, wait: Duration) -> Result<(), Failure> {
        match self.stage.events.recv_timeout(wait) {
            Ok((life, event)) => self.heard(life, event)?,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err("all pods are gone".to_owned()),
        }
        while let Ok((life, event)) = self.stage.events.try_recv() {
            self.heard(life, event)?;
        }
        Ok(())
    }

    fn heard(&mut self, life: usize, event: Event) -> Result<(), Failure> {
        match event {
            Event::Probed(told) => self.judge(life, &told),
            Event::Done(_) => self.ended += 1,
            // The end of its output: it was killed, or told to end.
            Event::Failed(_) if !self.stage.is_current(life) || self.ended > 0 => {}
            Event::Failed(why) => return Err(format!("pod {life}: {why}")),
            Event::Ready | Event::Serving(_) | Event::Progress(_) => {}
        }
        Ok(())
    }

    fn judge(&mut self, life: usize, told: &Probed) {
        let slot = (life != WRITER).then(|| self.stage.slot(life)).flatten();
        self.watch.heard(slot, told);
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong: Vec<(Seen, Wrong)> = told
            .seen
            .iter()
            .filter_map(|seen| Some((*seen, history.judge(seen).err()?)))
            .collect();
        drop(history);
        for (seen, wrong) in wrong {
            let (what, late_ns) = match wrong {
                Wrong::Stale { late_ns } => ("stale", late_ns),
                Wrong::Expired { late_ns } => ("expired", late_ns),
                Wrong::Missing { late_ns } => ("missing", late_ns),
                Wrong::Unwritten => ("never written", 0),
            };
            *self.violations.entry(what).or_default() += 1;
            if self.examples.len() < EXAMPLES_MAX {
                let since_ns = seen.started_ns.saturating_sub(self.start_ns);
                let mut marks = self.watch.marks.iter();
                let after = marks.rfind(|mark| mark.begin_ns <= seen.started_ns);
                self.examples.push(Violation {
                    what,
                    late_ms: late_ns as f64 / 1e6,
                    pod: slot,
                    key: seen.key,
                    sequence: seen.sequence,
                    how: watch::name(seen.how),
                    hit: seen.hit,
                    at_seconds: since_ns as f64 / 1e9,
                    after: after.map(|mark| mark.fault),
                });
            }
        }
    }

    fn report(
        self,
        plan: Plan,
        options: Options,
        head: Head,
        server_bytes_max: u64,
    ) -> Document<Run> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let violations: u64 = self.violations.values().sum();
        let reads = self.watch.answers();
        let faults = self.watch.marks.len() as u64;
        let marked = watch::name(crate::fleet::message::How::Stale);
        let good = violations == 0 && reads > 0 && faults > 0;
        let verdict = match (good, violations) {
            (true, _) => format!(
                "No wrong answer among {} through {faults} faults.",
                show::count(reads as f64)
            ),
            (false, 0) => "Nothing was tried: no answer, or no fault.".to_owned(),
            (false, _) => format!(
                "{} of {} answers were wrong: that must not happen. The seed {} repeats the faults.",
                show::count(violations as f64),
                show::count(reads as f64),
                plan.seed
            ),
        };
        let elapsed_ns = now_ns() - self.start_ns;
        let run = Run {
            options,
            reads,
            stale_by_policy: self.watch.reads.get(marked).copied().unwrap_or(0),
            reads_by: self.watch.reads,
            hits: self.watch.hits,
            shed: self.watch.shed,
            writes: history.acknowledged(),
            faults,
            fault_kinds: FaultKind::all(&self.watch.marks),
            pods_killed: self.stage.killed,
            evicted: self.stage.evicted,
            errors: self.watch.errors,
            violations,
            violations_by: self.violations,
            violation_examples: self.examples,
            resident_bytes_max: self.watch.resident_bytes,
            l1_bytes_max: self.watch.l1_bytes,
            server_bytes_max,
            plan,
        };
        Document::new(head, run, elapsed_ns, (verdict, good))
    }
}

fn announce(plan: &Plan, options: &Options, server: &str, faults: usize) {
    let text = format!(
        "{} pods, each a process, on {server}, {} ms of staleness allowed. {} keys of {}, {} of L1 per pod; {} reads/s of \
         each pod, {} writes/s in {} ways; {faults} faults in {} s; seed {}.",
        plan.pods,
        plan.max_staleness_ms,
        show::count(plan.keys.into()),
        show::bytes(plan.value_bytes as f64),
        show::bytes(plan.capacity_bytes as f64),
        plan.reads_per_pod,
        plan.writes,
        writers::WAYS.len(),
        options.duration_ms / 1000,
        plan.seed
    );
    terminal::paragraph(&text);
}
