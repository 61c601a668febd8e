//! What a serving pod fetches ahead of demand: what the fleet reads and it will, too, and what somebody changed.
//!
//! All of it costs L2 reads that might be for nothing: it is done only for keys that are expected to be read, at a
//! bounded rate, and its waste is counted.

mod fetch;
mod outcomes;
mod queue;
mod refresh_ahead;

use std::collections::HashMap;
use std::time::Duration;

use nearcache_l1::{Key, Timestamp};

use crate::cache::Io;
use crate::epochs::key_hash;
use crate::error::ErrorKind;
use crate::pod::Pod;
use crate::warm::ground::Ground;
use crate::warm::known::{EVIDENCE, HORIZON, Known};
use crate::warm::{ADAPT_AFTER, Phase};
use outcomes::Ledger;
use queue::{Budget, Queue, Why, Wish};
use refresh_ahead::Renewals;

pub(super) use fetch::{batch, size};

/// A key that somebody changed is fetched again if it is expected to be read within this time.
const SOON: Duration = Duration::from_secs(60);

/// Batches that are fetched before the other parts of the background have their turn.
const BATCHES: usize = 4;

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keys that one look tops up at most.
const MOST_TOPPED: usize = 4096;

/// When keys were changed last, by their hash: two that share one pass for one that changes more often.
#[derive(Default)]
pub(super) struct Changes(HashMap<u64, Timestamp>);

impl Changes {
    /// Keys remembered at a time; then all are forgotten, and the next change of each passes for its first.
    const MOST: usize = 8192;

    /// A key was changed; for how long it had not been, as far as is known.
    fn note(&mut self, filed: Key<'_>, now: Timestamp) -> Duration {
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        let before = self.0.insert(key_hash(filed.bytes), now);
        before.map_or(Duration::MAX, |before| now.saturating_since(before))
    }
}

/// When what was sampled is counted.
struct Folding {
    next: Timestamp,
    pause: Duration,
    adapted_at: Timestamp,
    reads_then: u64,
}

/// Fetches ahead of demand, counts what came of it, and spends no more on that than it may.
pub(super) struct Prefetcher {
    queue: Queue,
    budget: Budget,
    outcomes: Ledger,
    changes: Changes,
    renewals: Renewals,
    folding: Folding,
}

impl Prefetcher {
    pub(super) fn new<I: Io>(ground: &Ground<I>) -> Self {
        let now = ground.now();
        Self {
            queue: Queue::default(),
            budget: Budget::default(),
            outcomes: Ledger::default(),
            changes: Changes::default(),
            renewals: Renewals::default(),
            folding: Folding {
                next: now,
                pause: ground.config.fold_every,
                adapted_at: now,
                reads_then: 0,
            },
        }
    }

    /// When there is something to do.
    pub(super) fn next<I: Io>(&self, ground: &Ground<I>) -> Timestamp {
        let mut next = self.renewals.next();
        if ground.config.statistics {
            next = next.min(self.folding.next);
        }
        if !self.queue.is_empty() {
            next = next.min(self.budget.open_at());
        }
        next
    }

    /// Does what is due: counts what was sampled, and fetches what is wanted.
    pub(super) async fn round<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        self.fetch_wanted(ground, known).await;
        if ground.config.statistics && ground.now() >= self.folding.next {
            self.fold(ground, known);
        }
    }

    /// What was sampled is counted, and what was fetched ahead and read since is noted.
    pub(super) fn fold<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        let now = ground.now();
        let pod = &ground.cache.pod;
        let mut samples = 0_usize;
        let trace = pod.warmth.trace();
        let (counts, ledger) = (&mut known.counts, &mut self.outcomes);
        let mut renewals = ground.config.refetch.then_some(&mut self.renewals);
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
        let due = &mut self.folding;
        let elapsed = now.saturating_since(due.adapted_at);
        if elapsed >= ADAPT_AFTER {
            let reads_since = reads.wrapping_sub(due.reads_then);
            pod.sampler.adapt(reads_since, elapsed);
            (due.adapted_at, due.reads_then) = (now, reads);
        }
        // Where little is read, there is little to count: the buffers take much more.
        due.pause = match samples {
            0..64 => (due.pause * 2).min(ground.config.fold_every * 10),
            _ => ground.config.fold_every,
        };
        due.next = now.saturating_add(due.pause);
    }
}

impl Prefetcher {
    /// Fetches what is wanted, the most worthwhile first, as far as the budget goes. What it does not cover waits.
    pub(super) async fn fetch_wanted<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        for _ in 0..BATCHES {
            if ground.is_closing() {
                return;
            }
            // Between two batches what came in meanwhile finds its place.
            self.want_lost(ground, known);
            self.want_ending(ground, known);
            let pod = &ground.cache.pod;
            // Not by way of a lane that is down: what is read is fetched anew anyway then.
            if pod.warmth.readiness().phase != Phase::Ready {
                self.give_up(pod);
            }
            let now = ground.now();
            if self.queue.is_empty() || now < self.budget.open_at() {
                return;
            }
            let (late, batch) = self.queue.next(&known.rate, now);
            pod.counters.refetch_skipped_total.add(late);
            let Some((why, items)) = batch else {
                return;
            };
            let by = now.saturating_add(PATIENCE);
            let (asked, bytes) = match self.fetch(ground, &items, why.purpose(), by).await {
                Err(error) if error.kind() == ErrorKind::Retry => return self.give_up(pod),
                Err(_) => (items.len(), items.iter().map(size).sum()),
                // What somebody else had fetched meanwhile cost nothing.
                Ok(taken) => (taken.asked, taken.asked_bytes),
            };
            let cost = known.rate.cost(asked, bytes);
            self.budget.spend(cost, known.fleet(), now);
            if why == Why::Ending {
                self.renewals.follow_on(&items, &ground.cache.pod, now);
            }
        }
    }

    fn give_up(&mut self, pod: &Pod) {
        let left_out = self.queue.clear();
        pod.counters.refetch_skipped_total.add(left_out);
    }

    /// Wants what the fleet reads, is not here, and is expected to be read here; no longer what it wanted before.
    pub(super) fn want_fleets<I: Io>(&mut self, ground: &Ground<I>, known: &Known) {
        let pod = &ground.cache.pod;
        self.outcomes.sweep(pod);
        self.queue.forget(Why::TopUp);
        let (Some(manifest), Some(threshold)) = (&known.manifest, ground.config.top_up) else {
            return;
        };
        if !pod.is_tracked() {
            return;
        }
        let now = ground.now();
        let share = known.share(manifest.mass, manifest.fleet as usize, now);
        // What ranks behind a full L1 of better ones would not beat the victim it needs.
        let mut room = pod.store.capacity() / 10 * 9;
        let mut wanted = Vec::new();
        for item in &manifest.items {
            let Some(filed) = item.key() else {
                continue;
            };
            let weight = pod.store.weigh(filed, item.bytes as usize);
            if weight > pod.store.max_entry_weight() {
                continue;
            }
            if weight > room || wanted.len() == MOST_TOPPED {
                break;
            }
            room -= weight;
            let expected = manifest.expected_reads(item, HORIZON, share);
            if expected >= threshold && !pod.store.contains(filed) {
                wanted.push(Wish {
                    item: item.clone(),
                    why: Why::TopUp,
                    reads_per_s: expected / HORIZON.as_secs_f64(),
                    // Until the next look, however late.
                    until: Timestamp::MAX,
                });
            }
        }
        self.queue.add(&known.rate, wanted);
    }

    /// Wants what somebody has changed, if it will be read again soon.
    fn want_lost<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        let lost = ground.cache.pod.warmth.take_lost();
        if lost.is_empty() || !ground.config.refetch {
            return;
        }
        // What was read since the last look counts.
        self.fold(ground, known);
        let now = ground.now();
        let mut wanted = Vec::new();
        for (db, key) in lost {
            let filed = Key::new(db, &key);
            // Fetched ahead, changed again, and never read between: it is changed more often than read.
            let in_vain = self.outcomes.lost(db, &key, &ground.cache.pod);
            // What changes often is read so much less before the next change.
            let within = self.changes.note(filed, now).min(SOON);
            if !in_vain && let Some((item, reads_per_s)) = known.worth_again(filed, within, now) {
                wanted.push(Wish {
                    item,
                    why: Why::Lost,
                    reads_per_s,
                    until: now.saturating_add(SOON),
                });
            }
        }
        self.want_again(ground, known, wanted);
    }

    /// Wants what was here.
    fn want_again<I: Io>(&mut self, ground: &Ground<I>, known: &Known, wanted: Vec<Wish>) {
        let left_out = self.queue.add(&known.rate, wanted);
        ground
            .cache
            .pod
            .counters
            .refetch_skipped_total
            .add(left_out);
    }
}
