//! The load of one pod: which keys are read when, how long each read takes, and what it returned.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use super::header::Header;
use super::message::{Load, Phase, Report, Sample, Served, Setup};
use super::plan::Plan;
use super::reader::Reader;
use super::timer::Timer;
use super::traffic::Draw;
use crate::machine::now_ns;
use crate::zipf::Rng;

/// Reads that may be under way in a pod under paced load.
const UNDER_WAY_MAX: usize = 2_000;
/// A read that begins this long after it was due is late: the machine is too small for the load.
const LATE_NS: u64 = 10_000_000;
/// Samples a pod keeps for the checker in a phase.
const SAMPLES_MAX: usize = 1_000_000;
/// At full throughput every so many reads one is kept for the checker, and the task makes way for others.
const FLAT_OUT_STRIDE: u64 = 32;
/// Seconds of a phase that are told apart.
const SECONDS_MAX: usize = 3_600;
/// What an entry of L1 takes beside its value, at most.
const ENTRY_BYTES: usize = 512;

/// What a pod reads, and with what.
pub(crate) struct Pod {
    reader: Reader,
    names: Vec<String>,
    draw: Draw,
    plan: Plan,
    number: usize,
    meter: RefCell<Meter>,
    /// Mean gap between two reads under paced load, and when that ends: both may change meanwhile.
    mean_ns: Cell<f64>,
    end_ns: Cell<u64>,
}

/// Reads that fill a pod: each key once that it has room for.
pub(crate) fn fills(plan: &Plan) -> u32 {
    let room = plan.capacity_bytes / (plan.value_bytes + ENTRY_BYTES);
    plan.keys.min(u32::try_from(room).unwrap_or(u32::MAX))
}

impl Pod {
    /// Prepares the names of all keys.
    pub(crate) fn new(setup: &Setup, reader: Reader) -> Self {
        let plan = &setup.plan;
        Self {
            reader,
            names: (0..plan.keys).map(|key| plan.name(key)).collect(),
            draw: Draw::new(&setup.reads, plan.keys, plan.zipf),
            plan: plan.clone(),
            number: setup.pod,
            meter: RefCell::default(),
            mean_ns: Cell::new(f64::INFINITY),
            end_ns: Cell::new(0),
        }
    }

    /// Changes the rate of paced load that is under way.
    pub(crate) fn set_rate(&self, reads_per_s: f64) {
        self.mean_ns.set(1e9 / reads_per_s);
    }

    /// Ends paced load that is under way; reads that have begun are waited for.
    pub(crate) fn end(&self) {
        self.end_ns.set(0);
    }

    /// How it reads.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Reads that ended in the current phase.
    pub(crate) fn progress(&self) -> u64 {
        self.meter.borrow().report.reads
    }

    /// Does a phase and tells what came of it. What is called after this applies to it, whether it was polled or not.
    pub(crate) fn run(self: &Rc<Self>, phase: Phase) -> impl Future<Output = Report> + use<> {
        self.set_rate(phase.reads_per_pod);
        self.end_ns
            .set(phase.start_ns.saturating_add(phase.duration_ns));
        let pod = Rc::clone(self);
        async move { pod.work(phase).await }
    }

    async fn work(self: &Rc<Self>, phase: Phase) -> Report {
        *self.meter.borrow_mut() = Meter {
            start_ns: phase.start_ns,
            ..Meter::default()
        };
        self.draw.rewind();
        let fills = self.reader.fills();
        sleep(Duration::from_nanos(
            phase.start_ns.saturating_sub(now_ns()),
        ))
        .await;
        match phase.load {
            Load::Paced => self.paced(phase).await,
            Load::FlatOut => self.flat_out(phase).await,
            Load::Fill => self.fill().await,
        }
        let ended_ns = now_ns();
        let mut report = self.meter.take().finish();
        report.ended_ns = ended_ns;
        report.fills = self.reader.fills().zip(fills).map(|(now, then)| now - then);
        report
    }

    /// Starts reads when they are due, whether earlier ones have ended or not, so that a slow answer delays no
    /// question: time spent waiting for a connection counts.
    async fn paced(self: &Rc<Self>, phase: Phase) {
        let mut rng = self.rng(phase, 0);
        let mut reads = JoinSet::new();
        let timer = match Timer::new() {
            Ok(timer) => timer,
            Err(error) => return self.cannot(&format!("no timer: {error}")),
        };
        let mut due_ns = phase.start_ns as f64 + rng.exponential(self.mean_ns.get());
        let mut left = phase.reads.unwrap_or(u64::MAX);
        while due_ns < self.end_ns.get() as f64 && left > 0 {
            left -= 1;
            if let Err(error) = timer.until(due_ns as u64).await {
                return self.cannot(&format!("the timer fails: {error}"));
            }
            let due = due_ns as u64;
            let late = now_ns() > due + LATE_NS;
            self.meter.borrow_mut().report.late += u64::from(late);
            let key = self.draw.sample(&mut rng);
            if reads.len() < UNDER_WAY_MAX {
                let pod = Rc::clone(self);
                reads.spawn_local(async move { pod.read(key, true, Some(due)).await });
            } else {
                self.meter.borrow_mut().report.shed += 1;
            }
            while reads.try_join_next().is_some() {}
            due_ns += rng.exponential(self.mean_ns.get());
        }
        while reads.join_next().await.is_some() {}
    }

    /// Reads one after the other in a set number of tasks.
    async fn flat_out(self: &Rc<Self>, phase: Phase) {
        let end_ns = phase.start_ns + phase.duration_ns;
        let mut tasks = JoinSet::new();
        for task in 0..self.plan.tasks as u64 {
            let (pod, mut rng) = (Rc::clone(self), self.rng(phase, task));
            tasks.spawn_local(async move {
                loop {
                    for turn in 0..FLAT_OUT_STRIDE {
                        let key = pod.draw.sample(&mut rng);
                        if pod.read(key, turn == 0, None).await >= end_ns {
                            return;
                        }
                    }
                    // A hit never waits, so without this the first task would be the only one.
                    yield_now().await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Reads every key that the capacity has room for once, the most read ones last.
    async fn fill(self: &Rc<Self>) {
        let left = Rc::new(Cell::new(fills(&self.plan)));
        let mut tasks = JoinSet::new();
        for _ in 0..self.plan.tasks {
            let (pod, left) = (Rc::clone(self), Rc::clone(&left));
            tasks.spawn_local(async move {
                while let Some(key) = left.get().checked_sub(1) {
                    left.set(key);
                    pod.read(key, true, None).await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Tells that the load cannot be made: an error of the phase.
    fn cannot(&self, why: &str) {
        let mut meter = self.meter.borrow_mut();
        meter.report.errors += 1;
        meter.report.error.get_or_insert(why.to_owned());
    }

    /// One read, and when it ended; `due_ns` is when it was to begin, where there is such a moment.
    async fn read(&self, key: u32, sampled: bool, due_ns: Option<u64>) -> u64 {
        let started_ns = now_ns();
        let value = self.reader.read(&self.names[key as usize]).await;
        let ended_ns = now_ns();
        let hit = match &value {
            Ok(Some(value)) => value.is_hit(),
            _ => None,
        };
        let header = value.map(|value| value.and_then(|value| Header::decode(value.bytes())));
        let mut meter = self.meter.borrow_mut();
        let meter = &mut *meter;
        match header {
            Ok(Some(header)) if header.key == key => {
                meter.report.reads += 1;
                let second = (ended_ns.saturating_sub(meter.start_ns) / 1_000_000_000) as usize;
                if second < SECONDS_MAX {
                    if meter.report.seconds.len() <= second {
                        meter.report.seconds.resize(second + 1, 0);
                    }
                    meter.report.seconds[second] += 1;
                }
                if let Some(due_ns) = due_ns {
                    meter
                        .intended
                        .saturating_record(ended_ns.saturating_sub(due_ns));
                }
                if sampled {
                    meter.latencies.saturating_record(ended_ns - started_ns);
                    let sample = Sample {
                        key,
                        sequence: header.sequence,
                        started_ns,
                    };
                    meter.keep(sample, due_ns, ended_ns, hit);
                }
            }
            Ok(_) => meter.report.wrong += 1,
            Err(error) => {
                meter.report.errors += 1;
                meter.report.error.get_or_insert(error);
            }
        }
        ended_ns
    }

    fn rng(&self, phase: Phase, task: u64) -> Rng {
        Rng::new(
            self.plan.seed,
            (phase.stream << 32) + ((self.number as u64) << 16) + task + 1,
        )
    }
}

/// What is written down while reads run.
struct Meter {
    latencies: Histogram<u64>,
    intended: Histogram<u64>,
    start_ns: u64,
    report: Report,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            latencies: histogram(),
            intended: histogram(),
            start_ns: 0,
            report: Report::default(),
        }
    }
}

impl Meter {
    /// Keeps a read for whoever asks for the phase: with its times where they are told, else for the checker.
    fn keep(&mut self, sample: Sample, due_ns: Option<u64>, ended_ns: u64, hit: Option<bool>) {
        let report = &mut self.report;
        if report.samples.len() + report.served.len() >= SAMPLES_MAX {
            return;
        }
        match (due_ns, hit) {
            (Some(due_ns), Some(hit)) => report.served.push(Served {
                sample,
                due_ns,
                ended_ns,
                hit,
            }),
            _ => report.samples.push(sample),
        }
    }

    fn finish(mut self) -> Report {
        self.report.latencies = bars(&self.latencies);
        self.report.intended = bars(&self.intended);
        self.report
    }
}

/// Nanoseconds up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .expect("the bounds are those hdrhistogram allows")
}

fn bars(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|bar| (bar.value_iterated_to(), bar.count_at_value()))
        .collect()
}

/// Puts the latencies of several pods together, those that `pick` picks.
pub(crate) fn merged(
    reports: &[Report],
    pick: impl Fn(&Report) -> &Vec<(u64, u64)>,
) -> Histogram<u64> {
    let mut all = histogram();
    for &(nanoseconds, count) in reports.iter().flat_map(pick) {
        all.saturating_record_n(nanoseconds, count);
    }
    all
}
