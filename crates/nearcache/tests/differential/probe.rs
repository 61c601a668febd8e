//! An observer beside the connections: waits for events on a server, and writes as nobody's handle.
//! Uses the testkit's client, which shares no code with redis-rs.

use nearcache_testkit::{Client, Server, eventually};

use crate::command::Command;

/// One more connection to a server.
pub struct Probe {
    client: Client,
    db: i64,
}

impl Probe {
    pub fn of(server: &Server) -> Self {
        Self {
            client: server.client(),
            db: 0,
        }
    }

    /// Runs a command in `db`; its reply does not matter.
    pub fn run(&mut self, db: i64, command: &Command) {
        self.select(db);
        self.client.cmd(&command.0);
    }

    /// Waits until `key` of `db` is gone.
    pub fn wait_gone(&mut self, db: i64, key: &[u8]) {
        self.select(db);
        eventually("the key has expired", || {
            self.client.ok(&[b"EXISTS", key]).int() == 0
        });
    }

    /// An empty server that knows no script.
    pub fn clear(&mut self) {
        for command in ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH"] {
            let words: Vec<&str> = command.split(' ').collect();
            self.client.ok(&words);
        }
    }

    fn select(&mut self, db: i64) {
        if self.db != db {
            self.client.ok(&["SELECT", &db.to_string()]);
            self.db = db;
        }
    }
}
