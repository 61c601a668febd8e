//! Several commands at once: a pipeline, in order, and a transaction, whole.
//!
//! A hit is older than a reply of L2. So only reads that come before everything else are answered from
//! L1, and what they lack is fetched before the rest is sent.

use bytes::Bytes;

use super::side::Queued;
use super::{Session, refused};
use crate::cache::{Io, check_sizes};
use crate::commands::{Class, Place, classify};
use crate::error::{Error, ErrorKind, WriteOutcome};
use crate::op::Op;
use crate::request::Effect;
use crate::resp::Reply;

/// Commands sent in one batch of a pipeline.
const BATCH: usize = 4096;

/// Where several commands go at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Lane,
    /// A shared connection beside it.
    Shared,
}

impl<I: Io> Session<I> {
    /// Sends commands one behind the other and returns their replies, errors of the server among them.
    /// They are not atomic: others' commands may come in between.
    ///
    /// # Errors
    /// As [`call`](Self::call). When there is one, the commands before it may have been executed.
    ///
    /// # Cost
    /// One round trip for reads that L1 lacks, and one for all other commands; two for each run
    /// of commands that share a connection beside the lane, and for each that needs the session's own.
    ///
    /// # Cancellation
    /// What was sent on the lane is executed; what was not sent is not. A command that was on the session's own side
    /// connection: as [`command`](Self::command).
    pub async fn pipeline(&mut self, commands: Vec<Vec<Bytes>>) -> Result<Vec<Reply>, Error> {
        self.settle()?;
        let mut replies = Vec::with_capacity(commands.len());
        let mut rest = commands;
        if let Some(policy) = self.l1
            && !self.side.in_transaction()
        {
            let served = |argv: &Vec<Bytes>| matches!(classify(argv), Class::Serve(_));
            let reads = rest.iter().take_while(|argv| served(argv)).count();
            if let Some(answers) = self.cache.replies(self.db, &rest[..reads], policy).await? {
                for (reply, argv) in answers.into_iter().zip(rest.drain(..reads)) {
                    replies.push(self.shaped(reply, &argv[0]));
                }
            }
        }
        for argv in &rest {
            for arg in argv {
                check_sizes(arg, 0)?;
            }
        }
        let mut handed_over = false;
        let result = self.rest(rest, &mut replies, &mut handed_over).await;
        match result {
            Ok(()) => Ok(replies),
            // Something before was executed: the whole was not *not sent*.
            Err(error) if handed_over => Err(error.for_write(WriteOutcome::Unknown)),
            Err(error) => Err(error),
        }
    }

    /// What is not answered from L1. `handed_over`: whether something that may write was answered before an error.
    async fn rest(
        &mut self,
        rest: Vec<Vec<Bytes>>,
        replies: &mut Vec<Reply>,
        handed_over: &mut bool,
    ) -> Result<(), Error> {
        let (mut batch, mut batch_way) = (Vec::new(), Way::Lane);
        for argv in rest {
            let class = classify(&argv);
            let way = self.way(class);
            if way != Some(batch_way) || batch.len() >= BATCH {
                *handed_over |= self.batch(batch_way, &mut batch, replies).await?;
            }
            if let Some(way) = way {
                batch_way = way;
                batch.push((class, argv));
                continue;
            }
            let refused = matches!(class, Class::Refused(_));
            replies.push(match self.call(argv).await {
                // It is not sent, and does not keep the others from being.
                Err(error) if refused && error.kind() == ErrorKind::Usage => {
                    Reply::error(&format!("ERR {error}"))
                }
                result => result?,
            });
            *handed_over |= !refused;
        }
        self.batch(batch_way, &mut batch, replies).await?;
        Ok(())
    }

    /// How a command goes out together with others; `None`: it goes alone.
    fn way(&self, class: Class) -> Option<Way> {
        match class {
            _ if self.side.in_transaction() => None,
            Class::Read | Class::Serve(_) | Class::Write { .. } | Class::Fenced => Some(Way::Lane),
            Class::Side(Place::Shared) if !self.side.is_kept() => Some(Way::Shared),
            _ => None,
        }
    }

    /// Returns whether there was anything that may write.
    async fn batch(
        &mut self,
        way: Way,
        batch: &mut Vec<(Class, Vec<Bytes>)>,
        replies: &mut Vec<Reply>,
    ) -> Result<bool, Error> {
        if batch.is_empty() {
            return Ok(false);
        }
        let mut effect = match way {
            Way::Lane => Effect::None,
            Way::Shared => Effect::Shared(self.protocol),
        };
        for (class, argv) in batch.iter() {
            self.drop_written(argv);
            if way == Way::Lane && !matches!(class, Class::Read | Class::Serve(_)) {
                effect = Effect::Fenced;
            }
        }
        let names: Vec<Bytes> = batch.iter().map(|(_, argv)| argv[0].clone()).collect();
        let db = self.db;
        let ops = batch.drain(..).map(|(_, argv)| Op::Command { db, argv });
        let deadline = self.cache.call_deadline();
        let answers = self.send(deadline, ops.collect(), effect).await?;
        for (reply, name) in answers.into_iter().zip(names) {
            replies.push(self.shaped(reply, &name));
        }
        Ok(effect != Effect::None)
    }

    /// Sends commands as one atomic `MULTI`..`EXEC` and returns the reply to `EXEC`: a list in which errors
    /// of single commands stand in their places, nil when a watched key had changed, or an error.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancellation
    /// As [`pipeline`](Self::pipeline): on the lane it is executed if it was sent, on the session's own side connection
    /// the server gives it up unless it has begun.
    pub async fn transaction(&mut self, commands: Vec<Vec<Bytes>>) -> Result<Reply, Error> {
        self.settle()?;
        let mut way = (!self.side.in_transaction()).then_some(Way::Lane);
        for argv in &commands {
            for arg in argv {
                check_sizes(arg, 0)?;
            }
            let name = argv.first().map_or(&b""[..], |name| name);
            let class = classify(argv);
            match class {
                Class::Read | Class::Serve(_) | Class::Write { .. } | Class::Fenced => {}
                Class::Side(_) if !name.is_empty() => way = way.and(self.way(class)),
                Class::Refused(why) => return Err(refused(name, why)),
                _ => return Err(refused(name, "it cannot be part of a transaction")),
            }
        }
        if self.side.in_multi() {
            return Err(refused(b"MULTI", "the session is inside a transaction"));
        }
        commands.iter().for_each(|argv| self.drop_written(argv));
        let queued: Vec<_> = commands.iter().map(|argv| Queued::of(argv)).collect();
        let db = self.db;
        let reply = match way {
            Some(Way::Lane) => {
                let op = Op::Transaction { db, commands };
                self.run(op, Effect::Fenced).await?
            }
            Some(Way::Shared) => {
                let op = Op::Transaction { db, commands };
                self.run(op, Effect::Shared(self.protocol)).await?
            }
            None => {
                // What is watched is watched by the side connection, and what may block does not there.
                let db = Op::AS_IS;
                let reply = self.on_side(Op::Transaction { db, commands }).await?;
                self.side.unwatch();
                reply
            }
        };
        Ok(self.executed(&queued, reply))
    }
}
