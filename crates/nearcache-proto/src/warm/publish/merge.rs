//! Summing up what the pods of a fleet have published: done by one of them, whichever gets the lease.
//!
//! Reads what anyone may have written. No clock but that of L2 says how old a blob is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{ID_LENGTH, Publisher, Value, bulk, millis};
use crate::cache::Io;
use crate::error::Error;
use crate::resp::Reply;
use crate::warm::budget::{self, Cost, LATEST, LOOKING, MERGING, Rounds, SMALL};
use crate::warm::command::argv;
use crate::warm::ground::Ground;
use crate::warm::known::{HORIZON, Known, MOST_PODS, MOST_UNEVEN};
use crate::working_set::{Blob, Item, Manifest, Merger, Rates};

/// Pods whose blobs one merge reads at most: a random sample of a larger fleet says as much.
const MOST_MERGED: usize = 64;

/// A manifest outlives a fleet that was stopped for as long.
const MANIFEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// In so many of its intervals a pod is to be able to look once at what it is given to look at.
const LOOKS: u32 = 3;

impl Publisher {
    /// Sums up what the pods of the fleet have published.
    pub(in crate::warm) async fn merge<I: Io>(&mut self, ground: &Ground<I>, known: &mut Known) {
        let began = ground.now();
        if self.try_merge(ground, known).await.is_err() {
            ground.cache.pod.counters.exchange_errors_total.bump();
        }
        let took = ground.now().saturating_since(began);
        let counters = &ground.cache.pod.counters;
        counters.merges_total.bump();
        counters.merge_us_total.add(took.as_micros() as u64);
    }

    async fn try_merge<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &mut Known,
    ) -> Result<(), Error> {
        let members = argv([b"SMEMBERS", &self.pods]);
        let mut spent = Cost::default();
        let mut ids = match ground.ask(vec![members]).await?.pop() {
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
        let mut gone = vec![Bytes::from_static(b"SREM"), self.pods.clone().into()];
        let (mut merged, mut leaving) = (0, 0);
        let began = ground.now();
        let own = self.profile(known, began);
        for id in ids {
            if ground.is_closing() {
                return Ok(());
            }
            let key = self.blob_key(&id);
            let read = self.read(ground, &key, Blob::LIMIT_BYTES, true).await?;
            spent.commands += 2.0;
            let Some(Value { bytes, left }) = read else {
                gone.push(id);
                continue;
            };
            spent.bytes += bytes.len() as f64;
            let counters = &ground.cache.pod.counters;
            counters.merge_bytes_total.add(bytes.len() as u64);
            let blob = match Blob::decode(&bytes) {
                // What it read counts on, at a rate it reads no more.
                Ok(blob) if blob.leaving => Blob {
                    rates: Rates::default(),
                    ..blob
                },
                Ok(blob) => blob,
                Err(ignored) => {
                    ground.ignore("what a pod published", &ignored);
                    continue;
                }
            };
            let age = left.map_or(Duration::ZERO, |left| blob.life.saturating_sub(left));
            if let Some(own) = &own {
                self.compare(ground, known, own, &blob, age, began);
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
        let before = known.manifest.as_ref();
        let mut manifest = merger.finish(fleet, before.map_or(0, |m| m.version));
        // Without those that have left.
        manifest.fleet = fleet as u32;
        let rates = manifest.rates;
        if let Some(before) = before {
            manifest.rates = peak(before.rates, rates);
        }
        let bytes = manifest.encode(Manifest::LIMIT_BYTES);
        let brief = self.brief(ground, &manifest, rates);
        let counters = &ground.cache.pod.counters;
        let written = bytes.len() + brief.len();
        counters.manifest_bytes_total.add(written as u64);
        let life = millis(MANIFEST_LIFE);
        let set = |key: &[u8], value: Vec<u8>| {
            let [set, px] = [b"SET", &b"PX"[..]].map(Bytes::from_static);
            let key = Bytes::copy_from_slice(key);
            vec![set, key, value.into(), px, life.clone().into()]
        };
        let mut commands = vec![set(&self.manifest, bytes), set(&self.brief, brief)];
        if gone.len() > 2 {
            commands.push(gone);
        }
        spent.commands += (commands.len() + 2) as f64;
        spent.bytes += (written + listed * ID_LENGTH) as f64;
        let pause = self.pause(ground, &manifest, rates, spent);
        if pause > ground.config.publish_every {
            let pause = millis(pause);
            commands.push(argv([b"PEXPIRE", &self.merge, pause.as_bytes()]));
        }
        ground.ask(commands).await?;
        known.learn(&ground.config, Arc::new(manifest));
        Ok(())
    }

    /// The best part of the manifest that running pods may look at: not more than they can use, nor than all of them can afford.
    fn brief<I: Io>(&self, ground: &Ground<I>, manifest: &Manifest, rates: Rates) -> Vec<u8> {
        let each = budget::allowed(LOOKING, rates, Rounds::of(&ground.config).looking).bytes
            * manifest.even_share();
        let pause = (ground.config.look_every * LOOKS).min(LATEST);
        let limit = (each * pause.as_secs_f64()) as usize;
        let least = ground.config.top_up.unwrap_or(0.0);
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
    fn pause<I: Io>(
        &self,
        ground: &Ground<I>,
        manifest: &Manifest,
        rates: Rates,
        spent: Cost,
    ) -> Duration {
        let counted = manifest.mass / f64::from(rates.reads_per_s).max(1e-9);
        let counted = Duration::from_secs_f64(counted.min(LATEST.as_secs_f64()));
        budget::pause(MERGING, spent, rates, Rounds::of(&ground.config).telling).min(counted)
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
