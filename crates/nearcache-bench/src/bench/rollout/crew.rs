//! Pods that come and go: each a process with a life of its own, the fleet's load spread over those that are ready, and
//! the server asked four times a second meanwhile. Judges nothing.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nearcache_cli::outcome::Failure;

use crate::fleet::control::{Control, Place, Snapshot};
use crate::fleet::message::{Event, Instruction, Load, Phase, Report, Service, Setup, Start};
use crate::fleet::plan::{Arm, Plan};
use crate::fleet::pods::Handle;
use crate::fleet::progress::{Count, Progress};
use crate::machine::now_ns;

/// How often the server is asked.
const LOOK_NS: u64 = 250_000_000;
/// How long pods may take to become ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the end of a process may take after its last word.
const END: Duration = Duration::from_secs(5);

/// One pod, from its start to its end.
pub(super) struct Life {
    handle: Option<Handle>,
    /// When its process was started.
    pub(super) started_ns: u64,
    /// How it became ready.
    pub(super) start: Option<Start>,
    /// When it was told to end.
    pub(super) stopped_ns: Option<u64>,
    /// Whether it was to serve by itself, as a pod that is added to a running fleet.
    pub(super) newcomer: bool,
    /// Reads that have ended by its own word.
    pub(super) reads: u64,
    /// What it served.
    pub(super) report: Option<Report>,
}

/// The pods of one stage, those that have ended included.
pub(super) struct Crew<'a> {
    plan: &'a Plan,
    place: &'a Place,
    service: Service,
    control: &'a mut Control,
    progress: &'a mut Progress,
    events: Receiver<(usize, Event)>,
    send: Sender<(usize, Event)>,
    /// In the order in which they were started.
    pub(super) lives: Vec<Life>,
    /// What the server said, four times a second.
    pub(super) looks: Vec<Snapshot>,
    /// Reads a second of the fleet.
    rate: f64,
    /// Pods that the rate was last spread over; none: it is not spread yet.
    spread: Option<usize>,
    title: String,
    /// Reads before what the progress line is about.
    reads_before: u64,
}

impl<'a> Crew<'a> {
    /// No pods yet. `rate` is that of the whole fleet.
    pub(super) fn new(
        plan: &'a Plan,
        place: &'a Place,
        service: Service,
        control: &'a mut Control,
        progress: &'a mut Progress,
        rate: f64,
    ) -> Self {
        let (send, events) = channel();
        Self {
            plan,
            place,
            service,
            control,
            progress,
            events,
            send,
            lives: Vec::new(),
            looks: Vec::new(),
            rate,
            spread: None,
            title: String::new(),
            reads_before: 0,
        }
    }

    /// Starts a pod. A newcomer serves as soon as it is ready, its share of the load of `pods` pods.
    pub(super) fn start(&mut self, newcomer_of: Option<usize>) -> Result<usize, Failure> {
        let Place::Server { url } = self.place else {
            return Err("pods that are processes need a server".to_owned());
        };
        let pod = self.lives.len();
        let started_ns = now_ns();
        let setup = Setup {
            plan: self.plan.clone(),
            pod,
            arm: Arm::After,
            url: Some(url.clone()),
            sidecar: None,
            reads: Vec::new(),
            service: Some(Service {
                reads_per_s: newcomer_of.map(|pods| self.rate / pods.max(1) as f64),
                ..self.service.clone()
            }),
            probe: None,
        };
        self.lives.push(Life {
            handle: Some(Handle::process(&setup, self.send.clone())?),
            started_ns,
            start: None,
            stopped_ns: None,
            newcomer: newcomer_of.is_some(),
            reads: 0,
            report: None,
        });
        Ok(pod)
    }

    /// Lets all pods read as fast as they can for a while: what a fleet has read before anybody looks.
    pub(super) fn fill(&mut self, seconds: f64, stream: u64) -> Result<Vec<Report>, Failure> {
        let phase = Phase {
            load: Load::FlatOut,
            start_ns: now_ns(),
            duration_ns: (seconds * 1e9) as u64,
            stream,
            reads_per_pod: 1.0,
            reads: None,
        };
        for life in &mut self.lives {
            life.tell(&Instruction::Run(phase))?;
        }
        self.until(PATIENCE, |crew| {
            crew.lives.iter().all(|life| life.report.is_some())
        })?;
        Ok(self
            .lives
            .iter_mut()
            .filter_map(|life| {
                life.reads = 0;
                life.report.take()
            })
            .collect())
    }

    /// Spreads the load over the pods that are ready, now and whenever that changes.
    pub(super) fn serve(&mut self) -> Result<(), Failure> {
        self.spread = Some(0);
        self.rebalance()
    }

    /// Tells a pod to end, and the others to take its load.
    pub(super) fn stop(&mut self, pod: usize) -> Result<(), Failure> {
        self.lives[pod].stopped_ns = Some(now_ns());
        self.rebalance()?;
        self.lives[pod].tell(&Instruction::Stop)
    }

    /// Whether a pod has ended, and said what it served.
    pub(super) fn is_over(&self, pod: usize) -> bool {
        self.lives[pod].report.is_some()
    }

    /// Tells all pods to end and waits for it.
    pub(super) fn stop_all(&mut self) -> Result<(), Failure> {
        self.spread = None;
        let now = now_ns();
        for life in &mut self.lives {
            if life.stopped_ns.is_none() {
                life.stopped_ns = Some(now);
                life.tell(&Instruction::Stop)?;
            }
        }
        self.until(PATIENCE, |crew| {
            crew.lives.iter().all(|life| life.report.is_some())
        })
    }

    /// Names what follows, for the progress line.
    pub(super) fn title(&mut self, title: &str, seconds: f64) {
        title.clone_into(&mut self.title);
        self.reads_before = self.reads();
        if seconds == 0.0 {
            self.progress.say(title);
        }
        let reads = self.looks.last().map(|look| look.reads);
        self.progress
            .begin(title, now_ns(), (seconds * 1e9) as u64, reads);
    }

    /// Lets a time pass.
    pub(super) fn pass(&mut self, seconds: f64) -> Result<(), Failure> {
        let end = Instant::now() + Duration::from_secs_f64(seconds.max(0.0));
        while Instant::now() < end {
            self.tick(end)?;
        }
        Ok(())
    }

    /// Waits until all pods are ready.
    pub(super) fn until_ready(&mut self) -> Result<(), Failure> {
        self.until(PATIENCE, |crew| {
            crew.lives.iter().all(|life| life.start.is_some())
        })
    }

    /// Waits for something that pods do.
    pub(super) fn until(
        &mut self,
        patience: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), Failure> {
        let end = Instant::now() + patience;
        while !done(self) {
            if Instant::now() >= end {
                return Err(format!("{}: the pods do not do it", self.title));
            }
            self.tick(end)?;
        }
        Ok(())
    }

    /// Reads by the pods' own word.
    pub(super) fn reads(&self) -> u64 {
        self.lives.iter().map(|life| life.reads).sum()
    }

    /// Asks the server now.
    pub(super) fn look(&mut self) -> Result<Snapshot, Failure> {
        let look = self.control.snapshot()?;
        let look = look.ok_or("L2 counts nothing")?;
        self.looks.push(look);
        Ok(look)
    }

    /// Waits a little for what pods say, and asks the server if it is time.
    fn tick(&mut self, end: Instant) -> Result<(), Failure> {
        let wait = end.saturating_duration_since(Instant::now());
        match self
            .events
            .recv_timeout(wait.min(Duration::from_millis(20)))
        {
            Ok((pod, event)) => self.heard(pod, event)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("all pods are gone".to_owned()),
        }
        while let Ok((pod, event)) = self.events.try_recv() {
            self.heard(pod, event)?;
        }
        if self.spread.is_some() {
            self.rebalance()?;
        }
        let last = self.looks.last().map_or(0, |look| look.at_ns);
        if now_ns() >= last + LOOK_NS {
            let look = self.look()?;
            if self.progress.due() {
                let reads = self.reads().saturating_sub(self.reads_before);
                let l2 = Count {
                    number: look.reads,
                    at_ns: look.at_ns,
                };
                self.progress.show(Count::now(reads), Some(l2), None);
            }
        }
        Ok(())
    }

    fn heard(&mut self, pod: usize, event: Event) -> Result<(), Failure> {
        let life = &mut self.lives[pod];
        match event {
            Event::Serving(start) => life.start = Some(*start),
            Event::Progress(reads) => life.reads = reads,
            Event::Done(report) => {
                life.reads = report.reads;
                life.report = Some(*report);
                if life.stopped_ns.is_some() {
                    life.end();
                }
            }
            // The end of its output, after its last word.
            Event::Failed(_) if life.handle.is_none() => {}
            Event::Failed(why) => return Err(format!("pod {pod}: {why}")),
            Event::Ready | Event::Probed(_) => {}
        }
        Ok(())
    }

    /// Spreads the load, if other pods are there than before.
    fn rebalance(&mut self) -> Result<(), Failure> {
        let serves = |life: &Life| life.start.is_some() && life.stopped_ns.is_none();
        let serving = self.lives.iter().filter(|life| serves(life)).count();
        if serving == 0 || self.spread == Some(serving) {
            return Ok(());
        }
        let share = self.rate / serving as f64;
        for life in self.lives.iter_mut().filter(|life| serves(life)) {
            life.tell(&Instruction::Serve(share))?;
        }
        self.spread = Some(serving);
        Ok(())
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        for life in &mut self.lives {
            life.end();
        }
    }
}

impl Life {
    /// A pod that has ended.
    #[cfg(test)]
    pub(super) fn ended(started_ns: u64, start: Start, newcomer: bool, report: Report) -> Self {
        Self {
            handle: None,
            started_ns,
            start: Some(start),
            stopped_ns: None,
            newcomer,
            reads: report.reads,
            report: Some(report),
        }
    }

    fn tell(&mut self, instruction: &Instruction) -> Result<(), Failure> {
        match &mut self.handle {
            Some(handle) => handle.tell(instruction),
            None => Ok(()),
        }
    }

    /// Ends its process, if it has one.
    fn end(&mut self) {
        if let Some(mut handle) = self.handle.take() {
            handle.hang_up();
            handle.end(Instant::now() + END);
        }
    }
}
