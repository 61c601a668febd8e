//! Commands of the background's own: one batch on the lane, behind which nobody waits long.

use bytes::Bytes;

use super::ground::Ground;
use crate::cache::Io;
use crate::error::{Error, ErrorKind};
use crate::fleet::fleet_key;
use crate::lane::op_error;
use crate::op::{Op, OpError, OpReply};
use crate::primary::LaneState;
use crate::request::{CommandWork, Effect, Work};
use crate::resp::Reply;
use crate::shim::Ordering;

/// One command.
pub(super) type Argv = Vec<Bytes>;

/// A command of these words.
pub(super) fn argv<const N: usize>(words: [&[u8]; N]) -> Argv {
    words
        .iter()
        .map(|word| Bytes::copy_from_slice(word))
        .collect()
}

impl<I: Io> Ground<I> {
    /// Runs commands, in order, and returns their replies.
    ///
    /// # Errors
    /// L2 did not answer, or refused one: then what it said.
    pub(super) async fn ask(&self, commands: Vec<Argv>) -> Result<Vec<Reply>, Error> {
        let db = self.config.db;
        let ops = commands.into_iter().map(|argv| Op::Command { db, argv });
        let ops = ops.collect();
        let deadline = self.cache.call_deadline();
        let make = |done| {
            // Keys that nobody keeps a copy of: there is nothing to wait for behind a write of one.
            let effect = Effect::None;
            Work::Command(CommandWork { ops, effect, done })
        };
        // All keys of a service have one owner.
        let primary = self.cache.pod.route.of(&self.owned).id();
        let answers = self.cache.ask(primary, deadline, make);
        let answers = self.bounded(deadline, answers).await;
        let answers = answers.unwrap_or_else(|| Err(late()));
        let replies = answers.and_then(|answers| answers.into_iter().map(reply).collect());
        replies.inspect_err(|error| self.tell_of_refusal(error))
    }

    /// Says once what is refused for good: a db that is not there, a missing permission.
    fn tell_of_refusal(&self, error: &Error) {
        let lasting = match error.server_error() {
            // Busy or full is over some time.
            Some((code, message)) => {
                let (code, message) = (code.to_owned(), message.to_owned());
                op_error(&OpError::Server { code, message }).kind() != ErrorKind::Retry
            }
            // Of a lane that is refused as a whole others tell.
            None if matches!(self.cache.pod.state(), LaneState::Down(_)) => false,
            None => matches!(error.kind(), ErrorKind::Usage | ErrorKind::Configuration),
        };
        if lasting && !self.told_refusal.swap(true, Ordering::Relaxed) {
            let db = self.config.db;
            self.cache.pod.warmth.warn(format!(
                "L2 refuses what pods tell each other of their reads, so that no pod starts warm: {error}. It lies in db \
                 {db} (setting `fleet_db`), under {}*",
                fleet_key(&self.cache.pod.config.service, "")
            ));
        }
    }
}

#[cold]
pub(super) fn late() -> Error {
    Error::new(
        ErrorKind::Retry,
        "L2 did not answer the fleet's statistics in time",
    )
}

fn reply(answer: OpReply) -> Result<Reply, Error> {
    match answer {
        OpReply::Value(Reply::Error { code, message }) => {
            let text = format!("{code} {message}");
            Err(Error::new(ErrorKind::Configuration, text).of_server(&code, &message))
        }
        OpReply::Value(reply) => Ok(reply),
        _ => Err(crate::error::unexpected()),
    }
}
