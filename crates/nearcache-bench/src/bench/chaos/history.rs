//! What may be in L2 at which moment, by the word of those who write and break there, and which answers that allows.
//! Every event is entered before it is begun: what could justify an answer is here before the answer is judged.
//! Knows nothing of pods.

#[cfg(test)]
mod tests;

use crate::fleet::message::{How, Seen};

/// By how much a moment of the server's clock, which counts milliseconds of a wall clock that may be corrected, may
/// differ from what the monotonic clock makes of it.
const SLACK_NS: u64 = 20_000_000;
/// An event that has not ended.
pub(super) const OPEN: u64 = u64::MAX;

/// What somebody does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A value, and for how long it lives, where it has an end.
    Write { life_ns: Option<u64> },
    /// No value.
    Delete,
}

/// What is known of a deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may have been done, once, between its beginning and its end.
    Unknown,
    /// It was done.
    Done,
    /// It was not, and will not be.
    Void,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    deed: Deed,
    sent_ns: u64,
    /// When the answer was there, or since when it can no longer be done.
    done_ns: u64,
    fate: Fate,
}

/// A stretch of time in which something happened that concerns all keys.
#[derive(Clone, Copy, Debug)]
struct Window {
    from_ns: u64,
    to_ns: u64,
}

/// Why an answer is a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A value that had been replaced, deleted or lost for longer than it may be served.
    Stale { late_ns: u64 },
    /// A value past its end.
    Expired { late_ns: u64 },
    /// No value, where one had been for longer than may be overlooked.
    Missing { late_ns: u64 },
    /// A value that nobody wrote, not yet, or not successfully.
    Unwritten,
}

/// All that happened. Each key has one writer, who does one thing after the other, so its deeds are in order; they are
/// numbered from 1.
#[derive(Debug)]
pub(super) struct History {
    keys: Vec<Vec<Event>>,
    /// Flushes, and ends of the server.
    wipes: Vec<Window>,
    /// When the server could evict.
    pressures: Vec<Window>,
    bound_ns: u64,
}

impl History {
    /// Of so many keys, all absent; reads may be late by `bound_ns`.
    pub(super) fn new(keys: u32, bound_ns: u64) -> Self {
        Self {
            keys: vec![Vec::new(); keys as usize],
            wipes: Vec::new(),
            pressures: Vec::new(),
            bound_ns,
        }
    }

    /// Something is about to be done to a key; returns its number.
    pub(super) fn begin(&mut self, key: u32, deed: Deed, now_ns: u64) -> u64 {
        let events = &mut self.keys[key as usize];
        events.push(Event {
            deed,
            sent_ns: now_ns,
            done_ns: OPEN,
            fate: Fate::Unknown,
        });
        events.len() as u64
    }

    /// The last deed of a key was acknowledged.
    pub(super) fn done(&mut self, key: u32, now_ns: u64) {
        self.close(key, now_ns, Fate::Done);
    }

    /// The last deed of a key was not done, and will not be.
    pub(super) fn void(&mut self, key: u32, now_ns: u64) {
        self.close(key, now_ns, Fate::Void);
    }

    /// Whether the last deed of a key was done is not known, but it will not be from now on.
    pub(super) fn settled(&mut self, key: u32, now_ns: u64) {
        self.close(key, now_ns, Fate::Unknown);
    }

    /// Everything is about to be lost.
    pub(super) fn wipe(&mut self, now_ns: u64) {
        self.wipes.push(Window {
            from_ns: now_ns,
            to_ns: OPEN,
        });
    }

    /// Everything has been lost.
    pub(super) fn wiped(&mut self, now_ns: u64) {
        if let Some(wipe) = self.wipes.last_mut() {
            wipe.to_ns = now_ns;
        }
    }

    /// The server is about to evict.
    pub(super) fn press(&mut self, now_ns: u64) {
        self.pressures.push(Window {
            from_ns: now_ns,
            to_ns: OPEN,
        });
    }

    /// The server evicts no more.
    pub(super) fn relieve(&mut self, now_ns: u64) {
        if let Some(pressure) = self.pressures.last_mut() {
            pressure.to_ns = now_ns;
        }
    }

    /// Deeds that were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        let done = |event: &&Event| event.fate == Fate::Done;
        self.keys.iter().flatten().filter(done).count() as u64
    }

    /// Judges an answer: it must be what was in L2 at some moment between the end of the read and the moment it may look
    /// back to.
    pub(super) fn judge(&self, read: &Seen) -> Result<(), Wrong> {
        match read.sequence {
            Some(sequence) => self.value(read, sequence),
            None => self.absence(read),
        }
    }

    /// For how long the deeds of the key, and what befell all keys, may be overlooked.
    fn bounds(&self, how: How) -> (u64, u64) {
        match how {
            How::Default | How::Many | How::Fresh => (self.bound_ns, self.bound_ns),
            How::Validated => (0, 0),
            // It knows its own writes at once, and what others do like everyone.
            How::Own => (0, self.bound_ns),
            How::Stale => (OPEN, OPEN),
        }
    }

    fn value(&self, read: &Seen, sequence: u64) -> Result<(), Wrong> {
        let events = &self.keys[read.key as usize];
        let at = usize::try_from(sequence)
            .ok()
            .and_then(|at| at.checked_sub(1));
        let write = at.and_then(|at| events.get(at)).copied();
        let (Some(at), Some(write)) = (at, write) else {
            return Err(Wrong::Unwritten);
        };
        let Deed::Write { life_ns } = write.deed else {
            return Err(Wrong::Unwritten);
        };
        if write.fate == Fate::Void || write.sent_ns > read.ended_ns {
            return Err(Wrong::Unwritten);
        }
        // The latest moment at which it can still have been there: until the next deed that was surely done was
        // acknowledged, or the first loss that surely came after it was over.
        let next = events[at + 1..]
            .iter()
            .find(|event| event.fate == Fate::Done);
        let lost = self.wipes.iter().find(|wipe| wipe.from_ns > write.done_ns);
        let (deeds_ns, wipes_ns) = self.bounds(read.how);
        let late = |end_ns: u64, bound_ns: u64| {
            read.started_ns
                .saturating_sub(end_ns.saturating_add(bound_ns))
        };
        let late_ns = late(next.map_or(OPEN, |event| event.done_ns), deeds_ns)
            .max(late(lost.map_or(OPEN, |wipe| wipe.to_ns), wipes_ns));
        if late_ns > 0 {
            return Err(Wrong::Stale { late_ns });
        }
        // An end is known beforehand: there is no bound for it, under no policy.
        let end_ns = life_ns.map_or(OPEN, |life_ns| write.done_ns.saturating_add(life_ns));
        match late(end_ns, SLACK_NS) {
            0 => Ok(()),
            late_ns => Err(Wrong::Expired { late_ns }),
        }
    }

    fn absence(&self, read: &Seen) -> Result<(), Wrong> {
        let events = &self.keys[read.key as usize];
        let since_ns = read.started_ns.saturating_sub(self.bounds(read.how).0);
        let until_ns = read.ended_ns;
        // The last deed that was over, for certain, before the moment the read may look back to.
        let last = events
            .iter()
            .rposition(|event| event.fate == Fate::Done && event.done_ns < since_ns);
        let Some(last) = last else { return Ok(()) };
        let write = events[last];
        if write.deed == Deed::Delete {
            return Ok(());
        }
        let begun = events[last..]
            .iter()
            .filter(|event| event.fate != Fate::Void && event.sent_ns <= until_ns);
        for event in begun {
            match event.deed {
                Deed::Delete => return Ok(()),
                Deed::Write {
                    life_ns: Some(life),
                } if event.sent_ns.saturating_add(life) <= until_ns.saturating_add(SLACK_NS) => {
                    return Ok(());
                }
                Deed::Write { .. } => {}
            }
        }
        let meanwhile =
            |window: &Window| window.to_ns >= write.sent_ns && window.from_ns <= until_ns;
        if self.wipes.iter().chain(&self.pressures).any(meanwhile) {
            return Ok(());
        }
        Err(Wrong::Missing {
            late_ns: since_ns - write.done_ns,
        })
    }

    fn close(&mut self, key: u32, now_ns: u64, fate: Fate) {
        if let Some(event) = self.keys[key as usize].last_mut() {
            (event.done_ns, event.fate) = (now_ns, fate);
        }
    }
}
