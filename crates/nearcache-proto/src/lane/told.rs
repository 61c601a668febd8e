//! Which news of the lane are told at once, and which by a summary: a fleet that has lost its server must not flood a log.
//!
//! At once: each change of state and each new reason, a few a minute at most. A summary: once a minute while it lasts.

use std::collections::VecDeque;
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::Report;
use super::report::Condition;
use crate::error::Error;

/// Time between two summaries.
const SUMMARY: Duration = Duration::from_secs(60);

/// What is told at once between two summaries; the rest is only counted. Also how many reasons are remembered.
const LINES: usize = 8;

/// What the operator was told of the lane.
#[derive(Default)]
pub(super) struct Told {
    /// `None`: up.
    trouble: Option<Trouble>,
    ever_up: bool,
    window: Option<Window>,
}

struct Trouble {
    condition: Condition,
    since: Timestamp,
    /// The reasons that were told.
    reasons: VecDeque<String>,
}

/// The time since the last summary.
struct Window {
    since: Timestamp,
    lines: usize,
    /// What happened and was not told.
    held: bool,
    attempts: u32,
    losses: u32,
    last: String,
}

impl Told {
    /// It is up, and invalidations are proven if they can be.
    pub(super) fn connected(&mut self, now: Timestamp) -> Option<Report> {
        let first = !std::mem::replace(&mut self.ever_up, true);
        let trouble = self.trouble.take();
        if trouble.is_none() && !first {
            return None;
        }
        let after = trouble.map(|trouble| now.saturating_since(trouble.since));
        self.tell(now, || Report::Connected {
            after: after.filter(|_| !first),
        })
    }

    /// It is up without invalidations.
    pub(super) fn degraded(&mut self, why: String, now: Timestamp) -> Option<Report> {
        self.ever_up = true;
        let news = self.enter(Condition::Degraded, &why, now);
        news.then(|| self.tell(now, || Report::Degraded(why)))?
    }

    /// It was up and is not any more.
    pub(super) fn lost(&mut self, why: &str, now: Timestamp) -> Option<Report> {
        self.window(now).losses += 1;
        self.enter(Condition::Down, why, now);
        self.tell(now, || Report::Disconnected(why.to_owned()))
    }

    /// An attempt to open it failed.
    pub(super) fn failed(&mut self, error: &Error, now: Timestamp) -> Option<Report> {
        self.window(now).attempts += 1;
        let news = self.enter(Condition::Down, &error.to_string(), now);
        let lost = self.lost_for(now);
        let error = error.clone();
        news.then(|| self.tell(now, || Report::ConnectFailed { error, lost }))?
    }

    /// When there is a summary to give.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let window = self.window.as_ref()?;
        Some(window.since.saturating_add(SUMMARY))
    }

    /// The summary, when it is time and there is something to sum up.
    pub(super) fn summary(&mut self, now: Timestamp) -> Option<Report> {
        let due = self.due()?;
        let window = self.window.take_if(|_| now >= due)?;
        if self.trouble.is_none() && !window.held {
            return None;
        }
        let lost = self.lost_for(now);
        if self.trouble.is_some() {
            self.window = Some(Window::new(now, window.last.clone()));
        }
        Some(Report::Summary {
            condition: self.trouble.as_ref().map(|trouble| trouble.condition),
            lost,
            attempts: window.attempts,
            losses: window.losses,
            over: now.saturating_since(window.since),
            last: window.last,
        })
    }

    /// How long ago it was lost, if it ever was up.
    fn lost_for(&self, now: Timestamp) -> Option<Duration> {
        let trouble = self.trouble.as_ref().filter(|_| self.ever_up)?;
        Some(now.saturating_since(trouble.since))
    }

    /// Notes the state and why; whether either is news.
    fn enter(&mut self, condition: Condition, why: &str, now: Timestamp) -> bool {
        why.clone_into(&mut self.window(now).last);
        if self
            .trouble
            .as_ref()
            .is_none_or(|trouble| trouble.condition != condition)
        {
            let reasons = VecDeque::new();
            self.trouble = Some(Trouble {
                condition,
                since: now,
                reasons,
            });
        }
        let Some(trouble) = &mut self.trouble else {
            return true;
        };
        if trouble.reasons.iter().any(|told| told == why) {
            return false;
        }
        if trouble.reasons.len() >= LINES {
            trouble.reasons.pop_front();
        }
        trouble.reasons.push_back(why.to_owned());
        true
    }

    fn tell(&mut self, now: Timestamp, report: impl FnOnce() -> Report) -> Option<Report> {
        let window = self.window(now);
        if window.lines >= LINES {
            window.held = true;
            return None;
        }
        window.lines += 1;
        Some(report())
    }

    fn window(&mut self, now: Timestamp) -> &mut Window {
        self.window
            .get_or_insert_with(|| Window::new(now, String::new()))
    }
}

impl Window {
    fn new(since: Timestamp, last: String) -> Self {
        Self {
            since,
            lines: 0,
            held: false,
            attempts: 0,
            losses: 0,
            last,
        }
    }
}
