//! What a pod leaves for itself: the names of the entries it reads, never a value.
//!
//! Bytes in and out; where they are kept is the caller's business.

use std::time::Duration;

use nearcache_l1::Timestamp;

use super::blob::{Rates, finish};
use super::counts::Counts;
use super::frame::{Kind, open, put_half_life, put_reads};
use super::ignored::Ignored;
use super::item::{Item, by_density, by_score};
use super::items;
use super::manifest::Manifest;
use super::names::KeyNames;

/// The working set of a pod, for the process that takes its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Half-life of the scores.
    pub half_life: Duration,
    /// The sum of the scores of all entries the pod read, those not listed included.
    pub mass: f64,
    /// The entries read most, most read first.
    pub items: Vec<Item>,
    /// Items that could not be used by whoever decoded this, or were there twice.
    pub skipped: u32,
}

impl Snapshot {
    /// What a pod counted, the `most` entries read most.
    pub fn new(counts: &Counts, now: Timestamp, most: usize) -> Self {
        Self {
            half_life: counts.half_life(),
            mass: counts.mass(now),
            items: counts.ranked(now, most),
            skipped: 0,
        }
    }

    /// The bytes to keep: at most `limit_bytes` (and never more than 4 MiB), made by leaving out the entries
    /// read least; 38 are the fewest.
    pub fn encode(&self, limit_bytes: usize) -> Vec<u8> {
        let mut header = Vec::with_capacity(32);
        put_half_life(self.half_life, &mut header);
        put_reads(self.mass, &mut header);
        let mut ranked: Vec<&Item> = self.items.iter().collect();
        ranked.sort_by(|a, b| by_score(a, b));
        let header = (header, &[][..]);
        finish(Kind::Snapshot, header, ranked, limit_bytes, KeyNames::Plain)
    }

    /// Reads what was kept. Of items with one name the first counts.
    ///
    /// # Errors
    /// Why it is to be ignored.
    pub fn decode(data: &[u8]) -> Result<Self, Ignored> {
        let (mut header, body) = open(Kind::Snapshot, data)?;
        let (half_life, mass) = (header.half_life()?, header.reads()?);
        let (mut items, skipped) = items::read(body, header.u32()?)?;
        items.sort_by(by_score);
        Ok(Self {
            half_life,
            mass,
            items,
            skipped,
        })
    }
}

impl From<Snapshot> for Manifest {
    /// As the manifest of a fleet of this one pod.
    fn from(snapshot: Snapshot) -> Self {
        let mut items = snapshot.items;
        items.sort_by(by_density);
        Self {
            version: 0,
            half_life: snapshot.half_life,
            mass: snapshot.mass,
            fleet: 1,
            merged: 1,
            rates: Rates::default(),
            items,
            skipped: snapshot.skipped,
        }
    }
}
