//! What is under way on one connection: batches out as bytes, answers and pushes in, in the order of the wire. No IO.

use std::collections::VecDeque;

use bytes::buf::Limit;

use super::{Decoder, Incoming, WireError};
use crate::op::{BatchReply, Events, Op};
use crate::resp::{Batch, Reply, Span, decode, encode};

/// The batches on their way over a connection.
pub struct Exchange {
    resting_db: u32,
    decoder: Decoder,
    /// What is not answered yet.
    ops: VecDeque<(Op, Span)>,
    /// How many ops each batch has.
    batches: VecDeque<usize>,
    /// To the first of these ops.
    replies: Vec<Reply>,
    /// To the first of these batches.
    answers: BatchReply,
    /// The push of a handshake's canary has come.
    canary_pushed: bool,
}

impl Exchange {
    /// For a connection that is in `resting_db` between ops.
    pub fn new(resting_db: u32) -> Self {
        Self {
            resting_db,
            decoder: Decoder::new(),
            ops: VecDeque::new(),
            batches: VecDeque::new(),
            replies: Vec::new(),
            answers: Vec::new(),
            canary_pushed: false,
        }
    }

    /// A batch goes out: appends its bytes.
    pub fn send(&mut self, ops: Vec<Op>, out: &mut Vec<u8>) {
        self.batches.push_back(ops.len());
        for op in ops {
            let span = encode(&op, self.resting_db, out);
            self.ops.push_back((op, span));
        }
    }

    /// Takes in the front of `input`, until the oldest batch is answered or more is needed: how many bytes of it are done
    /// with, and the answer. What is pushed is reported to `events` where it stands, or to nobody on a connection that
    /// tracks nothing.
    ///
    /// # Errors
    /// The connection must end: what came is no RESP or nobody asked for it, or invalidations go elsewhere from now on.
    pub fn receive(
        &mut self,
        input: &[u8],
        events: Option<&Events>,
    ) -> Result<(usize, Option<BatchReply>), WireError> {
        if self.batches.front() == Some(&0) {
            self.batches.pop_front();
            return Ok((0, Some(Vec::new())));
        }
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let (taken, incoming) = self.decoder.decode(rest)?;
            at += taken;
            match incoming {
                None => return Ok((at, None)),
                Some(Incoming::Push(kind, data)) => {
                    if let Some(events) = events {
                        self.pushed(&kind, &data, events)?;
                    }
                }
                Some(Incoming::Reply(reply)) => {
                    if let Some(answer) = self.replied(reply)? {
                        let rest = input.get(at..).unwrap_or_default();
                        at += self.pushes_behind(rest, events)?;
                        return Ok((at, Some(answer)));
                    }
                }
            }
        }
    }

    /// Takes the pushes that have come right behind an answer: of what its own commands wrote, a server tells a connection
    /// after it has answered them. Whoever is woken by the answer and reads what it wrote would hold the value against a
    /// token from before that push, and could not keep it.
    fn pushes_behind(&mut self, input: &[u8], events: Option<&Events>) -> Result<usize, WireError> {
        let mut at = 0;
        while self.decoder.is_between() && input.get(at) == Some(&b'>') {
            let (taken, push) = self.decoder.decode(input.get(at..).unwrap_or_default())?;
            at += taken;
            if let (Some(Incoming::Push(kind, data)), Some(events)) = (push, events) {
                self.pushed(&kind, &data, events)?;
            }
        }
        Ok(at)
    }

    /// As for [`Decoder::large`].
    pub fn large(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        self.decoder.large()
    }

    /// Whether nothing is half read.
    pub fn is_between(&self) -> bool {
        self.decoder.is_between()
    }

    fn replied(&mut self, reply: Reply) -> Result<Option<BatchReply>, WireError> {
        let nobody = WireError("a reply that nobody asked for");
        let (op, span) = self.ops.front().ok_or(nobody)?;
        self.replies.push(reply);
        if self.replies.len() < span.replies() {
            return Ok(None);
        }
        let mut answer = decode(op, span, &mut self.replies.drain(..));
        Batch::judge(&mut answer, std::mem::take(&mut self.canary_pushed));
        self.ops.pop_front();
        let wanted = self.batches.front().copied().unwrap_or_default();
        if self.answers.is_empty() {
            self.answers.reserve_exact(wanted);
        }
        self.answers.push(answer);
        if self.answers.len() < wanted {
            return Ok(None);
        }
        self.batches.pop_front();
        Ok(Some(std::mem::take(&mut self.answers)))
    }

    /// Never panics, whatever is pushed: a shape it does not know counts as "everything changed".
    fn pushed(&mut self, kind: &Reply, data: &[Reply], events: &Events) -> Result<(), WireError> {
        match (kind.text().unwrap_or_default(), data) {
            (b"invalidate", [Reply::Array(keys)]) => {
                for key in keys {
                    let Reply::Bulk(key) = key else {
                        events.invalidate_all();
                        continue;
                    };
                    events.invalidate(key);
                    if let Some((Op::Handshake { canary, .. }, _)) = self.ops.front() {
                        self.canary_pushed |= canary == key;
                    }
                }
                Ok(())
            }
            // Null means everything; anything else is not known to mean less.
            (b"invalidate", _) => {
                events.invalidate_all();
                Ok(())
            }
            // They would from now on go elsewhere, or nowhere.
            (b"tracking-redir-broken", _) => Err(WireError("invalidations go elsewhere")),
            _ => Ok(()),
        }
    }
}
