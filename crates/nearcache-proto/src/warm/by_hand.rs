//! The background of a serving pod, moved by someone else: for simulators, where a day takes a second.
//!
//! Does what `run` does in a round, on what it is handed. Exchanges nothing with other pods.

use std::sync::Arc;

use super::Background;
use crate::cache::Io;
use crate::working_set::Manifest;

impl<I: Io> Background<I> {
    /// The pod serves from now on, without a warm start.
    pub fn serve(&mut self) {
        let pod = &self.cache.pod;
        pod.count_reads(self.config.statistics);
        pod.warmth
            .want_lost(self.config.statistics && self.config.refetch);
        pod.ready_without_background("moved by hand");
        self.started = true;
    }

    /// One round: counts what was read, and fetches what was changed and what, by `manifest`, is worth it.
    ///
    /// # Cancellation
    /// Dropped, it leaves out what it has not fetched yet.
    pub async fn serve_round(&mut self, manifest: &Arc<Manifest>) {
        self.pace.observe(&self.config, manifest);
        self.manifest = Some(manifest.clone());
        self.refetch().await;
        self.fold();
        self.top_up().await;
    }
}
