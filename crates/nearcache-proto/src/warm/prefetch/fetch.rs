//! Fetching entries ahead of demand: in batches of bounded weight, one at a time, through the token-checked fill.

use nearcache_l1::{Landed, Timestamp};

use super::Prefetcher;
use crate::cache::Io;
use crate::entry_key::{EntryKey, subject};
use crate::error::Error;
use crate::fill::Purpose;
use crate::request::Work;
use crate::warm::command::late;
use crate::warm::ground::Ground;
use crate::working_set::Item;

/// Bytes of values in a batch, unless one value is larger: what a demand read may find in front of it.
const BATCH_BYTES: u64 = 256 << 10;

/// Keys in a batch: those of unknown size may be large.
const BATCH_KEYS: usize = 128;

/// What an item whose size is not known is taken for.
const UNKNOWN: u64 = 4 << 10;

/// What was fetched.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::warm) struct Taken {
    /// Keys that L2 was asked for, and the bytes that they were expected to have.
    pub(in crate::warm) asked: usize,
    pub(in crate::warm) asked_bytes: u64,
    /// Of those, what is kept.
    pub(in crate::warm) keys: usize,
    pub(in crate::warm) bytes: u64,
    pub(in crate::warm) score: f64,
}

/// Bytes that fetching an item moves, as far as is known.
pub(in crate::warm) fn size(item: &Item) -> u64 {
    match item.bytes {
        0 => UNKNOWN,
        bytes => u64::from(bytes),
    }
}

/// The first items that make one batch: of one db, so that they go out together.
pub(in crate::warm) fn batch<'a>(items: impl Iterator<Item = &'a Item>, most: usize) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    let mut first = None;
    for item in items.take(BATCH_KEYS.min(most)) {
        bytes += size(item);
        let db = item.key().map(|filed| subject(filed).db);
        if count > 0 && (bytes > BATCH_BYTES || first != Some(db)) {
            break;
        }
        first = Some(db);
        count += 1;
    }
    count
}

impl Prefetcher {
    /// Fetches one batch and waits for it.
    ///
    /// # Errors
    /// L2 did not answer.
    pub(in crate::warm) async fn fetch<I: Io>(
        &mut self,
        ground: &Ground<I>,
        items: &[Item],
        purpose: Purpose,
        by: Timestamp,
    ) -> Result<Taken, Error> {
        let mut guards = Vec::with_capacity(items.len());
        let mut flights = Vec::with_capacity(items.len());
        for item in items {
            let pod = &ground.cache.pod;
            let now = || ground.now();
            let lead = |filed| pod.lead_ahead(EntryKey::of(filed), purpose, now);
            if let Some(guard) = item.key().and_then(lead) {
                flights.push((item, guard.flight().clone()));
                guards.push(guard);
            }
        }
        if guards.is_empty() {
            return Ok(Taken::default());
        }
        // One at a time, and after everything else: it takes nobody's room.
        ground.cache.pod.route.part(guards, |primary, guards| {
            ground.cache.submit(primary, by, Work::FillAhead(guards));
        });
        let mut taken = Taken {
            asked: flights.len(),
            asked_bytes: flights.iter().map(|(item, _)| size(item)).sum(),
            ..Taken::default()
        };
        let mut failed = None;
        for (item, flight) in flights {
            let filed = flight.key();
            let Some(landed) = ground.bounded(by, flight.wait_landed()).await else {
                failed = Some(late());
                break;
            };
            match landed {
                Landed::Done(Ok(fetched)) => {
                    let bytes = fetched.value.as_ref().map_or(0, |v| v.len() as u64);
                    if ground.cache.pod.store.contains(filed) {
                        taken.keys += 1;
                        taken.bytes += bytes;
                        taken.score += item.score;
                    }
                    self.outcomes.fetched(filed, bytes, &ground.cache.pod);
                }
                Landed::Done(Err(error)) => failed = Some(error),
                // A reader could not wait, it was invalidated, or it is too large to be kept.
                Landed::Abandoned => {}
            }
        }
        match failed {
            Some(error) if taken.keys == 0 => Err(error),
            _ => Ok(taken),
        }
    }
}
