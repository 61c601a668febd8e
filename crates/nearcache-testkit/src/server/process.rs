//! The process behind a server and the watchdog over it. Kills only what it started.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, ExitStatus};

use crate::watchdog::Watchdog;

/// A child process that dies with its owner, and with this process if the owner is never dropped.
#[derive(Debug)]
pub(super) struct Process {
    watchdog: Option<Watchdog>,
    child: Child,
}

impl Process {
    /// Takes over a child whose files are in `dir`.
    pub(super) fn over(mut child: Child, dir: &Path) -> io::Result<Self> {
        match Watchdog::over(child.id(), dir) {
            Ok(watchdog) => Ok(Self {
                watchdog: Some(watchdog),
                child,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The letter of the process's state, where the system tells it: `T` is stopped.
    pub(super) fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before the process is reaped: afterwards its id may belong to someone else.
        self.watchdog = None;
        // SIGKILL ends a paused process as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
