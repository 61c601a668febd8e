//! What was sent and is not answered yet.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Sent;
use crate::op::BatchId;

/// The batches on their way, over any line. A hash table: the one that is answered next is nearly always the oldest, but one
/// on a side connection may stay for as long as it likes.
#[derive(Default)]
pub(super) struct InFlight(HashMap<BatchId, Sent, FixedState>);

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, batch: BatchId, sent: Sent) {
        self.0.insert(batch, sent);
    }

    pub(super) fn get(&self, batch: BatchId) -> Option<&Sent> {
        self.0.get(&batch)
    }

    pub(super) fn remove(&mut self, batch: BatchId) -> Option<Sent> {
        self.0.remove(&batch)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Sent> {
        self.0.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Sent> {
        self.0.values_mut()
    }

    /// Takes those out of which this is true, in the order of sending.
    pub(super) fn take(&mut self, which: impl Fn(&Sent) -> bool) -> Vec<Sent> {
        let mut taken: Vec<_> = self.0.extract_if(|_, sent| which(sent)).collect();
        taken.sort_unstable_by_key(|(batch, _)| *batch);
        taken.into_iter().map(|(_, sent)| sent).collect()
    }
}
