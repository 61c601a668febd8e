//! Holds what a store answers against what it was asked: anybody's code may be behind the trait.
//!
//! Never repairs an answer of the wrong shape: it may belong to somebody else, so the connection that
//! gave it is as good as lost.

use std::collections::VecDeque;

use nearcache_proto::{BatchId, BatchReply, Error, ErrorKind, Op, OpReply};

use super::links::Answered;

/// What the batches on their way over one connection were asked, in the order in which they will be answered.
#[derive(Default)]
pub(super) struct Asked {
    batches: VecDeque<(BatchId, usize)>,
    kinds: VecDeque<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read { tracked: bool },
    ReadWith { tracked: bool },
    Set,
    Delete,
    Command,
    Fence,
    Heartbeat,
    ProbeDb,
    Handshake,
}

impl Asked {
    /// A batch is on its way.
    pub(super) fn put(&mut self, batch: BatchId, ops: &[Op]) {
        self.batches.push_back((batch, ops.len()));
        self.kinds.extend(ops.iter().map(Kind::of));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// What is still owed is answered by this.
    pub(super) fn fail(&mut self, error: &Error) -> Vec<Answered> {
        self.kinds.clear();
        let fail = |(batch, _)| (batch, Err(error.clone()));
        self.batches.drain(..).map(fail).collect()
    }

    /// Whose the next answer is, as the lane may see it: an error when it cannot be the answer to what was asked.
    ///
    /// # Errors
    /// Nobody's: nothing was asked.
    pub(super) fn check(&mut self, answer: Result<BatchReply, Error>) -> Result<Answered, Error> {
        let Some((batch, count)) = self.batches.pop_front() else {
            return Err(match answer {
                Err(error) => error,
                Ok(_) => broken("gave an answer to nothing".to_owned()),
            });
        };
        let kinds = self.kinds.drain(..count);
        let checked = answer.and_then(|mut replies| {
            if replies.len() != count {
                return Err(broken(format!(
                    "gave {} replies to a batch of {count}",
                    replies.len(),
                )));
            }
            for (kind, reply) in kinds.zip(&mut replies) {
                let Ok(reply) = reply else { continue };
                if !kind.fits(reply) {
                    return Err(broken(
                        "answered a request with a reply of another kind".to_owned(),
                    ));
                }
                // A promise that nobody asked for: nothing of this life may rely upon it.
                if let OpReply::Read { tracked, .. } | OpReply::ReadWith { tracked, .. } = reply {
                    *tracked &= matches!(
                        kind,
                        Kind::Read { tracked: true } | Kind::ReadWith { tracked: true }
                    );
                }
            }
            Ok(replies)
        });
        Ok((batch, checked))
    }
}

impl Kind {
    fn of(op: &Op) -> Self {
        match op {
            Op::Read { tracked, .. } => Self::Read { tracked: *tracked },
            Op::ReadWith { tracked, .. } => Self::ReadWith { tracked: *tracked },
            Op::Set { .. } | Op::Replace { .. } => Self::Set,
            Op::Delete { .. } => Self::Delete,
            Op::Command { .. } | Op::Transaction { .. } => Self::Command,
            Op::Fence { .. } | Op::FenceOf { .. } => Self::Fence,
            Op::Heartbeat => Self::Heartbeat,
            Op::ProbeDb { .. } => Self::ProbeDb,
            Op::Handshake { .. } => Self::Handshake,
        }
    }

    fn fits(self, reply: &OpReply) -> bool {
        matches!(
            (self, reply),
            (Self::Read { .. }, OpReply::Read { .. })
                | (Self::ReadWith { .. }, OpReply::ReadWith { .. })
                | (Self::Set, OpReply::Stored(_))
                | (Self::Delete, OpReply::Deleted(_))
                | (Self::Command, OpReply::Value(_))
                | (Self::Fence, OpReply::Fenced)
                | (Self::Heartbeat, OpReply::Role { .. })
                | (Self::ProbeDb, OpReply::Selectable)
                | (Self::Handshake, OpReply::Handshake { .. })
        )
    }
}

#[cold]
fn broken(what: String) -> Error {
    Error::new(
        ErrorKind::Retry,
        format!(
            "the store {what}: its connection is opened again, but its code has to be corrected"
        ),
    )
}
