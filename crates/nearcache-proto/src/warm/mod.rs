//! The background of a pod: counts what is read, tells the fleet, starts warm and stays so.
//!
//! One plain future per pod, on whatever executor; it has no clock, timer or randomness but those it is
//! given. Everything it fetches goes through the token-checked fill that callers use, behind them.

mod budget;
mod command;
mod config;
mod ground;
mod known;
mod prefetch;
mod publish;
mod rate;
mod start;
mod step;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::Timestamp;

use crate::cache::{Cache, Io};
use crate::op::BoxFuture;
use crate::random::Random;
use ground::Ground;
use known::Known;
use prefetch::Prefetcher;
use publish::{Publisher, publish_pause};
use start::WarmStart;
use turn::Turns;

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

/// A rate of reads is measured over no less: a few reads between two looks that follow each other at once are no rate.
const ADAPT_AFTER: Duration = Duration::from_millis(500);

/// The background of one pod, until it is run: says which of its parts does what, and when.
pub struct Background<I> {
    ground: Ground<I>,
    known: Known,
    publisher: Publisher,
    start: WarmStart,
    prefetcher: Prefetcher,
    due: Due,
    random: Random,
}

/// When what is to be done next.
struct Due {
    publish: Timestamp,
    look: Timestamp,
    save: Timestamp,
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
        let ground = Ground::new(cache, config, timer);
        let now = ground.now();
        let service = &ground.cache.pod.config.service;
        let mut own = || Random::new(random.next());
        Self {
            known: Known::new(&ground.config, now, own().next()),
            publisher: Publisher::new(service, now, own()),
            start: WarmStart::new(snapshots, Turns::new(service, own())),
            prefetcher: Prefetcher::new(&ground),
            due: Due {
                publish: now,
                look: now,
                save: now,
            },
            ground,
            random,
        }
    }

    /// Starts warm, then keeps counting, telling and fetching until the cache is shut down. Publishes once
    /// more then.
    pub async fn run(mut self) {
        let config = &self.ground.config;
        let (statistics, refetch) = (config.statistics, config.refetch);
        let pod = &self.ground.cache.pod;
        pod.count_reads(statistics);
        pod.warmth.want_lost(statistics && refetch);
        self.start_warm().await;
        self.schedule();
        while !self.ground.is_closing() {
            let Due {
                publish,
                look,
                save,
            } = self.due;
            let next = publish.min(look).min(save);
            let next = next.min(self.prefetcher.next(&self.ground));
            self.ground.rung_or(next).await;
            self.round().await;
        }
        if statistics {
            let Self {
                ground,
                known,
                publisher,
                prefetcher,
                ..
            } = &mut self;
            prefetcher.fold(ground, known);
            publisher.publish(ground, known, true).await;
            self.start.save(&self.ground, &self.known);
        }
    }

    async fn start_warm(&mut self) {
        let parts = (&mut self.publisher, &mut self.prefetcher);
        self.start.run(&self.ground, &mut self.known, parts).await;
    }

    /// Does what is due.
    async fn round(&mut self) {
        if self.ground.is_closing() {
            return;
        }
        self.ground.note_lane();
        self.prefetcher.round(&self.ground, &mut self.known).await;
        let now = self.ground.now();
        if now >= self.due.publish {
            self.publish(now).await;
            self.due.publish = self.later(publish_pause(&self.ground, &self.known));
        }
        if now >= self.due.look {
            self.look().await;
            self.due.look = self.next_look();
        }
        if now >= self.due.save {
            self.start.save(&self.ground, &self.known);
            self.due.save = self.later(Duration::from_secs(60));
        }
    }

    async fn publish(&mut self, now: Timestamp) {
        let (ground, known, publisher) = (&self.ground, &mut self.known, &mut self.publisher);
        self.prefetcher.fold(ground, known);
        publisher.compare_with_found(ground, known, now);
        // Not before the manifest was read: a pod that knows nothing yet must not put its own in the place of what
        // the fleet knew.
        if self.start.is_over() && publisher.publish(ground, known, false).await {
            publisher.merge(ground, known).await;
        }
    }

    async fn look(&mut self) {
        if !self.start.is_over() {
            return self.start_warm().await;
        }
        let (ground, known, publisher) = (&self.ground, &mut self.known, &mut self.publisher);
        if publisher.look_again(ground, known).await {
            self.prefetcher.want_fleets(ground, known);
            self.prefetcher.fetch_wanted(ground, known).await;
        }
    }

    /// The first times of everything, spread so that pods that started together do not stay in step.
    fn schedule(&mut self) {
        self.due.publish = self.later(self.ground.config.publish_every / 4);
        self.due.look = self.next_look();
        self.due.save = self.later(Duration::from_secs(60));
        if !self.ground.config.statistics {
            (self.due.publish, self.due.look) = (Timestamp::MAX, Timestamp::MAX);
        }
        if !(self.ground.config.statistics && self.start.keeps()) {
            self.due.save = Timestamp::MAX;
        }
    }

    /// When to look next; soon, while the warm start is still to be made up for.
    fn next_look(&mut self) -> Timestamp {
        let WarmConfig {
            look_every: pause,
            publish_every,
            ..
        } = self.ground.config;
        self.later(match self.start.is_over() {
            false => pause.min(START_AGAIN),
            true if self.known.is_young() => pause.min(publish_every),
            true => pause,
        })
    }

    /// So much later, give or take a fifth.
    fn later(&mut self, pause: Duration) -> Timestamp {
        let micros = pause.as_micros() as u64;
        let jitter = self.random.next() % (micros * 2 / 5 + 1);
        let pause = Duration::from_micros(micros - micros / 5 + jitter);
        self.ground.now().saturating_add(pause)
    }
}
