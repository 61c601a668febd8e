//! How the replies to an [`Op`]'s commands are judged: each is checked, none is skipped.
//!
//! A reply of a shape its command cannot give means that replies may be shifted, which must end the
//! connection: it becomes [`OpError::Protocol`], never an answer.

use std::time::Duration;

use bytes::Bytes;

use super::Reply;
use super::check::{echoed, next, refused};
use super::encode::Span;
use super::handshake::{fence_of, handshake, is_primary};
use crate::commands::{self, Absent};
use crate::op::{Op, OpError, OpReply};

/// Reads the answer to `op`, which was encoded as `span`.
///
/// Consumes exactly [`Span::replies`] replies whatever they are, unless there are fewer.
///
/// # Errors
/// See [`OpError`]. After [`OpError::Protocol`] the connection must be dropped.
pub fn decode<R: Iterator<Item = Reply>>(
    op: &Op,
    span: &Span,
    replies: &mut R,
) -> Result<OpReply, OpError> {
    if !span.wrapped() {
        return body(op, replies);
    }
    let entered = next(replies)?;
    let answer = body(op, replies);
    let left = next(replies)?;
    // Had the first SELECT failed, the commands would have run in another database than asked for;
    // had the second, the next ones would.
    selected(&entered)?;
    selected(&left)?;
    answer
}

fn body<R: Iterator<Item = Reply>>(op: &Op, replies: &mut R) -> Result<OpReply, OpError> {
    match op {
        Op::Read { tracked, .. } => get(*tracked, replies),
        Op::ReadWith { argv, tracked, .. } => read_with(argv, *tracked, replies),
        Op::Replace { .. } => match next(replies)? {
            Reply::Int(1) => Ok(OpReply::Stored(true)),
            Reply::Int(0) => Ok(OpReply::Stored(false)),
            other => Err(refused("EVAL", other)),
        },
        Op::Set { if_absent, .. } => match next(replies)? {
            reply if reply.is_ok() => Ok(OpReply::Stored(true)),
            Reply::Nil if *if_absent => Ok(OpReply::Stored(false)),
            other => Err(refused("SET", other)),
        },
        Op::Delete { .. } => match next(replies)? {
            Reply::Int(count @ 0..=1) => Ok(OpReply::Deleted(count == 1)),
            other => Err(refused("DEL", other)),
        },
        Op::Command { .. } => match next(replies)? {
            Reply::Error { code, message } => Err(OpError::Server { code, message }),
            reply => Ok(OpReply::Value(reply)),
        },
        Op::Transaction { commands, .. } => transaction(commands.len(), replies),
        Op::Fence { nonce } => match echoed(*nonce, &next(replies)?) {
            // It was allowed when the lane was opened: another finds out what is now.
            Err(OpError::Server { code, message }) if code == "NOPERM" => Err(
                OpError::TrackingLost(format!("ECHO was refused: {code} {message}")),
            ),
            echoed => echoed.map(|()| OpReply::Fenced),
        },
        Op::FenceOf { connection } => fence_of(*connection, next(replies)?),
        Op::Heartbeat => Ok(OpReply::Role {
            primary: is_primary(next(replies)?)?,
        }),
        Op::ProbeDb { .. } => {
            let (entered, left) = (next(replies)?, next(replies)?);
            if !entered.is_ok() {
                // Who may not SELECT at all may not select the resting db either, and has not left it.
                return Err(refused("SELECT", entered));
            }
            selected(&left)?;
            Ok(OpReply::Selectable)
        }
        Op::Handshake { canary: _, nonce } => handshake(*nonce, replies),
    }
}

fn get<R: Iterator<Item = Reply>>(tracked: bool, replies: &mut R) -> Result<OpReply, OpError> {
    let (value, life) = read(tracked, replies, |reply| {
        matches!(reply, Reply::Bulk(_) | Reply::Nil)
    })?;
    let (value, ttl) = match (value, life) {
        (Reply::Bulk(value), life) => (Some(value), life.ttl()),
        (_, _) => (None, None),
    };
    Ok(OpReply::Read {
        value,
        ttl,
        tracked,
    })
}

fn read_with<R: Iterator<Item = Reply>>(
    argv: &[Bytes],
    tracked: bool,
    replies: &mut R,
) -> Result<OpReply, OpError> {
    let absent = commands::served(argv).map(|(_, serve)| serve.absent);
    // Only TYPE answers with a status, and a command that was queued instead of run with another.
    let status = absent == Some(Absent::Word);
    let (reply, life) = read(tracked, replies, |reply| match reply {
        Reply::Simple(text) => status && text != "QUEUED",
        _ => true,
    })?;
    let exists = life != Life::Gone;
    let ttl = match absent {
        Some(absent) if !exists && absent.is(&reply) => None,
        _ => life.ttl(),
    };
    Ok(OpReply::ReadWith {
        reply,
        ttl,
        exists,
        tracked,
    })
}

/// The remaining life of a key, as PTTL tells it.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    /// There is no such key (any more).
    Gone,
    Endless,
    Millis(u64),
}

impl Life {
    /// Of a value that was just read. Gone: it was true when it was read, and must not be kept.
    ///
    /// PTTL counts from the server's clock cut to whole milliseconds, up to one millisecond before the moment
    /// at which it answers, and a server may delete a key in the very millisecond that its expiry names (Redis
    /// since 7.2 does, when it looks for expired keys by itself). So what is left is more than PTTL less one
    /// millisecond, and may be less than PTTL. That the command was sent before the server looked at its clock only
    /// makes a deadline counted from then earlier.
    fn ttl(self) -> Option<Duration> {
        match self {
            Self::Endless => None,
            Self::Gone => Some(Duration::ZERO),
            Self::Millis(millis) => Some(Duration::from_millis(millis.saturating_sub(1))),
        }
    }
}

/// The replies to a read, each of them checked; `fits` says whether a reply is of a shape its command can give.
fn read<R: Iterator<Item = Reply>>(
    tracked: bool,
    replies: &mut R,
    fits: impl Fn(&Reply) -> bool,
) -> Result<(Reply, Life), OpError> {
    let (caching, answer, pttl) = if tracked {
        (Some(next(replies)?), next(replies)?, next(replies)?)
    } else {
        match transaction(2, replies).map_err(forbidden)? {
            OpReply::Value(Reply::Array(mut both)) if both.len() == 2 => {
                let pttl = both.pop().unwrap_or(Reply::Nil);
                (None, both.pop().unwrap_or(Reply::Nil), pttl)
            }
            _ => return Err(OpError::Protocol("EXEC gave up on a read".to_owned())),
        }
    };

    // Shapes first: a shifted reply must not pass for a lost registration.
    let answer = match answer {
        Reply::Error { code, message } => Err(OpError::Server { code, message }),
        reply if fits(&reply) => Ok(reply),
        other => return Err(refused("a read", other)),
    };
    let life = match pttl {
        Reply::Int(-2) => Ok(Life::Gone),
        Reply::Int(-1) => Ok(Life::Endless),
        Reply::Int(millis) if millis >= 0 => Ok(Life::Millis(millis.unsigned_abs())),
        // It was allowed when the lane was opened.
        Reply::Error { code, message } if code == "NOPERM" && answer.is_ok() => Err(
            OpError::TrackingLost(format!("PTTL was refused: {code} {message}")),
        ),
        Reply::Error { code, message } => Err(OpError::Server { code, message }),
        other => return Err(refused("PTTL", other)),
    };
    match caching {
        None => {}
        Some(reply) if reply.is_ok() || off!(Caching) => {}
        // A server that refuses everything for now (BUSY, LOADING) has lost no registration.
        Some(Reply::Error { code, .. })
            if code != "ERR"
                && matches!(&answer, Err(OpError::Server { code: same, .. }) if *same == code) => {}
        Some(Reply::Error { code, message }) => {
            return Err(OpError::TrackingLost(format!(
                "CLIENT CACHING YES was refused: {code} {message}"
            )));
        }
        Some(other) => return Err(refused("CLIENT CACHING", other)),
    }
    Ok((answer?, life?))
}

fn transaction<R: Iterator<Item = Reply>>(
    commands: usize,
    replies: &mut R,
) -> Result<OpReply, OpError> {
    let begun = next(replies)?;
    let mut shifted = None;
    let mut refusal = None;
    for _ in 0..commands {
        match next(replies)? {
            Reply::Simple(text) if text == "QUEUED" => {}
            Reply::Error { code, message } => {
                refusal.get_or_insert_with(|| format!("{code} {message}"));
            }
            other => {
                shifted.get_or_insert_with(|| refused("a queued command", other));
            }
        }
    }
    let executed = next(replies)?;
    if !begun.is_ok() {
        // Whatever followed was executed command by command.
        return Err(OpError::Protocol(match begun {
            Reply::Error { code, message } => format!("MULTI was refused: {code} {message}"),
            other => format!("MULTI answered {}", other.shape()),
        }));
    }
    if let Some(error) = shifted {
        return Err(error);
    }
    match executed {
        Reply::Nil => Ok(OpReply::Value(Reply::Nil)),
        Reply::Array(replies) if replies.len() == commands && refusal.is_none() => {
            Ok(OpReply::Value(Reply::Array(replies)))
        }
        Reply::Error { code, message } => Err(OpError::Server {
            code,
            message: match refusal {
                Some(first) => format!("{message} First of them: {first}"),
                None => message,
            },
        }),
        other => Err(refused("EXEC", other)),
    }
}

/// A read that was refused between `MULTI` and `EXEC`, as it would have been without.
fn forbidden(error: OpError) -> OpError {
    let refusal = match &error {
        OpError::Server { code, message } if code == "EXECABORT" => message.split_once("NOPERM "),
        _ => None,
    };
    match refusal {
        None => error,
        // What such a read is made of was allowed when the lane was opened.
        Some((_, why)) if why.contains("'pttl'") || why.contains("'exec'") => {
            OpError::TrackingLost(format!("a read with its life was refused: NOPERM {why}"))
        }
        Some((_, why)) => OpError::Server {
            code: "NOPERM".to_owned(),
            message: why.to_owned(),
        },
    }
}

fn selected(reply: &Reply) -> Result<(), OpError> {
    match reply {
        reply if reply.is_ok() => Ok(()),
        Reply::Error { code, message } => Err(OpError::Protocol(format!(
            "SELECT was refused: {code} {message}"
        ))),
        other => Err(OpError::Protocol(format!(
            "SELECT answered {}",
            other.shape()
        ))),
    }
}
