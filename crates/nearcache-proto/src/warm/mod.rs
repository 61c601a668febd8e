//! The background of a pod: counts what is read, tells the fleet, starts warm and stays so.
//!
//! One plain future per pod, on whatever executor; it has no clock, timer or randomness but those it is
//! given. Everything it fetches goes through the token-checked fill that callers use, behind them.

mod ask;
mod by_hand;
mod config;
mod exchange;
mod fetch;
mod keep;
mod ledger;
mod look;
mod merge;
mod pace;
mod renew;
mod start;
mod strangers;
mod upkeep;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nearcache_l1::Timestamp;

use crate::cache::{Cache, Io};
use crate::op::BoxFuture;
use crate::random::Random;
use crate::shim::AtomicBool;
use crate::working_set::{Counts, Manifest};
use exchange::Exchange;
use keep::{Budget, Changes, EVIDENCE};
use ledger::Ledger;
use merge::MOST_PODS;
use pace::Pace;
use renew::Renewals;
use strangers::Strangers;
use upkeep::{LATEST, Upkeep};

pub use crate::fill::Purpose;
pub use crate::readiness::{Phase, Readiness, WarmEnd, WarmReport};
pub use config::WarmConfig;

/// Wakes the background at a time on the clock of its [`Io`].
pub trait Timer: Send + Sync + 'static {
    /// Resolves at `at`, or a little later.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()>;
}

/// Where the names of what was read survive this process: a directory, say. Never holds values.
pub trait Snapshots: Send + Sync + 'static {
    /// What was saved last, if anything; at most `limit` bytes of it.
    fn load(&self, limit: usize) -> Option<Vec<u8>>;
    /// Keeps this instead. A failure is the keeper's to report.
    fn save(&self, snapshot: &[u8]);
}

/// How often a warm start is tried that found L2 out of reach.
const START_AGAIN: Duration = Duration::from_secs(1);

/// Manifests of a fleet by which all of its pods have been heard.
const YOUNG: u64 = 6;

/// A rate of reads is measured over no less: a few reads between two looks that follow each other at once are no rate.
const ADAPT_AFTER: Duration = Duration::from_millis(500);

/// The background of one pod, until it is run.
pub struct Background<I> {
    cache: Cache<I>,
    config: WarmConfig,
    timer: Arc<dyn Timer>,
    snapshots: Option<Arc<dyn Snapshots>>,
    random: Random,
    counts: Counts,
    exchange: Exchange,
    pace: Pace,
    upkeep: Upkeep,
    ledger: Ledger,
    budget: Budget,
    changes: Changes,
    renewals: Renewals,
    strangers: Strangers,
    manifest: Option<Arc<Manifest>>,
    due: Due,
    /// A warm start that found L2 out of reach is made up for.
    started: bool,
    /// The operator knows that L2 refuses what the fleet's statistics need.
    told_refusal: AtomicBool,
    /// When counting began.
    began: Timestamp,
}

/// When what is to be done next.
struct Due {
    fold: Timestamp,
    fold_pause: Duration,
    publish: Timestamp,
    look: Timestamp,
    save: Timestamp,
    adapted_at: Timestamp,
    reads_then: u64,
}

impl<I: Io> Background<I> {
    /// The background of the cache's pod. `seed` must differ between pods.
    pub fn new(
        cache: Cache<I>,
        config: WarmConfig,
        timer: Arc<dyn Timer>,
        snapshots: Option<Arc<dyn Snapshots>>,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        let now = cache.io.now();
        let counts = Counts::new(config.most_slots, config.most_bytes, config.half_life)
            .seeded(random.next());
        Self {
            exchange: Exchange::new(&cache.pod.config.service, random.next()),
            pace: Pace::new(&config),
            upkeep: Upkeep::new(now),
            due: Due {
                fold: now,
                fold_pause: config.fold_every,
                publish: now,
                look: now,
                save: now,
                adapted_at: now,
                reads_then: 0,
            },
            cache,
            config,
            timer,
            snapshots,
            random,
            counts,
            ledger: Ledger::default(),
            budget: Budget::default(),
            changes: Changes::default(),
            renewals: Renewals::default(),
            strangers: Strangers::default(),
            manifest: None,
            started: false,
            told_refusal: AtomicBool::new(false),
            began: now,
        }
    }

    /// Starts warm, then keeps counting, telling and fetching until the cache is shut down. Publishes once
    /// more then.
    pub async fn run(mut self) {
        self.cache.pod.count_reads(self.config.statistics);
        let refetch = self.config.statistics && self.config.refetch;
        self.cache.pod.warmth.want_lost(refetch);
        self.start().await;
        self.schedule();
        while !self.cache.pod.warmth.is_closing() {
            let next = self
                .due
                .fold
                .min(self.due.publish)
                .min(self.due.look)
                .min(self.due.save)
                .min(self.renewals.next());
            self.rung_or(next).await;
            self.round().await;
        }
        if self.config.statistics {
            self.fold();
            self.publish(true).await;
            self.save();
        }
    }

    /// Does what is due.
    async fn round(&mut self) {
        if self.cache.pod.warmth.is_closing() {
            return;
        }
        self.note_lane();
        self.refetch().await;
        self.renew().await;
        let now = self.cache.io.now();
        if now >= self.due.fold {
            self.fold();
        }
        if now >= self.due.publish {
            self.fold();
            self.compare_with_found(now);
            // Not before the manifest was read: a pod that knows nothing yet must not put its own in the place of what
            // the fleet knew.
            if self.started && self.publish(false).await {
                self.merge().await;
            }
            self.due.publish = self.later(self.publish_pause());
        }
        if now >= self.due.look {
            if !self.started {
                self.start().await;
            } else if self.look_again().await {
                self.top_up().await;
            }
            self.due.look = self.next_look();
        }
        if now >= self.due.save {
            self.save();
            self.due.save = self.later(Duration::from_secs(60));
        }
    }

    /// What was sampled is counted, and what was fetched ahead and read since is noted.
    fn fold(&mut self) {
        let now = self.cache.io.now();
        let pod = &self.cache.pod;
        let mut samples = 0_usize;
        let trace = pod.warmth.trace();
        let (counts, ledger) = (&mut self.counts, &mut self.ledger);
        let mut renewals = self.config.refetch.then_some(&mut self.renewals);
        pod.sampler.drain(|filed, weight| {
            samples += 1;
            counts.add(now, filed, weight);
            ledger.read(filed, pod);
            let resident = pod.store.peek(filed);
            if let Some(trace) = &trace {
                let value = resident.as_ref().and_then(|hit| hit.value.as_ref());
                trace.push(now, filed, weight, value.map(bytes::Bytes::len));
            }
            if let Some(hit) = resident {
                counts.note_bytes(filed, hit.value.as_ref().map_or(0, bytes::Bytes::len));
                if let (Some(renewals), Some(life)) = (&mut renewals, pod.bounded_life(&hit))
                    && counts
                        .score(now, filed)
                        .is_some_and(|score| score >= EVIDENCE)
                {
                    renewals.read(filed, &hit, life);
                }
            }
        });
        let reads = pod.reads_total();
        let due = &mut self.due;
        let elapsed = now.saturating_since(due.adapted_at);
        if elapsed >= ADAPT_AFTER {
            let reads_since = reads.wrapping_sub(due.reads_then);
            pod.sampler.adapt(reads_since, elapsed);
            (due.adapted_at, due.reads_then) = (now, reads);
        }
        // Where little is read, there is little to count: the buffers take much more.
        due.fold_pause = match samples {
            0..64 => (due.fold_pause * 2).min(self.config.fold_every * 10),
            _ => self.config.fold_every,
        };
        due.fold = now.saturating_add(due.fold_pause);
    }

    /// The first times of everything, spread so that pods that started together do not stay in step.
    fn schedule(&mut self) {
        self.due.publish = self.later(self.config.publish_every / 4);
        self.due.look = self.next_look();
        self.due.save = self.later(Duration::from_secs(60));
        if !self.config.statistics {
            (self.due.fold, self.due.publish) = (Timestamp::MAX, Timestamp::MAX);
            (self.due.look, self.due.save) = (Timestamp::MAX, Timestamp::MAX);
        }
        if self.snapshots.is_none() {
            self.due.save = Timestamp::MAX;
        }
    }

    fn publish_pause(&self) -> Duration {
        let fleet = self.fleet();
        let every = self.config.publish_every;
        let turns = u32::try_from(fleet.div_ceil(64)).unwrap_or(u32::MAX).max(1);
        every.saturating_mul(turns).min(LATEST.max(every))
    }

    /// When to look next; soon, while the warm start is still to be made up for.
    fn next_look(&mut self) -> Timestamp {
        let WarmConfig {
            look_every: pause,
            publish_every,
            ..
        } = self.config;
        self.later(match self.started {
            false => pause.min(START_AGAIN),
            true if self.is_young() => pause.min(publish_every),
            true => pause,
        })
    }

    /// Whether the fleet has so far been summed up a few times at most: by then not even how many they are is known well.
    fn is_young(&self) -> bool {
        self.manifest.as_ref().is_none_or(|m| m.version < YOUNG)
    }

    /// How many pods there are, as far as is known.
    fn fleet(&self) -> usize {
        let told = self.manifest.as_ref().map_or(1, |m| m.fleet as usize);
        told.clamp(1, MOST_PODS)
    }

    /// So much later, give or take a fifth.
    fn later(&mut self, pause: Duration) -> Timestamp {
        let micros = pause.as_micros() as u64;
        let jitter = self.random.next() % (micros * 2 / 5 + 1);
        self.cache
            .io
            .now()
            .saturating_add(Duration::from_micros(micros - micros / 5 + jitter))
    }

    /// Waits until `at`, or until somebody rings.
    async fn rung_or(&self, at: Timestamp) {
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
    async fn pause_until(&self, at: Timestamp) {
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

    /// A pod that is ready says whether L2 answers.
    fn note_lane(&self) {
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
