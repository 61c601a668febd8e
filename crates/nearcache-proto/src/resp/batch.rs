//! A batch of ops as commands, and its replies as answers: what every RESP-speaking store shares.
//!
//! No IO: the commands go out and the replies come in elsewhere.

use bytes::Bytes;

use super::{Reply, Span, decode, encode};
use crate::op::{BatchReply, Op, OpError, OpReply};

/// The ops of one batch with what was written for each.
pub struct Batch {
    ops: Vec<Op>,
    spans: Vec<Span>,
}

impl Batch {
    /// Appends the commands of `ops` to `commands`, for a connection that is in `resting_db` between ops.
    pub fn encode(ops: Vec<Op>, resting_db: u32, commands: &mut Vec<Vec<Bytes>>) -> Self {
        let spans = ops
            .iter()
            .map(|op| encode(op, resting_db, commands))
            .collect();
        Self { ops, spans }
    }

    /// Reads the answers off `replies`, in order.
    pub fn decode(&self, replies: impl IntoIterator<Item = Reply>) -> BatchReply {
        let mut replies = replies.into_iter();
        self.ops
            .iter()
            .zip(&self.spans)
            .map(|(op, span)| decode(op, span, &mut replies))
            .collect()
    }

    /// Takes back the proof of a handshake that ended the batch unless the push came in time.
    pub fn judge_handshake(answers: &mut BatchReply, pushed_in_time: bool) {
        if let Some(answer) = answers.last_mut() {
            Self::judge(answer, pushed_in_time);
        }
    }

    /// The same of one answer, if it is that of a handshake.
    pub(super) fn judge(answer: &mut Result<OpReply, OpError>, pushed_in_time: bool) {
        if let Ok(OpReply::Handshake { tracking, .. }) = answer
            && tracking.is_ok()
            && !pushed_in_time
        {
            *tracking = Err(
                "the push of a changed key did not come before a later reply: this server, or a \
                     proxy in front of it, does not keep the order"
                    .to_owned(),
            );
        }
    }

    /// Where the handshake is, if there is one.
    pub fn handshake(ops: &[Op]) -> Option<usize> {
        ops.iter().position(|op| matches!(op, Op::Handshake { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(db: u32, words: &[&str]) -> Op {
        Op::Command {
            db,
            argv: words
                .iter()
                .map(|w| Bytes::copy_from_slice(w.as_bytes()))
                .collect(),
        }
    }

    fn text(commands: &[Vec<Bytes>]) -> Vec<String> {
        commands
            .iter()
            .map(|argv| {
                let words: Vec<_> = argv.iter().map(|w| String::from_utf8_lossy(w)).collect();
                words.join(" ")
            })
            .collect()
    }

    #[test]
    fn a_connection_returns_to_its_db() {
        let mut out = Vec::new();
        let ops = vec![command(0, &["GET", "a"]), command(3, &["GET", "b"])];
        let batch = Batch::encode(ops, 0, &mut out);
        assert_eq!(text(&out), ["GET a", "SELECT 3", "GET b", "SELECT 0"]);
        let replies = [Reply::Int(1), Reply::ok(), Reply::Int(2), Reply::ok()];
        let answers = batch.decode(replies);
        assert_eq!(answers[0], Ok(OpReply::Value(Reply::Int(1))));
        assert_eq!(answers[1], Ok(OpReply::Value(Reply::Int(2))));
    }
}
