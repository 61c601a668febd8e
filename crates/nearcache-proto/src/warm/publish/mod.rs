//! What pods tell each other through L2: where it lies, and what each of them publishes about its own reads.
//!
//! What the [keys](fleet_key) of the service hold: `pods` (set of ids), `blob:ID`, `merge` (the lease of the round),
//! `manifest`, `brief` (its best part), `pace`. All expire. What is read there may have been written by anyone.

mod merge;
mod poll;
mod strangers;

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use crate::cache::Io;
use crate::error::Error;
use crate::fleet::fleet_key;
use crate::random::Random;
use crate::resp::Reply;
use crate::warm::ADAPT_AFTER;
use crate::warm::budget::{Cost, LATEST, Upkeep, is_overdue};
use crate::warm::command::{Argv, argv};
use crate::warm::ground::Ground;
use crate::warm::known::Known;
use crate::working_set::{Blob, KeyNames, Rates};
use strangers::Strangers;

/// Letters of an id.
pub(super) const ID_LENGTH: usize = 16;

/// Bytes read from L2 in one reply: what a demand read may find in front of it.
pub(super) const CHUNK: usize = 256 << 10;

/// A blob counts for so many rounds after it was published last, or for as many times what they may be put off.
const ROUNDS: u32 = 6;

/// A round is left out while less than this part of the counts is new...
const NEWS: f64 = 0.02;

/// ...for so many rounds.
const LEFT_OUT: u32 = ROUNDS / 2;

/// Commands that tell the fleet what a pod reads, with the try for the lease.
const TOLD: usize = 4;

/// Tells the fleet what this pod reads, and finds out what the fleet reads: names of keys, and what is remembered between
/// rounds.
pub(super) struct Publisher {
    pub(super) pods: Vec<u8>,
    blob_prefix: Vec<u8>,
    pub(super) merge: Vec<u8>,
    pub(super) manifest: Vec<u8>,
    pub(super) brief: Vec<u8>,
    id: u64,
    random: Random,
    budget: Upkeep,
    strangers: Strangers,
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

impl Publisher {
    pub(super) fn new(service: &str, now: Timestamp, mut random: Random) -> Self {
        let key = |what: &str| fleet_key(service, what).into_bytes();
        Self {
            pods: key("pods"),
            blob_prefix: key("blob:"),
            merge: key("merge"),
            manifest: key("manifest"),
            brief: key("brief"),
            id: random.next(),
            random,
            budget: Upkeep::new(now),
            strangers: Strangers::default(),
            sequence: 0,
            published_mass: 0.0,
            told_at: None,
            looked_at: None,
            measured: Measured::default(),
        }
    }

    pub(super) fn blob_key(&self, id: &[u8]) -> Vec<u8> {
        [self.blob_prefix.as_slice(), id].concat()
    }
}

impl Publisher {
    /// Publishes what this pod reads, unless it is as before or cannot be afforded yet; `leaving`: for the last time. Whether
    /// this pod is to merge this round.
    pub(super) async fn publish<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &Known,
        leaving: bool,
    ) -> bool {
        let Some(names) = ground.config.names else {
            return false;
        };
        let now = ground.now();
        let mass = known.counts.mass(now);
        let tell = leaving || self.is_to_tell(ground, known, mass, now);
        // What telling takes is left.
        let may_try = self.budget.telling.affords(Cost::of(TOLD + 1, 0));
        let mut commands = Vec::new();
        let mut bytes = 0;
        if tell {
            let life = (publish_pause(ground, known) * ROUNDS).max(LATEST * 3);
            let blob = self.blob(ground, known, (names, life, leaving));
            bytes = blob.len();
            commands = self.told(blob, life);
        }
        if !leaving && (tell || may_try) {
            let life = millis(ground.config.publish_every);
            let (lease, id) = (&self.merge, self.name());
            commands.push(argv([b"SET", lease, &id, b"PX", life.as_bytes(), b"NX"]));
        }
        if commands.is_empty() {
            return false;
        }
        self.budget.telling.spend(cost(&commands));
        let counters = &ground.cache.pod.counters;
        match ground.ask(commands).await {
            Ok(replies) => {
                if tell {
                    self.published_mass = mass;
                    self.told_at = Some(now);
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
    fn is_to_tell<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &Known,
        mass: f64,
        now: Timestamp,
    ) -> bool {
        self.earn(ground, known, now);

        let told_at = self.told_at;
        let since = told_at.map_or(Duration::MAX, |at| now.saturating_since(at));
        let news = (mass - self.published_mass).abs() >= NEWS * mass.max(1.0);
        // Other keys may be read as often.
        if !news && since < publish_pause(ground, known) * LEFT_OUT {
            return false;
        }
        let telling = &self.budget.telling;
        let may = telling.affords(telling.once) || is_overdue(since, known.age(now));
        if !may {
            ground.cache.pod.counters.exchange_deferred_total.bump();
        }
        may
    }

    /// Puts aside what may be spent.
    pub(super) fn earn<I: Io>(&mut self, ground: &Ground<I>, known: &Known, now: Timestamp) {
        let (totals, fleet) = (ground.cache.pod.totals(), known.fleet());
        self.budget.earn(&totals, fleet, &ground.config, now);
    }

    pub(super) fn is_own(&self, blob: &Blob) -> bool {
        blob.pod == self.id
    }

    fn name(&self) -> Vec<u8> {
        format!("{:0width$x}", self.id, width = ID_LENGTH).into_bytes()
    }

    fn blob<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &Known,
        (names, life, leaving): (KeyNames, Duration, bool),
    ) -> Vec<u8> {
        let now = ground.now();
        let totals = ground.cache.pod.totals();
        let measured = &mut self.measured;
        let seconds = measured
            .at
            .map_or(0.0, |at| now.saturating_since(at).as_secs_f32());
        let rate = |now: u64, before: u64| match seconds > 0.0 {
            true => now.saturating_sub(before) as f32 / seconds,
            false => 0.0,
        };
        let reads = ground.cache.pod.reads_total();
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
        self.sequence += 1;
        let most = ground.config.most_slots;
        let blob = Blob::new(self.id, self.sequence, &known.counts, now, most);
        let blob = Blob {
            rates,
            life,
            leaving,
            ..blob
        };
        let bytes = blob.encode(Blob::LIMIT_BYTES, names);
        self.budget.telling.once = Cost::of(TOLD, bytes.len());
        let limit = self.budget.telling.bytes();
        match leaving || bytes.len() <= limit {
            true => bytes,
            false => blob.encode(limit, names),
        }
    }

    /// The commands that publish a blob.
    fn told(&self, blob: Vec<u8>, life: Duration) -> Vec<Argv> {
        let id = self.name();
        let key = self.blob_key(&id);
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
            argv([b"SADD", &self.pods, &id]),
            argv([b"PEXPIRE", &self.pods, listed.as_bytes()]),
        ]
    }

    /// Reads a value in parts that hold nobody up; what is longer than the limit by its first byte too many. With what is left
    /// of its time to live, if that is wanted.
    pub(super) async fn read<I: Io>(
        &self,
        ground: &Ground<I>,
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
            let mut replies = ground.ask(commands).await?.into_iter();
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

/// How long a pod waits until it publishes again: in a large fleet, longer.
pub(super) fn publish_pause<I: Io>(ground: &Ground<I>, known: &Known) -> Duration {
    let fleet = known.fleet();
    let every = ground.config.publish_every;
    let turns = u32::try_from(fleet.div_ceil(64)).unwrap_or(u32::MAX).max(1);
    every.saturating_mul(turns).min(LATEST.max(every))
}
