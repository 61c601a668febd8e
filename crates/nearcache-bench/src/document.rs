//! The document of a run: what is said before and after its figures, as JSON, on a terminal and on a page. Knows no figure;
//! the order of the fields is that of the JSON.

use std::fs;
use std::path::Path;

use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::terminal::{self, outln};
use serde::Serialize;

use crate::goal::{self, Goal};
use crate::machine::Hardware;

/// What every benchmark of a fleet or a process writes, and the demo; `R` are the figures.
#[derive(Debug, Serialize)]
pub(crate) struct Document<R> {
    /// Which form this is, and whose; the demo does not say.
    #[serde(flatten)]
    pub(crate) form: Option<Form>,
    /// What all choices followed from.
    pub(crate) seed: u64,
    /// The machine.
    pub(crate) hardware: Hardware,
    /// What L2 was.
    pub(crate) server: String,
    /// What was asked for, and what was found.
    #[serde(flatten)]
    pub(crate) run: R,
    /// What was to be reached, and what was; `None`: there is nothing of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goals: Option<Vec<Goal>>,
    /// How long all of it took; the demo does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) elapsed_seconds: Option<f64>,
    /// The finding in one sentence.
    pub(crate) verdict: String,
    /// Whether it is a good one.
    pub(crate) good: bool,
}

/// Which form a document has.
#[derive(Debug, Serialize)]
pub(crate) struct Form {
    format: u32,
    /// The release of nearcache.
    version: &'static str,
}

/// What is known of a run before it begins.
#[derive(Debug)]
pub(crate) struct Head {
    /// What all choices follow from.
    pub(crate) seed: u64,
    /// The machine.
    pub(crate) hardware: Hardware,
    /// What L2 is.
    pub(crate) server: String,
}

impl<R> Document<R> {
    /// The document of a benchmark without goals, which took so many nanoseconds.
    pub(crate) fn new(head: Head, run: R, elapsed_ns: u64, verdict: (String, bool)) -> Self {
        Self {
            form: Some(Form {
                format: 1,
                version: env!("CARGO_PKG_VERSION"),
            }),
            elapsed_seconds: Some(elapsed_ns as f64 / 1e9),
            ..Self::plain(head, run, verdict)
        }
    }

    /// The document of the demo.
    pub(crate) fn plain(head: Head, run: R, (verdict, good): (String, bool)) -> Self {
        Self {
            form: None,
            seed: head.seed,
            hardware: head.hardware,
            server: head.server,
            run,
            goals: None,
            elapsed_seconds: None,
            verdict,
            good,
        }
    }

    /// What was to be reached.
    pub(crate) fn goals(&self) -> &[Goal] {
        self.goals.as_deref().unwrap_or_default()
    }

    /// The same as a table in lines that fit; empty where there is nothing.
    pub(crate) fn goals_table(&self, columns: usize) -> String {
        goal::table(self.goals(), columns)
    }

    /// A note on a machine that was busy.
    pub(crate) fn busy(&self) -> Option<String> {
        let busy = self.hardware.busy()?;
        Some(format!("Note: {busy}."))
    }

    /// The note of where the figures come from.
    pub(crate) fn origin(&self) -> String {
        let form = self.form.as_ref();
        let release = form.map_or_else(String::new, |form| format!("nearcache {}; ", form.version));
        let took = self.elapsed_seconds;
        let took = took.map_or_else(String::new, |took| format!("; {took:.0} s in all"));
        format!(
            "Seed {}; {release}{}; {}{took}.",
            self.seed,
            self.server,
            self.hardware.line()
        )
    }

    /// Prints the finding, and what a reader should know.
    pub(crate) fn say(&self, notes: &[String]) {
        terminal::paragraph(&self.verdict);
        outln!("");
        for note in notes {
            terminal::item(note);
        }
    }

    /// How the command ends.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::of(self.good)
    }
}

/// Writes figures as JSON.
pub(crate) fn write(path: &Path, figures: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(figures).map_err(|error| error.to_string())?;
    put(path, &(text + "\n"))
}

/// Writes figures as JSON in lines that people can read.
pub(crate) fn write_pretty(path: &Path, figures: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(figures).map_err(|error| error.to_string())?;
    put(path, &(text + "\n"))
}

/// Writes a file.
pub(crate) fn put(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
