//! Live progress: one line a second, written over where the output is a terminal.

use std::io::{IsTerminal as _, Write as _};

use super::show::count;
use crate::machine::now_ns;

const SECOND_NS: u64 = 1_000_000_000;
/// Characters of a bar.
const BAR: usize = 12;

/// What is shown while a fleet runs. Goes to standard error, so that a redirected table stays a table.
pub(crate) struct Progress {
    terminal: bool,
    width: usize,
    title: String,
    start_ns: u64,
    duration_ns: u64,
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
            duration_ns: 0,
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

    /// Begins a phase that is to last `duration_ns`; 0: until its work is done.
    pub(crate) fn begin(
        &mut self,
        title: &str,
        start_ns: u64,
        duration_ns: u64,
        l2_reads: Option<u64>,
    ) {
        title.clone_into(&mut self.title);
        self.duration_ns = duration_ns;
        (self.start_ns, self.shown_ns, self.reads, self.l2_reads) =
            (start_ns, start_ns, 0, l2_reads);
    }

    /// Whether a second has passed since it was last shown how far the phase is.
    pub(crate) fn due(&self) -> bool {
        now_ns() >= self.shown_ns + SECOND_NS
    }

    /// Shows how far the phase is: reads so far, by the pods and by the server.
    pub(crate) fn show(&mut self, reads: u64, l2_reads: Option<u64>) {
        let now = now_ns();
        let per_second = |more: u64| more as f64 * 1e9 / (now - self.shown_ns).max(1) as f64;
        let gone_ns = now.saturating_sub(self.start_ns);
        let mut line = format!(
            "{} {} {:>2} s: {:>9} reads/s",
            self.title,
            bar(gone_ns, self.duration_ns),
            gone_ns / SECOND_NS,
            count(per_second(reads.saturating_sub(self.reads)))
        );
        if let (Some(before), Some(l2_reads)) = (self.l2_reads, l2_reads) {
            line += &format!(
                ", {:>9} of them at L2",
                count(per_second(l2_reads.saturating_sub(before)))
            );
            self.l2_reads = Some(l2_reads);
        }
        self.say(&line);
        (self.shown_ns, self.reads) = (now, reads);
    }

    /// Leaves the line.
    pub(crate) fn end(&mut self) {
        if self.terminal {
            eprint!("\r{:width$}\r", "", width = self.width);
        }
    }
}

/// How far something is; empty where nobody knows.
fn bar(gone: u64, whole: u64) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        gone as f64 / whole as f64
    };
    let full = ((share * BAR as f64) as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills() {
        assert_eq!(bar(0, 10), "[............]");
        assert_eq!(bar(5, 10), "[######......]");
        assert_eq!(bar(50, 10), "[############]");
        assert_eq!(bar(5, 0), "[............]");
    }
}
