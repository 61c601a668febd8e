//! Looking what the fleet reads: all of it before a pod is ready, and its best part every now and then.
//!
//! What is not a whole manifest is ignored; what was known before stays.

use std::sync::Arc;
use std::time::Duration;

use super::{CHUNK, Publisher, Value};
use crate::cache::Io;
use crate::error::Error;
use crate::warm::budget::{Cost, LATEST};
use crate::warm::ground::Ground;
use crate::warm::known::Known;
use crate::working_set::{Ignored, Manifest};

/// What there is to look at.
#[derive(Clone, Copy)]
enum Sight {
    All,
    Brief,
}

impl Publisher {
    /// Looks what the fleet reads, if this pod can afford it; whether it did.
    pub(in crate::warm) async fn look_again<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &mut Known,
    ) -> bool {
        let now = ground.now();
        self.earn(ground, known, now);
        let looked_at = self.looked_at;
        let since = looked_at.map_or(Duration::MAX, |at| now.saturating_since(at));
        let looking = &self.budget.looking;
        if !(known.is_young() || looking.affords(looking.once) || since >= LATEST) {
            ground.cache.pod.counters.exchange_deferred_total.bump();
            return false;
        }
        let found = match self.look_at(ground, known, Sight::Brief).await {
            // Nobody has summed up yet, or one who knows of no brief.
            Ok(None) => self.look_at(ground, known, Sight::All).await,
            found => found,
        };
        let bytes = found.as_ref().map_or(0, |bytes| bytes.unwrap_or(0));
        let looking = &mut self.budget.looking;
        looking.once = Cost::of(1 + bytes / CHUNK, bytes);
        looking.spend(looking.once);
        found.is_ok()
    }

    /// Looks at all that is known of what the fleet reads.
    ///
    /// # Errors
    /// L2 did not answer, or refused: what was known stays.
    pub(in crate::warm) async fn look<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &mut Known,
    ) -> Result<(), Error> {
        self.look_at(ground, known, Sight::All).await.map(|_| ())
    }

    /// Looks at a manifest; how long it was.
    async fn look_at<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &mut Known,
        sight: Sight,
    ) -> Result<Option<usize>, Error> {
        ground.cache.pod.counters.looks_total.bump();
        let mut length = None;
        for last in [false, true] {
            let counters = &ground.cache.pod.counters;
            let key = match sight {
                Sight::All => &self.manifest,
                Sight::Brief => &self.brief,
            };
            let read = self.read(ground, key, Manifest::LIMIT_BYTES, false).await;
            let read = read.inspect_err(|_| counters.exchange_errors_total.bump())?;
            let Some(Value { bytes, .. }) = read else {
                break;
            };
            counters.manifest_bytes_total.add(bytes.len() as u64);
            length = Some(bytes.len());
            match Manifest::decode(&bytes) {
                Ok(manifest) => {
                    known.learn(&ground.config, Arc::new(manifest));
                    break;
                }
                // Read in parts, it may have been replaced in between.
                Err(Ignored::BadChecksum) if bytes.len() > CHUNK && !last => {}
                Err(ignored) => {
                    ground.ignore("the manifest", &ignored);
                    break;
                }
            }
        }
        self.looked_at = Some(ground.now());
        Ok(length)
    }
}
