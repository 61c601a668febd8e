//! Kills a server when the test process ends without dropping it (a static, an abort, a kill), and removes its files.
//! Holds one `sh` per server; acts only on the one process id it was given.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A shell that reads from a pipe only this process holds: the pipe ends when the process does, and the shell acts.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// Watches over the server `pid`, whose files are in `dir`.
    pub(crate) fn over(pid: u32, dir: &Path) -> io::Result<Self> {
        Command::new("sh")
            .arg("-c")
            // A Ctrl-C in the terminal must not take the watchdog away before the process it watches.
            .arg("trap '' INT HUP; read -r _; kill -KILL \"$1\" 2>/dev/null; rm -rf -- \"$2\"")
            .arg("watchdog")
            .arg(pid.to_string())
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // First of all: once the server is reaped, its process id may belong to someone else.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
