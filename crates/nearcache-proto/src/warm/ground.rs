//! What all parts of a background stand on: the calls of the pod, the settings, time, and how it waits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::{Phase, Timer, WarmConfig};
use crate::cache::{Cache, Io};
use crate::fleet::fleet_key;
use crate::shim::AtomicBool;
use crate::working_set::Ignored;

/// How long the last words of a cache that is shut down may take.
const FAREWELL: Duration = Duration::from_millis(500);

pub(super) struct Ground<I> {
    pub(super) cache: Cache<I>,
    pub(super) config: WarmConfig,
    pub(super) timer: Arc<dyn Timer>,
    /// A key of the service's: one primary owns all of them.
    pub(super) owned: Vec<u8>,
    /// The operator knows that L2 refuses what the fleet's statistics need.
    pub(super) told_refusal: AtomicBool,
}

impl<I: Io> Ground<I> {
    pub(super) fn new(cache: Cache<I>, config: WarmConfig, timer: Arc<dyn Timer>) -> Self {
        Self {
            owned: fleet_key(&cache.pod.config.service, "").into_bytes(),
            cache,
            config,
            timer,
            told_refusal: AtomicBool::new(false),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.cache.io.now()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.cache.pod.warmth.is_closing()
    }

    /// Waits until `at`, or until somebody rings.
    pub(super) async fn rung_or(&self, at: Timestamp) {
        if self.cache.io.now() >= at {
            return;
        }
        let mut sleep = self.timer.sleep_until(at);
        let bell = &self.cache.pod.warmth.bell;
        poll_fn(|cx| match bell.poll_rung(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => sleep.as_mut().poll(cx),
        })
        .await;
    }

    /// Waits until `at`; cut short by a shutdown only.
    pub(super) async fn pause_until(&self, at: Timestamp) {
        let mut sleep = self.timer.sleep_until(at);
        let warmth = &self.cache.pod.warmth;
        poll_fn(|cx| {
            warmth.bell.listen(cx);
            match warmth.is_closing() {
                true => Poll::Ready(()),
                false => sleep.as_mut().poll(cx),
            }
        })
        .await;
    }

    /// What a future comes to by then; a shutdown leaves it a moment only. The lane ends what it was asked in its
    /// own time, which may be later.
    pub(super) async fn bounded<T>(
        &self,
        by: Timestamp,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let warmth = &self.cache.pod.warmth;
        let mut future = pin!(future);
        let mut sleep = self.timer.sleep_until(by);
        let mut closing = false;
        poll_fn(|cx| {
            warmth.bell.listen(cx);
            if !closing && warmth.is_closing() {
                closing = true;
                let soon = self.cache.io.now().saturating_add(FAREWELL);
                sleep = self.timer.sleep_until(by.min(soon));
            }
            match future.as_mut().poll(cx) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
            }
        })
        .await
    }

    /// Something published was of no use: counted, and told of by the driver.
    pub(super) fn ignore(&self, what: &'static str, why: &Ignored) {
        let pod = &self.cache.pod;
        pod.counters.ignored_total.bump();
        pod.warmth.warn(format!("{what} is ignored: {why}"));
    }

    /// A pod that is ready says whether L2 answers.
    pub(super) fn note_lane(&self) {
        let pod = &self.cache.pod;
        let up = pod.leases_hold(self.cache.io.now());
        let phase = pod.warmth.readiness().phase;
        match (phase, up) {
            (Phase::Ready, false) => pod.warmth.set(|r| {
                r.phase = Phase::Degraded;
                r.reason = "L2 does not answer; resident keys follow the read policy".to_owned();
            }),
            (Phase::Degraded, true) => pod.warmth.set(|r| {
                r.phase = Phase::Ready;
                r.reason = "L2 answers again".to_owned();
            }),
            _ => {}
        }
    }
}
