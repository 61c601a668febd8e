//! What the embedded store has said to one connection and is not yet delivered.
//!
//! Never lets a reply overtake a push that was said before it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nearcache_memory::{Output, Push};
use nearcache_proto::Events;
use nearcache_proto::resp::Reply;
use tokio::sync::watch;

// Concurrency: whoever ran something puts what came out into `queue` while the store is locked, then
// delivers. `delivery` makes deliverers take turns, and each empties the queue from the front: a push
// is applied before anything behind it is looked at. One who waited for its turn finds what it put
// delivered, by itself or by the one before it; so after `deliver` the replies to what this thread
// executed are all in `Delivered::replies`, and every push before the last of them has been applied.
// `queue` is held for moments, never while a listener runs.
pub(super) struct Outbox {
    events: Option<Events>,
    queue: Mutex<VecDeque<Output>>,
    delivery: Mutex<Delivered>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Delivered {
    replies: Vec<Reply>,
    canary: Option<Bytes>,
    canary_pushed: bool,
    /// As it was when the latest reply came.
    pushed_in_time: bool,
}

impl Outbox {
    /// Without `events` pushes go nowhere: a side connection tracks nothing.
    pub(super) fn new(events: Option<Events>) -> Self {
        Self {
            events,
            queue: Mutex::default(),
            delivery: Mutex::default(),
            closed: watch::Sender::new(false),
        }
    }

    /// Puts `outputs` behind what is there; the store must be locked.
    pub(super) fn put(&self, outputs: Vec<Output>) {
        lock(&self.queue).extend(outputs);
    }

    /// Delivers everything in the queue.
    pub(super) fn deliver(&self) {
        let mut delivered = lock(&self.delivery);
        loop {
            let next = lock(&self.queue).pop_front();
            match next {
                None => return,
                Some(Output::Push(push)) => self.apply(push, &mut delivered),
                Some(Output::Reply(reply)) => {
                    delivered.pushed_in_time = delivered.canary_pushed;
                    delivered.replies.push(reply);
                }
            }
        }
    }

    fn apply(&self, push: Push, delivered: &mut Delivered) {
        let Some(events) = &self.events else { return };
        match push {
            Push::All => events.invalidate_all(),
            Push::Keys(keys) => {
                for key in keys {
                    events.invalidate(&key);
                    delivered.canary_pushed |= delivered.canary.as_ref() == Some(&key);
                }
            }
        }
    }

    /// From now on notes whether a push of `canary` came.
    pub(super) fn watch_for(&self, canary: Bytes) {
        let mut delivered = lock(&self.delivery);
        delivered.canary = Some(canary);
        delivered.canary_pushed = false;
        delivered.pushed_in_time = false;
    }

    /// The replies delivered since the last call, and whether the canary came before the last of them.
    pub(super) fn take_replies(&self) -> (Vec<Reply>, bool) {
        let mut delivered = lock(&self.delivery);
        let replies = std::mem::take(&mut delivered.replies);
        (replies, delivered.pushed_in_time)
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Hears of the end of the connection.
    pub(super) fn end(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// The connection is over; the listener is told once.
    pub(super) fn close(&self) {
        if !self.closed.send_replace(true)
            && let Some(events) = &self.events
        {
            events.disconnected();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
