//! The handshake where its key belongs: in the db of the fleet's keys, which may be another than the lane rests in.
//!
//! Never leaves the lane in it.

use bytes::Bytes;

use super::Lane;
use crate::op::{BatchReply, Op, OpError, OpReply};
use crate::resp::Reply;

impl Lane {
    /// The ops of a handshake.
    pub(super) fn visit(&self, handshake: Op) -> Vec<Op> {
        match self.visited() {
            None => vec![handshake],
            // Behind the echo, which so remains the last reply of what is judged.
            Some(db) => vec![select(db), handshake, select(self.config.resting_db)],
        }
    }

    /// The answer to the handshake among those to [its ops](Self::visit). Where the db could not be entered, the key lay
    /// in the resting one, which proves as much.
    pub(super) fn visit_ended(&self, results: BatchReply) -> BatchReply {
        if self.visited().is_none() {
            return results;
        }
        let mut results = results.into_iter();
        let entered = results.next().is_some_and(is_ok);
        let answer = results.next();
        match entered && !results.next().is_some_and(is_ok) {
            true => vec![Err(OpError::Protocol(
                "the connection was left in the db of the fleet's keys".to_owned(),
            ))],
            false => answer.into_iter().collect(),
        }
    }

    fn visited(&self) -> Option<u32> {
        let db = self.config.fleet_db;
        db.filter(|db| *db != self.config.resting_db)
    }
}

fn select(db: u32) -> Op {
    let argv = vec![Bytes::from_static(b"SELECT"), db.to_string().into()];
    Op::Command {
        db: Op::AS_IS,
        argv,
    }
}

fn is_ok(result: Result<OpReply, OpError>) -> bool {
    matches!(result, Ok(OpReply::Value(reply)) if Reply::is_ok(&reply))
}
