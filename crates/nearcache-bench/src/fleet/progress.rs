//! Live progress on standard error. On a terminal one line is drawn over and over, by the clock, so that it never stands
//! still; elsewhere a line is printed now and then.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nearcache_cli::show::count;
use nearcache_cli::terminal::{self, errln};

use crate::machine::now_ns;

const SECOND_NS: u64 = 1_000_000_000;
/// How often the line is drawn.
const DRAWN: Duration = Duration::from_millis(200);
/// How often a line is printed where there is no terminal.
const PRINTED_NS: u64 = 10 * SECOND_NS;
/// Characters of a bar.
const BAR: usize = 12;

/// A count, and when it was that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) number: u64,
    pub(crate) at_ns: u64,
}

impl Count {
    /// Now.
    pub(crate) fn now(number: u64) -> Self {
        Self {
            number,
            at_ns: now_ns(),
        }
    }

    /// How fast it grew since.
    fn per_second(self, before: Self) -> f64 {
        let gone_ns = self.at_ns.saturating_sub(before.at_ns).max(1);
        self.number.saturating_sub(before.number) as f64 * 1e9 / gone_ns as f64
    }
}

/// What is shown while something runs.
pub(crate) struct Progress {
    line: Arc<Mutex<Line>>,
    /// Ends the thread that draws, when dropped.
    _drawing: Option<Sender<()>>,
    start: (Count, Option<Count>),
    last: (Count, Option<Count>),
    shown_ns: u64,
    printed_ns: u64,
}

// Concurrency: one lock, held while the line is drawn; the command and the thread that draws take it in turn.
#[derive(Default)]
struct Line {
    terminal: bool,
    title: String,
    start_ns: u64,
    extent: Extent,
    figures: String,
}

/// How much of it there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Extent {
    /// Nothing is under way.
    #[default]
    Nothing,
    /// Nobody knows.
    Unknown,
    /// It lasts so many nanoseconds.
    Time(u64),
    /// This share is done.
    Share(f64),
}

impl Progress {
    /// Shows nothing yet.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let line = Arc::new(Mutex::new(Line {
            terminal,
            ..Line::default()
        }));
        Self {
            _drawing: terminal.then(|| draw(&line)),
            line,
            start: Default::default(),
            last: Default::default(),
            shown_ns: 0,
            printed_ns: 0,
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins something of which nobody knows how long it takes.
    pub(crate) fn say(&mut self, title: &str) {
        let mut line = self.line();
        line.begin(title, now_ns(), Extent::Unknown);
        if !line.terminal {
            errln!("{title}");
        }
    }

    /// Shows how much is done of what was said last.
    pub(crate) fn part(&mut self, done: usize, whole: usize) {
        let mut line = self.line();
        line.extent = Extent::Share(done as f64 / whole.max(1) as f64);
        line.figures = format!(", {done} of {whole}");
        line.draw();
    }

    /// Prints a line that stays.
    pub(crate) fn note(&mut self, text: &str) {
        let line = self.line();
        line.clear();
        errln!("{text}");
        line.draw();
    }

    /// Begins a phase that is to last `duration_ns`; 0: until its work is done. Reads are counted from none.
    pub(crate) fn begin(
        &mut self,
        title: &str,
        start_ns: u64,
        duration_ns: u64,
        l2_reads: Option<u64>,
    ) {
        let extent = match duration_ns {
            0 => Extent::Unknown,
            _ => Extent::Time(duration_ns),
        };
        self.line().begin(title, start_ns, extent);
        let at = |number| Count {
            number,
            at_ns: start_ns,
        };
        self.start = (at(0), l2_reads.map(at));
        self.last = self.start;
        (self.shown_ns, self.printed_ns) = (start_ns, start_ns);
    }

    /// Whether a second has passed since figures were last shown.
    pub(crate) fn due(&self) -> bool {
        now_ns() >= self.shown_ns + SECOND_NS
    }

    /// Shows the reads so far, by the pods and by the server, of `whole` reads where that is known.
    pub(crate) fn show(&mut self, reads: Count, l2: Option<Count>, whole: Option<u64>) {
        let figures = figures(self.last, (reads, l2));
        self.last = (reads, l2);
        self.shown_ns = now_ns();
        let print = self.shown_ns >= self.printed_ns + PRINTED_NS;
        let mut line = self.line();
        line.figures = figures;
        if let Some(whole) = whole {
            line.extent = Extent::Share(reads.number as f64 / whole.max(1) as f64);
        }
        line.draw();
        if print && !line.terminal {
            errln!("{}", line.text());
            drop(line);
            self.printed_ns = self.shown_ns;
        }
    }

    /// The phase is over: its bar is full, and its figures are those of all of it.
    pub(crate) fn finish(&mut self, reads: Count, l2: Option<Count>) {
        let figures = figures(self.start, (reads, l2));
        let mut line = self.line();
        line.figures = figures;
        line.full();
    }

    /// Leaves the line.
    pub(crate) fn end(&mut self) {
        let mut line = self.line();
        line.clear();
        line.extent = Extent::Nothing;
    }
}

/// Reads a second between two counts. What L2 saw is a part of them: more, by a moment's difference in time, would add up
/// to nothing.
fn figures(from: (Count, Option<Count>), to: (Count, Option<Count>)) -> String {
    let reads = to.0.per_second(from.0);
    let mut text = format!(": {:>9} reads/s", count(reads));
    if let (Some(from), Some(to)) = (from.1, to.1) {
        text += &format!(", {} of them at L2", count(to.per_second(from).min(reads)));
    }
    text
}

/// Draws until the other end of the channel is dropped.
fn draw(line: &Arc<Mutex<Line>>) -> Sender<()> {
    let (send, ended) = channel();
    let line = Arc::clone(line);
    thread::spawn(move || {
        while ended.recv_timeout(DRAWN) == Err(RecvTimeoutError::Timeout) {
            line.lock().unwrap_or_else(PoisonError::into_inner).draw();
        }
    });
    send
}

impl Line {
    fn begin(&mut self, title: &str, start_ns: u64, extent: Extent) {
        if matches!(self.extent, Extent::Time(_)) {
            // Nothing said how that ended; what follows says that it did.
            self.full();
        }
        self.clear();
        title.clone_into(&mut self.title);
        self.start_ns = start_ns;
        self.extent = extent;
        self.figures.clear();
        self.draw();
    }

    /// Fills the bar and leaves the line where it is.
    fn full(&mut self) {
        self.extent = Extent::Share(1.0);
        self.draw();
        if self.terminal {
            errln!("");
        } else {
            errln!("{}", self.text());
        }
        self.extent = Extent::Nothing;
    }

    fn text(&self) -> String {
        let gone_ns = now_ns().saturating_sub(self.start_ns);
        let bar = match self.extent {
            Extent::Nothing => return String::new(),
            Extent::Unknown => String::new(),
            Extent::Time(whole_ns) => bar(gone_ns as f64 / whole_ns as f64) + " ",
            Extent::Share(share) => bar(share) + " ",
        };
        let (title, seconds) = (&self.title, (gone_ns + SECOND_NS / 2) / SECOND_NS);
        format!("{title} {bar}{seconds:>2} s{}", self.figures)
    }

    fn draw(&self) {
        if self.terminal && self.extent != Extent::Nothing {
            // One column stays free: a full line would move the cursor to the next.
            let columns = terminal::progress_columns().unwrap_or(80) - 1;
            put(&format!("\r{:<columns$}", cut(&self.text(), columns)));
        }
    }

    fn clear(&self) {
        if self.terminal && self.extent != Extent::Nothing {
            let columns = terminal::progress_columns().unwrap_or(80) - 1;
            put(&format!("\r{:columns$}\r", ""));
        }
    }
}

fn put(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

/// As many whole parts of a line as fit: half a figure would be another one.
fn cut(mut text: &str, columns: usize) -> String {
    while text.chars().count() > columns {
        // A comma in a number has no blank behind it.
        match text.rfind(", ").max(text.rfind(": ")) {
            Some(at) => text = &text[..at],
            None => return text.chars().take(columns).collect(),
        }
    }
    text.to_owned()
}

/// How far something is.
fn bar(share: f64) -> String {
    let full = ((share * BAR as f64) as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills() {
        assert_eq!(bar(0.0), "[............]");
        assert_eq!(bar(0.5), "[######......]");
        assert_eq!(bar(1.0), "[############]");
        assert_eq!(bar(9.0), "[############]");
    }

    #[test]
    fn no_figure_is_cut_in_half() {
        let text = "cold [####] 2 s: 1,234 reads/s, 1,200 of them at L2";
        assert_eq!(cut(text, 60), text);
        assert_eq!(cut(text, 40), "cold [####] 2 s: 1,234 reads/s");
        assert_eq!(cut(text, 20), "cold [####] 2 s");
        assert_eq!(cut(text, 5), "cold ");
    }

    #[test]
    fn figures_add_up() {
        let at = |number, at_ns| Count { number, at_ns };
        let from = (at(0, 0), Some(at(100, 0)));
        // What the pods say is a tenth of a second older than what the server says.
        let to = (at(7_200, 900_000_000), Some(at(8_110, SECOND_NS)));
        assert_eq!(
            figures(from, to),
            ":     8,000 reads/s, 8,000 of them at L2"
        );
        let to = (at(9_000, 900_000_000), Some(at(110, SECOND_NS)));
        assert_eq!(figures(from, to), ":    10,000 reads/s, 10 of them at L2");
    }
}
