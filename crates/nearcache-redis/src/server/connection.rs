//! One open connection: batches written in the order of the calls, replies and pushes taken in the order of the wire.
//!
//! Never sends a batch twice, and applies each push where it stands among the replies.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nearcache_proto::resp::wire::{Decoder, Incoming, write_command};
use nearcache_proto::resp::{Batch, Reply};
use nearcache_proto::{BatchReply, Connection, Error, ErrorKind, Events, Op, Reason};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::socket::Socket;

/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// Reads without an answer before others have their turn: a flood of pushes must not keep requests waiting.
const READS: usize = 16;

/// What is kept of a buffer for writing that had to grow.
const KEPT: usize = 256 << 10;

pub(super) struct RedisConnection {
    socket: Socket,
    place: Arc<str>,
    resting_db: u32,
    /// Of a lane's connection.
    events: Option<Events>,
    out: Vec<u8>,
    /// Of `out`, what the socket has taken.
    written: usize,
    /// Something was written that the socket may still hold.
    flush: bool,
    input: Vec<u8>,
    /// Of `input`, what is done with.
    read: usize,
    decoder: Decoder,
    unanswered: VecDeque<Unanswered>,
    /// It has ended, for this reason.
    over: Option<Error>,
}

/// A batch on its way.
struct Unanswered {
    batch: Batch,
    replies: Vec<Reply>,
    wanted: usize,
    canary: Option<Canary>,
}

/// Of a handshake: the key whose push has to come before this reply, and whether it did.
struct Canary {
    key: Bytes,
    before: usize,
    pushed: bool,
}

/// Why a connection is over.
pub(super) enum End {
    Lost(io::Error),
    /// What came is not what a server says.
    Nonsense(String),
    /// Invalidations go elsewhere.
    Elsewhere,
}

impl End {
    #[cold]
    fn error(self, place: &str) -> Error {
        let why = match self {
            Self::Lost(error) => {
                let lost =
                    format!("the connection to {place} was lost; it is opened again by itself");
                return Error::with_source(ErrorKind::Retry, lost, error)
                    .because(Reason::Interrupted);
            }
            Self::Nonsense(what) => format!("{place} sent something that is not a reply ({what})"),
            Self::Elsewhere => format!("{place} sends its invalidations elsewhere"),
        };
        Error::retry(
            Reason::Interrupted,
            format!("{why}; the connection is opened again"),
        )
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
            resting_db,
            events,
            out: Vec::new(),
            written: 0,
            flush: false,
            input: Vec::with_capacity(READ),
            read: 0,
            decoder: Decoder::new(),
            unanswered: VecDeque::new(),
            over: None,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
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
        let bytes = match self.decoder.large() {
            Some(mut large) if self.read == self.input.len() => {
                ready!(pin!(self.socket.read_buf(&mut large)).poll(cx))?
            }
            _ => {
                self.input.drain(..self.read);
                self.read = 0;
                if self.input.len() == self.input.capacity() {
                    self.input.reserve(READ);
                }
                ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))?
            }
        };
        match bytes {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Takes in what was read, until the oldest batch is answered.
    fn take_in(&mut self) -> Result<Option<BatchReply>, End> {
        loop {
            let rest = self.input.get(self.read..).unwrap_or_default();
            let decoded = self.decoder.decode(rest);
            let (taken, incoming) = decoded.map_err(|error| End::Nonsense(error.to_string()))?;
            self.read += taken;
            match incoming {
                None => return Ok(None),
                Some(Incoming::Push(kind, data)) => self.pushed(&kind, &data)?,
                Some(Incoming::Reply(reply)) => {
                    let Some(oldest) = self.unanswered.front_mut() else {
                        let what = "a reply that nobody asked for";
                        return Err(End::Nonsense(what.to_owned()));
                    };
                    oldest.replies.push(reply);
                    if oldest.replies.len() == oldest.wanted {
                        return Ok(self.answered());
                    }
                }
            }
        }
    }

    fn answered(&mut self) -> Option<BatchReply> {
        let Unanswered {
            batch,
            replies,
            canary,
            ..
        } = self.unanswered.pop_front()?;
        let mut answers = batch.decode(replies);
        if let Some(canary) = canary {
            Batch::judge_handshake(&mut answers, canary.pushed);
        }
        Some(answers)
    }

    /// Never panics, whatever is pushed: a shape it does not know counts as "everything changed".
    fn pushed(&mut self, kind: &Reply, data: &[Reply]) -> Result<(), End> {
        let Some(events) = &self.events else {
            // A side connection tracks nothing.
            return Ok(());
        };
        match (word(kind), data) {
            (b"invalidate", [Reply::Array(keys)]) => {
                for key in keys {
                    let Reply::Bulk(key) = key else {
                        events.invalidate_all();
                        continue;
                    };
                    events.invalidate(key);
                    if let Some(oldest) = self.unanswered.front_mut()
                        && let Some(canary) = &mut oldest.canary
                    {
                        canary.pushed |= oldest.replies.len() < canary.before && canary.key == key;
                    }
                }
            }
            // Null means everything; anything else is not known to mean less.
            (b"invalidate", _) => events.invalidate_all(),
            // Invalidations would from now on go elsewhere, or nowhere.
            (b"tracking-redir-broken", _) => {
                return Err(End::Elsewhere);
            }
            _ => {}
        }
        Ok(())
    }

    /// The next answer, or the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<BatchReply, End>> {
        // A batch of nothing is answered in its turn.
        if self
            .unanswered
            .front()
            .is_some_and(|batch| batch.wanted == 0)
        {
            return Poll::Ready(Ok(self.answered().unwrap_or_default()));
        }
        // What is in line leaves before anything is looked at: whoever waits for it waits for longest.
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            // What was answered before is still to be read.
            if !matches!(self.poll_read(cx), Poll::Ready(Ok(()))) {
                return Poll::Ready(Err(End::Lost(error)));
            }
        }
        for _ in 0..READS {
            if let Some(answer) = self.take_in()? {
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
        let mut commands = Vec::with_capacity(ops.len() * 3);
        let batch = Batch::encode(ops, self.resting_db, &mut commands);
        for argv in &commands {
            write_command(argv, &mut self.out);
        }
        let canary = batch.canary().map(|(key, before)| Canary {
            key,
            before,
            pushed: false,
        });
        self.unanswered.push_back(Unanswered {
            replies: Vec::with_capacity(commands.len()),
            wanted: commands.len(),
            batch,
            canary,
        });
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
            && self.decoder.is_between()
            && !self.socket.is_over()
    }
}

fn word(reply: &Reply) -> &[u8] {
    match reply {
        Reply::Bulk(text) => text,
        Reply::Simple(text) => text.as_bytes(),
        _ => b"",
    }
}

#[cfg(test)]
mod tests;
