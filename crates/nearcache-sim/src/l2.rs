//! The one L2 of a simulated fleet: the embedded server, and which pod hears what it pushes.
//!
//! Holds every key of the trace from the beginning; all values share one buffer of zeros, whatever their sizes.

use std::collections::BTreeMap;

use bytes::Bytes;
use nearcache_l1::Timestamp;
use nearcache_memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp::{Batch, Reply};
use nearcache_proto::{BatchReply, Events, Op};

use crate::exchange::Meter;
use crate::trace::Key;

/// No server takes a longer value.
const LONGEST_VALUE: u32 = 512 << 20;

pub(crate) struct L2 {
    server: MemoryServer,
    writer: ConnId,
    listeners: BTreeMap<ConnId, Events>,
    /// Connections that ended, for the next ones to take over: the server keeps registrations of a connection for as long
    /// as it lives, so that those of pods before cost a push or two, and ending it would cost a walk through all of them.
    spare: Vec<ConnId>,
    zeros: Bytes,
    commands: Vec<Vec<Bytes>>,
    /// What pods tell each other is measured, if that is wanted.
    pub(crate) meter: Option<Meter>,
}

impl L2 {
    /// An L2 that holds `keys`.
    pub(crate) fn new(keys: &[Key], now: Timestamp) -> Self {
        let longest = keys.iter().map(|key| key.value_bytes).max().unwrap_or(0);
        let mut server = MemoryServer::new();
        let writer = server.connect();
        let mut l2 = Self {
            server,
            writer,
            listeners: BTreeMap::new(),
            spare: Vec::new(),
            zeros: Bytes::from(vec![0; longest.min(LONGEST_VALUE) as usize]),
            commands: Vec::new(),
            meter: None,
        };
        for key in keys {
            l2.write(key, now);
        }
        l2
    }

    /// Somebody outside the fleet writes a key; every pod that holds it hears of it before this returns.
    pub(crate) fn write(&mut self, key: &Key, now: Timestamp) {
        let value = self
            .zeros
            .slice(..key.value_bytes.min(LONGEST_VALUE) as usize);
        let set = [Bytes::from_static(b"SET"), key.name.clone(), value];
        self.server.execute(self.writer, &set, now);
        self.server.drain(self.writer);
        self.deliver();
    }

    /// Puts a value that is none of the trace's.
    pub(crate) fn put(&mut self, key: Bytes, value: Vec<u8>, now: Timestamp) {
        let set = [Bytes::from_static(b"SET"), key, value.into()];
        self.server.execute(self.writer, &set, now);
        self.server.drain(self.writer);
        self.deliver();
    }

    /// What lies under a key, if that is a string.
    pub(crate) fn get(&mut self, key: Bytes, now: Timestamp) -> Option<Bytes> {
        let get = [Bytes::from_static(b"GET"), key];
        self.server.execute(self.writer, &get, now);
        let replies = self.server.drain(self.writer).into_iter();
        replies.fold(None, |found, output| match output {
            Output::Reply(Reply::Bulk(value)) => Some(value),
            _ => found,
        })
    }

    /// Opens the connection of a lane.
    pub(crate) fn connect(&mut self, events: Events) -> ConnId {
        let conn = self.spare.pop().unwrap_or_else(|| self.server.connect());
        self.listeners.insert(conn, events);
        conn
    }

    /// Opens an untracked connection.
    pub(crate) fn connect_side(&mut self) -> ConnId {
        self.server.connect()
    }

    /// Ends the connection of a lane.
    pub(crate) fn close(&mut self, conn: ConnId) {
        if self.listeners.remove(&conn).is_some() {
            self.spare.push(conn);
        }
    }

    /// Ends an untracked connection.
    pub(crate) fn close_side(&mut self, conn: ConnId) {
        self.server.disconnect(conn);
    }

    /// Executes a batch and answers it; what it makes the server push is applied first.
    pub(crate) fn batch(&mut self, conn: ConnId, mut ops: Vec<Op>, now: Timestamp) -> BatchReply {
        let mut answers = Vec::new();
        // The order of push and echo is looked at behind the last reply of a group.
        while let Some(at) = Batch::handshake(&ops) {
            let rest = ops.split_off(at + 1);
            answers.extend(self.group(conn, std::mem::replace(&mut ops, rest), now));
        }
        if answers.is_empty() {
            return self.group(conn, ops, now);
        }
        answers.extend(self.group(conn, ops, now));
        answers
    }

    fn group(&mut self, conn: ConnId, ops: Vec<Op>, now: Timestamp) -> BatchReply {
        let canary = match ops.last() {
            Some(Op::Handshake { canary, .. }) => Some(canary.clone()),
            _ => None,
        };
        let mut commands = std::mem::take(&mut self.commands);
        let batch = Batch::encode(ops, 0, &mut commands);
        for argv in &commands {
            self.server.execute(conn, argv, now);
        }
        let mut replies = Vec::new();
        let (mut pushed, mut pushed_in_time) = (false, false);
        for output in self.server.drain(conn) {
            match output {
                Output::Reply(reply) => {
                    pushed_in_time = pushed;
                    replies.push(reply);
                }
                Output::Push(push) => pushed |= self.push(conn, push, canary.as_ref()),
            }
        }
        if let Some(meter) = &mut self.meter {
            meter.measure(&commands, &replies);
        }
        commands.clear();
        self.commands = commands;
        let mut answers = batch.decode(replies);
        if canary.is_some() {
            Batch::judge_handshake(&mut answers, pushed_in_time);
        }
        self.deliver();
        answers
    }

    /// Hands out what was pushed to connections that did not ask for anything.
    fn deliver(&mut self) {
        for conn in self.server.ready() {
            for output in self.server.drain(conn) {
                if let Output::Push(push) = output {
                    self.push(conn, push, None);
                }
            }
        }
    }

    /// Returns whether `canary` was among the keys.
    fn push(&self, conn: ConnId, push: Push, canary: Option<&Bytes>) -> bool {
        let Some(events) = self.listeners.get(&conn) else {
            return false;
        };
        match push {
            Push::All => events.invalidate_all(),
            Push::Keys(keys) => {
                for key in &keys {
                    events.invalidate(key);
                }
                return canary.is_some_and(|canary| keys.contains(canary));
            }
        }
        false
    }
}
