//! One open connection: batches written in the order of the calls, replies and pushes taken in the order of the wire.
//!
//! Never sends a batch twice, and applies each push where it stands among the replies.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nearcache_proto::resp::wire::{Exchange, WireError};
use nearcache_proto::{BatchReply, Connection, Error, ErrorKind, Events, Op, Reason};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::socket::Socket;

/// Bytes that a lane reads at once.
const READ: usize = 64 << 10;

/// The same beside it: there may be hundreds of these, most of them idle.
const READ_BESIDE: usize = 8 << 10;

/// Reads without an answer before others have their turn: a flood of pushes must not keep requests waiting.
const READS: usize = 16;

/// What is kept of a buffer for writing that had to grow.
const KEPT: usize = 256 << 10;

pub(super) struct RedisConnection {
    socket: Socket,
    place: Arc<str>,
    /// Of a lane's connection.
    events: Option<Events>,
    out: Vec<u8>,
    /// Of `out`, what the socket has taken.
    written: usize,
    /// Something was written that the socket may still hold.
    flush: bool,
    input: Vec<u8>,
    /// By which it grows, at first from nothing.
    room: usize,
    /// Of `input`, what is done with.
    read: usize,
    exchange: Exchange,
    /// It has ended, for this reason.
    over: Option<Error>,
}

/// Why a connection is over.
pub(super) enum End {
    Lost(io::Error),
    /// What came is not what can be gone on with.
    Nonsense(WireError),
}

impl End {
    #[cold]
    fn error(self, place: &str) -> Error {
        match self {
            Self::Lost(error) => {
                let lost =
                    format!("the connection to {place} was lost; it is opened again by itself");
                Error::with_source(ErrorKind::Retry, lost, error).because(Reason::Interrupted)
            }
            Self::Nonsense(what) => {
                let what = format!(
                    "{place} sent something that cannot be gone on with ({what}); the connection is opened again"
                );
                Error::retry(Reason::Interrupted, what)
            }
        }
    }
}

impl RedisConnection {
    pub(super) fn new(
        socket: Socket,
        place: Arc<str>,
        resting_db: u32,
        events: Option<Events>,
    ) -> Self {
        Self {
            socket,
            place,
            room: match events {
                Some(_) => READ,
                None => READ_BESIDE,
            },
            events,
            out: Vec::new(),
            written: 0,
            flush: false,
            input: Vec::new(),
            read: 0,
            exchange: Exchange::new(resting_db),
            over: None,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match Pin::new(&mut self.socket).poll_write(cx, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(bytes) => self.written += bytes,
                Poll::Pending => {
                    // A server that is always a little behind must not make this grow for good.
                    if self.written >= KEPT {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return Poll::Pending;
                }
            }
            self.flush = true;
        }
        if !self.out.is_empty() {
            self.out.clear();
            self.out.shrink_to(KEPT);
            self.written = 0;
        }
        if self.flush {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let bytes = match self.exchange.large() {
            Some(mut large) if self.read == self.input.len() => {
                ready!(pin!(self.socket.read_buf(&mut large)).poll(cx))?
            }
            _ => {
                self.input.drain(..self.read);
                self.read = 0;
                if self.input.len() == self.input.capacity() {
                    self.input.reserve(self.room);
                }
                ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))?
            }
        };
        match bytes {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// The next answer, or the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<BatchReply, End>> {
        // What is in line leaves before anything is looked at: whoever waits for it waits for longest.
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            // What was answered before is still to be read.
            if !matches!(self.poll_read(cx), Poll::Ready(Ok(()))) {
                return Poll::Ready(Err(End::Lost(error)));
            }
        }
        for _ in 0..READS {
            let input = self.input.get(self.read..).unwrap_or_default();
            let received = self.exchange.receive(input, self.events.as_ref());
            let (taken, answer) = received.map_err(End::Nonsense)?;
            self.read += taken;
            if let Some(answer) = answer {
                return Poll::Ready(Ok(answer));
            }
            if let Err(error) = ready!(self.poll_read(cx)) {
                return Poll::Ready(Err(End::Lost(error)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Connection for RedisConnection {
    fn send(&mut self, ops: Vec<Op>) {
        self.exchange.send(ops, &mut self.out);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<BatchReply, Error>> {
        if let Some(error) = &self.over {
            return Poll::Ready(Err(error.clone()));
        }
        Poll::Ready(ready!(self.poll_next(cx)).map_err(|end| {
            let error = end.error(&self.place);
            self.over = Some(error.clone());
            if let Some(events) = &self.events {
                events.disconnected();
            }
            error
        }))
    }

    fn is_open(&mut self) -> bool {
        self.over.is_none()
            && self.read == self.input.len()
            && self.exchange.is_between()
            && !self.socket.is_over()
    }
}

#[cfg(test)]
mod tests;
