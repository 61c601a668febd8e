//! One batch on its way: in line from the start, answered when the last reply is there.
//!
//! Never withdraws a batch because nobody waits for it any more.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use nearcache_proto::resp::Batch;
use nearcache_proto::{BatchReply, Error};
use redis::{RedisResult, Value};
use tokio::sync::watch;

use super::push::{Canary, Reports};
use crate::convert;

/// redis-rs's own future of a pipeline.
pub(super) type Sending = Pin<Box<dyn Future<Output = RedisResult<Vec<Value>>> + Send>>;

/// The future of one batch.
pub(super) struct Answer {
    /// `None` once it is over.
    sending: Option<Sending>,
    early: Option<RedisResult<Vec<Value>>>,
    batch: Batch,
    place: Arc<str>,
    reports: Option<Arc<Reports>>,
    note: Option<Arc<Note>>,
    /// Ends when the connection was dropped.
    open: watch::Receiver<()>,
}

impl Answer {
    /// Puts the batch in line: redis-rs queues it at the first poll.
    pub(super) fn start(
        mut sending: Sending,
        batch: Batch,
        place: Arc<str>,
        reports: Option<Arc<Reports>>,
        canary: Option<Arc<Canary>>,
        open: watch::Receiver<()>,
    ) -> Self {
        let note = canary.map(|canary| {
            Arc::new(Note {
                canary,
                waiting: Mutex::new(Waker::noop().clone()),
            })
        });
        let waker = match &note {
            Some(note) => Waker::from(note.clone()),
            None => Waker::noop().clone(),
        };
        let (sending, early) = match poll(&mut sending, &waker) {
            Poll::Pending => (Some(sending), None),
            Poll::Ready(result) => (None, Some(result)),
        };
        Self {
            sending,
            early,
            batch,
            place,
            reports,
            note,
            open,
        }
    }

    fn finish(&self, result: RedisResult<Vec<Value>>) -> Result<BatchReply, Error> {
        let values = result.map_err(|error| {
            // The reader may end without a word; a batch that fails is a sign of it.
            if let Some(reports) = &self.reports {
                reports.end();
            }
            convert::lost_error(&self.place, error)
        })?;
        let mut replies = self.batch.decode(values.into_iter().map(convert::reply));
        if let Some(note) = &self.note {
            Batch::judge_handshake(&mut replies, note.canary.in_order());
        }
        Ok(replies)
    }
}

impl Future for Answer {
    type Output = Result<BatchReply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.early.take() {
            return Poll::Ready(self.finish(result));
        }
        let waker = match &self.note {
            Some(note) => {
                note.forward_to(cx.waker());
                Waker::from(note.clone())
            }
            None => cx.waker().clone(),
        };
        let Some(sending) = &mut self.sending else {
            // Polled after it was over.
            return Poll::Pending;
        };
        match poll(sending, &waker) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                self.sending = None;
                Poll::Ready(self.finish(result))
            }
        }
    }
}

impl Drop for Answer {
    /// redis-rs skips a pipeline whose waiter is gone before it was written; it is executed all the
    /// same as long as the connection lives, so somebody has to go on waiting.
    fn drop(&mut self) {
        let Some(sending) = self.sending.take() else {
            return;
        };
        if self.open.has_changed().is_err() {
            return;
        }
        let mut open = self.open.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let closed = pin!(open.changed());
                futures_util::future::select(sending, closed).await;
            });
        }
    }
}

/// Polls outside of tokio's budget, which would wake without a reason.
fn poll(sending: &mut Sending, waker: &Waker) -> Poll<RedisResult<Vec<Value>>> {
    let mut cx = Context::from_waker(waker);
    pin!(tokio::task::unconstrained(sending)).poll(&mut cx)
}

/// A waker that looks at the canary at the very moment the reader completes the batch: only then is it
/// known what came before the last reply and what came after.
struct Note {
    canary: Arc<Canary>,
    waiting: Mutex<Waker>,
}

impl Note {
    fn forward_to(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.clone_from(waker);
    }
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.canary.answered();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.clone();
        waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_looks_when_it_is_woken() {
        let canary = Arc::new(Canary::default());
        canary.arm(bytes::Bytes::from_static(b"k"));
        let note = Arc::new(Note {
            canary: canary.clone(),
            waiting: Mutex::new(Waker::noop().clone()),
        });
        Waker::from(note).wake_by_ref();
        assert!(!canary.in_order());
    }
}
