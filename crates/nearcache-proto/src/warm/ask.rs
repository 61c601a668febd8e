//! Commands of the background's own: one batch on the lane, behind which nobody waits long.

use std::time::Duration;

use bytes::Bytes;

use super::Background;
use crate::cache::Io;
use crate::error::{Error, ErrorKind};
use crate::op::{Op, OpReply};
use crate::request::{CommandWork, Effect, Work};
use crate::resp::Reply;

/// How long the last words of a cache that is shut down may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// One command.
pub(super) type Argv = Vec<Bytes>;

/// A command of these words.
pub(super) fn argv<const N: usize>(words: [&[u8]; N]) -> Argv {
    words
        .iter()
        .map(|word| Bytes::copy_from_slice(word))
        .collect()
}

impl<I: Io> Background<I> {
    /// Runs commands, in order, and returns their replies.
    ///
    /// # Errors
    /// L2 did not answer, or refused one: then what it said.
    pub(super) async fn ask(&self, commands: Vec<Argv>) -> Result<Vec<Reply>, Error> {
        let db = self.config.db;
        let ops = commands.into_iter().map(|argv| Op::Command { db, argv });
        let ops = ops.collect();
        let mut deadline = self.cache.call_deadline();
        if self.cache.pod.warmth.is_closing() {
            // A process that ends does not wait long for statistics.
            deadline = deadline.min(self.cache.io.now().saturating_add(FAREWELL));
        }
        let make = |done| {
            // Keys that nobody keeps a copy of: there is nothing to wait for behind a write of one.
            let effect = Effect::None;
            Work::Command(CommandWork { ops, effect, done })
        };
        let answers = self.cache.ask(deadline, make).await?;
        answers.into_iter().map(reply).collect()
    }
}

fn reply(answer: OpReply) -> Result<Reply, Error> {
    match answer {
        OpReply::Value(Reply::Error { code, message }) => Err(Error::new(
            ErrorKind::Configuration,
            format!("L2 refused what the fleet's statistics need: {code} {message}"),
        )),
        OpReply::Value(reply) => Ok(reply),
        _ => Err(crate::write::unexpected()),
    }
}
