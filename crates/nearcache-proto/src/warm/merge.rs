//! Summing up what the pods of a fleet have published: done by one of them, whichever gets the lease.
//!
//! Reads what anyone may have written. No clock but that of L2 says how old a blob is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Background;
use super::ask::argv;
use super::exchange::{ID_LENGTH, Value, bulk, millis};
use super::keep::{HORIZON, MOST_UNEVEN};
use super::upkeep::{self, Cost, LATEST, LOOKING, MERGING, Rounds, SMALL};
use crate::cache::Io;
use crate::error::Error;
use crate::resp::Reply;
use crate::working_set::{Blob, Item, Manifest, Merger, Rates};

/// Pods whose blobs one merge reads at most: a random sample of a larger fleet says as much.
const MOST_MERGED: usize = 64;

/// Ids that one merge looks at.
pub(super) const MOST_PODS: usize = 100_000;

/// A manifest outlives a fleet that was stopped for as long.
const MANIFEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// In so many of its intervals a pod is to be able to look once at what it is given to look at.
const LOOKS: u32 = 3;

impl<I: Io> Background<I> {
    /// Sums up what the pods of the fleet have published.
    pub(super) async fn merge(&mut self) {
        let began = self.cache.io.now();
        if self.try_merge().await.is_err() {
            self.cache.pod.counters.exchange_errors_total.bump();
        }
        let took = self.cache.io.now().saturating_since(began);
        let counters = &self.cache.pod.counters;
        counters.merges_total.bump();
        counters.merge_us_total.add(took.as_micros() as u64);
    }

    async fn try_merge(&mut self) -> Result<(), Error> {
        let members = argv([b"SMEMBERS", &self.exchange.pods]);
        let mut spent = Cost::default();
        let mut ids = match self.ask(vec![members]).await?.pop() {
            Some(Reply::Set(ids) | Reply::Array(ids)) => ids,
            _ => return Ok(()),
        };
        ids.truncate(MOST_PODS);
        let mut ids: Vec<Bytes> = ids.into_iter().filter_map(bulk).collect();
        // Not of ours; it would only make a long key.
        ids.retain(|id| id.len() == ID_LENGTH);
        // In an order that does not depend on the server's, so that a seed replays.
        ids.sort_unstable();
        let listed = ids.len();
        self.sample(&mut ids);
        let asked = ids.len();
        let mut merger = Merger::new(self.random.next());
        let mut gone = vec![
            Bytes::from_static(b"SREM"),
            self.exchange.pods.clone().into(),
        ];
        let (mut merged, mut leaving) = (0, 0);
        let began = self.cache.io.now();
        let own = self.profile(began);
        for id in ids {
            if self.cache.pod.warmth.is_closing() {
                return Ok(());
            }
            let key = self.exchange.blob(&id);
            let read = self.read(&key, Blob::LIMIT_BYTES, true).await?;
            spent.commands += 2.0;
            let Some(Value { bytes, left }) = read else {
                gone.push(id);
                continue;
            };
            spent.bytes += bytes.len() as f64;
            let counters = &self.cache.pod.counters;
            counters.merge_bytes_total.add(bytes.len() as u64);
            let blob = match Blob::decode(&bytes) {
                // What it read counts on, at a rate it reads no more.
                Ok(blob) if blob.leaving => Blob {
                    rates: Rates::default(),
                    ..blob
                },
                Ok(blob) => blob,
                Err(ignored) => {
                    self.ignore("what a pod published", &ignored);
                    continue;
                }
            };
            let age = left.map_or(Duration::ZERO, |left| blob.life.saturating_sub(left));
            if let Some(own) = &own {
                self.compare(own, &blob, age, began);
            }
            if merger.add(&blob, age) {
                merged += 1;
                leaving += usize::from(blob.leaving);
            }
        }
        if merged == 0 {
            return Ok(());
        }
        // Those that could not be asked are taken to be as alive as those that were.
        let alive = (asked + 2).saturating_sub(gone.len() + leaving);
        let fleet = (listed * alive / asked.max(1)).max(1);
        let before = self.manifest.as_ref();
        let mut manifest = merger.finish(fleet, before.map_or(0, |m| m.version));
        // Without those that have left.
        manifest.fleet = fleet as u32;
        let rates = manifest.rates;
        if let Some(before) = before {
            manifest.rates = peak(before.rates, rates);
        }
        let bytes = manifest.encode(Manifest::LIMIT_BYTES);
        let brief = self.brief(&manifest, rates);
        let counters = &self.cache.pod.counters;
        let written = bytes.len() + brief.len();
        counters.manifest_bytes_total.add(written as u64);
        let life = millis(MANIFEST_LIFE);
        let set = |key: &[u8], value: Vec<u8>| {
            let [set, px] = [b"SET", &b"PX"[..]].map(Bytes::from_static);
            let key = Bytes::copy_from_slice(key);
            vec![set, key, value.into(), px, life.clone().into()]
        };
        let mut commands = vec![
            set(&self.exchange.manifest, bytes),
            set(&self.exchange.brief, brief),
        ];
        if gone.len() > 2 {
            commands.push(gone);
        }
        spent.commands += (commands.len() + 2) as f64;
        spent.bytes += (written + listed * ID_LENGTH) as f64;
        let pause = self.pause(&manifest, rates, spent);
        if pause > self.config.publish_every {
            let pause = millis(pause);
            commands.push(argv([b"PEXPIRE", &self.exchange.merge, pause.as_bytes()]));
        }
        self.ask(commands).await?;
        self.pace.observe(&self.config, &manifest);
        self.manifest = Some(Arc::new(manifest));
        Ok(())
    }

    /// The best part of the manifest that running pods may look at: not more than they can use, nor than all of them can afford.
    fn brief(&self, manifest: &Manifest, rates: Rates) -> Vec<u8> {
        let each = upkeep::allowed(LOOKING, rates, Rounds::of(&self.config).looking).bytes
            * manifest.even_share();
        let pause = (self.config.look_every * LOOKS).min(LATEST);
        let limit = (each * pause.as_secs_f64()) as usize;
        let least = self.config.top_up.unwrap_or(0.0);
        let share = (manifest.even_share() * MOST_UNEVEN).min(1.0);
        let of_use = |item: &&Item| manifest.expected_reads(item, HORIZON, share) >= least;
        let brief = Manifest {
            items: manifest.items.iter().filter(of_use).cloned().collect(),
            ..*manifest
        };
        brief.encode(limit.clamp(SMALL, Manifest::LIMIT_BYTES))
    }

    /// Until when nobody need merge again: what that costs has been saved by then. A fleet that has not counted for long waits no
    /// longer than that.
    fn pause(&self, manifest: &Manifest, rates: Rates, spent: Cost) -> Duration {
        let counted = manifest.mass / f64::from(rates.reads_per_s).max(1e-9);
        let counted = Duration::from_secs_f64(counted.min(LATEST.as_secs_f64()));
        upkeep::pause(MERGING, spent, rates, Rounds::of(&self.config).telling).min(counted)
    }

    /// Keeps a random sample of at most [`MOST_MERGED`].
    fn sample(&mut self, ids: &mut Vec<Bytes>) {
        let wanted = ids.len().min(MOST_MERGED);
        for at in 0..wanted {
            let other = at as u64 + self.random.next() % (ids.len() - at) as u64;
            ids.swap(at, other as usize);
        }
        ids.truncate(wanted);
    }
}

/// The highest rates seen of late: a little less with each manifest that does not reach them.
fn peak(before: Rates, now: Rates) -> Rates {
    let peak = |before: f32, now: f32| now.max(before * 0.999);
    Rates {
        reads_per_s: now.reads_per_s,
        l2_reads_per_s: peak(before.l2_reads_per_s, now.l2_reads_per_s),
        l2_bytes_per_s: peak(before.l2_bytes_per_s, now.l2_bytes_per_s),
    }
}
