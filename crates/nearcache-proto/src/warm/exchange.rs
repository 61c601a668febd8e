//! What pods tell each other through L2: where it lies, and what each of them publishes about its own reads.
//!
//! What the [keys](fleet_key) of the service hold: `pods` (set of ids), `blob:ID`, `merge` (the lease of the round),
//! `manifest`, `brief` (its best part), `pace`. All expire. What is read there may have been written by anyone.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::ask::{Argv, argv};
use super::upkeep::{Cost, LATEST, is_overdue};
use super::{ADAPT_AFTER, Background};
use crate::cache::Io;
use crate::error::Error;
use crate::fleet::fleet_key;
use crate::resp::Reply;
use crate::working_set::{Blob, Ignored, KeyNames, Rates, Snapshot};

/// Letters of an id.
pub(super) const ID_LENGTH: usize = 16;

/// Bytes read from L2 in one reply: what a demand read may find in front of it.
pub(super) const CHUNK: usize = 256 << 10;

/// Bytes that a snapshot may have.
pub(super) const SNAPSHOT_BYTES: usize = 1 << 20;

/// A blob counts for so many rounds after it was published last, or for as many times what they may be put off.
const ROUNDS: u32 = 6;

/// A round is left out while less than this part of the counts is new...
const NEWS: f64 = 0.02;

/// ...for so many rounds.
const LEFT_OUT: u32 = ROUNDS / 2;

/// Commands that tell the fleet what a pod reads, with the try for the lease.
const TOLD: usize = 4;

/// Names of keys, and what is remembered between rounds.
pub(super) struct Exchange {
    pub(super) pods: Vec<u8>,
    blob_prefix: Vec<u8>,
    pub(super) merge: Vec<u8>,
    pub(super) manifest: Vec<u8>,
    pub(super) brief: Vec<u8>,
    pub(super) pace: Vec<u8>,
    id: u64,
    sequence: u64,
    published_mass: f64,
    /// When this pod published last.
    told_at: Option<Timestamp>,
    pub(super) looked_at: Option<Timestamp>,
    measured: Measured,
}

/// Where the rates of the next blob are counted from.
#[derive(Default)]
struct Measured {
    at: Option<Timestamp>,
    reads: u64,
    fills: u64,
    bytes: u64,
    rates: Rates,
}

impl Exchange {
    pub(super) fn new(service: &str, id: u64) -> Self {
        let key = |what: &str| fleet_key(service, what).into_bytes();
        Self {
            pods: key("pods"),
            blob_prefix: key("blob:"),
            merge: key("merge"),
            manifest: key("manifest"),
            brief: key("brief"),
            pace: key("pace"),
            id,
            sequence: 0,
            published_mass: 0.0,
            told_at: None,
            looked_at: None,
            measured: Measured::default(),
        }
    }

    pub(super) fn blob(&self, id: &[u8]) -> Vec<u8> {
        [self.blob_prefix.as_slice(), id].concat()
    }
}

impl<I: Io> Background<I> {
    /// Publishes what this pod reads, unless it is as before or cannot be afforded yet; `leaving`: for the last time. Whether
    /// this pod is to merge this round.
    pub(super) async fn publish(&mut self, leaving: bool) -> bool {
        let Some(names) = self.config.names else {
            return false;
        };
        let now = self.cache.io.now();
        let mass = self.counts.mass(now);
        let tell = leaving || self.is_to_tell(mass, now);
        // What telling takes is left.
        let may_try = self.upkeep.telling.affords(Cost::of(TOLD + 1, 0));
        let mut commands = Vec::new();
        let mut bytes = 0;
        if tell {
            let life = (self.publish_pause() * ROUNDS).max(LATEST * 3);
            let blob = self.blob(now, names, life, leaving);
            bytes = blob.len();
            commands = self.told(blob, life);
        }
        if !leaving && (tell || may_try) {
            let life = millis(self.config.publish_every);
            let (lease, id) = (&self.exchange.merge, self.id());
            commands.push(argv([b"SET", lease, &id, b"PX", life.as_bytes(), b"NX"]));
        }
        if commands.is_empty() {
            return false;
        }
        self.upkeep.telling.spend(cost(&commands));
        let counters = &self.cache.pod.counters;
        match self.ask(commands).await {
            Ok(replies) => {
                if tell {
                    self.exchange.published_mass = mass;
                    self.exchange.told_at = Some(now);
                }
                counters.published_total.add(u64::from(tell));
                counters.published_bytes_total.add(bytes as u64);
                !leaving && replies.last().is_some_and(Reply::is_ok)
            }
            Err(_) => {
                counters.exchange_errors_total.bump();
                false
            }
        }
    }

    /// Whether what this pod reads is to be told: it has changed or may have, and telling it can be afforded, or has been put off
    /// for long enough.
    fn is_to_tell(&mut self, mass: f64, now: Timestamp) -> bool {
        self.earn(now);
        let exchange = &self.exchange;
        let told_at = exchange.told_at;
        let since = told_at.map_or(Duration::MAX, |at| now.saturating_since(at));
        let news = (mass - exchange.published_mass).abs() >= NEWS * mass.max(1.0);
        // Other keys may be read as often.
        if !news && since < self.publish_pause() * LEFT_OUT {
            return false;
        }
        let telling = &self.upkeep.telling;
        let may = telling.affords(telling.once) || is_overdue(since, self.age(now));
        if !may {
            self.cache.pod.counters.exchange_deferred_total.bump();
        }
        may
    }

    /// Puts aside what may be spent.
    pub(super) fn earn(&mut self, now: Timestamp) {
        let (totals, fleet) = (self.cache.pod.totals(), self.fleet());
        self.upkeep.earn(&totals, fleet, &self.config, now);
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.began)
    }

    pub(super) fn is_own(&self, blob: &Blob) -> bool {
        blob.pod == self.exchange.id
    }

    fn id(&self) -> Vec<u8> {
        format!("{:0width$x}", self.exchange.id, width = ID_LENGTH).into_bytes()
    }

    fn blob(&mut self, now: Timestamp, names: KeyNames, life: Duration, leaving: bool) -> Vec<u8> {
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
        // A moment says nothing about a rate: the last one stands.
        if measured.at.is_none() || seconds >= ADAPT_AFTER.as_secs_f32() {
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
                rates,
            };
        }
        let rates = measured.rates;
        self.exchange.sequence += 1;
        let most = self.config.most_slots;
        let blob = Blob::new(
            self.exchange.id,
            self.exchange.sequence,
            &self.counts,
            now,
            most,
        );
        let blob = Blob {
            rates,
            life,
            leaving,
            ..blob
        };
        let bytes = blob.encode(Blob::LIMIT_BYTES, names);
        self.upkeep.telling.once = Cost::of(TOLD, bytes.len());
        let limit = self.upkeep.telling.bytes();
        match leaving || bytes.len() <= limit {
            true => bytes,
            false => blob.encode(limit, names),
        }
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

    /// Reads a value in parts that hold nobody up; what is longer than the limit by its first byte too many. With what is left
    /// of its time to live, if that is wanted.
    pub(super) async fn read(
        &self,
        key: &[u8],
        limit: usize,
        aged: bool,
    ) -> Result<Option<Value>, Error> {
        let mut value = Value::default();
        loop {
            let bytes = &mut value.bytes;
            let (from, to) = (bytes.len(), (bytes.len() + CHUNK).min(limit + 1) - 1);
            let (from, to) = (from.to_string(), to.to_string());
            let mut commands = vec![argv([b"GETRANGE", key, from.as_bytes(), to.as_bytes()])];
            if aged && bytes.is_empty() {
                commands.push(argv([b"PTTL", key]));
            }
            let mut replies = self.ask(commands).await?.into_iter();
            let part = match replies.next().and_then(bulk) {
                Some(part) if !part.is_empty() => part,
                _ => break,
            };
            if let Some(Reply::Int(left)) = replies.next() {
                value.left = u64::try_from(left).ok().map(Duration::from_millis);
            }
            bytes.extend_from_slice(&part);
            if part.len() < CHUNK || bytes.len() > limit {
                break;
            }
        }
        Ok((!value.bytes.is_empty()).then_some(value))
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

/// What lies under a key.
#[derive(Default)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    /// Of its time to live.
    pub(super) left: Option<Duration>,
}

fn cost(commands: &[Argv]) -> Cost {
    let bytes = commands.iter().flatten().map(Bytes::len).sum();
    Cost::of(commands.len(), bytes)
}

pub(super) fn bulk(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
