//! What a serving pod fetches ahead of demand: what the fleet reads and it will, too, and what somebody changed.
//!
//! All of it costs L2 reads that might be for nothing: it is done only for keys that are expected to be read, at a
//! bounded rate, and its waste is counted.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Key, Timestamp};

use super::fetch::{batch, size};
use super::upkeep::{Cost, LATEST};
use super::{Background, Phase};
use crate::cache::Io;
use crate::epochs::key_hash;
use crate::error::ErrorKind;
use crate::fill::Purpose;
use crate::working_set::{Item, Name};

/// Over this time reads of a key are expected when the fleet's are weighed.
pub(super) const HORIZON: Duration = Duration::from_secs(3600);

/// A key that somebody changed is fetched again if it is expected to be read within this time...
const SOON: Duration = Duration::from_secs(60);

/// ...this often.
const READS_SOON: f64 = 0.5;

/// Reads of late that make a rate: one or two are none.
pub(super) const EVIDENCE: f64 = 2.5;

/// No pod takes itself for more than so many ordinary ones.
pub(super) const MOST_UNEVEN: f64 = 4.0;

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

impl<I: Io> Background<I> {
    /// Fetches what the fleet reads, is not here, and is expected to be read here.
    pub(super) async fn top_up(&mut self) {
        self.ledger.sweep(&self.cache.pod);
        if !self.cache.pod.is_tracked() {
            return;
        }
        let wanted = self.wanted();
        let mut rest = wanted.as_slice();
        let by = self
            .cache
            .io
            .now()
            .saturating_add(self.config.look_every / 2);
        while !rest.is_empty() && !self.cache.pod.warmth.is_closing() {
            let (batches, cost) = self.leave(rest);
            match self.may_fetch(cost, by).await {
                Ok(true) => self.upkeep.looking.spend(ASKED),
                Ok(false) | Err(_) => return,
            }
            for count in batches {
                let (now, later) = rest.split_at(count);
                rest = later;
                let deadline = self.cache.io.now().saturating_add(PATIENCE);
                let fetched = self.fetch(now, Purpose::Background, deadline).await;
                if fetched.is_err_and(|e| e.kind() == ErrorKind::Retry)
                    || self.cache.pod.warmth.is_closing()
                {
                    return;
                }
                // What came in between must not wait for the rest.
                self.refetch().await;
            }
        }
    }

    /// What is worth fetching, in the manifest's order.
    fn wanted(&self) -> Vec<Item> {
        let (Some(manifest), Some(threshold)) = (&self.manifest, self.config.top_up) else {
            return Vec::new();
        };
        let share = self.share(manifest.mass, manifest.fleet as usize);
        let pod = &self.cache.pod;
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

    /// The part of the fleet's reads that this pod makes: as counted, but a pod that has just started is taken for
    /// an ordinary one.
    fn share(&self, fleet_mass: f64, fleet: usize) -> f64 {
        let even = 1.0 / fleet.max(1) as f64;
        let own = self.counts.mass(self.cache.io.now());
        match fleet_mass > 0.0 {
            true => (own / fleet_mass).clamp(even / 2.0, even * MOST_UNEVEN),
            false => even,
        }
    }

    /// The time over which a steady rate of reads makes a score: a half-life by ln 2 for a pod that has counted long, and less
    /// for one that has just begun, whose scores would pass for low rates.
    fn window(&self, now: Timestamp) -> Duration {
        const LEAST: Duration = Duration::from_secs(10);
        let half_life = self.config.half_life.as_secs_f64();
        let age = now.saturating_since(self.began).as_secs_f64();
        let full = half_life / std::f64::consts::LN_2;
        Duration::from_secs_f64(full * (1.0 - (-age / half_life).exp2())).max(LEAST)
    }

    /// Fetches what somebody has changed, if it will be read again soon.
    pub(super) async fn refetch(&mut self) {
        let lost = self.cache.pod.warmth.take_lost();
        if lost.is_empty() || !self.config.refetch {
            return;
        }
        // Not by way of a lane that is down: the keys are read anew anyway then.
        if self.cache.pod.warmth.readiness().phase != Phase::Ready {
            return;
        }
        // What was read since the last look counts.
        self.fold();
        let now = self.cache.io.now();
        let mut items = Vec::new();
        for (db, key) in lost {
            let filed = Key::new(db, &key);
            // Fetched ahead, changed again, and never read between: it is changed more often than read.
            let in_vain = self.ledger.lost(db, &key, &self.cache.pod);
            // What changes often is read so much less before the next change.
            let until = self.changes.note(filed, now).min(SOON);
            if !in_vain {
                items.extend(self.worth_again(filed, until, now));
            }
        }
        self.fetch_again(items, Purpose::Background).await;
    }

    /// A entry that is expected to be read again within this time, by what was counted of it.
    pub(super) fn worth_again(
        &self,
        filed: Key<'_>,
        within: Duration,
        now: Timestamp,
    ) -> Option<Item> {
        let score = self.counts.score(now, filed).unwrap_or(0.0);
        let expected = score * within.as_secs_f64() / self.window(now).as_secs_f64();
        (score >= EVIDENCE && expected >= READS_SOON).then(|| Item {
            name: Name::plain(filed),
            score,
            bytes: self.counts.bytes_of(filed),
        })
    }

    /// Fetches what is read most, as far as the budget goes.
    pub(super) async fn fetch_again(&mut self, mut items: Vec<Item>, purpose: Purpose) {
        // By name where they are read alike, so that a seed replays.
        let name = |item: &Item| {
            item.key()
                .map(|filed| (filed.db, Bytes::copy_from_slice(filed.bytes)))
        };
        items.sort_by_cached_key(|item| (std::cmp::Reverse(item.score.to_bits()), name(item)));
        let fleet = self.fleet();
        let mut rest = items.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch(rest, self.pace.most_keys()));
            rest = later;
            let cost = self.pace.cost(batch.len(), batch.iter().map(size).sum());
            let now = self.cache.io.now();
            if !self.budget.spend(cost, fleet, now) {
                let left = (batch.len() + rest.len()) as u64;
                self.cache.pod.counters.refetch_skipped_total.add(left);
                return;
            }
            let by = now.saturating_add(PATIENCE);
            let fetched = self.fetch(batch, purpose, by).await;
            if fetched.is_err_and(|e| e.kind() == ErrorKind::Retry) {
                return;
            }
        }
    }
}
