//! The IO thread: one per pod and process, started at the first request, that drives the lane.
//!
//! Never lets a caller wait on a thread that is gone, and takes no request of another process than its own.

mod asked;
mod background;
mod drive;
mod lanes;
mod link;
mod links;
mod sides;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use nearcache_l1::Timestamp;
use nearcache_proto::{Error, ErrorKind, Io, L2, LaneConfig, Pod, Reason, Request};
use tokio::sync::mpsc;

use crate::clock;
use crate::process::Origin;

/// Drives a pod's lane on a thread of its own, so that neither a stalled runtime of the application
/// delays invalidations, nor a synchronous caller needs a runtime.
///
/// Dropping the last handle ends the thread; what is in flight then ends with [`ErrorKind::Closed`].
/// It is of use in the process that made it alone: a forked child makes a pod and a driver of its own
/// ([`PerProcess`](crate::PerProcess)) and never drops this one.
// Concurrency: `runner` is held for a push to the queue, and for the start of a thread; never while a
// request ends.
pub struct IoThread {
    seat: Arc<Seat>,
    origin: Origin,
    runner: Mutex<Runner>,
    plan: OnceLock<background::Plan>,
    /// Of the background, and whether it was ever to be started.
    background: Mutex<Option<JoinHandle<()>>>,
    background_started: AtomicBool,
    closed: AtomicBool,
}

/// What every thread of this pod works with.
pub(crate) struct Seat {
    pod: Arc<Pod>,
    l2: Arc<dyn L2>,
    lane: LaneConfig,
    seed: u64,
    starts: AtomicU64,
}

enum Runner {
    Idle,
    Running(Running),
    Closed,
}

struct Running {
    /// Without a bound of its own: requests have a permit of the pod, or are one of their kind.
    queue: mpsc::UnboundedSender<Request>,
    thread: JoinHandle<()>,
}

impl IoThread {
    /// A driver of `pod`'s lane to `l2`. No thread is started and nothing is sent yet.
    ///
    /// `seed` varies jitter and nonces; it should differ between pods.
    pub fn new(pod: Arc<Pod>, l2: Arc<dyn L2>, lane: LaneConfig, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            seat: Arc::new(Seat {
                pod,
                l2,
                lane,
                seed,
                starts: AtomicU64::new(0),
            }),
            origin: Origin::here(),
            runner: Mutex::new(Runner::Idle),
            plan: OnceLock::new(),
            background: Mutex::new(None),
            background_started: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// Ends the thread and waits for its end, unless called on it: what is in flight ends with
    /// [`ErrorKind::Closed`], and so does every later request. May be called again.
    pub fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        self.end_background();
        self.seat.pod.close();
        let before = std::mem::replace(&mut *lock(&self.runner), Runner::Closed);
        if let Runner::Running(Running { queue, thread, .. }) = before {
            drop(queue);
            if thread.thread().id() != std::thread::current().id() {
                // It catches its panics; one that got through has been reported by the panic hook.
                let _ = thread.join();
            }
        }
    }

    /// Whether it was told to end.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Lets the background publish once more, for as long as one request may take, and waits for its end.
    fn end_background(&self) {
        self.seat.pod.end_background();
        let thread = lock(&self.background).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }

    /// Starts the background with the first request.
    fn start_background(&self) {
        let Some(plan) = self.plan.get() else {
            return;
        };
        if self.background_started.load(Ordering::Acquire)
            || self.background_started.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let thread = plan.start(&self.seat);
        *lock(&self.background) = thread;
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        // Its background may be in the middle of something; it ends by itself.
        self.seat.pod.end_background();
    }
}

impl Io for IoThread {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn submit(&self, request: Request) {
        if self.origin.is_elsewhere() {
            // The queue is the parent's: a push would wake its thread.
            return request.reject(&forked());
        }
        let refused = lock(&self.runner).offer(&self.seat, request);
        self.start_background();
        // Without the lock: what ends a request may run code of its caller.
        if let Some((request, error)) = refused {
            request.reject(&error);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that was not taken, and why.
type Refused = (Request, Error);

impl Runner {
    fn offer(&mut self, seat: &Arc<Seat>, request: Request) -> Option<Refused> {
        let request = match self {
            Self::Closed => return Some((request, closed())),
            // The thread may have ended by a panic, after it had ended what it knew of.
            Self::Running(running) => running.push(request)?,
            Self::Idle => request,
        };
        let running = match seat.start() {
            Ok(running) => running,
            Err(error) => {
                *self = Self::Idle;
                return Some((request, error));
            }
        };
        let refused = running.push(request);
        *self = Self::Running(running);
        refused.map(|request| (request, worker::failed()))
    }
}

impl Running {
    /// Gives the request back when the thread has ended.
    fn push(&self, request: Request) -> Option<Request> {
        Some(self.queue.send(request).err()?.0)
    }
}

impl Seat {
    /// A restarted lane must not repeat the nonces of the one before it.
    fn next_seed(&self) -> u64 {
        let nth = self.starts.fetch_add(1, Ordering::Relaxed);
        self.seed
            .wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn start(self: &Arc<Self>) -> Result<Running, Error> {
        let (queue, receiver) = mpsc::unbounded_channel();
        let seed = self.next_seed();
        let seat = self.clone();
        let thread = std::thread::Builder::new()
            .name("nearcache-io".to_owned())
            .spawn(move || worker::run(&seat, seed, receiver))
            .map_err(|error| {
                Error::with_source(
                    ErrorKind::Retry,
                    format!(
                        "the IO thread cannot be started ({error}): raise the limit of threads"
                    ),
                    error,
                )
            })?;
        Ok(Running { queue, thread })
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache was shut down")
}

#[cold]
fn forked() -> Error {
    Error::retry(
        Reason::Interrupted,
        "the process was forked during this call, or by a bare system call: call again, the next call is of this process",
    )
}
