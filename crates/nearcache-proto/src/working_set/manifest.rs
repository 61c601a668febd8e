//! The fleet's working set, as a new pod reads it.

use std::time::Duration;

use nearcache_l1::Key;

use super::blob::{Rates, finish};
use super::frame::{Kind, open, put_half_life, put_reads};
use super::ignored::Ignored;
use super::item::{Item, by_density};
use super::items;
use super::name::Name;
use super::names::{self, KeyNames};
use super::plan::Plan;

/// What the fleet reads, ranked: the merged [blobs](super::Blob) of its pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Grows with each one that is published.
    pub version: u64,
    /// Half-life of the scores.
    pub half_life: Duration,
    /// The sum of the scores of all entries the fleet reads, those not listed included.
    pub mass: f64,
    /// Pods in the fleet.
    pub fleet: u32,
    /// Pods whose blobs this was made of. Scores and rates are of the fleet all the same.
    pub merged: u32,
    /// How much the fleet reads.
    pub rates: Rates,
    /// Slots by score per byte of L1, best first.
    pub items: Vec<Item>,
    /// Items that could not be used by whoever decoded this, or were there twice.
    pub skipped: u32,
}

impl Manifest {
    /// The most that [`encode`](Self::encode) should be allowed to take by default.
    pub const LIMIT_BYTES: usize = 1 << 20;

    /// The bytes to publish: at most `limit_bytes` (and never more than 4 MiB), made by leaving out the last of
    /// the items; 66 are the fewest.
    pub fn encode(&self, limit_bytes: usize) -> Vec<u8> {
        let mut header = Vec::with_capacity(64);
        header.extend_from_slice(&self.version.to_le_bytes());
        put_half_life(self.half_life, &mut header);
        put_reads(self.mass, &mut header);
        header.extend_from_slice(&self.fleet.to_le_bytes());
        header.extend_from_slice(&self.merged.to_le_bytes());
        self.rates.write(&mut header);
        let mut ranked: Vec<&Item> = self.items.iter().collect();
        ranked.sort_by(|a, b| by_density(a, b));
        // Names that are hashed stay so.
        finish(
            Kind::Manifest,
            (header, &[]),
            ranked,
            limit_bytes,
            KeyNames::Plain,
        )
    }

    /// Reads what was published. Of items with one name the first counts.
    ///
    /// # Errors
    /// Why it is to be ignored: it may be anything, by anyone.
    pub fn decode(data: &[u8]) -> Result<Self, Ignored> {
        let (mut header, body) = open(Kind::Manifest, data)?;
        let mut manifest = Self {
            version: header.u64()?,
            half_life: header.half_life()?,
            mass: header.reads()?,
            fleet: header.u32()?,
            merged: header.u32()?,
            rates: Rates::read(&mut header)?,
            items: Vec::new(),
            skipped: 0,
        };
        (manifest.items, manifest.skipped) = items::read(body, header.u32()?)?;
        manifest.items.sort_by(by_density);
        Ok(manifest)
    }

    /// What to fetch into an L1 with `budget_bytes` to spare: items in their order, each with a value of at
    /// most `max_entry_bytes` and as long as it fits what is left. Items whose names were not told are
    /// left out, see [`matching`](Self::matching).
    pub fn plan(&self, budget_bytes: u64, max_entry_bytes: u64) -> Plan<'_> {
        let share = |item: &Item| self.share(item);
        Plan::new(&self.items, share, budget_bytes, max_entry_bytes)
    }

    /// The part of the fleet's reads that are of this item.
    pub fn share(&self, item: &Item) -> f64 {
        match self.mass > 0.0 {
            true => (item.score / self.mass).min(1.0),
            false => 0.0,
        }
    }

    /// How often one pod is expected to read an item within `horizon`, if it goes on being read as of late.
    /// `share_of_pod` is the part of the fleet's reads that the pod gets, [`even_share`](Self::even_share) if
    /// nothing better is known.
    pub fn expected_reads(&self, item: &Item, horizon: Duration, share_of_pod: f64) -> f64 {
        let half_lives = horizon.as_secs_f64() / self.half_life.as_secs_f64();
        item.score * std::f64::consts::LN_2 * half_lives * share_of_pod
    }

    /// The part of the fleet's reads that each pod gets if all get the same.
    pub fn even_share(&self) -> f64 {
        1.0 / f64::from(self.fleet.max(1))
    }

    /// The part of the manifest that is about these entries, with their names: what can be fetched from a
    /// manifest of hashed names by a pod that knows keys from elsewhere.
    ///
    /// # Cost
    /// A hash per entry, and a search for each.
    pub fn matching(&self, entries: &[Key<'_>]) -> Self {
        let mut by_name: Vec<&Item> = self.items.iter().collect();
        by_name.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let find = |name: &Name| {
            let found = by_name.binary_search_by(|item| item.name.cmp(name));
            found.ok().and_then(|at| by_name.get(at).copied())
        };
        let named = entries.iter().filter_map(|filed| {
            let name = Name::plain(*filed);
            let hashed = || find(&Name::Hashed(names::hash(*filed)?));
            let Item { score, bytes, .. } = *find(&name).or_else(hashed)?;
            Some(Item { name, score, bytes })
        });
        let mut items: Vec<_> = named.collect();
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        items.dedup_by(|a, b| a.name == b.name);
        items.sort_by(by_density);
        Self {
            items,
            rates: self.rates,
            ..*self
        }
    }
}
