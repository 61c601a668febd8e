//! What a serving pod fetches ahead of demand: what the fleet reads and it will, too, and what somebody changed.
//!
//! All of it costs L2 reads that might be for nothing: it is done only for keys that are expected to be read, at a
//! bounded rate, and its waste is counted.

mod fetch;
mod outcomes;
mod refresh_ahead;
mod turn;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Key, Timestamp};

use crate::cache::Io;
use crate::epochs::key_hash;
use crate::error::ErrorKind;
use crate::fill::Purpose;
use crate::fleet::fleet_key;
use crate::random::Random;
use crate::warm::budget::{Cost, LATEST, Upkeep};
use crate::warm::ground::Ground;
use crate::warm::known::{EVIDENCE, HORIZON, Known};
use crate::warm::rate::{Rate, WINDOW};
use crate::warm::{ADAPT_AFTER, Phase};
use crate::working_set::Item;
use fetch::{batch, size};
use outcomes::Ledger;
use refresh_ahead::Renewals;

/// A key that somebody changed is fetched again if it is expected to be read within this time.
const SOON: Duration = Duration::from_secs(60);

/// Batches that are asked leave for at once.
const BATCHES: usize = 4;

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What asking for leave to fetch costs L2.
const ASKED: Cost = Cost {
    commands: 3.0,
    bytes: 100.0,
};

/// Keys that one round of topping up fetches at most.
const MOST_TOPPED: usize = 4096;

/// The part of the allowance that what was changed may take, of this pod's share of it.
#[derive(Default)]
pub(super) struct Budget {
    /// Time that has been spent in advance.
    free_at: Option<Timestamp>,
}

impl Budget {
    /// Spends `cost` of this pod's share, if not too much has been spent already.
    fn spend(&mut self, cost: Duration, fleet: usize, now: Timestamp) -> bool {
        let free_at = self.free_at.unwrap_or(now).max(now);
        if free_at.saturating_since(now) > Duration::from_secs(1) {
            return false;
        }
        let cost = cost.saturating_mul(u32::try_from(fleet).unwrap_or(u32::MAX));
        // However many pods there are said to be.
        self.free_at = Some(free_at.saturating_add(cost.min(LATEST)));
        true
    }
}

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
    outcomes: Ledger,
    spent: Budget,
    changes: Changes,
    renewals: Renewals,
    folding: Folding,
    /// The key of the fleet's allowance.
    pace_key: Vec<u8>,
    random: Random,
}

impl Prefetcher {
    pub(super) fn new<I: Io>(ground: &Ground<I>, random: Random) -> Self {
        let now = ground.now();
        Self {
            outcomes: Ledger::default(),
            spent: Budget::default(),
            changes: Changes::default(),
            renewals: Renewals::default(),
            folding: Folding {
                next: now,
                pause: ground.config.fold_every,
                adapted_at: now,
                reads_then: 0,
            },
            pace_key: fleet_key(&ground.cache.pod.config.service, "pace").into_bytes(),
            random,
        }
    }

    /// When there is something to do.
    pub(super) fn next<I: Io>(&self, ground: &Ground<I>) -> Timestamp {
        match ground.config.statistics {
            true => self.folding.next.min(self.renewals.next()),
            false => self.renewals.next(),
        }
    }

    /// Does what is due: counts what was sampled, and fetches what was changed or is about to end.
    pub(super) async fn round<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        self.refetch(ground, known).await;
        self.renew(ground, known).await;
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
    /// Fetches what the fleet reads, is not here, and is expected to be read here.
    pub(super) async fn top_up<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &mut Known,
        budget: &mut Upkeep,
    ) {
        self.outcomes.sweep(&ground.cache.pod);
        if !ground.cache.pod.is_tracked() {
            return;
        }
        let wanted = wanted(ground, known);
        let mut rest = wanted.as_slice();
        let by = ground.now().saturating_add(ground.config.look_every / 2);
        while !rest.is_empty() && !ground.is_closing() {
            let (batches, cost) = leave(&known.rate, rest);
            match self.may_fetch(ground, known, cost, by).await {
                Ok(true) => budget.looking.spend(ASKED),
                Ok(false) | Err(_) => return,
            }
            for count in batches {
                let (now, later) = rest.split_at(count);
                rest = later;
                let deadline = ground.now().saturating_add(PATIENCE);
                let fetched = self.fetch(ground, now, Purpose::Background, deadline).await;
                if fetched.is_err_and(|e| e.kind() == ErrorKind::Retry) || ground.is_closing() {
                    return;
                }
                // What came in between must not wait for the rest.
                self.refetch(ground, known).await;
            }
        }
    }

    /// Fetches what somebody has changed, if it will be read again soon.
    pub(super) async fn refetch<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        let lost = ground.cache.pod.warmth.take_lost();
        if lost.is_empty() || !ground.config.refetch {
            return;
        }
        // Not by way of a lane that is down: the keys are read anew anyway then.
        if ground.cache.pod.warmth.readiness().phase != Phase::Ready {
            return;
        }
        // What was read since the last look counts.
        self.fold(ground, known);
        let now = ground.now();
        let mut items = Vec::new();
        for (db, key) in lost {
            let filed = Key::new(db, &key);
            // Fetched ahead, changed again, and never read between: it is changed more often than read.
            let in_vain = self.outcomes.lost(db, &key, &ground.cache.pod);
            // What changes often is read so much less before the next change.
            let until = self.changes.note(filed, now).min(SOON);
            if !in_vain {
                items.extend(known.worth_again(filed, until, now));
            }
        }
        self.fetch_again(ground, known, items, Purpose::Background)
            .await;
    }

    /// Fetches what is read most, as far as the budget goes.
    pub(super) async fn fetch_again<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &Known,
        mut items: Vec<Item>,
        purpose: Purpose,
    ) {
        // By name where they are read alike, so that a seed replays.
        let name = |item: &Item| {
            item.key()
                .map(|filed| (filed.db, Bytes::copy_from_slice(filed.bytes)))
        };
        items.sort_by_cached_key(|item| (std::cmp::Reverse(item.score.to_bits()), name(item)));
        let fleet = known.fleet();
        let mut rest = items.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch(rest, known.rate.most_keys()));
            rest = later;
            let cost = known.rate.cost(batch.len(), batch.iter().map(size).sum());
            let now = ground.now();
            if !self.spent.spend(cost, fleet, now) {
                let left = (batch.len() + rest.len()) as u64;
                ground.cache.pod.counters.refetch_skipped_total.add(left);
                return;
            }
            let by = now.saturating_add(PATIENCE);
            let fetched = self.fetch(ground, batch, purpose, by).await;
            if fetched.is_err_and(|e| e.kind() == ErrorKind::Retry) {
                return;
            }
        }
    }
}

/// What is worth fetching, in the manifest's order.
fn wanted<I: Io>(ground: &Ground<I>, known: &Known) -> Vec<Item> {
    let (Some(manifest), Some(threshold)) = (&known.manifest, ground.config.top_up) else {
        return Vec::new();
    };
    let share = known.share(manifest.mass, manifest.fleet as usize, ground.now());
    let pod = &ground.cache.pod;
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
            wanted.push(item.clone());
        }
    }
    wanted
}

/// The next batches that are asked leave for at once: how many items each, and what they take of the fleet's time.
pub(super) fn leave(rate: &Rate, mut rest: &[Item]) -> (Vec<usize>, Duration) {
    let mut batches = Vec::new();
    let mut cost = Duration::ZERO;
    while batches.len() < BATCHES && !rest.is_empty() && cost < WINDOW / 4 {
        let count = batch(rest, rate.most_keys());
        let (now, later) = rest.split_at(count);
        cost += rate.cost(now.len(), now.iter().map(size).sum());
        batches.push(count);
        rest = later;
    }
    (batches, cost)
}
