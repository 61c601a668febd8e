//! One open connection: turns batches into pipelines, in the order of the calls.
//!
//! Never lets two batches change places, and never sends one twice.

use std::sync::Arc;

use nearcache_io::Executor;
use nearcache_proto::resp::Batch;
use nearcache_proto::{BatchReply, BoxFuture, Error, Op};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline};
use tokio::sync::watch;

use super::answer::{Answer, Sending};
use super::push::{Canary, Reports};

pub(super) struct RedisConnection {
    con: MultiplexedConnection,
    place: Arc<str>,
    resting_db: u32,
    lane: Option<(Arc<Reports>, Arc<Canary>)>,
    /// Closed when redis-rs's reader has ended; of side connections.
    ended: Option<watch::Receiver<()>>,
    /// Closed with this connection: whatever is still in flight then ends.
    open: watch::Sender<()>,
}

impl RedisConnection {
    pub(super) fn lane(
        con: MultiplexedConnection,
        place: Arc<str>,
        resting_db: u32,
        lane: (Arc<Reports>, Arc<Canary>),
    ) -> Self {
        Self {
            con,
            place,
            resting_db,
            lane: Some(lane),
            ended: None,
            open: watch::Sender::new(()),
        }
    }

    pub(super) fn side(
        con: MultiplexedConnection,
        place: Arc<str>,
        resting_db: u32,
        ended: watch::Receiver<()>,
    ) -> Self {
        Self {
            con,
            place,
            resting_db,
            lane: None,
            ended: Some(ended),
            open: watch::Sender::new(()),
        }
    }
}

impl Executor for RedisConnection {
    fn execute(&mut self, mut ops: Vec<Op>) -> BoxFuture<Result<BatchReply, Error>> {
        let handshake = Batch::handshake(&ops);
        if let Some(at) = handshake
            && at + 1 < ops.len()
        {
            // The order of push and echo can be seen at the end of a pipeline only.
            let rest = ops.split_off(at + 1);
            let (first, rest) = (self.execute(ops), self.execute(rest));
            return Box::pin(async move {
                let mut replies = first.await?;
                replies.extend(rest.await?);
                Ok(replies)
            });
        }
        let canary = match (&self.lane, handshake.map(|at| &ops[at])) {
            (Some((_, canary)), Some(Op::Handshake { canary: key, .. })) => {
                canary.arm(key.clone());
                Some(canary.clone())
            }
            _ => None,
        };

        let mut commands = Vec::with_capacity(ops.len() * 3);
        let batch = Batch::encode(ops, self.resting_db, &mut commands);
        let count = commands.len();
        if count == 0 {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        let mut pipeline = Pipeline::with_capacity(count);
        for argv in &commands {
            let bytes = argv.iter().map(|word| word.len()).sum();
            let mut command = Cmd::with_capacity(argv.len(), bytes);
            for word in argv {
                command.arg(&word[..]);
            }
            pipeline.add_command(command);
        }
        let mut con = self.con.clone();
        // Not `query_async`, which would fail the whole batch for one error reply: here every command
        // keeps its own.
        let sending: Sending =
            Box::pin(async move { con.send_packed_commands(&pipeline, 0, count).await });
        let reports = self.lane.as_ref().map(|(reports, _)| reports.clone());
        Box::pin(Answer::start(
            sending,
            batch,
            self.place.clone(),
            reports,
            canary,
            self.open.subscribe(),
        ))
    }

    fn ended(&self) -> BoxFuture<()> {
        let Some(mut ended) = self.ended.clone() else {
            return Box::pin(std::future::pending());
        };
        Box::pin(async move {
            // Nothing is ever sent: it changes by its end.
            let _ = ended.changed().await;
        })
    }
}
