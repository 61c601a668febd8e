//! A pod's connection to the server: commands on their way there, replies and pushes on their way back.

use std::collections::VecDeque;

use bytes::Bytes;
use nearcache_l1::Timestamp;
use nearcache_memory::{ConnId, Output, Push};
use nearcache_proto::resp::{self, Reply, Span};
use nearcache_proto::{BatchId, BatchReply, ConnectionId, Error, Events, Op, OpReply};

/// One batch that waits for its replies.
struct Pending {
    batch: BatchId,
    ops: Vec<Op>,
    spans: Vec<Span>,
    replies: Vec<Reply>,
    needed: usize,
}

pub struct Link {
    pub conn: ConnId,
    /// `None` on a side connection.
    events: Option<Events>,
    pub to_server: VecDeque<Vec<Bytes>>,
    /// With the step at which the server said it.
    pub to_pod: VecDeque<(u64, Output)>,
    pending: VecDeque<Pending>,
    canary: Option<Bytes>,
    canary_seen: bool,
    /// Nothing crosses it any more; the pod has not noticed.
    pub broken: bool,
    /// The server has closed it: what was sent before still arrives.
    pub hung_up: bool,
    /// Nothing crosses it, in each direction, until then.
    slow: [Timestamp; 2],
}

/// A finished batch, and the step that its last reply proves: pushes of all that was executed before it
/// came before it.
pub type Completion = (BatchId, Result<BatchReply, Error>, u64);

impl Link {
    pub fn new(conn: ConnId, events: Option<Events>) -> Self {
        Self {
            conn,
            events,
            to_server: VecDeque::new(),
            to_pod: VecDeque::new(),
            pending: VecDeque::new(),
            canary: None,
            canary_seen: false,
            broken: false,
            hung_up: false,
            slow: [Timestamp::ZERO; 2],
        }
    }

    pub fn slow_down(&mut self, until: Timestamp, to_server: bool, to_pod: bool) {
        if to_server {
            self.slow[0] = until;
        }
        if to_pod {
            self.slow[1] = until;
        }
    }

    pub fn is_slow(&self, now: Timestamp) -> bool {
        self.slow.iter().any(|until| now < *until)
    }

    /// Whether the server can take a command from it.
    pub fn serves(&self, now: Timestamp) -> bool {
        !self.broken && !self.hung_up && !self.to_server.is_empty() && now >= self.slow[0]
    }

    /// Whether something can reach the pod.
    pub fn delivers(&self, now: Timestamp) -> bool {
        !self.broken && now >= self.slow[1]
    }

    /// Reads of `key` that wait for their answers.
    pub fn reads(&self, of: &Op) -> usize {
        let ops = self.pending.iter().flat_map(|pending| &pending.ops);
        ops.filter(|op| *op == of).count()
    }

    pub fn connection(&self) -> Option<ConnectionId> {
        self.events.as_ref().map(Events::connection)
    }

    pub fn send(&mut self, batch: BatchId, ops: Vec<Op>) {
        let mut commands: Vec<Vec<Bytes>> = Vec::new();
        let spans: Vec<Span> = ops
            .iter()
            .map(|op| resp::encode(op, 0, &mut commands))
            .collect();
        for op in &ops {
            if let Op::Handshake { canary, .. } = op {
                self.canary = Some(canary.clone());
                self.canary_seen = false;
            }
        }
        self.pending.push_back(Pending {
            batch,
            needed: commands.len(),
            ops,
            spans,
            replies: Vec::new(),
        });
        self.to_server.extend(commands);
    }

    /// Selects a db before anything else is sent; nobody waits for the answer.
    pub fn enter(&mut self, db: u32) {
        if db == 0 || db == Op::AS_IS {
            return;
        }
        let argv = vec![Bytes::from_static(b"SELECT"), Bytes::from(db.to_string())];
        let select = Op::Command {
            db: Op::AS_IS,
            argv,
        };
        // No batch of a lane has that number.
        self.send(0, vec![select]);
    }

    /// Hands the oldest output to the pod; returns a push with the step it was made at, and the batch
    /// that is now complete.
    pub fn deliver(&mut self) -> (Option<(u64, Push)>, Option<Completion>) {
        match self.to_pod.pop_front() {
            None => (None, None),
            Some((step, Output::Push(push))) => {
                self.apply(&push);
                (Some((step, push)), None)
            }
            Some((step, Output::Reply(reply))) => (None, self.reply(reply, step)),
        }
    }

    fn apply(&mut self, push: &Push) {
        let Some(events) = &self.events else {
            panic!("a push on an untracked connection");
        };
        match push {
            Push::All => events.invalidate_all(),
            Push::Keys(keys) => {
                for key in keys {
                    if self.canary.as_ref() == Some(key) {
                        self.canary_seen = true;
                    }
                    events.invalidate(key);
                }
            }
        }
    }

    fn reply(&mut self, reply: Reply, step: u64) -> Option<Completion> {
        let front = self
            .pending
            .front_mut()
            .expect("no reply without a request");
        front.replies.push(reply);
        if front.replies.len() < front.needed {
            return None;
        }
        let done = self.pending.pop_front().expect("it is there");
        let mut replies = done.replies.into_iter();
        let results = done
            .ops
            .iter()
            .zip(&done.spans)
            .map(|(op, span)| {
                let mut result = resp::decode(op, span, &mut replies);
                if let Ok(OpReply::Handshake { tracking, .. }) = &mut result
                    && tracking.is_ok()
                    && !self.canary_seen
                {
                    *tracking = Err("no push".to_owned());
                }
                result
            })
            .collect();
        let proven = match self.events {
            Some(_) => step,
            None => 0,
        };
        Some((done.batch, Ok(results), proven))
    }

    /// Every batch that will never be answered.
    pub fn abandon(&mut self) -> Vec<BatchId> {
        self.pending
            .drain(..)
            .map(|pending| pending.batch)
            .collect()
    }

    pub fn notice(&self) {
        if let Some(events) = &self.events {
            events.disconnected();
        }
    }
}
