//! Whether all who publish under this service's name are one service: two that share a name fetch each other's keys.
//!
//! The operator is told once, when it is certain: pods that have just started look like strangers, too, until they have
//! read the same keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::Publisher;
use crate::cache::Io;
use crate::warm::budget::LATEST;
use crate::warm::ground::Ground;
use crate::warm::known::Known;
use crate::working_set::{Blob, Manifest, Profile};

/// It is certain when it was found so often more than once: of one pod in three publications, of two in two each.
const AGAIN: u32 = 2;

/// Pods that are remembered.
const MOST: usize = 4096;

/// What is known of others under this name.
#[derive(Default)]
pub(super) struct Strangers {
    /// What the fleet had read before this pod read anything; until it was compared.
    found: Option<Arc<Manifest>>,
    /// How often in a row it had nothing in common with what is read here.
    rounds: u32,
    /// Pods of which that was found by their last publication: which that was, and how many before it.
    pods: BTreeMap<u64, (u64, u32)>,
    told: bool,
}

impl Publisher {
    /// Keeps the manifest that the warm start found, to be compared with what this pod then reads. Not one of a fleet that
    /// had just begun, and may not have read the same keys yet.
    pub(in crate::warm) fn remember_found(&mut self, known: &Known) {
        let found = known.manifest.as_ref().filter(|_| !known.is_young());
        self.strangers.found = found.cloned();
    }

    /// Compares what is read here with the manifest that the warm start found.
    pub(in crate::warm) fn compare_with_found<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &Known,
        now: Timestamp,
    ) {
        let Some(found) = &self.strangers.found else {
            return;
        };
        let like = self
            .profile(known, now)
            .and_then(|own| own.is_like(&found.items));
        let strangers = &mut self.strangers;
        match like {
            Some(false) if strangers.rounds == AGAIN => {
                strangers.found = None;
                self.tell_of_strangers(ground, "those that published before it started have read");
            }
            Some(false) => strangers.rounds += 1,
            Some(true) => strangers.found = None,
            None => strangers.rounds = 0,
        }
        if known.age(now) > LATEST {
            self.strangers.found = None;
        }
    }

    /// What this pod reads most, as long as that is to be compared.
    pub(super) fn profile(&self, known: &Known, now: Timestamp) -> Option<Profile> {
        match self.strangers.told {
            true => None,
            false => Profile::new(&known.counts, now),
        }
    }

    /// Compares what is read here with what another pod published `age` ago.
    pub(super) fn compare<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &Known,
        own: &Profile,
        blob: &Blob,
        age: Duration,
        now: Timestamp,
    ) {
        // What it read at another time may have been other keys.
        let of_now = !blob.leaving && age * 2 <= known.age(now);
        if !of_now || self.is_own(blob) {
            return;
        }
        let pods = &mut self.strangers.pods;
        match own.is_like(&blob.items) {
            Some(false) => {
                if pods.len() >= MOST {
                    pods.clear();
                }
                let (last, again) = pods.entry(blob.pod).or_insert((blob.sequence, 0));
                if *last != blob.sequence {
                    (*last, *again) = (blob.sequence, *again + 1);
                }
            }
            Some(true) => {
                pods.remove(&blob.pod);
            }
            None => {}
        }
        if pods.values().map(|(_, again)| again).sum::<u32>() >= AGAIN {
            let pods = pods.len();
            let who = match pods {
                1 => "another pod reads".to_owned(),
                _ => format!("{pods} other pods read"),
            };
            self.tell_of_strangers(ground, &who);
        }
    }

    fn tell_of_strangers<I: Io>(&mut self, ground: &Ground<I>, who: &str) {
        self.strangers.pods.clear();
        if std::mem::replace(&mut self.strangers.told, true) {
            return;
        }
        let pod = &ground.cache.pod;
        pod.counters.strangers_total.bump();
        let service = &pod.config.service;
        pod.warmth.warn(format!(
            "service `{service}`: {who} nothing of what this pod reads. If that is another service (a release that has \
             renamed all keys looks the same), both fetch each other's keys ahead of demand: give each a name of its own by \
             the setting `service` (NEARCACHE_SERVICE), or OTEL_SERVICE_NAME"
        ));
    }
}
