//! What one pod publishes about its reads.

use std::time::Duration;

use nearcache_l1::Timestamp;

use super::counts::Counts;
use super::frame::{AROUND, Kind, Reader, open, put_half_life, put_rate, put_reads, seal};
use super::ignored::Ignored;
use super::item::{Item, by_score};
use super::items;
use super::names::KeyNames;

/// How much a pod, or a fleet, reads. Figures for people; nothing is decided by them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Reads per second, hits included.
    pub reads_per_s: f32,
    /// Reads of L2 per second.
    pub l2_reads_per_s: f32,
    /// Bytes of values read from L2 per second.
    pub l2_bytes_per_s: f32,
}

impl Rates {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        for rate in [self.reads_per_s, self.l2_reads_per_s, self.l2_bytes_per_s] {
            put_rate(rate, out);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Ignored> {
        Ok(Self {
            reads_per_s: from.rate()?,
            l2_reads_per_s: from.rate()?,
            l2_bytes_per_s: from.rate()?,
        })
    }
}

/// The working set of one pod, as it tells the fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// Which pod.
    pub pod: u64,
    /// Grows with each one that the pod publishes.
    pub sequence: u64,
    /// Half-life of the scores.
    pub half_life: Duration,
    /// The sum of the scores of all slots the pod reads, those not listed included.
    pub mass: f64,
    /// How much the pod reads.
    pub rates: Rates,
    /// The slots read most, most read first.
    pub items: Vec<Item>,
    /// Items that were there, but could not be used by whoever decoded this, or were there twice.
    pub skipped: u32,
}

impl Blob {
    /// The most that [`encode`](Self::encode) should be allowed to take by default.
    pub const LIMIT_BYTES: usize = 256 << 10;

    /// What a pod counted, the `most` slots read most.
    pub fn new(pod: u64, sequence: u64, counts: &Counts, now: Timestamp, most: usize) -> Self {
        Self {
            pod,
            sequence,
            half_life: counts.half_life(),
            mass: counts.mass(now),
            rates: Rates::default(),
            items: counts.ranked(now, most),
            skipped: 0,
        }
    }

    /// The bytes to publish: at most `limit_bytes` (and never more than 1 MiB), made by leaving out the slots
    /// read least; 66 are the fewest.
    pub fn encode(&self, limit_bytes: usize, names: KeyNames) -> Vec<u8> {
        let mut header = Vec::with_capacity(64);
        header.extend_from_slice(&self.pod.to_le_bytes());
        header.extend_from_slice(&self.sequence.to_le_bytes());
        put_half_life(self.half_life, &mut header);
        put_reads(self.mass, &mut header);
        self.rates.write(&mut header);
        let mut ranked: Vec<&Item> = self.items.iter().collect();
        ranked.sort_by(|a, b| by_score(a, b));
        finish(Kind::Blob, header, ranked, limit_bytes, names)
    }

    /// Reads what a pod published. Of items with one name the first counts.
    ///
    /// # Errors
    /// Why it is to be ignored: it may be anything, by anyone.
    pub fn decode(data: &[u8]) -> Result<Self, Ignored> {
        let (mut header, body) = open(Kind::Blob, data)?;
        let mut blob = Self {
            pod: header.u64()?,
            sequence: header.u64()?,
            half_life: header.half_life()?,
            mass: header.reads()?,
            rates: Rates::read(&mut header)?,
            items: Vec::new(),
            skipped: 0,
        };
        (blob.items, blob.skipped) = items::read(body, header.u32()?)?;
        blob.items.sort_by(by_score);
        Ok(blob)
    }
}

/// Appends the number of items to a header, and frames both.
pub(super) fn finish(
    kind: Kind,
    mut header: Vec<u8>,
    ranked: Vec<&Item>,
    limit_bytes: usize,
    names: KeyNames,
) -> Vec<u8> {
    let limit = limit_bytes.min(kind.most_bytes());
    let room = limit.saturating_sub(AROUND + header.len() + size_of::<u32>());
    let (count, items) = items::write(ranked, names, room);
    header.extend_from_slice(&count.to_le_bytes());
    seal(kind, &header, &items)
}
