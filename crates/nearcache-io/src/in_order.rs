//! A connection whose store answers by futures: a client of the user's own, say, or a store in this process.
//!
//! Never lets a later answer reach the lane before an earlier one.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::stream::{FuturesOrdered, Stream};
use nearcache_proto::{BatchReply, BoxFuture, Connection, Error, ErrorKind, Op};

/// Executes batches one after the other and answers each by a future: the easier half of a [`Connection`], which
/// [`InOrder`] makes of it.
pub trait Executor: Send {
    /// Puts the batch in line before it returns; the future resolves when the last op is answered.
    /// A batch whose future is dropped is executed all the same.
    ///
    /// # Errors
    /// The connection is gone; whether the batch was executed is not known.
    fn execute(&mut self, ops: Vec<Op>) -> BoxFuture<Result<BatchReply, Error>>;

    /// Resolves once the connection is known to have ended, so that nothing more is sent on it. A store that cannot tell
    /// may leave it as it is.
    fn ended(&self) -> BoxFuture<()> {
        Box::pin(std::future::pending())
    }
}

/// The connection of an [`Executor`].
pub struct InOrder<E> {
    executor: E,
    answers: FuturesOrdered<BoxFuture<Result<BatchReply, Error>>>,
    ended: BoxFuture<()>,
}

impl<E: Executor> InOrder<E> {
    /// The connection that it answers.
    pub fn new(executor: E) -> Self {
        Self {
            ended: executor.ended(),
            executor,
            answers: FuturesOrdered::new(),
        }
    }
}

impl<E: Executor> Connection for InOrder<E> {
    fn send(&mut self, ops: Vec<Op>) {
        let answer = self.executor.execute(ops);
        self.answers.push_back(answer);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<BatchReply, Error>> {
        // What was answered before the end is handed over before it.
        if let Poll::Ready(Some(answer)) = Pin::new(&mut self.answers).poll_next(cx) {
            return Poll::Ready(answer);
        }
        self.ended.as_mut().poll(cx).map(|()| {
            Err(Error::new(
                ErrorKind::Retry,
                "the connection to the store was ended; it is opened again by itself",
            ))
        })
    }

    fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.ended.as_mut().poll(&mut cx).is_pending()
    }
}
