//! Live progress: one line a second, written over where the output is a terminal.

use std::io::{IsTerminal as _, Write as _};

use super::control::Control;
use super::table::count;
use crate::Failure;
use crate::machine::now_ns;

const SECOND_NS: u64 = 1_000_000_000;

/// What is shown while the demo runs. Goes to standard error, so that a redirected table stays a table.
pub(crate) struct Progress {
    terminal: bool,
    width: usize,
    title: String,
    start_ns: u64,
    shown_ns: u64,
    reads: u64,
    l2_reads: Option<u64>,
}

impl Progress {
    /// Shows nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            width: 0,
            title: String::new(),
            start_ns: 0,
            shown_ns: 0,
            reads: 0,
            l2_reads: None,
        }
    }

    /// Shows a line.
    pub(crate) fn say(&mut self, line: &str) {
        let length = line.chars().count();
        if self.terminal {
            // As wide as the longest so far, to cover what stood there.
            self.width = self.width.max(length);
            eprint!("\r{line:<width$}", width = self.width);
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    /// Begins a phase.
    pub(crate) fn begin(&mut self, title: &str, start_ns: u64, l2_reads: Option<u64>) {
        title.clone_into(&mut self.title);
        (self.start_ns, self.shown_ns, self.reads, self.l2_reads) =
            (start_ns, start_ns, 0, l2_reads);
    }

    /// Shows how far the phase is, if a second has passed since it last did.
    pub(crate) fn tick(&mut self, reads: u64, control: &mut Control) -> Result<(), Failure> {
        let now = now_ns();
        if now < self.shown_ns + SECOND_NS {
            return Ok(());
        }
        let per_second = |more: u64| more as f64 * 1e9 / (now - self.shown_ns) as f64;
        let mut line = format!(
            "{} {:>2} s: {:>9} reads/s",
            self.title,
            (now - self.start_ns) / SECOND_NS,
            count(per_second(reads.saturating_sub(self.reads)))
        );
        if let (Some(before), Some(snapshot)) = (self.l2_reads, control.snapshot()?) {
            line += &format!(
                ", {:>9} of them at L2",
                count(per_second(snapshot.reads.saturating_sub(before)))
            );
            self.l2_reads = Some(snapshot.reads);
        }
        self.say(&line);
        (self.shown_ns, self.reads) = (now, reads);
        Ok(())
    }

    /// Leaves the line.
    pub(crate) fn end(&mut self) {
        if self.terminal {
            eprint!("\r{:width$}\r", "", width = self.width);
        }
    }
}
