//! How a command ends: what it says of itself, and the exit codes that come of it: 0 ok, 1 a negative result, 2 an error,
//! 141 nobody reads the output any more.

use std::panic;
use std::process::ExitCode;

use crate::terminal::{Unread, errln};

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It found what it was to find.
    Good,
    /// It worked, and the finding is a bad one.
    Negative,
}

impl Outcome {
    /// Of a finding.
    pub fn of(good: bool) -> Self {
        match good {
            true => Self::Good,
            false => Self::Negative,
        }
    }
}

/// Why a command failed, for its user.
pub type Failure = String;

/// Runs a command, says why it failed if it did, and gives its exit code.
pub fn exit(command: impl FnOnce() -> Result<Outcome, Failure> + panic::UnwindSafe) -> ExitCode {
    match panic::catch_unwind(command) {
        Ok(Ok(Outcome::Good)) => ExitCode::SUCCESS,
        Ok(Ok(Outcome::Negative)) => ExitCode::from(1),
        Ok(Err(why)) => {
            errln!("nearcache: {why}");
            ExitCode::from(2)
        }
        // As the shell tells of a program that a closed pipe ended.
        Err(end) if end.is::<Unread>() => ExitCode::from(141),
        Err(panic) => panic::resume_unwind(panic),
    }
}
