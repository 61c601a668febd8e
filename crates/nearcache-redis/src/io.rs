//! The IO thread: one per pod and process, started at the first request, that drives the lane.
//!
//! Never lets a caller wait on a thread that is gone, and never touches what a forked parent opened.

mod background;
mod check;
mod drive;
mod group;
mod links;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use nearcache_l1::Timestamp;
use nearcache_proto::{Error, ErrorKind, Io, L2, LaneConfig, Pod, Request};
use tokio::sync::mpsc;

use crate::clock;

/// Drives a pod's lane on a thread of its own, so that neither a stalled runtime of the application
/// delays invalidations, nor a synchronous caller needs a runtime.
///
/// Dropping the last handle ends the thread; what is in flight then ends with [`ErrorKind::Closed`].
/// After a fork the child starts a thread and a lane of its own at its first request.
pub struct IoThread {
    seat: Arc<Seat>,
    first: Era,
    plan: OnceLock<background::Plan>,
}

/// What every thread of this pod works with.
pub(crate) struct Seat {
    pod: Arc<Pod>,
    l2: Arc<dyn L2>,
    lane: LaneConfig,
    queue_requests: usize,
    seed: u64,
    starts: AtomicU64,
}

/// The life of a pod in one process. A forked child appends its own and leaves its parent's alone.
struct Era {
    pid: u32,
    runner: Mutex<Runner>,
    /// Of the background, and whether it was ever to be started.
    background: Mutex<Option<JoinHandle<()>>>,
    background_started: AtomicBool,
    next: OnceLock<Box<Era>>,
}

enum Runner {
    Idle,
    Running(Running),
    Closed,
}

struct Running {
    queue: mpsc::UnboundedSender<Request>,
    queued: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl IoThread {
    /// A driver of `pod`'s lane to `l2`. No thread is started and nothing is sent yet.
    ///
    /// At most `queue_requests` wait for the thread; those beyond are rejected. `seed` varies jitter
    /// and nonces; it should differ between pods.
    pub fn new(
        pod: Arc<Pod>,
        l2: Arc<dyn L2>,
        lane: LaneConfig,
        queue_requests: usize,
        seed: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            seat: Arc::new(Seat {
                pod,
                l2,
                lane,
                queue_requests: queue_requests.max(1),
                seed,
                starts: AtomicU64::new(0),
            }),
            first: Era::new(std::process::id()),
            plan: OnceLock::new(),
        })
    }

    /// Ends the thread and waits for its end, unless called on it: what is in flight ends with
    /// [`ErrorKind::Closed`], and so does every later request. May be called again.
    pub fn shutdown(&self) {
        self.end_background();
        self.seat.pod.close();
        let before = std::mem::replace(&mut *self.era().lock(), Runner::Closed);
        if let Runner::Running(Running { queue, thread, .. }) = before {
            drop(queue);
            if thread.thread().id() != std::thread::current().id() {
                // It catches its panics; one that got through has been reported by the panic hook.
                let _ = thread.join();
            }
        }
    }

    /// Lets the background publish once more, for as long as one request may take, and waits for its end.
    fn end_background(&self) {
        self.seat.pod.end_background();
        let thread = {
            let era = self.era();
            let mut background = era
                .background
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            background.take()
        };
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }

    /// Starts the background with the first request of this process.
    fn start_background(&self, era: &Era) {
        let Some(plan) = self.plan.get() else {
            return;
        };
        if era.background_started.load(Ordering::Acquire)
            || era.background_started.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let thread = plan.start(&self.seat);
        *era.background
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = thread;
    }

    /// The life in this process, begun now if it was forked since the last call.
    fn era(&self) -> &Era {
        let pid = std::process::id();
        let mut era = &self.first;
        while era.pid != pid {
            era = era.next.get_or_init(|| {
                self.seat.pod.after_fork();
                Box::new(Era::new(pid))
            });
        }
        era
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        // Its background may be in the middle of something; it ends by itself.
        self.seat.pod.end_background();
    }
}

impl Io for IoThread {
    fn begin(&self) {
        self.era();
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn submit(&self, request: Request) {
        let era = self.era();
        let refused = era.lock().offer(&self.seat, request);
        self.start_background(era);
        // Without the lock: what ends a request may run code of its caller.
        if let Some((request, error)) = refused {
            request.reject(&error);
        }
    }
}

// Concurrency: `runner` is held for a push to the queue, and for the start of a thread; never while a
// request ends. In a forked child the parent's `runner` may be locked for ever by a thread that does
// not exist there: it is left alone, which is why each process has an `Era` of its own.
impl Era {
    fn new(pid: u32) -> Self {
        Self {
            pid,
            runner: Mutex::new(Runner::Idle),
            background: Mutex::new(None),
            background_started: AtomicBool::new(false),
            next: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Runner> {
        self.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Era {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            // Letting go of the parent's queue would wake its thread through a descriptor that is
            // shared with the parent.
            let runner = self
                .runner
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(std::mem::replace(runner, Runner::Closed));
            let background = self
                .background
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(background.take());
        }
    }
}

/// A request that was not taken, and why.
type Refused = (Request, Error);

impl Runner {
    fn offer(&mut self, seat: &Arc<Seat>, request: Request) -> Option<Refused> {
        let request = match self {
            Self::Closed => return Some((request, closed())),
            Self::Running(running) => match running.push(seat, request)? {
                Push::Full(request) => return Some((request, full(seat))),
                // The thread has ended by a panic, after it had ended what it knew of.
                Push::Ended(request) => request,
            },
            Self::Idle => request,
        };
        let running = match seat.start() {
            Ok(running) => running,
            Err(error) => {
                *self = Self::Idle;
                return Some((request, error));
            }
        };
        let refused = running.push(seat, request);
        *self = Self::Running(running);
        refused.map(|push| match push {
            Push::Full(request) => (request, full(seat)),
            Push::Ended(request) => (request, worker::failed()),
        })
    }
}

/// What did not go into the queue.
enum Push {
    Full(Request),
    Ended(Request),
}

impl Running {
    fn push(&self, seat: &Seat, request: Request) -> Option<Push> {
        let full = self.queued.fetch_add(1, Ordering::AcqRel) >= seat.queue_requests;
        if full && !request.is_release() {
            self.queued.fetch_sub(1, Ordering::AcqRel);
            return Some(if self.queue.is_closed() {
                Push::Ended(request)
            } else {
                Push::Full(request)
            });
        }
        let refused = self.queue.send(request).err()?;
        Some(Push::Ended(refused.0))
    }
}

impl Seat {
    /// A restarted lane must not repeat the nonces of the one before it, nor a child its parent's.
    fn next_seed(&self) -> u64 {
        let nth = self.starts.fetch_add(1, Ordering::Relaxed);
        self.seed
            .wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_add(u64::from(std::process::id()) << 32)
    }

    fn start(self: &Arc<Self>) -> Result<Running, Error> {
        let (queue, receiver) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let seed = self.next_seed();
        let seat = self.clone();
        let count = queued.clone();
        let thread = std::thread::Builder::new()
            .name("nearcache-io".to_owned())
            .spawn(move || worker::run(&seat, seed, receiver, &count))
            .map_err(|error| {
                Error::with_source(
                    ErrorKind::Retry,
                    format!(
                        "the IO thread cannot be started ({error}): raise the limit of threads"
                    ),
                    error,
                )
            })?;
        Ok(Running {
            queue,
            queued,
            thread,
        })
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache was shut down")
}

#[cold]
fn full(seat: &Seat) -> Error {
    seat.pod.count_rejected();
    Error::new(
        ErrorKind::Retry,
        "too many requests wait for the IO thread (queue_requests): try again later",
    )
}

#[cfg(test)]
mod tests;
