//! Looking what the fleet reads: all of it before a pod is ready, and its best part every now and then.
//!
//! What is not a whole manifest is ignored; what was known before stays.

use std::sync::Arc;
use std::time::Duration;

use super::Background;
use super::exchange::{CHUNK, Value};
use super::upkeep::{Cost, LATEST};
use crate::cache::Io;
use crate::error::Error;
use crate::working_set::{Ignored, Manifest};

/// What there is to look at.
#[derive(Clone, Copy)]
enum Sight {
    All,
    Brief,
}

impl<I: Io> Background<I> {
    /// Looks what the fleet reads, if this pod can afford it; whether it did.
    pub(super) async fn look_again(&mut self) -> bool {
        let now = self.cache.io.now();
        self.earn(now);
        let looked_at = self.exchange.looked_at;
        let since = looked_at.map_or(Duration::MAX, |at| now.saturating_since(at));
        let looking = &self.upkeep.looking;
        if !(self.is_young() || looking.affords(looking.once) || since >= LATEST) {
            self.cache.pod.counters.exchange_deferred_total.bump();
            return false;
        }
        let found = match self.look_at(Sight::Brief).await {
            // Nobody has summed up yet, or one who knows of no brief.
            Ok(None) => self.look_at(Sight::All).await,
            found => found,
        };
        let bytes = found.as_ref().map_or(0, |bytes| bytes.unwrap_or(0));
        let looking = &mut self.upkeep.looking;
        looking.once = Cost::of(1 + bytes / CHUNK, bytes);
        looking.spend(looking.once);
        found.is_ok()
    }

    /// Looks at all that is known of what the fleet reads.
    ///
    /// # Errors
    /// L2 did not answer, or refused: what was known stays.
    pub(super) async fn look(&mut self) -> Result<(), Error> {
        self.look_at(Sight::All).await.map(|_| ())
    }

    /// Looks at a manifest; how long it was.
    async fn look_at(&mut self, sight: Sight) -> Result<Option<usize>, Error> {
        self.cache.pod.counters.looks_total.bump();
        let mut length = None;
        for last in [false, true] {
            let counters = &self.cache.pod.counters;
            let key = match sight {
                Sight::All => &self.exchange.manifest,
                Sight::Brief => &self.exchange.brief,
            };
            let read = self.read(key, Manifest::LIMIT_BYTES, false).await;
            let read = read.inspect_err(|_| counters.exchange_errors_total.bump())?;
            let Some(Value { bytes, .. }) = read else {
                break;
            };
            counters.manifest_bytes_total.add(bytes.len() as u64);
            length = Some(bytes.len());
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
        self.exchange.looked_at = Some(self.cache.io.now());
        Ok(length)
    }
}
