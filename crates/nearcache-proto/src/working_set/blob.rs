//! What one pod publishes about its reads.

use std::time::Duration;

use nearcache_l1::Timestamp;

use super::counts::Counts;
use super::frame::{AROUND, Kind, Reader, open, put_half_life, put_rate, put_reads, seal};
use super::ignored::Ignored;
use super::item::{Item, by_score};
use super::items;
use super::names::KeyNames;

/// How much a pod, or a fleet, reads: what the fleet's own traffic is kept in proportion to.
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
    /// The sum of the scores of all entries the pod reads, those not listed included.
    pub mass: f64,
    /// How much the pod reads.
    pub rates: Rates,
    /// How long L2 keeps it: what is left of that tells how old it is, by the clock of L2 alone. In whole milliseconds, up to 49
    /// days; zero: not known.
    pub life: Duration,
    /// Whether it is the last of its pod, which counts no more as one of the fleet.
    pub leaving: bool,
    /// The entries read most, most read first.
    pub items: Vec<Item>,
    /// Items that were there, but could not be used by whoever decoded this, or were there twice.
    pub skipped: u32,
}

impl Blob {
    /// The most that [`encode`](Self::encode) should be allowed to take by default.
    pub const LIMIT_BYTES: usize = 256 << 10;

    /// What a pod counted, the `most` entries read most.
    pub fn new(pod: u64, sequence: u64, counts: &Counts, now: Timestamp, most: usize) -> Self {
        Self {
            pod,
            sequence,
            half_life: counts.half_life(),
            mass: counts.mass(now),
            rates: Rates::default(),
            life: Duration::ZERO,
            leaving: false,
            items: counts.ranked(now, most),
            skipped: 0,
        }
    }

    /// The bytes to publish: at most `limit_bytes` (and never more than 1 MiB), made by leaving out the entries
    /// read least; 71 are the fewest.
    pub fn encode(&self, limit_bytes: usize, names: KeyNames) -> Vec<u8> {
        let mut header = Vec::with_capacity(64);
        header.extend_from_slice(&self.pod.to_le_bytes());
        header.extend_from_slice(&self.sequence.to_le_bytes());
        put_half_life(self.half_life, &mut header);
        put_reads(self.mass, &mut header);
        self.rates.write(&mut header);
        let mut ranked: Vec<&Item> = self.items.iter().collect();
        ranked.sort_by(|a, b| by_score(a, b));
        let life = u32::try_from(self.life.as_millis()).unwrap_or(u32::MAX);
        let [a, b, c, d] = life.to_le_bytes();
        let end = [a, b, c, d, self.leaving.into()];
        finish(Kind::Blob, (header, &end), ranked, limit_bytes, names)
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
            life: Duration::ZERO,
            leaving: false,
            items: Vec::new(),
            skipped: 0,
        };
        (blob.items, blob.skipped) = items::read(body, header.u32()?)?;
        blob.life = Duration::from_millis(header.u32()?.into());
        blob.leaving = header.array()? != [0];
        blob.items.sort_by(by_score);
        Ok(blob)
    }
}

/// Puts the number of items between the two parts of a header, and frames all.
pub(super) fn finish(
    kind: Kind,
    (mut header, end): (Vec<u8>, &[u8]),
    ranked: Vec<&Item>,
    limit_bytes: usize,
    names: KeyNames,
) -> Vec<u8> {
    let limit = limit_bytes.min(kind.most_bytes());
    let room = limit.saturating_sub(AROUND + header.len() + size_of::<u32>() + end.len());
    let (count, items) = items::write(ranked, names, room);
    header.extend_from_slice(&count.to_le_bytes());
    header.extend_from_slice(end);
    seal(kind, &header, &items)
}
