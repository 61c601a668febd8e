//! What every kind of reply is checked for: that there is one, and that it is what it must be.

use super::Reply;
use super::encode::nonce_text;
use crate::op::OpError;

pub(super) fn echoed(nonce: u64, reply: &Reply) -> Result<(), OpError> {
    match reply {
        Reply::Bulk(text) if text == nonce_text(nonce).as_bytes() => Ok(()),
        Reply::Bulk(_) => Err(OpError::Protocol("ECHO answered a wrong nonce".into())),
        // It keeps its place among the replies: nothing is shifted (a script runs, data is loaded).
        Reply::Error { code, message } => Err(OpError::Server {
            code: code.clone(),
            message: message.clone(),
        }),
        other => Err(OpError::Protocol(format!(
            "ECHO answered {}",
            other.shape()
        ))),
    }
}

pub(super) fn refused(what: &str, reply: Reply) -> OpError {
    match reply {
        Reply::Error { code, message } => OpError::Server { code, message },
        other => OpError::Protocol(format!("{what} answered {}", other.shape())),
    }
}

pub(super) fn next<R: Iterator<Item = Reply>>(replies: &mut R) -> Result<Reply, OpError> {
    replies
        .next()
        .ok_or_else(|| OpError::Protocol("a reply is missing".into()))
}
