//! The frame around everything published: magic, version, kind, lengths, header, items, checksum.
//!
//! ```text
//! magic "NCWS"  version u16  kind u8  0u8  length u32  header length u16  header  items  CRC-32 u32
//! ```
//! Numbers are little-endian, `length` is that of the whole. A later minor version may append to the
//! header, which is skipped here; one that changes anything else takes the next version number.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ignored::Ignored;

/// Half-lives that make sense, in counts as in what is published.
pub(super) const HALF_LIVES: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(366 * 86_400);

const MAGIC: [u8; 4] = *b"NCWS";
const VERSION: u16 = 1;
const PREFIX: usize = 4 + 2 + 1 + 1 + 4 + 2;
const CHECKSUM: usize = 4;

/// No score, and no sum of scores, is greater: more reads than a fleet can do.
pub(super) const MOST_READS: f64 = 1e18;

const READS: RangeInclusive<f64> = 0.0..=MOST_READS;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Blob = b'b' as isize,
    Manifest = b'm' as isize,
    Snapshot = b's' as isize,
}

impl Kind {
    /// The most that is read of this kind, in bytes.
    pub(super) const fn most_bytes(self) -> usize {
        match self {
            Self::Blob => 1 << 20,
            Self::Manifest | Self::Snapshot => 4 << 20,
        }
    }
}

/// Bytes of a frame beside its header and items.
pub(super) const AROUND: usize = PREFIX + CHECKSUM;

/// Frames a header and items.
pub(super) fn seal(kind: Kind, header: &[u8], items: &[u8]) -> Vec<u8> {
    let length = AROUND + header.len() + items.len();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[kind as u8, 0]);
    // Both are bounded by those who call this, far below.
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(items);
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The header and the items of a frame of this kind.
pub(super) fn open(kind: Kind, data: &[u8]) -> Result<(Reader<'_>, Reader<'_>), Ignored> {
    let limit = kind.most_bytes();
    if data.len() > limit {
        let bytes = data.len();
        return Err(Ignored::TooLarge { bytes, limit });
    }
    let Some(after) = data.strip_prefix(&MAGIC) else {
        let begun = MAGIC.starts_with(data) && !data.is_empty();
        return Err(if begun {
            Ignored::Truncated
        } else {
            Ignored::NotOurs
        });
    };
    let mut rest = Reader(after);
    let cut = |_| Ignored::Truncated;
    match rest.u16().map_err(cut)? {
        VERSION => {}
        0 => return Err(Ignored::NotOurs),
        version => return Err(Ignored::FutureVersion(version)),
    }
    let [found, _] = rest.array().map_err(cut)?;
    let length = rest.u32().map_err(cut)? as usize;
    let header = usize::from(rest.u16().map_err(cut)?);
    if length > data.len() {
        return Err(Ignored::Truncated);
    }
    let (content, checksum) = data.split_last_chunk().ok_or(Ignored::Truncated)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(Ignored::BadChecksum);
    }
    if found != kind as u8 {
        return Err(Ignored::OtherKind);
    }
    if length < data.len() {
        return Err(Ignored::Hostile("bytes behind its end"));
    }
    let mut rest = Reader(content.get(PREFIX..).ok_or(Ignored::Truncated)?);
    let header = rest.take(header)?;
    Ok((Reader(header), rest))
}

/// Takes values off the front of bytes; never past their end.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Ignored> {
        let ends = Ignored::Hostile("a length that is more than what is left");
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ends)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Ignored> {
        let ends = Ignored::Hostile("a number that is cut off");
        let (taken, rest) = self.0.split_first_chunk().ok_or(ends)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Ignored> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Ignored> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Ignored> {
        self.array().map(u64::from_le_bytes)
    }

    /// Seven bits a byte, lowest first, at most 32 in all.
    pub(super) fn varint(&mut self) -> Result<u32, Ignored> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value)
                    .map_err(|_| Ignored::Hostile("a number that is too large"));
            }
        }
        Err(Ignored::Hostile("a number that is too long"))
    }

    /// A score or a sum of scores.
    pub(super) fn reads(&mut self) -> Result<f64, Ignored> {
        self.array()
            .and_then(|bytes| counted(f64::from_le_bytes(bytes)))
    }

    /// A score of an item.
    pub(super) fn score(&mut self) -> Result<f64, Ignored> {
        let score = self.array().map(f32::from_le_bytes)?;
        counted(f64::from(score))
    }

    /// A rate per second.
    pub(super) fn rate(&mut self) -> Result<f32, Ignored> {
        let rate = f32::from_le_bytes(self.array()?);
        let sane = rate.is_finite() && rate >= 0.0;
        sane.then_some(rate + 0.0)
            .ok_or(Ignored::Hostile("a rate that is not one"))
    }

    /// A half-life.
    pub(super) fn half_life(&mut self) -> Result<Duration, Ignored> {
        let half_life = Duration::from_micros(self.u64()?);
        HALF_LIVES
            .contains(&half_life)
            .then_some(half_life)
            .ok_or(Ignored::Hostile("a half-life out of range"))
    }
}

fn counted(reads: f64) -> Result<f64, Ignored> {
    let sane = READS.contains(&reads);
    // The sum makes a zero with a sign one without, so that equals stay in the order of their names.
    sane.then_some(reads + 0.0)
        .ok_or(Ignored::Hostile("a score that no count of reads has"))
}

/// As [`Reader::varint`] reads it.
pub(super) fn put_varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// As [`Reader::reads`] reads it.
pub(super) fn put_reads(reads: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&sane(reads, MOST_READS).to_le_bytes());
}

/// As [`Reader::score`] reads it.
pub(super) fn put_score(score: f64, out: &mut Vec<u8>) {
    // Just below, since the nearest number of this width is above.
    let score = (sane(score, MOST_READS) as f32).min(0.999e18);
    out.extend_from_slice(&score.to_le_bytes());
}

/// As [`Reader::rate`] reads it.
pub(super) fn put_rate(rate: f32, out: &mut Vec<u8>) {
    let rate = sane(f64::from(rate), f64::from(f32::MAX)) as f32;
    out.extend_from_slice(&rate.to_le_bytes());
}

/// As [`Reader::half_life`] reads it.
pub(super) fn put_half_life(half_life: Duration, out: &mut Vec<u8>) {
    let half_life = half_life.clamp(*HALF_LIVES.start(), *HALF_LIVES.end());
    out.extend_from_slice(&(half_life.as_micros() as u64).to_le_bytes());
}

fn sane(number: f64, most: f64) -> f64 {
    // The one way round in which not a number becomes 0.
    if number > 0.0 { number.min(most) } else { 0.0 }
}
