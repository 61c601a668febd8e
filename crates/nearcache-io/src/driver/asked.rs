//! Holds what a store answers against what it was asked: anybody's code may be behind the trait.
//!
//! Never repairs an answer of the wrong shape: it may belong to somebody else, so the connection that
//! gave it is as good as lost.

use nearcache_proto::{BatchReply, Error, ErrorKind, Op, OpReply};

/// What a batch on its way was asked.
pub(super) struct Asked(Vec<Kind>);

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
    pub(super) fn new(ops: &[Op]) -> Self {
        Self(ops.iter().map(Kind::of).collect())
    }

    /// The answer as the lane may see it.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`]: it cannot be the answer to what was asked.
    pub(super) fn check(&self, mut replies: BatchReply) -> Result<BatchReply, Error> {
        if replies.len() != self.0.len() {
            return Err(broken(format!(
                "gave {} replies to a batch of {}",
                replies.len(),
                self.0.len()
            )));
        }
        for (kind, reply) in self.0.iter().zip(&mut replies) {
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
