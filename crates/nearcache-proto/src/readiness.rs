//! What callers and the background of a pod share: how ready it is, what was read, what was lost.
//!
//! Never waits for the background; a full queue counts and drops.
//!
//! Concurrency: each lock here is held for a few instructions, and never with another.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nearcache_l1::Promise;

use crate::shim::{AtomicBool, Mutex, Ordering, lock};
use crate::working_set::ReadTrace;

/// Changed keys that may wait for the background.
const MOST_LOST: usize = 1024;

/// Warnings that may wait to be told.
const MOST_WARNINGS: usize = 16;

/// Longer keys are not fetched again.
const LONGEST: usize = 1024;

/// How far a pod is on its way to serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing was heard from L2 yet.
    #[default]
    Starting,
    /// The fleet's working set is being fetched.
    Warming,
    /// Warm, or as warm as it will be at start.
    Ready,
    /// Ready, but L2 does not answer.
    Degraded,
}

impl Phase {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
        }
    }
}

/// Whether a pod should be sent requests, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// Whether it should. Once true, it stays true: a pod without L2 is slower, not wrong.
    pub ready: bool,
    /// How far it is.
    pub phase: Phase,
    /// Why, in a few words.
    pub reason: String,
    /// Keys fetched by the warm start so far.
    pub keys: usize,
    /// Keys it set out to fetch.
    pub keys_planned: usize,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            ready: false,
            phase: Phase::Starting,
            reason: "not connected yet".to_owned(),
            keys: 0,
            keys_planned: 0,
        }
    }
}

/// What ended a warm start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarmEnd {
    /// Everything planned was fetched.
    Complete,
    /// L1 has no more free room.
    Full,
    /// Its time was up.
    Deadline,
    /// Neither a manifest nor a snapshot was there.
    NothingKnown,
    /// L2 was not there until its time was up, refused the pod, or was lost meanwhile.
    Unreachable,
    /// L2 refused the fleet's allowance: its user may lack a permission, or it has no memory left.
    Refused,
    /// Switched off.
    Off,
    /// L2 does not announce changes, so that nothing is kept for long.
    Untracked,
    /// The cache was shut down.
    Closed,
}

impl WarmEnd {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "all that was planned is resident",
            Self::Full => "L1 has no more free room",
            Self::Deadline => "its time was up (warm_deadline)",
            Self::NothingKnown => "the fleet has published nothing yet",
            Self::Unreachable => "L2 did not answer",
            Self::Refused => {
                "L2 refused the fleet's allowance: it has no memory left, or its user may not use INCRBY"
            }
            Self::Off => "the warm start is switched off",
            Self::Untracked => "L2 does not announce changes: nothing is kept for long",
            Self::Closed => "the cache was shut down",
        }
    }
}

/// What the warm start did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WarmReport {
    /// Keys fetched and kept.
    pub keys: usize,
    /// Keys it set out to fetch.
    pub keys_planned: usize,
    /// Bytes of values fetched.
    pub bytes: u64,
    /// The part of all the fleet's reads, as the manifest ranks them, that the fetched keys get: 0 to 1.
    pub share_of_reads: f64,
    /// How long it took.
    pub duration: Duration,
    /// What ended it.
    pub end: WarmEnd,
    /// Whether what to fetch came from the local snapshot, as L2 held no manifest.
    pub from_snapshot: bool,
}

/// Wakes the background.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes this task at the next ring, which will still be [heard](Self::poll_rung).
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        *lock(&self.waker) = Some(cx.waker().clone());
    }

    pub(crate) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The waker first: a ring in between finds it.
        self.listen(cx);
        match self.rung.swap(false, Ordering::AcqRel) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// The shared part of one pod.
#[derive(Default)]
pub(crate) struct Warmth {
    pub(crate) bell: Bell,
    readiness: Mutex<Readiness>,
    report: Mutex<Option<WarmReport>>,
    pub(crate) ready: Promise<()>,
    closing: AtomicBool,
    /// Whether anybody takes what is put into `lost`.
    wants_lost: AtomicBool,
    lost: Mutex<Vec<(u32, Box<[u8]>)>>,
    /// What the operator has not been told of yet; the last few.
    warnings: Mutex<Vec<String>>,
    /// What is being made of the samples, for as long as somebody wants it.
    pub(crate) trace: Mutex<Weak<ReadTrace>>,
}

impl Warmth {
    pub(crate) fn readiness(&self) -> Readiness {
        lock(&self.readiness).clone()
    }

    /// Changes the readiness; what was ready stays so.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Readiness)) {
        let ready = {
            let mut readiness = lock(&self.readiness);
            let was = readiness.ready;
            change(&mut readiness);
            readiness.ready |= was;
            readiness.ready
        };
        if ready {
            self.ready.complete(());
        }
    }

    pub(crate) fn trace(&self) -> Option<Arc<ReadTrace>> {
        lock(&self.trace).upgrade()
    }

    pub(crate) fn report(&self) -> Option<WarmReport> {
        lock(&self.report).clone()
    }

    pub(crate) fn set_report(&self, report: WarmReport) {
        *lock(&self.report) = Some(report);
    }

    /// Tells the operator, by way of the driver.
    pub(crate) fn warn(&self, what: String) {
        let mut warnings = lock(&self.warnings);
        if warnings.len() < MOST_WARNINGS {
            warnings.push(what);
        }
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.warnings))
    }

    /// The background is to publish once more and end.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.bell.ring();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn want_lost(&self, wanted: bool) {
        self.wants_lost.store(wanted, Ordering::Relaxed);
    }

    /// Whether [`lose`](Self::lose) is of use.
    pub(crate) fn wants_lost(&self) -> bool {
        self.wants_lost.load(Ordering::Relaxed)
    }

    /// The resident copy of a key was invalidated; returns whether there was room to remember it.
    pub(crate) fn lose(&self, db: u32, key: &[u8]) -> bool {
        let (taken, first) = {
            let mut lost = lock(&self.lost);
            let first = lost.is_empty();
            let room = lost.len() < MOST_LOST && key.len() <= LONGEST;
            if room {
                lost.push((db, key.into()));
            }
            (room, first)
        };
        // For the others it has been rung.
        if taken && first {
            self.bell.ring();
        }
        taken
    }

    pub(crate) fn take_lost(&self) -> Vec<(u32, Box<[u8]>)> {
        std::mem::take(&mut *lock(&self.lost))
    }
}
