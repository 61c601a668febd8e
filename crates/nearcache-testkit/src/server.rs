//! A real Redis or Valkey on a free loopback port, owned by one test and gone when it is dropped.
//! Kills only the process it started, by its handle.

mod builder;
mod process;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Binary, Client, Value, binary, wait_until};
pub use builder::ServerBuilder;
use process::Process;

/// The name of the connections of a test's own clients, since servers before 7.2 tell nothing else of a client.
const NAME: &str = "testkit";

/// A running server process. It persists nothing, listens on `127.0.0.1` and on a unix socket, and has 16 databases.
#[derive(Debug)]
pub struct Server {
    settings: ServerBuilder,
    binary: Binary,
    dir: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Server {
    /// Starts the default server of this machine, see [`try_find`](crate::try_find).
    ///
    /// Panics when there is no server program or it does not start; the message says what to do.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts the server program at `path`.
    #[track_caller]
    pub fn start_version(path: impl Into<PathBuf>) -> Self {
        Self::builder().program(path).start()
    }

    /// Starts a description of a server with settings of its own.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The path of the default server program, if there is one.
    pub fn try_find() -> Option<PathBuf> {
        binary::try_find()
    }

    /// The TCP port on `127.0.0.1`. It stays the same over [`restart`](Self::restart).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `redis://` address, password included.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The address under which this server is reached through another port of this machine.
    pub(crate) fn url_at(&self, port: u16) -> String {
        let auth = self
            .auth()
            .map(|word| format!(":{word}@"))
            .unwrap_or_default();
        format!("redis://{auth}127.0.0.1:{port}")
    }

    /// The `unix://` address, password included.
    pub fn unix_url(&self) -> String {
        let auth = self
            .auth()
            .map(|word| format!("?pass={word}"))
            .unwrap_or_default();
        format!("unix://{}{auth}", self.unix_path().display())
    }

    /// The path of the unix socket.
    pub fn unix_path(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// The process id; panics while the server is killed.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the server was killed").pid()
    }

    /// The program that runs, with its version.
    pub fn version(&self) -> &Binary {
        &self.binary
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Opens a connection of its own over TCP, logged in: the foreign writer of a test.
    #[track_caller]
    pub fn client(&self) -> Client {
        let mut client = match Client::tcp(self.port) {
            Ok(client) => client,
            Err(error) => panic!(
                "cannot connect to the test server on port {}: {error}",
                self.port
            ),
        };
        if let Some(word) = self.auth() {
            client.ok(&["AUTH", word]);
        }
        client.ok(&["CLIENT", "SETNAME", NAME]);
        client
    }

    /// How many connections the server has that were not opened by [`client`](Self::client): those of whatever is
    /// under test.
    #[track_caller]
    pub fn foreign_connections(&self) -> usize {
        let list = self.client().ok(&["CLIENT", "LIST"]).text();
        let own = format!("name={NAME} ");
        list.lines().filter(|line| !line.contains(&own)).count()
    }

    /// Stops the process with SIGSTOP: connections stay open and nothing answers. Returns when it stands still.
    #[track_caller]
    pub fn pause(&self) {
        self.signal("STOP");
        let stopped = || {
            self.process
                .as_ref()
                .and_then(Process::state)
                .is_none_or(|state| state == 'T')
        };
        assert!(wait_until(stopped), "the server did not stop on SIGSTOP");
    }

    /// Continues a paused process.
    #[track_caller]
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Kills the process at once, as a crash does. Does nothing when it is killed already.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts an empty server again on the same port, after killing the running one if there is one.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        // Connections of the old life may hold the port for a moment.
        let done = wait_until(|| self.spawn().is_ok());
        assert!(done, "the server did not start again:\n{}", self.log());
    }

    fn auth(&self) -> Option<&str> {
        self.settings.password.as_deref()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    #[track_caller]
    fn signal(&self, name: &str) {
        // The shell's own kill: the program of that name is missing on small images.
        let command = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").arg("-c").arg(command).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "cannot send SIG{name} to the server"
        );
    }

    /// Starts the process and waits until it answers.
    fn spawn(&mut self) -> io::Result<()> {
        let _ = fs::remove_file(self.unix_path());
        let child = Command::new(&self.binary.path)
            .args(["--port", &self.port.to_string()])
            .args([
                "--bind",
                "127.0.0.1",
                "--protected-mode",
                "no",
                "--daemonize",
                "no",
            ])
            .args(["--save", "", "--appendonly", "no", "--databases", "16"])
            .args([
                "--enable-debug-command",
                "yes",
                "--repl-diskless-sync-delay",
                "0",
            ])
            .arg("--dir")
            .arg(&self.dir)
            .arg("--logfile")
            .arg(self.log_path())
            .arg("--unixsocket")
            .arg(self.unix_path())
            .args(
                self.settings
                    .password
                    .iter()
                    .flat_map(|word| ["--requirepass", word]),
            )
            .args(&self.settings.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut process = Process::over(child, &self.dir)?;
        // Through the unix socket in our own folder: whoever answers there is our process, and as a server binds its
        // port first, the port is ours too.
        let socket = self.unix_path();
        let mut exited = None;
        let ready = wait_until(|| {
            exited = process.ended();
            exited.is_some() || answers(&socket)
        });
        if let Some(status) = exited {
            return Err(io::Error::other(format!(
                "the server ended at once: {status}"
            )));
        }
        if !ready {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.process = Some(process);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn answers(socket: &Path) -> bool {
    let Ok(mut client) = Client::unix(socket) else {
        return false;
    };
    match client.try_cmd(&["PING"]) {
        Ok(Value::Simple(_)) => true,
        Ok(Value::Error(text)) => text.starts_with("NOAUTH") || text.starts_with("NOPERM"),
        _ => false,
    }
}
