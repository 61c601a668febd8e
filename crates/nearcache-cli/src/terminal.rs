//! Where a command prints: the only place that does. Knows how wide the terminal is, and ends the command quietly when
//! nobody reads on, as in `| head`.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::panic;

use crate::show::wrapped;

/// The widest that text without columns becomes.
const TEXT: usize = 110;
/// Below this nothing is readable anyway.
const LEAST: usize = 24;

/// What unwinds the command when nobody reads its output any more. Unwinding ends the servers and pods it started.
pub struct Unread;

/// A line of standard output.
#[macro_export]
macro_rules! outln {
    ($($word:tt)*) => { $crate::terminal::out(format_args!("{}\n", format_args!($($word)*))) };
}

/// A line of standard error.
#[macro_export]
macro_rules! errln {
    ($($word:tt)*) => { $crate::terminal::err(format_args!("{}\n", format_args!($($word)*))) };
}

pub use crate::{errln, outln};

/// Prints to standard output; lines that are too long are broken between words.
pub fn out(text: Arguments<'_>) {
    let text = folded(&text.to_string(), columns());
    let mut stdout = io::stdout().lock();
    let printed = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    drop(stdout);
    if printed.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        // Not a panic: there is nothing to report.
        panic::resume_unwind(Box::new(Unread));
    }
}

/// Prints to standard error. Where that is not possible there is nobody to tell.
pub fn err(text: Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_fmt(text).and_then(|()| stderr.flush());
}

fn folded(text: &str, columns: usize) -> String {
    let fold = |line: &str| {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        if line.chars().count() <= columns {
            return format!("{line}{end}");
        }
        let indent = line.len() - line.trim_start().len();
        let indent = " ".repeat(indent.min(columns / 2));
        let width = columns - indent.len();
        format!("{indent}{}{end}", wrapped(line, &indent, width))
    };
    text.split_inclusive('\n').map(fold).collect()
}

/// Text, in lines that fit.
pub fn paragraph(text: &str) {
    outln!("{}", wrapped(text, "", columns().min(TEXT)));
}

/// An item of a list, in lines that fit.
pub fn item(text: &str) {
    outln!("- {}", wrapped(text, "  ", columns().min(TEXT) - 2));
}

/// Columns of the terminal; where standard output is none, those that `COLUMNS` says.
pub fn columns() -> usize {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal().then(|| size(&stdout)).flatten();
    let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(variable).unwrap_or(TEXT).max(LEAST)
}

/// Columns of the terminal that progress is shown on; `None` where it is none.
pub fn progress_columns() -> Option<usize> {
    let stderr = io::stderr();
    stderr
        .is_terminal()
        .then(|| size(&stderr).unwrap_or(80).max(LEAST))
}

fn size(terminal: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_others_are_not() {
        assert_eq!(folded("a  b\n\n  c d e f", 6), "a  b\n\n  c d\n  e f");
        assert_eq!(folded("  one two\n", 20), "  one two\n");
    }
}
