//! One connection of the embedded store: its state and what it has still to receive.

use std::collections::VecDeque;

use bytes::Bytes;

use super::commands::Command;
use nearcache_proto::resp::Reply;

/// The number of a connection; never used again after it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(super) u64);

/// Something a connection receives.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The answer to its next unanswered command.
    Reply(Reply),
    /// News it registered for.
    Push(Push),
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// These keys, in some database.
    Keys(Vec<Bytes>),
    /// Everything.
    All,
}

/// Which reads of a connection register their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracking {
    Off,
    All,
    OptIn,
}

/// Commands between `MULTI` and `EXEC`.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) commands: Vec<(&'static Command, Vec<Bytes>)>,
    /// Bytes of arguments in it.
    pub(super) weight: usize,
    /// One of them was refused.
    pub(super) broken: bool,
}

/// The state of a connection.
pub(super) struct Session {
    pub(super) db: usize,
    pub(super) name: Bytes,
    pub(super) tracking: Tracking,
    /// `CLIENT CACHING YES` was the last command.
    pub(super) caching: bool,
    pub(super) queue: Option<Queue>,
    pub(super) watched: Vec<(usize, Bytes)>,
    /// A watched key changed.
    pub(super) dirty: bool,
    /// No permission concerns it.
    pub(super) trusted: bool,
    outputs: VecDeque<Output>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            db: 0,
            name: Bytes::new(),
            tracking: Tracking::Off,
            caching: false,
            queue: None,
            watched: Vec::new(),
            dirty: false,
            trusted: false,
            outputs: VecDeque::new(),
        }
    }

    /// Whether a read made now registers its keys.
    pub(super) fn registers(&self) -> bool {
        match self.tracking {
            Tracking::Off => false,
            Tracking::All => true,
            Tracking::OptIn => self.caching,
        }
    }

    pub(super) fn unwatch(&mut self) {
        self.watched.clear();
        self.dirty = false;
    }

    /// Adds to what it receives. A second "everything" right behind the first says nothing new.
    pub(super) fn emit(&mut self, output: Output) {
        let all = Output::Push(Push::All);
        if output != all || self.outputs.back() != Some(&all) {
            self.outputs.push_back(output);
        }
    }

    pub(super) fn drain(&mut self) -> Vec<Output> {
        self.outputs.drain(..).collect()
    }
}
