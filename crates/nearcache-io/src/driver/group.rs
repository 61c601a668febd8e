//! Short batches that leave together: one pipeline of redis-rs, one future and one wake-up for all of them.
//!
//! Never changes their order, and never joins what tells how the lane is, nor fills, to anything else.

use nearcache_proto::{BatchId, BatchReply, Error, Op};

use super::links::Answered;

/// Ops in one group: a caller waits for the replies to those behind its own, too.
const MOST_OPS: usize = 64;

/// Bytes of commands in one group: what is long gains nothing by company.
const MOST_BYTES: u64 = 64 << 10;

/// The batches that leave next, in the order in which they were put in line.
#[derive(Default)]
pub(super) struct Group {
    members: Vec<(BatchId, usize)>,
    ops: Vec<Op>,
    bytes: u64,
}

/// Whose answers the answers to a group are.
pub(super) struct Members(Vec<(BatchId, usize)>);

impl Group {
    /// Whether such a batch may share a group: commands and what ends them, nothing that measures time.
    pub(super) fn takes(ops: &[Op]) -> bool {
        ops.iter().all(|op| {
            matches!(
                op,
                Op::Command { .. }
                    | Op::Set { .. }
                    | Op::Replace { .. }
                    | Op::Delete { .. }
                    | Op::Fence { .. }
                    | Op::FenceOf { .. }
            )
        })
    }

    pub(super) fn has_room_for(&self, ops: &[Op]) -> bool {
        let bytes: u64 = ops.iter().map(Op::bytes).sum();
        self.ops.len() + ops.len() <= MOST_OPS && self.bytes + bytes <= MOST_BYTES
    }

    pub(super) fn push(&mut self, batch: BatchId, ops: Vec<Op>) {
        self.bytes += ops.iter().map(Op::bytes).sum::<u64>();
        self.members.push((batch, ops.len()));
        match self.ops.is_empty() {
            true => self.ops = ops,
            false => self.ops.extend(ops),
        }
    }

    /// What there is, if anything.
    pub(super) fn take(&mut self) -> Option<(Members, Vec<Op>)> {
        let Self { members, ops, .. } = std::mem::take(self);
        (!members.is_empty()).then_some((Members(members), ops))
    }
}

impl Members {
    /// The answer of each batch, in order. What ends the connection is the answer of all.
    pub(super) fn split(self, result: Result<BatchReply, Error>) -> Vec<Answered> {
        let mut members = self.0;
        match (result, members.len()) {
            (Ok(replies), 1) => vec![(members[0].0, Ok(replies))],
            (Ok(replies), _) => {
                let mut replies = replies.into_iter();
                let mut part = |count| replies.by_ref().take(count).collect();
                members
                    .drain(..)
                    .map(|(batch, count)| (batch, Ok(part(count))))
                    .collect()
            }
            (Err(error), _) => members
                .drain(..)
                .map(|(batch, _)| (batch, Err(error.clone())))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nearcache_proto::resp::Reply;
    use nearcache_proto::{ErrorKind, OpReply};

    use super::*;

    fn command(bytes: usize) -> Op {
        let argv = vec![Bytes::from(vec![0; bytes])];
        Op::Command { db: 0, argv }
    }

    #[test]
    fn each_batch_gets_its_own_answers_in_order() {
        let mut group = Group::default();
        assert!(group.take().is_none());
        for (batch, ops) in [(7, 2), (8, 1), (9, 3)] {
            group.push(batch, (0..ops).map(command).collect());
        }
        let (members, ops) = group.take().unwrap();
        assert_eq!(ops.len(), 6);
        let replies = (0..6).map(|n| Ok(OpReply::Value(Reply::Int(n)))).collect();
        let answers = members.split(Ok(replies));
        let numbers = |at: usize| -> Vec<_> {
            let replies = answers[at].1.as_ref().unwrap().iter();
            replies
                .map(|reply| match reply {
                    Ok(OpReply::Value(Reply::Int(n))) => *n,
                    _ => panic!("not a number"),
                })
                .collect()
        };
        assert_eq!((answers[0].0, numbers(0)), (7, vec![0, 1]));
        assert_eq!((answers[1].0, numbers(1)), (8, vec![2]));
        assert_eq!((answers[2].0, numbers(2)), (9, vec![3, 4, 5]));
    }

    #[test]
    fn the_end_of_the_connection_is_told_to_all() {
        let mut group = Group::default();
        group.push(1, vec![command(1)]);
        group.push(2, vec![command(1)]);
        let (members, _) = group.take().unwrap();
        let answers = members.split(Err(Error::new(ErrorKind::Retry, "gone")));
        assert!(answers.len() == 2 && answers.iter().all(|(_, result)| result.is_err()));
    }

    #[test]
    fn a_group_has_bounds_and_takes_no_heartbeat() {
        let mut group = Group::default();
        assert!(group.has_room_for(&[command(1)]));
        assert!(!group.has_room_for(&[command(1 << 20)]));
        group.push(1, (0..MOST_OPS).map(|_| command(1)).collect());
        assert!(!group.has_room_for(&[command(1)]));
        assert!(!Group::takes(&[Op::Heartbeat]));
        assert!(Group::takes(&[command(1), Op::Fence { nonce: 1 }]));
    }
}
