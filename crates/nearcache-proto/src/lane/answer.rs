//! What L2 answered to a read, a value or a reply, on its way to those who wait and into L1.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{EntryId, Timestamp};

use crate::error::Error;
use crate::error::unexpected;
use crate::fill::Fetched;
use crate::held;
use crate::op::OpReply;
use crate::resp::Reply;

/// The answer to a read of any kind.
pub(super) struct Answer {
    body: Body,
    pub(super) ttl: Option<Duration>,
    pub(super) exists: bool,
    pub(super) tracked: bool,
}

enum Body {
    Value(Option<Bytes>),
    /// A [held] reply that has no head yet.
    Reply(Vec<u8>),
}

impl Answer {
    /// `filed`: whether it is to be a reply.
    pub(super) fn of(reply: OpReply, filed: bool) -> Result<Self, Error> {
        match reply {
            OpReply::Value(_) => Self::unkept(reply, filed),
            OpReply::Read {
                value,
                ttl,
                tracked,
            } => Ok(Self {
                exists: value.is_some(),
                body: Body::Value(value),
                ttl,
                tracked,
            }),
            OpReply::ReadWith {
                reply,
                ttl,
                exists,
                tracked,
            } => Ok(Self {
                body: Body::Reply(held::pack(&reply).ok_or_else(unexpected)?),
                ttl,
                exists,
                tracked,
            }),
            _ => Err(unexpected()),
        }
    }

    /// The answer to the same read as a command of its own, whose life is not known.
    pub(super) fn unkept(reply: OpReply, filed: bool) -> Result<Self, Error> {
        let body = match reply {
            OpReply::Value(reply) if filed => {
                Body::Reply(held::pack(&reply).ok_or_else(unexpected)?)
            }
            OpReply::Value(Reply::Bulk(value)) => Body::Value(Some(value)),
            OpReply::Value(Reply::Nil) => Body::Value(None),
            _ => return Err(unexpected()),
        };
        Ok(Self {
            body,
            // It was true when it was read, and must not be kept.
            ttl: Some(Duration::ZERO),
            exists: true,
            tracked: false,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.body {
            Body::Value(value) => value.as_ref().map_or(0, Bytes::len),
            Body::Reply(block) => block.len(),
        }
    }

    pub(super) fn file(&mut self, head: EntryId) {
        if let Body::Reply(block) = &mut self.body {
            held::file(block, head);
        }
    }

    pub(super) fn fetched(self, deadline: Timestamp, sent_at: Timestamp) -> Fetched {
        let value = match self.body {
            Body::Value(value) => value,
            Body::Reply(block) => Some(block.into()),
        };
        Fetched {
            value,
            deadline,
            sent_at,
            tracked: self.tracked,
        }
    }
}
