//! Whether all who publish under this service's name are one service: two that share a name fetch each other's keys.
//!
//! The operator is told once, when it is certain: chance, and a pod that has just started, look like it for a while.

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::Background;
use super::upkeep::LATEST;
use crate::cache::Io;
use crate::working_set::{Blob, Manifest, Profile};

/// It is certain when it was found so often in a row.
const ROUNDS: u32 = 3;

/// What is known of others under this name.
#[derive(Default)]
pub(super) struct Strangers {
    /// What the fleet had read before this pod read anything; until it was compared.
    found: Option<Arc<Manifest>>,
    /// How often in a row it had nothing in common with what is read here.
    of_manifest: u32,
    /// How often in a row a merge met pods that have not.
    of_merges: u32,
    told: bool,
}

/// What one merge has met.
pub(super) struct Met {
    own: Option<Profile>,
    others: u32,
    strange: u32,
}

impl<I: Io> Background<I> {
    /// Keeps the manifest that the warm start found, to be compared with what this pod then reads.
    pub(super) fn remember_found(&mut self) {
        if !self.started {
            self.strangers.found = self.manifest.clone();
        }
    }

    /// Compares what is read here with the manifest that the warm start found.
    pub(super) fn compare_with_found(&mut self, now: Timestamp) {
        let Some(found) = &self.strangers.found else {
            return;
        };
        let own = Profile::new(&self.counts, now);
        let like = own.and_then(|own| own.is_like(&found.items));
        let rounds = match like {
            Some(false) => self.strangers.of_manifest + 1,
            _ => 0,
        };
        self.strangers.of_manifest = rounds;
        let over = like == Some(true) || self.age(now) > LATEST;
        if rounds >= ROUNDS {
            self.tell_of_strangers("the pods that published before it started");
        }
        if over || rounds >= ROUNDS {
            self.strangers.found = None;
        }
    }

    /// Before a merge.
    pub(super) fn meet(&self, now: Timestamp) -> Met {
        let own = match self.strangers.told {
            true => None,
            false => Profile::new(&self.counts, now),
        };
        Met {
            own,
            others: 0,
            strange: 0,
        }
    }

    /// Compares what is read here with what a pod published `age` ago.
    pub(super) fn compare(&self, blob: &Blob, age: Duration, met: &mut Met, now: Timestamp) {
        // What it read at another time may have been other keys.
        let of_now = !blob.leaving && age * 2 <= self.age(now);
        let Some(own) = met.own.as_ref().filter(|_| of_now && !self.is_own(blob)) else {
            return;
        };
        met.others += 1;
        met.strange += u32::from(own.is_like(&blob.items) == Some(false));
    }

    /// After a merge.
    pub(super) fn met(&mut self, met: &Met) {
        let rounds = &mut self.strangers.of_merges;
        *rounds = match met.strange {
            0 => 0,
            _ => *rounds + 1,
        };
        if *rounds >= ROUNDS {
            let (strange, others) = (met.strange, met.others);
            self.tell_of_strangers(&format!("{strange} of {others} other pods"));
        }
    }

    fn tell_of_strangers(&mut self, who: &str) {
        let pod = &self.cache.pod;
        pod.counters.strangers_total.bump();
        if std::mem::replace(&mut self.strangers.told, true) {
            return;
        }
        let service = &pod.config.service;
        pod.warmth.warn(format!(
            "service `{service}`: nothing that this pod reads is read by {who} of that name. If they are another service \
             (a release that has renamed all keys looks the same), both fetch each other's keys ahead of demand: give each \
             a name of its own by the setting `service` (NEARCACHE_SERVICE), or OTEL_SERVICE_NAME"
        ));
    }
}
