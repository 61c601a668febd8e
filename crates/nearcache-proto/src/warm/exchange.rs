//! What pods tell each other through L2: each its own counts, and one of them, elected anew each round, the sum.
//!
//! Keys, all under the namespace: `fleet:pods` (set of ids), `fleet:blob:ID`, `fleet:merge` (the lease of the
//! round), `fleet:manifest`, `fleet:pace`. All expire. What is read there may have been written by anyone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::Background;
use super::ask::{Argv, argv};
use crate::cache::Io;
use crate::error::Error;
use crate::resp::Reply;
use crate::working_set::{Blob, Ignored, KeyNames, Manifest, Merger, Rates, Snapshot};

/// Pods whose blobs one merge reads at most: a random sample of a larger fleet says as much.
const MOST_MERGED: usize = 64;

/// Letters of an id.
const ID_LENGTH: usize = 16;

/// Ids that one merge looks at.
const MOST_PODS: usize = 100_000;

/// Bytes read from L2 in one reply: what a demand read may find in front of it.
const CHUNK: usize = 256 << 10;

/// Bytes that a snapshot may have.
pub(super) const SNAPSHOT_BYTES: usize = 1 << 20;

/// A manifest outlives a fleet that was stopped for as long.
const MANIFEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A blob counts for so many rounds after it was published last.
const ROUNDS: u32 = 6;

/// A round is left out while less than this part of the counts is new...
const NEWS: f64 = 0.02;

/// ...but not more often than this in a row, so that the blob does not expire.
const MOST_LEFT_OUT: u32 = ROUNDS / 2;

/// Names of keys, and what is remembered between rounds.
pub(super) struct Exchange {
    pods: Vec<u8>,
    blob_prefix: Vec<u8>,
    merge: Vec<u8>,
    manifest: Vec<u8>,
    pub(super) pace: Vec<u8>,
    id: u64,
    sequence: u64,
    published_mass: f64,
    left_out: u32,
    /// By pod: the number of its blob, and when it was first seen.
    seen: HashMap<u64, (u64, Timestamp)>,
    measured: Measured,
}

/// Where the rates of the next blob are counted from.
#[derive(Default)]
struct Measured {
    at: Option<Timestamp>,
    reads: u64,
    fills: u64,
    bytes: u64,
}

impl Exchange {
    pub(super) fn new(namespace: &str, id: u64) -> Self {
        let key = |name: &str| format!("{namespace}:fleet:{name}").into_bytes();
        Self {
            pods: key("pods"),
            blob_prefix: key("blob:"),
            merge: key("merge"),
            manifest: key("manifest"),
            pace: key("pace"),
            id,
            sequence: 0,
            published_mass: 0.0,
            left_out: 0,
            seen: HashMap::new(),
            measured: Measured::default(),
        }
    }

    fn blob(&self, id: &[u8]) -> Vec<u8> {
        [self.blob_prefix.as_slice(), id].concat()
    }
}

impl<I: Io> Background<I> {
    /// Publishes what this pod reads, unless it is as before; whether this pod is to merge this round.
    pub(super) async fn publish(&mut self) -> bool {
        let Some(names) = self.config.names else {
            return false;
        };
        let now = self.cache.io.now();
        let mass = self.counts.mass(now);
        let exchange = &mut self.exchange;
        let news = (mass - exchange.published_mass).abs() >= NEWS * mass.max(1.0);
        let leave_out = !news && exchange.left_out < MOST_LEFT_OUT;
        let round = self.publish_pause();
        let mut commands = Vec::new();
        let mut bytes = 0;
        if leave_out {
            self.exchange.left_out += 1;
        } else {
            let blob = self.blob(now, names);
            bytes = blob.len();
            commands = self.told(blob, round * ROUNDS);
        }
        let life = millis(self.config.publish_every);
        let id = self.id();
        commands.push(argv([
            b"SET",
            &self.exchange.merge,
            &id,
            b"PX",
            life.as_bytes(),
            b"NX",
        ]));
        let counters = &self.cache.pod.counters;
        match self.ask(commands).await {
            Ok(replies) => {
                if !leave_out {
                    self.exchange.published_mass = mass;
                    self.exchange.left_out = 0;
                }
                counters.published_total.add(u64::from(bytes > 0));
                counters.published_bytes_total.add(bytes as u64);
                replies.last().is_some_and(Reply::is_ok)
            }
            Err(_) => {
                counters.exchange_errors_total.bump();
                false
            }
        }
    }

    fn id(&self) -> Vec<u8> {
        format!("{:0width$x}", self.exchange.id, width = ID_LENGTH).into_bytes()
    }

    fn blob(&mut self, now: Timestamp, names: KeyNames) -> Vec<u8> {
        let totals = self.cache.pod.totals();
        let measured = &mut self.exchange.measured;
        let seconds = measured
            .at
            .map_or(0.0, |at| now.saturating_since(at).as_secs_f32());
        let rate = |now: u64, before: u64| match seconds > 0.0 {
            true => now.saturating_sub(before) as f32 / seconds,
            false => 0.0,
        };
        let reads = self.cache.pod.reads_total();
        let rates = Rates {
            reads_per_s: rate(reads, measured.reads),
            l2_reads_per_s: rate(totals.fills_total, measured.fills),
            l2_bytes_per_s: rate(totals.fill_bytes_total, measured.bytes),
        };
        *measured = Measured {
            at: Some(now),
            reads,
            fills: totals.fills_total,
            bytes: totals.fill_bytes_total,
        };
        self.exchange.sequence += 1;
        let most = self.config.most_slots;
        let blob = Blob::new(
            self.exchange.id,
            self.exchange.sequence,
            &self.counts,
            now,
            most,
        );
        Blob { rates, ..blob }.encode(Blob::LIMIT_BYTES, names)
    }

    /// The commands that publish a blob.
    fn told(&self, blob: Vec<u8>, life: Duration) -> Vec<Argv> {
        let id = self.id();
        let key = self.exchange.blob(&id);
        let set = [
            Bytes::from_static(b"SET"),
            key.into(),
            blob.into(),
            Bytes::from_static(b"PX"),
            millis(life).into(),
        ];
        // The list outlives the blobs: it is what the next merge looks for them by.
        let listed = millis(life * 2);
        vec![
            set.into(),
            argv([b"SADD", &self.exchange.pods, &id]),
            argv([b"PEXPIRE", &self.exchange.pods, listed.as_bytes()]),
        ]
    }

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
        let mut seen = HashMap::new();
        let mut merged = 0;
        for id in ids {
            let key = self.exchange.blob(&id);
            let Some(bytes) = self.read(&key, Blob::LIMIT_BYTES).await? else {
                gone.push(id);
                continue;
            };
            self.cache
                .pod
                .counters
                .merge_bytes_total
                .add(bytes.len() as u64);
            let blob = match Blob::decode(&bytes) {
                Ok(blob) => blob,
                Err(ignored) => {
                    self.ignore("what a pod published", &ignored);
                    continue;
                }
            };
            let now = self.cache.io.now();
            let known = self.exchange.seen.get(&blob.pod);
            let first = known
                .filter(|(sequence, _)| *sequence == blob.sequence)
                .map_or(now, |(_, first)| *first);
            seen.insert(blob.pod, (blob.sequence, first));
            merged += usize::from(merger.add(&blob, now.saturating_since(first)));
        }
        self.exchange.seen = seen;
        if merged == 0 {
            return Ok(());
        }
        // Those that could not be asked are taken to be as alive as those that were.
        let fleet = listed * (asked - (gone.len() - 2)) / asked.max(1);
        let before = self.manifest.as_ref();
        let mut manifest = merger.finish(fleet.max(merged), before.map_or(0, |m| m.version));
        if let Some(before) = before {
            manifest.rates = peak(before.rates, manifest.rates);
        }
        let bytes = manifest.encode(Manifest::LIMIT_BYTES);
        self.cache
            .pod
            .counters
            .manifest_bytes_total
            .add(bytes.len() as u64);
        let set = vec![
            Bytes::from_static(b"SET"),
            self.exchange.manifest.clone().into(),
            bytes.into(),
            Bytes::from_static(b"PX"),
            millis(MANIFEST_LIFE).into(),
        ];
        let mut commands = vec![set];
        if gone.len() > 2 {
            commands.push(gone);
        }
        self.ask(commands).await?;
        self.pace.observe(&self.config, &manifest);
        self.manifest = Some(Arc::new(manifest));
        Ok(())
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

    /// Looks what the fleet reads.
    ///
    /// # Errors
    /// L2 did not answer, or refused: what was known stays.
    pub(super) async fn look(&mut self) -> Result<(), Error> {
        for last in [false, true] {
            let counters = &self.cache.pod.counters;
            let read = self.read(&self.exchange.manifest, Manifest::LIMIT_BYTES);
            let Some(bytes) = read
                .await
                .inspect_err(|_| counters.exchange_errors_total.bump())?
            else {
                break;
            };
            counters.manifest_bytes_total.add(bytes.len() as u64);
            match Manifest::decode(&bytes) {
                Ok(manifest) => {
                    self.pace.observe(&self.config, &manifest);
                    self.manifest = Some(Arc::new(manifest));
                    break;
                }
                // Read in parts, it may have been replaced in between.
                Err(Ignored::BadChecksum) if bytes.len() > CHUNK && !last => {}
                Err(ignored) => {
                    self.ignore("the manifest", &ignored);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads a value in parts that hold nobody up; what is longer than the limit by its first byte too many.
    async fn read(&self, key: &[u8], limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut value = Vec::new();
        loop {
            let (from, to) = (value.len(), (value.len() + CHUNK).min(limit + 1) - 1);
            let (from, to) = (from.to_string(), to.to_string());
            let part = argv([b"GETRANGE", key, from.as_bytes(), to.as_bytes()]);
            let part = match self.ask(vec![part]).await?.pop().and_then(bulk) {
                Some(part) if !part.is_empty() => part,
                _ => break,
            };
            value.extend_from_slice(&part);
            if part.len() < CHUNK || value.len() > limit {
                break;
            }
        }
        Ok((!value.is_empty()).then_some(value))
    }

    /// Something published was of no use: counted, and told of by the driver.
    pub(super) fn ignore(&self, what: &'static str, why: &Ignored) {
        let pod = &self.cache.pod;
        pod.counters.ignored_total.bump();
        pod.warmth.warn(format!("{what} is ignored: {why}"));
    }

    /// Leaves the names of what this pod reads behind.
    pub(super) fn save(&mut self) {
        let Some(snapshots) = &self.snapshots else {
            return;
        };
        let now = self.cache.io.now();
        let snapshot = Snapshot::new(&self.counts, now, self.config.most_slots);
        snapshots.save(&snapshot.encode(SNAPSHOT_BYTES));
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

fn bulk(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
