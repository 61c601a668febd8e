//! What a server is started with, and the start itself: a private folder, a free port, a bounded number of tries.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use super::Server;
use crate::{Binary, binary, port};

/// How many ports a start tries before it gives up.
const PORT_TRIES: usize = 20;

/// What a [`Server`] is started with.
#[derive(Debug, Clone, Default)]
pub struct ServerBuilder {
    pub(super) path: Option<PathBuf>,
    pub(super) port: Option<u16>,
    pub(super) password: Option<String>,
    pub(super) args: Vec<String>,
}

impl ServerBuilder {
    /// Uses the server program at `path`.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Listens on this port only, instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Asks for this password (`requirepass`); the urls and [`Server::client`] carry it.
    pub fn password(mut self, word: impl Into<String>) -> Self {
        self.password = Some(word.into());
        self
    }

    /// Sets one directive of the server's configuration, for example `arg("user", "bob on nopass ~* +@read")`.
    ///
    /// The value is split at white space; quotes are not understood.
    pub fn arg(mut self, directive: &str, value: &str) -> Self {
        self.args.push(format!("--{directive}"));
        if value.is_empty() {
            self.args.push(String::new());
        }
        self.args
            .extend(value.split_whitespace().map(str::to_owned));
        self
    }

    /// Starts the server and waits until it answers; panics when it cannot.
    #[track_caller]
    pub fn start(self) -> Server {
        let Some(path) = self.path.clone().or_else(binary::try_find) else {
            panic!("{}", binary::NOT_FOUND);
        };
        let Some(binary) = Binary::probe(&path) else {
            panic!("{} is no Redis 7.0 or later and no Valkey", path.display());
        };
        let mut server = Server {
            dir: make_dir(),
            port: 0,
            process: None,
            binary,
            settings: self,
        };
        let tries = if server.settings.port.is_some() {
            1
        } else {
            PORT_TRIES
        };
        for _ in 0..tries {
            server.port = server.settings.port.unwrap_or_else(port::candidate);
            match server.spawn() {
                Ok(()) => return server,
                // Someone else took the port between the look and the bind.
                Err(_) if server.log().contains("Address already in use") => continue,
                Err(error) => panic!(
                    "{} did not start: {error}\n{}",
                    path.display(),
                    server.log()
                ),
            }
        }
        panic!(
            "{} found no port to listen on:\n{}",
            path.display(),
            server.log()
        );
    }
}

/// Makes a private folder with a short name: a unix socket's path has room for about 100 bytes.
fn make_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("nearcache-{}-{number}", process::id()));
    // A folder of an earlier process with our id.
    let _ = fs::remove_dir_all(&dir);
    if let Err(error) = fs::create_dir_all(&dir) {
        panic!("cannot make {}: {error}", dir.display());
    }
    dir
}
