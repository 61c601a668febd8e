//! The pods of one arm: started together, told together, heard together, ended together.
//! Ends only what it started, by its handle.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nearcache::MemoryL2;
use nearcache_cli::outcome::Failure;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::control::Place;
use super::message::{Event, Instruction, Phase, Report, Setup};
use super::plan::{Arm, Plan};
use super::pod;
use super::progress::{Count, Progress};

/// How long pods may take to connect.
const READY: Duration = Duration::from_secs(30);
/// How long a phase may take beyond its own duration. After one with more reads than can be answered, each pod has up
/// to 2,000 left.
const GRACE: Duration = Duration::from_secs(120);
/// How long a pod may take to end when told to.
const STOP: Duration = Duration::from_secs(5);

/// The pods of one side.
pub(crate) struct Fleet {
    pods: Vec<Handle>,
    events: Receiver<(usize, Event)>,
    fills: u64,
}

/// A way to one pod; whoever drops it first tells the pod to end.
pub(crate) enum Handle {
    /// A process of its own.
    Process {
        child: Child,
        input: Option<ChildStdin>,
    },
    /// A thread of this process.
    Thread {
        input: Option<UnboundedSender<Instruction>>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Fleet {
    /// Starts the pods and waits until all are connected.
    /// `sidecars` are the addresses of the pods' own servers, where they have such.
    pub(crate) fn start(
        plan: &Plan,
        arm: Arm,
        place: &Place,
        sidecars: &[String],
        progress: &mut Progress,
    ) -> Result<Self, Failure> {
        let (send, events) = channel();
        let mut fleet = Self {
            pods: Vec::new(),
            events,
            fills: u64::from(super::load::fills(plan)) * plan.pods as u64,
        };
        for pod in 0..plan.pods {
            let (plan, send) = (plan.clone(), send.clone());
            let traffic = plan.traffic.as_deref();
            let reads = traffic.map(|traffic| traffic.reads[pod].clone());
            let reads = reads.unwrap_or_default();
            let handle = match place {
                Place::Server { url } => Handle::process(
                    &Setup {
                        plan,
                        pod,
                        arm,
                        url: Some(url.clone()),
                        sidecar: sidecars.get(pod).cloned(),
                        reads,
                        service: None,
                        probe: None,
                    },
                    send,
                )?,
                Place::Embedded(store) => Handle::thread(
                    Setup {
                        plan,
                        pod,
                        arm,
                        url: None,
                        sidecar: None,
                        reads,
                        service: None,
                        probe: None,
                    },
                    store.clone(),
                    send,
                ),
            };
            fleet.pods.push(handle);
        }
        let mut ready = 0;
        let deadline = Instant::now() + READY;
        while ready < plan.pods {
            if let Some((_, Event::Ready)) = fleet.next(deadline)? {
                ready += 1;
                progress.part(ready, plan.pods);
            }
        }
        Ok(fleet)
    }

    /// Reads that fill all of its pods.
    pub(crate) fn fills(&self) -> u64 {
        self.fills
    }

    /// Lets all pods do a phase. `tell` hears of the reads done so far, by all, at least ten times a second, and of when
    /// they were so many.
    pub(crate) fn run(
        &mut self,
        phase: Phase,
        mut tell: impl FnMut(Count) -> Result<(), Failure>,
    ) -> Result<Vec<Report>, Failure> {
        for handle in &mut self.pods {
            handle.tell(&Instruction::Run(phase))?;
        }
        let before = Count {
            number: 0,
            at_ns: phase.start_ns,
        };
        let mut progress = vec![before; self.pods.len()];
        let mut reports = Vec::new();
        let deadline = Instant::now() + Duration::from_nanos(phase.duration_ns) + GRACE;
        while reports.len() < self.pods.len() {
            let tick = Instant::now() + Duration::from_millis(100);
            match self.next(tick.min(deadline))? {
                Some((pod, Event::Progress(reads))) => progress[pod] = Count::now(reads),
                Some((pod, Event::Done(report))) => {
                    progress[pod] = Count {
                        number: report.reads,
                        at_ns: report.ended_ns,
                    };
                    reports.push(*report);
                }
                Some((
                    _,
                    Event::Ready | Event::Serving(_) | Event::Probed(_) | Event::Failed(_),
                )) => {}
                None if Instant::now() >= deadline => {
                    return Err(format!(
                        "{} of {} pods do not finish",
                        self.pods.len() - reports.len(),
                        self.pods.len()
                    ));
                }
                None => {}
            }
            // Each pod speaks at a moment of its own: together they stand for the one in the middle.
            let ages_ns = progress
                .iter()
                .map(|count| count.at_ns.saturating_sub(phase.start_ns));
            tell(Count {
                number: progress.iter().map(|count| count.number).sum(),
                at_ns: phase.start_ns + ages_ns.sum::<u64>() / progress.len().max(1) as u64,
            })?;
        }
        Ok(reports)
    }

    /// The next thing a pod says, if one does before `until`.
    fn next(&mut self, until: Instant) -> Result<Option<(usize, Event)>, Failure> {
        match self
            .events
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            Ok((pod, Event::Failed(why))) => Err(format!("pod {pod}: {why}")),
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("all pods are gone".to_owned()),
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for handle in &mut self.pods {
            // The end of its input is the end of a pod as well.
            let _ = handle.tell(&Instruction::Stop);
            handle.hang_up();
        }
        let deadline = Instant::now() + STOP;
        for handle in &mut self.pods {
            handle.end(deadline);
        }
    }
}

impl Handle {
    /// A pod in a process of its own: this program again.
    pub(crate) fn process(setup: &Setup, events: Sender<(usize, Event)>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| format!("cannot start pod {}: {error}", setup.pod);
        let mut child = Program::new(env::current_exe().map_err(failed)?)
            .arg(super::POD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("a pod has no output")?;
        let mut handle = Self::Process { child, input };
        handle.write(setup)?;
        let pod = setup.pod;
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|error| {
                    Event::Failed(format!("says what nobody understands: {error}"))
                });
                if events.send((pod, event)).is_err() {
                    return;
                }
            }
            // Without effect when the pod was told to end: then nobody listens any more.
            let _ = events.send((pod, Event::Failed("ended unexpectedly".to_owned())));
        });
        Ok(handle)
    }

    /// A pod in a thread of this process.
    fn thread(setup: Setup, store: MemoryL2, events: Sender<(usize, Event)>) -> Self {
        let (input, instructions) = unbounded_channel();
        let thread = thread::spawn(move || {
            pod::run(&setup, Some(store), instructions, &mut |event| {
                let _ = events.send((setup.pod, event));
            });
        });
        Self::Thread {
            input: Some(input),
            thread: Some(thread),
        }
    }

    /// Tells it to do something.
    pub(crate) fn tell(&mut self, instruction: &Instruction) -> Result<(), Failure> {
        match self {
            Self::Process { .. } => self.write(instruction),
            Self::Thread { input, .. } => {
                let sent = input
                    .as_ref()
                    .is_some_and(|input| input.send(instruction.clone()).is_ok());
                if sent {
                    Ok(())
                } else {
                    Err("a pod is gone".to_owned())
                }
            }
        }
    }

    fn write(&mut self, message: &impl serde::Serialize) -> Result<(), Failure> {
        let Self::Process {
            input: Some(input), ..
        } = self
        else {
            return Err("a pod is gone".to_owned());
        };
        let mut line = serde_json::to_string(message).map_err(|error| error.to_string())?;
        line.push('\n');
        input
            .write_all(line.as_bytes())
            .map_err(|error| format!("a pod does not listen: {error}"))
    }

    /// The number of its process, where it has one of its own.
    pub(crate) fn id(&self) -> Option<u32> {
        match self {
            Self::Process { child, .. } => Some(child.id()),
            Self::Thread { .. } => None,
        }
    }

    /// Lets it end as soon as it has done what it was told.
    pub(crate) fn hang_up(&mut self) {
        match self {
            Self::Process { input, .. } => *input = None,
            Self::Thread { input, .. } => *input = None,
        }
    }

    /// Waits for the end; a process that does not end by itself is killed.
    pub(crate) fn end(&mut self, deadline: Instant) {
        match self {
            Self::Process { child, .. } => {
                while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                    thread::sleep(Duration::from_millis(5));
                }
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Thread { thread, .. } => {
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
        }
    }
}
