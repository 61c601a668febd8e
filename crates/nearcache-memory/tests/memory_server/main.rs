//! The embedded server seen from outside: replies, the order of replies and pushes, tracking, faults.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;
use nearcache_memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp::{Reply, decode, encode};
use nearcache_proto::{Op, OpReply};

mod data;
mod tracking;

/// A server with a clock that the test turns.
pub(crate) struct Server {
    server: MemoryServer,
    now: Timestamp,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            server: MemoryServer::new(),
            now: Timestamp::from_micros(1_000_000),
        }
    }

    pub(crate) fn tracked(&mut self) -> ConnId {
        let conn = self.server.connect();
        assert_eq!(self.run(conn, "CLIENT TRACKING ON OPTIN"), [ok()]);
        conn
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = self.now.saturating_add(Duration::from_millis(millis));
    }

    pub(crate) fn execute(&mut self, conn: ConnId, line: &str) {
        let argv: Vec<Bytes> = line
            .split(' ')
            .map(|word| Bytes::from(word.replace('~', " ")))
            .collect();
        self.server.execute(conn, &argv, self.now);
    }

    /// Executes a line (words parted by blanks, `~` for a blank) and takes all outputs so far.
    pub(crate) fn run(&mut self, conn: ConnId, line: &str) -> Vec<Output> {
        self.execute(conn, line);
        self.server.drain(conn)
    }

    /// The same, for when only a reply is expected.
    pub(crate) fn reply(&mut self, conn: ConnId, line: &str) -> Reply {
        let mut outputs = self.run(conn, line);
        assert_eq!(outputs.len(), 1, "{line}: {outputs:?}");
        match outputs.remove(0) {
            Output::Reply(reply) => reply,
            push => panic!("{line}: {push:?}"),
        }
    }

    pub(crate) fn read(&mut self, conn: ConnId, line: &str) {
        self.execute(conn, "CLIENT CACHING YES");
        self.execute(conn, line);
        self.server.drain(conn);
    }
}

pub(crate) fn ok() -> Output {
    Output::Reply(Reply::ok())
}

pub(crate) fn int(number: i64) -> Output {
    Output::Reply(Reply::Int(number))
}

pub(crate) fn text(text: &'static str) -> Reply {
    Reply::Bulk(Bytes::from_static(text.as_bytes()))
}

pub(crate) fn bulk(value: &'static str) -> Output {
    Output::Reply(text(value))
}

pub(crate) fn key(key: &'static str) -> Output {
    let key = Bytes::from_static(key.as_bytes());
    Output::Push(Push::Keys(vec![key]))
}

pub(crate) fn all() -> Output {
    Output::Push(Push::All)
}

pub(crate) fn error(line: &str) -> Reply {
    Reply::error(line)
}
