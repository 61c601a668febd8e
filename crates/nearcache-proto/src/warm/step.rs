//! The background of a serving pod, moved by someone else: for simulators, where a day takes a second.
//!
//! Does what `run` does in a round, on what it is handed. Exchanges nothing with other pods.

use std::sync::Arc;
use std::time::Duration;

use super::Background;
use crate::cache::{Cache, Io};
use crate::entry_key::{EntryKey, Kind};
use crate::fill::Purpose;
use crate::request::Work;
use crate::working_set::Manifest;

impl<I: Io> Background<I> {
    /// The pod serves from now on, without a warm start.
    pub fn serve(&mut self) {
        let (pod, config) = (&self.ground.cache.pod, &self.ground.config);
        pod.count_reads(config.statistics);
        pod.warmth.want_lost(config.statistics && config.refetch);
        pod.ready_without_background("moved by hand");
        self.known.rate.in_turn = false;
    }

    /// One round: counts what was read, and fetches what was changed and what, by `manifest`, is worth it.
    ///
    /// # Cancellation
    /// Dropped, it leaves out what it has not fetched yet.
    pub async fn serve_round(&mut self, manifest: &Arc<Manifest>) {
        let (ground, known) = (&self.ground, &mut self.known);
        known.learn(&ground.config, manifest.clone());
        self.prefetcher.fold(ground, known);
        self.prefetcher.want_fleets(ground, known);
        self.prefetcher.fetch_wanted(ground, known).await;
    }
}

impl<I: Io> Cache<I> {
    /// Fetches what a command is answered from, as the background would, and waits for it.
    #[doc(hidden)]
    pub async fn fetch_by_hand<A: AsRef<[u8]>>(
        &self,
        db: u32,
        argv: &[A],
        purpose: Purpose,
        patience: Duration,
    ) {
        let entries = crate::replies::entries_of(argv).unwrap_or_default();
        let now = || self.io.now();
        let lead = |(kind, name): &(Kind, Vec<u8>)| {
            self.pod
                .lead_ahead(EntryKey::new(*kind, db, name), purpose, now)
        };
        let guards: Vec<_> = entries.iter().filter_map(lead).collect();
        let flights: Vec<_> = guards.iter().map(|guard| guard.flight().clone()).collect();
        if guards.is_empty() {
            return;
        }
        let until = now().saturating_add(patience);
        self.pod.route.part(guards, |primary, guards| {
            self.submit(primary, until, Work::FillAhead(guards));
        });
        for flight in flights {
            flight.wait_landed().await;
        }
    }
}
