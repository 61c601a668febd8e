//! The real cast: a server process of the test's own, pods behind a proxy, and a client of the test kit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nearcache::Builder;
use nearcache_testkit::{Client, Proxy, Server, Value};

use super::{Cast, Net, Refuse};

/// A port that nothing listens on: the primary of a server that has lost its own.
const NOBODY: &str = "1";

/// A server behind a proxy.
pub(crate) struct Real {
    server: Mutex<Server>,
    proxy: Proxy,
    writer: Mutex<Client>,
}

impl Real {
    /// A new server process.
    #[track_caller]
    pub(crate) fn new() -> Self {
        let server = Server::start();
        Self {
            proxy: Proxy::to(&server),
            writer: Mutex::new(administrator(&server)),
            server: Mutex::new(server),
        }
    }

    /// The number in a line of `INFO`.
    fn info(&self, section: &str, field: &str) -> u64 {
        let text = self.cmd(0, &[b"INFO", section.as_bytes()]).text();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let number: String = line
            .unwrap_or("0")
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        number.parse().unwrap_or(0)
    }
}

impl Cast for Real {
    fn attach(&self, builder: Builder) -> Builder {
        builder.redis(self.proxy.url())
    }

    fn cmd(&self, db: u32, argv: &[&[u8]]) -> Value {
        let mut writer = lock(&self.writer);
        if db != 0 {
            writer.ok(&["SELECT", &db.to_string()]);
        }
        let reply = writer.cmd(argv);
        if db != 0 {
            writer.ok(&["SELECT", "0"]);
        }
        reply
    }

    fn calls(&self, name: &str) -> u64 {
        self.info("commandstats", &format!("cmdstat_{name}:calls="))
    }

    fn connections(&self) -> usize {
        lock(&self.server).foreign_connections()
    }

    fn net(&self, net: Net) {
        match net {
            Net::Drip(pause) => self.proxy.pieces(1, pause),
            _ => self.proxy.pieces(0, Duration::ZERO),
        }
        match net {
            Net::Pass | Net::LatePushes | Net::Drip(_) => self.proxy.resume(),
            Net::Stall => self.proxy.stall(),
            Net::StallReplies => self.proxy.stall_replies(),
            Net::HalfOpen => self.proxy.half_open(),
        }
    }

    fn cut(&self) {
        self.proxy.reset_all();
    }

    fn refuse_connections(&self, refuse: bool) {
        self.proxy.refuse(refuse);
    }

    fn freeze(&self, frozen: bool) {
        let server = lock(&self.server);
        if frozen {
            server.pause();
        } else {
            server.resume();
        }
    }

    fn set_primary(&self, primary: bool) {
        let (host, port) = if primary {
            ("NO", "ONE")
        } else {
            ("127.0.0.1", NOBODY)
        };
        lock(&self.writer).ok(&["REPLICAOF", host, port]);
    }

    fn refuse(&self, what: Refuse) {
        let rule = match what {
            Refuse::Caching => "-client|caching",
            Refuse::Tracking => "-client|tracking",
            Refuse::Echo => "-echo",
            Refuse::Lives => "-pttl",
            Refuse::OwnKeys => {
                let keys = ["resetkeys", "~k*", "~l*", "~x*"];
                let argv = ["ACL", "SETUSER", "default"].into_iter().chain(keys);
                lock(&self.writer).ok(&argv.collect::<Vec<_>>());
                return;
            }
            Refuse::Canary => "-set",
            Refuse::Memory => {
                lock(&self.writer).ok(&["CONFIG", "SET", "maxmemory", "1"]);
                return;
            }
        };
        lock(&self.writer).ok(&["ACL", "SETUSER", "default", rule]);
    }

    fn table_limit(&self, keys: usize) {
        let keys = keys.to_string();
        lock(&self.writer).ok(&["CONFIG", "SET", "tracking-table-max-keys", &keys]);
    }

    fn restart(&self) {
        let mut server = lock(&self.server);
        server.restart();
        *lock(&self.writer) = administrator(&server);
    }
}

/// A writer whom no permission taken from the pods concerns.
fn administrator(server: &Server) -> Client {
    let mut client = server.client();
    client.ok(&[
        "ACL", "SETUSER", "admin", "on", ">admin", "~*", "&*", "+@all",
    ]);
    client.ok(&["AUTH", "admin", "admin"]);
    client
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
