//! A connection of redis-rs's own type in front of L1: what stands in the place of its socket.
//!
//! redis-rs writes commands into it and reads replies out of it, in order. There is no task and no thread behind it: its
//! driver, which reads and writes, runs the commands as it does. Never holds a reply back for a command that came later.

mod steps;
mod wire;

use std::future::Future;
use std::io;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use nearcache_proto::resp::Reply;
use nearcache_proto::{Error, ErrorKind, Protocol, Session, WriteOutcome};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::convert::call_error;
use crate::convert::io_error;
use nearcache_io::{IoThread, Owned};
use steps::{Step, Steps, aborted};

/// Bytes of commands that wait, and of replies that nobody has read: with more, whoever makes them waits. One command or
/// reply may be longer than that.
const MOST_WAITING: usize = 1 << 20;

type Seat = Owned<Session<IoThread>>;

type Outcome = Result<Vec<Reply>, Error>;

/// The server's end of a connection, and what is between.
struct Pipe {
    state: State,
    protocol: Protocol,
    steps: Steps,
    output: BytesMut,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum State {
    Idle(Seat),
    Running(Run),
    /// Over, and why, until that was told.
    Ended(Option<io::Error>),
}

struct Run {
    call: Pin<Box<dyn Future<Output = (Seat, Outcome)> + Send>>,
    /// How many replies are owed.
    replies: usize,
    atomic: bool,
    /// It was sent between `MULTI` or `WATCH` and their end.
    in_transaction: bool,
}

/// What runs a connection while it is polled.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection of redis-rs's whose commands `session` runs, and its driver: where that is spawned, it runs. It ends with
/// the last clone of the connection.
pub(crate) async fn connect(
    session: Seat,
    protocol: Protocol,
    config: AsyncConnectionConfig,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    let info = RedisConnectionInfo::default()
        .set_protocol(match protocol {
            Protocol::Resp2 => ProtocolVersion::RESP2,
            Protocol::Resp3 => ProtocolVersion::RESP3,
        })
        .set_db(session.db().into())
        .set_skip_set_lib_name();
    let pipe = Pipe::new(session, protocol);
    let (con, driver) = MultiplexedConnection::new_with_config(&info, pipe, config).await?;
    Ok((con, Box::pin(driver)))
}

/// Has tokio drive a connection.
pub(crate) fn spawn(driver: Driver) -> RedisResult<()> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
        RedisError::from((
            redis::ErrorKind::InvalidClientConfig,
            "there is no tokio runtime here: call it inside one, or spawn the driver of `multiplexed_with_config`",
        ))
    })?;
    runtime.spawn(driver);
    Ok(())
}

impl Pipe {
    fn new(session: Seat, protocol: Protocol) -> Self {
        Self {
            state: State::Idle(session),
            protocol,
            steps: Steps::default(),
            output: BytesMut::new(),
            reader: None,
            writer: None,
        }
    }

    /// Runs what can be run now.
    fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            match &mut self.state {
                State::Running(run) => {
                    let Poll::Ready((session, outcome)) = run.call.as_mut().poll(cx) else {
                        return;
                    };
                    if let State::Running(run) = replace(&mut self.state, State::Idle(session)) {
                        self.answer(&run, outcome);
                    }
                }
                State::Idle(session) => {
                    if session.is_inherited() {
                        return self.end(io::ErrorKind::BrokenPipe.into());
                    }
                    // Who does not read is not written to.
                    if self.output.len() >= MOST_WAITING {
                        return;
                    }
                    match self.steps.next(session.in_transaction()) {
                        Ok(Some(step)) => self.begin(step),
                        Ok(None) => return,
                        Err(wire::Malformed) => return self.end(io::ErrorKind::InvalidData.into()),
                    }
                }
                State::Ended(_) => return,
            }
        }
    }

    fn begin(&mut self, step: Step) {
        let state = replace(&mut self.state, State::Ended(None));
        let State::Idle(mut session) = state else {
            return;
        };
        self.state = match step.at_once(&mut session, self.protocol) {
            Some(reply) => {
                self.write(&reply);
                State::Idle(session)
            }
            None => State::Running(Run {
                replies: step.replies(),
                atomic: matches!(step, Step::Atomic(_)),
                in_transaction: session.in_transaction(),
                call: Box::pin(step.run(session)),
            }),
        };
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn answer(&mut self, run: &Run, outcome: Outcome) {
        let error = match outcome {
            Ok(replies) if replies.len() == run.replies => {
                return replies.iter().for_each(|reply| self.write(reply));
            }
            // Whoever reads on would take replies of others.
            Ok(_) => return self.end(io::ErrorKind::InvalidData.into()),
            Err(error) => error,
        };
        let open = matches!(&self.state, State::Idle(session) if session.in_transaction());
        let lost = run.in_transaction && !open;
        // What may have been executed must not look like a transaction that was given up.
        let unknown = run.atomic && error.write_outcome() == Some(WriteOutcome::Unknown);
        match said(&error, lost || unknown) {
            Err(end) => self.end(end),
            Ok(reply) if run.atomic => aborted(run.replies - 2, reply)
                .iter()
                .for_each(|reply| self.write(reply)),
            Ok(reply) => (0..run.replies).for_each(|_| self.write(&reply)),
        }
    }

    fn write(&mut self, reply: &Reply) {
        wire::encode(reply, self.protocol, &mut self.output);
    }

    /// What is owed is not answered, and nothing more is taken.
    fn end(&mut self, why: io::Error) {
        self.state = State::Ended(Some(why));
        self.steps = Steps::default();
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

/// What stands in the place of a reply: the server's own error, or ours as one.
///
/// # Errors
/// The connection ends, as a real one would: L2 was lost, or a transaction (`ends`).
fn said(error: &Error, ends: bool) -> Result<Reply, io::Error> {
    if let Some((code, message)) = error.server_error() {
        return Ok(Reply::Error {
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::Usage | ErrorKind::Configuration) {
        return Ok(Reply::error(&format!("ERR {text}")));
    }
    let seen = call_error(error.clone());
    if ends || seen.is_connection_dropped() {
        let kind = io_error(&seen).filter(|_| seen.is_connection_dropped());
        let kind = kind.map_or(io::ErrorKind::ConnectionReset, io::Error::kind);
        return Err(io::Error::new(kind, error.clone()));
    }
    // The words by which redis-rs knows whether to try again.
    let code = match error.write_outcome() {
        Some(WriteOutcome::Unknown) => "UNKNOWN",
        _ => "TRYAGAIN",
    };
    Ok(Reply::error(&format!("{code} {text}")))
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let State::Ended(_) = self.state {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.steps.bytes() >= MOST_WAITING {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // All of it, so that what is written at once is seen at once.
        self.steps.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.advance(cx);
        let news = !self.output.is_empty() || matches!(self.state, State::Ended(Some(_)));
        if news && let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state = State::Ended(None);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.advance(cx);
        if !self.output.is_empty() {
            wire::hand_over(&mut self.output, buf);
            return Poll::Ready(Ok(()));
        }
        if let State::Ended(why) = &mut self.state {
            return Poll::Ready(why.take().map_or(Ok(()), Err));
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
