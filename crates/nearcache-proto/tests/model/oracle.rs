//! What really happened at the server, and whether a read may have returned what it did.
//!
//! Every change of a key is a version with the step at which the server executed it. A version is
//! over at the step of the next one. Pods have floors: the step that every later read must reflect.

use std::collections::{HashMap, HashSet};

use nearcache_l1::Timestamp;

use crate::calls::is_of_another_release;

/// A db and a key.
pub type Name = (u32, usize);

/// A value's sequence number; `None`: no such key.
pub type Seen = Option<u64>;

#[derive(Clone, Copy, Debug)]
struct Version {
    step: u64,
    at: Timestamp,
    value: Seen,
    /// When the server drops it.
    expires: Timestamp,
    /// The latest end it ever had: nobody may serve it from then on.
    latest: Timestamp,
}

/// When a version began, and when (step and time) it was over.
type Span = (u64, Option<(u64, Timestamp)>);

/// How a value came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Written,
    /// From another name, or from what a server knew before: it was written earlier.
    Moved,
}

#[derive(Default)]
pub struct Oracle {
    versions: HashMap<Name, Vec<Version>>,
    /// At which step a value was written.
    executed: HashMap<u64, u64>,
    /// Values in commands that the server got.
    sent: HashSet<u64>,
    /// Values that come from loaders, and whether they may replace one of another release.
    loaded: HashMap<u64, bool>,
}

impl Oracle {
    /// The server holds `value` under `name`, until `expires`, after `step`.
    pub fn observe(
        &mut self,
        name: Name,
        (value, expires): (Seen, Timestamp),
        step: u64,
        at: Timestamp,
        change: Change,
    ) {
        let versions = self.versions.entry(name).or_default();
        let last = versions.last_mut();
        let replaced = last.as_ref().and_then(|last| last.value);
        match last {
            Some(last) if last.value == value => {
                last.expires = expires;
                last.latest = last.latest.max(expires);
                return;
            }
            None if value.is_none() => return,
            _ => {}
        }
        versions.push(Version {
            step,
            at,
            value,
            expires,
            latest: expires,
        });
        if let Some(value) = value
            && change == Change::Written
        {
            if let (Some(replaced), Some(picky)) = (replaced, self.loaded.get(&value)) {
                assert!(
                    *picky && is_of_another_release(replaced),
                    "C4: {name:?} was loaded as {value}, which replaced {replaced:?}"
                );
            }
            let before = self.executed.insert(value, step);
            assert_eq!(before, None, "C15: the write of {value} was executed twice");
        }
    }

    /// The server got a command that writes `value`.
    pub fn is_written(&mut self, value: u64) {
        assert!(
            self.sent.insert(value),
            "C15: the write of {value} was sent twice"
        );
    }

    /// What each name holds, until when, for a replica that hears of nothing more.
    pub fn state(&self) -> Vec<(Name, Seen, Timestamp)> {
        let last = |(name, versions): (&Name, &Vec<Version>)| {
            let last = versions.last()?;
            Some((*name, last.value, last.expires))
        };
        let mut state: Vec<_> = self.versions.iter().filter_map(last).collect();
        state.sort_unstable_by_key(|(name, ..)| *name);
        state
    }

    /// When the next value expires.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self
            .versions
            .values()
            .filter_map(|versions| versions.last());
        let ends = last
            .filter(|last| last.value.is_some())
            .map(|last| last.expires);
        ends.filter(|end| *end > now && *end != Timestamp::MAX)
            .min()
    }

    /// What `name` holds now.
    pub fn at_end(&self, name: Name) -> Seen {
        self.versions.get(&name)?.last()?.value
    }

    /// Panics unless what `name` held right before `value` was written is `seen`.
    pub fn came_after(&self, name: Name, value: u64, seen: Seen) {
        let versions = self.versions.get(&name).map_or(&[][..], Vec::as_slice);
        let Some(place) = versions.iter().position(|v| v.value == Some(value)) else {
            return;
        };
        let before = place.checked_sub(1).and_then(|place| versions[place].value);
        assert_eq!(
            before, seen,
            "C7, C16: {name:?} was read as {seen:?} under WATCH, but {value} replaced {before:?}"
        );
    }

    /// Time has passed: what has expired is gone, whenever the server gets round to it. Returns how many.
    pub fn expire(&mut self, step: u64, now: Timestamp) -> u64 {
        let mut gone = 0;
        for versions in self.versions.values_mut() {
            let Some(last) = versions.last().copied() else {
                continue;
            };
            if last.value.is_some() && last.expires <= now {
                gone += 1;
                versions.push(Version {
                    step,
                    at: last.expires,
                    value: None,
                    expires: Timestamp::MAX,
                    latest: Timestamp::MAX,
                });
            }
        }
        gone
    }

    /// A loader is about to load `value`: it may be written where there is none.
    pub fn is_loaded(&mut self, value: u64, picky: bool) {
        self.loaded.insert(value, picky);
    }

    /// Whether what `name` holds will expire.
    pub fn expires(&self, name: Name) -> bool {
        let last = self
            .versions
            .get(&name)
            .and_then(|versions| versions.last());
        last.is_some_and(|last| last.expires != Timestamp::MAX)
    }

    /// The step at which `value` was written.
    pub fn executed_at(&self, value: u64) -> Option<u64> {
        self.executed.get(&value).copied()
    }

    pub fn was_executed(&self, value: u64) -> bool {
        self.executed.contains_key(&value)
    }

    /// The version of `name` that a read returning `value` saw, as (began, ended) steps, taking the
    /// newest that fits.
    fn span(&self, name: Name, value: Seen) -> Option<Span> {
        let versions = self.versions.get(&name).map_or(&[][..], Vec::as_slice);
        let Some(place) = versions.iter().rposition(|version| version.value == value) else {
            // Before the first version there was no key.
            let first = versions.first().map(|first| (first.step, first.at));
            return value.is_none().then_some((0, first));
        };
        let next = versions.get(place + 1).map(|next| (next.step, next.at));
        Some((versions[place].step, next))
    }

    /// The step at which the version that was returned began, at the earliest: a value may come back with a failover,
    /// and a key may be absent many times.
    pub fn began(&self, name: Name, value: Seen) -> u64 {
        let versions = self.versions.get(&name).map_or(&[][..], Vec::as_slice);
        let first = versions.iter().find(|version| version.value == value);
        value.and(first).map_or(0, |first| first.step)
    }

    /// Panics unless the version was still current at or after step `floor`.
    pub fn not_older_than(&self, name: Name, value: Seen, floor: u64, promise: &str) {
        let Some((_, ended)) = self.span(name, value) else {
            panic!("C4: {name:?} returned {value:?}, which L2 never held");
        };
        if let Some((step, _)) = ended {
            assert!(
                step > floor,
                "{promise}: {name:?} returned {value:?}, over since step {step}, but the read must reflect step {floor}"
            );
        }
    }

    /// Panics unless the version was current at or after time `bound`.
    pub fn not_over_before(&self, name: Name, value: Seen, bound: Timestamp, promise: &str) {
        let Some((_, ended)) = self.span(name, value) else {
            panic!("C4: {name:?} returned {value:?}, which L2 never held");
        };
        if let Some((step, at)) = ended {
            assert!(
                at >= bound,
                "{promise}: {name:?} returned {value:?}, over since {at:?} (step {step}), before {bound:?}"
            );
        }
    }

    /// Panics unless there was a moment at which all of them were current.
    pub fn were_true_together(&self, seen: &[(Name, Seen)]) {
        let begins = seen.iter().filter_map(|(name, _)| self.versions.get(name));
        let begins = begins.flatten().map(|version| version.step);
        let together = std::iter::once(0).chain(begins).any(|step| {
            seen.iter()
                .all(|(name, value)| self.at(*name, step) == *value)
        });
        assert!(
            together,
            "C14: never were these true at one moment: {seen:?}"
        );
    }

    /// What `name` held after `step`.
    fn at(&self, name: Name, step: u64) -> Seen {
        let versions = self.versions.get(&name)?;
        let last = versions.iter().rfind(|version| version.step <= step);
        last.and_then(|version| version.value)
    }

    /// Panics if the version had expired at `now`.
    pub fn not_expired(&self, name: Name, value: Seen, now: Timestamp) {
        let versions = self.versions.get(&name).map_or(&[][..], Vec::as_slice);
        // A value may leave its name and come back with another end; a copy of the first knows nothing of that.
        let same = versions.iter().filter(|version| version.value == value);
        if let (Some(_), Some(expires)) = (value, same.map(|version| version.latest).max()) {
            assert!(
                now < expires,
                "C5: {name:?} returned {value:?} at {now:?}, expired at {expires:?}"
            );
        }
    }
}
