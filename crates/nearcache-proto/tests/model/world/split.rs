//! Two servers at once: the one the pods talk to is demoted, and foreign writers write to its successor,
//! until it is the primary again and has caught up.

use super::*;

/// Where the truth was while the pods' server was not the primary.
#[derive(Default)]
pub(super) struct Splits {
    /// What the other primary has written since.
    now: Option<BTreeMap<Name, Seen>>,
    /// When each began, and when it was over.
    all: Vec<(Moment, Option<Moment>)>,
}

type Moment = (u64, Timestamp);

impl Splits {
    /// The latest step up to `step` that the pods' server can vouch for.
    pub(super) fn one_primary(&self, step: u64) -> u64 {
        let inside = |(start, end): &&(Moment, Option<Moment>)| {
            start.0 <= step && end.is_none_or(|end| step < end.0)
        };
        let split = self.all.iter().find(inside);
        split.map_or(step, |(start, _)| start.0)
    }

    /// Whether there was one primary all the time.
    pub(super) fn never(&self) -> bool {
        self.all.is_empty()
    }

    /// [`one_primary`](Self::one_primary) for times.
    pub(super) fn one_primary_at(&self, at: Timestamp) -> Timestamp {
        let inside = |(start, end): &&(Moment, Option<Moment>)| {
            start.1 <= at && end.is_none_or(|end| at < end.1)
        };
        let split = self.all.iter().find(inside);
        split.map_or(at, |(start, _)| start.1)
    }
}

impl World {
    pub(super) fn split(&self) -> bool {
        self.splits.now.is_some()
    }

    pub(super) fn demote(&mut self) {
        self.strike_all(Fault::Demotion);
        self.server.set_role(false);
        self.splits.now = Some(BTreeMap::new());
        self.splits.all.push(((self.step, self.now()), None));
        self.step += 1;
    }

    /// A write that the pods' server does not hear of yet.
    pub(super) fn write_away(&mut self, name: Name, value: Seen) {
        if self.oracle.expires(name) {
            // The pods' server would go on to let it expire: an absence that never was.
            return;
        }
        self.coverage.away_writes += 1;
        self.step += 1;
        let now = self.now();
        self.oracle.expire(self.step, now);
        self.oracle.observe(
            name,
            (value, Timestamp::MAX),
            self.step,
            now,
            Change::Written,
        );
        if let Some(writes) = &mut self.splits.now {
            writes.insert(name, value);
        }
    }

    /// It takes over what it missed, tells everybody, and is the primary again.
    pub(super) fn promote(&mut self) {
        let Some(writes) = self.splits.now.take() else {
            return;
        };
        self.server.set_role(true);
        for ((db, key), value) in writes {
            let key = calls::key((db, key));
            let db = db.to_string();
            self.quietly(&[b"SELECT", db.as_bytes()]);
            match value {
                Some(value) => self.quietly(&[b"SET", &key, &calls::encode(value)]),
                None => self.quietly(&[b"DEL", &key]),
            }
        }
        self.step += 1;
        let now = self.now();
        if let Some((_, end)) = self.splits.all.last_mut() {
            *end = Some((self.step, now));
        }
        self.oracle.expire(self.step, now);
        self.observe(Change::Written);
        self.collect();
        self.step += 1;
    }
}
