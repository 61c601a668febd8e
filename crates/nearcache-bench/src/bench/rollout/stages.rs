//! The order of a run: a fleet is filled and settles, then its pods are replaced one by one, or many join it at once.
//! Makes stages; judges nothing.

use std::time::{Duration, Instant};

use nearcache_cli::outcome::Failure;

use super::crew::{Crew, Life};
use super::options::Options;
use crate::fleet::check::Acks;
use crate::fleet::control::{Control, Place, Snapshot};
use crate::fleet::message::Service;
use crate::fleet::plan::Plan;
use crate::fleet::progress::Progress;
use crate::fleet::writer::{Updates, Writer};
use crate::machine::now_ns;

/// The hit rate is steady when it changes by less from one window to the next.
const STEADY: f64 = 0.01;
/// Such a window, in seconds.
const WINDOW: f64 = 2.0;
/// Windows beyond the rounds of publication until it counts as steady in any case.
const WINDOWS_MAX: usize = 5;
/// Rounds of publication that are waited for.
const ROUNDS: u32 = 3;
/// Reads of a new pod that are looked at.
pub(super) const LOOKED_AT: u64 = 400;
/// How long the last new pod has for them.
const TAIL: Duration = Duration::from_secs(12);
/// For how much longer than the steady state a join is watched, at least.
const JOIN: f64 = 1.5;
/// How long a pod may take to be replaced.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run under way.
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    pub(super) options: &'a Options,
    pub(super) place: &'a Place,
    pub(super) control: Control,
    pub(super) writer: Option<Writer>,
    pub(super) acks: Acks,
    pub(super) progress: Progress,
    /// What the fleets of this run are called.
    pub(super) services: Vec<String>,
}

/// What a stage was, as it was measured.
pub(super) struct Course {
    /// All pods, those that ended included.
    pub(super) lives: Vec<Life>,
    /// What the server said.
    pub(super) looks: Vec<Snapshot>,
    /// From when the load was spread over the pods.
    pub(super) served_ns: u64,
    /// From when the steady state was measured.
    pub(super) steady_ns: u64,
    /// When the change began, and until when it was watched.
    pub(super) change_ns: u64,
    pub(super) end_ns: u64,
    /// Whether the hit rate had become steady.
    pub(super) settled: bool,
    /// Whether the fleet had published what it reads.
    pub(super) published: bool,
    /// How many of its reads failed, and returned something wrong, while it was filled.
    pub(super) fill_errors: u64,
}

/// Which change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// One pod after the other is replaced.
    Rolling,
    /// Many start at the same moment.
    Join,
}

impl Bench<'_> {
    /// One change, in a fleet of its own, beside a writer.
    pub(super) fn stage(&mut self, warm: bool, change: Change) -> Result<Course, Failure> {
        let writer = self.writer.take().ok_or("the writer is gone")?;
        let updates = Updates {
            per_s: self.plan.writes,
            skewed: false,
            twice: false,
            traced: false,
        };
        let number = self.services.len() as u64;
        let writing = writer.start(updates, (1 << 40) + number);
        let measured = self.watched(warm, change);
        let (writer, log) = writing.stop()?;
        self.writer = Some(writer);
        self.acks.add(&log);
        measured
    }

    fn watched(&mut self, warm: bool, change: Change) -> Result<Course, Failure> {
        let (plan, options) = (self.plan, self.options);
        let side = if warm { "warm" } else { "cold" };
        // Not even the next run against the same server is to find what this one learned.
        let name = format!("{}{}-{}", plan.prefix, self.services.len(), now_ns());
        self.services.push(name.clone());
        let service = Service {
            name: name.clone(),
            warm,
            warm_reads: Some(options.warm_reads),
            publish_ms: Some(options.publish_every_ms),
            reads_per_s: None,
        };
        let pods = match change {
            Change::Rolling => plan.pods,
            Change::Join => plan.pods - options.join,
        };
        let mut asking = Control::open(self.place)?;
        let mut crew = Crew::new(
            plan,
            self.place,
            service,
            &mut self.control,
            &mut self.progress,
            options.rate,
        );
        crew.title(&format!("{side}: starting {pods} pods"), 0.0);
        for _ in 0..pods {
            crew.start(None)?;
        }
        crew.until_ready()?;
        crew.title(&format!("{side}: filling L1"), options.fill_seconds);
        let filled = crew.fill(options.fill_seconds, self.services.len() as u64)?;
        let served_ns = now_ns();
        crew.serve()?;
        let publish_every = Duration::from_millis(options.publish_every_ms);
        let (settled, published) = settle(&mut crew, side, &mut asking, &name, publish_every)?;
        let steady_ns = crew.look()?.at_ns;
        crew.title(&format!("{side}: steady state"), options.steady_seconds);
        crew.pass(options.steady_seconds)?;
        let change_ns = crew.look()?.at_ns;
        match change {
            Change::Rolling => rolling(&mut crew, side, options, pods)?,
            Change::Join => join(&mut crew, side, options, plan.pods)?,
        }
        let end_ns = crew.look()?.at_ns;
        crew.title(&format!("{side}: stopping"), 0.0);
        crew.stop_all()?;
        Ok(Course {
            lives: std::mem::take(&mut crew.lives),
            looks: std::mem::take(&mut crew.looks),
            served_ns,
            steady_ns,
            change_ns,
            end_ns,
            settled,
            published,
            fill_errors: filled
                .iter()
                .map(|report| report.errors + report.wrong)
                .sum(),
        })
    }

    /// Deletes what the pods told each other.
    pub(super) fn clean(&mut self) -> Result<(), Failure> {
        for service in &self.services {
            self.control.clean_statistics(service)?;
        }
        Ok(())
    }
}

/// Waits until the hit rate is steady and the fleet has published what it reads; whether each came about.
fn settle(
    crew: &mut Crew<'_>,
    side: &str,
    asking: &mut Control,
    service: &str,
    publish_every: Duration,
) -> Result<(bool, bool), Failure> {
    // A manifest of the first round knows of few pods, and of little that those have read.
    let (since, told) = (Instant::now(), publish_every * ROUNDS);
    let windows = WINDOWS_MAX + (told.as_secs_f64() / WINDOW).ceil() as usize;
    crew.title(&format!("{side}: settling"), WINDOW * windows as f64);
    let mut found = (false, false);
    let mut before = None;
    let mut last = (crew.look()?.reads, crew.reads());
    for _ in 0..windows {
        crew.pass(WINDOW)?;
        let now = (crew.look()?.reads, crew.reads());
        let reads = now.1.saturating_sub(last.1).max(1) as f64;
        let hits = 1.0 - now.0.saturating_sub(last.0) as f64 / reads;
        last = now;
        let steady = before.is_some_and(|before: f64| (hits - before).abs() < STEADY);
        before = Some(hits);
        let published = since.elapsed() >= told && asking.has_manifest(service)?;
        if steady && published {
            return Ok((true, true));
        }
        found = (steady, published);
    }
    Ok(found)
}

/// Replaces pods one after the other: one ends, another starts, and the next waits until that is ready.
fn rolling(crew: &mut Crew<'_>, side: &str, options: &Options, pods: usize) -> Result<(), Failure> {
    let every = Duration::from_millis(options.every_ms);
    let seconds = every.as_secs_f64() * options.restarts as f64;
    crew.title(&format!("{side}: replacing pods"), seconds);
    let mut newest = None;
    for old in 0..options.restarts {
        let begun = Instant::now();
        crew.stop(old)?;
        crew.until(PATIENCE, |crew| crew.is_over(old))?;
        let new = crew.start(Some(pods))?;
        crew.until(PATIENCE, |crew| crew.lives[new].start.is_some())?;
        newest = Some(new);
        crew.pass((every.saturating_sub(begun.elapsed())).as_secs_f64())?;
    }
    let Some(newest) = newest else { return Ok(()) };
    let end = Instant::now() + TAIL;
    while crew.lives[newest].reads < LOOKED_AT && Instant::now() < end {
        crew.pass(0.25)?;
    }
    Ok(())
}

/// Starts many pods at the same moment.
fn join(crew: &mut Crew<'_>, side: &str, options: &Options, pods: usize) -> Result<(), Failure> {
    let watched = options.steady_seconds * JOIN;
    crew.title(&format!("{side}: {} join", options.join), watched);
    let begun = Instant::now();
    for _ in 0..options.join {
        crew.start(Some(pods))?;
    }
    crew.until_ready()?;
    crew.pass(watched - begun.elapsed().as_secs_f64())?;
    let end = Instant::now() + TAIL;
    let slow = |crew: &Crew<'_>| {
        let new = crew.lives.iter().filter(|life| life.newcomer);
        new.clone().any(|life| life.reads < 100)
    };
    while slow(crew) && Instant::now() < end {
        crew.pass(0.25)?;
    }
    Ok(())
}
