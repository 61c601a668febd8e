//! A Redis or Valkey server for one run: started on a free loopback port with nothing saved, ended by its own process id.
//! Touches no other server; [`program`](super::program) says which program it is.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nearcache_cli::outcome::Failure;
use nearcache_cli::terminal;

const START: Duration = Duration::from_secs(10);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    child: Child,
    watchdog: Option<Child>,
    port: u16,
}

impl Server {
    /// Starts the program with these arguments besides.
    pub(crate) fn start(program: &Path, more: &[&str]) -> Result<Self, Failure> {
        let mut why = String::new();
        // Whoever takes the port between our look and the server's makes it end; then another is tried.
        for _ in 0..5 {
            match Self::start_once(program, more) {
                Ok(server) => return Ok(server),
                Err(error) => why = error,
            }
        }
        Err(format!("{} does not start: {why}", program.display()))
    }

    /// Starts the program, and says so.
    pub(crate) fn announced(program: &Path) -> Result<Self, Failure> {
        let server = Self::start(program, &[])?;
        terminal::paragraph(&format!(
            "Started {} at {}.",
            program.display(),
            server.url()
        ));
        Ok(server)
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens, without the scheme.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it; it is gone when this returns, and all it held with it.
    pub(crate) fn kill(&mut self) {
        end(&mut self.watchdog, &mut self.child);
    }

    /// Starts a server that was killed once more, at the same address.
    pub(crate) fn start_again(&mut self) -> Result<(), Failure> {
        // What it replaces is ended first, or its end would be that of the address's new owner.
        self.kill();
        *self = Self::start_at(&self.program, self.port, &[])?;
        Ok(())
    }

    fn start_once(program: &Path, more: &[&str]) -> Result<Self, Failure> {
        let port = free_port().map_err(|error| format!("no free loopback port: {error}"))?;
        Self::start_at(program, port, more)
    }

    fn start_at(program: &Path, port: u16, more: &[&str]) -> Result<Self, Failure> {
        // The child begins in another folder.
        let program = std::path::absolute(program).map_err(|error| error.to_string())?;
        let child = Command::new(&program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(more)
            .current_dir(env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let watchdog = watchdog(child.id());
        let mut server = Self {
            program,
            child,
            watchdog,
            port,
        };
        server.wait()?;
        Ok(server)
    }

    /// Waits until the server answers, and makes sure that it is ours.
    fn wait(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended at once ({status})"));
            }
            match process_id(&self.url()) {
                Some(pid) if pid == self.child.id() => return Ok(()),
                Some(_) => return Err(format!("another server has port {}", self.port)),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
        Err(format!("it does not answer after {START:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.watchdog, &mut self.child);
    }
}

fn end(watchdog: &mut Option<Child>, child: &mut Child) {
    // First of all: once the server is reaped, its process id may belong to someone else.
    if let Some(watchdog) = watchdog {
        let _ = watchdog.kill();
        let _ = watchdog.wait();
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The process id a server says it has; `None` while nobody answers.
fn process_id(url: &str) -> Option<u32> {
    let client = redis::Client::open(url).ok()?;
    let mut connection = client
        .get_connection_with_timeout(Duration::from_secs(1))
        .ok()?;
    let text: String = redis::cmd("INFO")
        .arg("server")
        .query(&mut connection)
        .ok()?;
    super::control::info(&text, "process_id")?.parse().ok()
}

/// A shell that reads from a pipe only this process holds: the pipe ends when the process does, however that comes
/// about, and the shell ends the server. Without a shell the server outlives a run that is killed.
fn watchdog(pid: u32) -> Option<Child> {
    Command::new("sh")
        .args([
            "-c",
            "trap '' INT HUP; read -r _; kill -KILL \"$1\" 2>/dev/null",
            "watchdog",
        ])
        .arg(pid.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_no_server_does_not_start() {
        let why = Server::start(Path::new("/bin/true"), &[]).unwrap_err();
        assert!(why.contains("/bin/true does not start"), "{why}");
    }
}
