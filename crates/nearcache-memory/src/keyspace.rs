//! The databases: entries, expiry, weight, and a record of which keys changed.
//!
//! Every change of a key goes through here, so that none is missing from the record. Who is told is
//! not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::args::out_of_memory;
use super::value::{Entry, Value};
use nearcache_proto::resp::Reply;

/// How many databases there are.
pub(super) const DATABASES: usize = 16;

/// Something that was written.
pub(super) enum Change {
    /// A key of a database.
    Key(usize, Bytes),
    /// These databases lost all they had, which is this.
    Flush(Vec<(usize, Database)>),
    /// Two databases changed places.
    Swap(usize, usize),
}

pub(super) type Database = BTreeMap<Bytes, Entry>;

/// What an edit of a collection did.
pub(super) struct Edit {
    pub(super) reply: i64,
    /// Change of weight.
    pub(super) added: usize,
    pub(super) removed: usize,
    pub(super) changed: bool,
}

/// All databases. Commands work on the one at the cursor, at the time of the cursor.
pub(super) struct Keyspace {
    databases: [Database; DATABASES],
    expiries: BTreeSet<(Timestamp, usize, Bytes)>,
    changes: Vec<Change>,
    weight: usize,
    limit: Option<usize>,
    now: Timestamp,
    db: usize,
    /// The calendar's time at [`Timestamp::ZERO`], in milliseconds.
    calendar_ms: i64,
}

impl Keyspace {
    pub(super) fn new() -> Self {
        Self {
            databases: Default::default(),
            expiries: BTreeSet::new(),
            changes: Vec::new(),
            weight: 0,
            limit: None,
            now: Timestamp::ZERO,
            db: 0,
            calendar_ms: 0,
        }
    }

    pub(super) fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    pub(super) fn set_calendar(&mut self, unix: Duration) {
        self.calendar_ms = signed(unix.as_millis()) - self.since_zero_ms();
    }

    pub(super) fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
    }

    pub(super) fn select(&mut self, db: usize) {
        self.db = db;
    }

    pub(super) fn db(&self) -> usize {
        self.db
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Milliseconds since 1970, as the server would see them.
    pub(super) fn unix_ms(&self) -> i64 {
        self.calendar_ms.saturating_add(self.since_zero_ms())
    }

    fn since_zero_ms(&self) -> i64 {
        signed(u128::from(self.now.as_micros() / 1000))
    }

    /// Refuses to grow by `bytes` past the limit.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), Reply> {
        match self.limit {
            Some(limit) if self.weight.saturating_add(bytes) > limit => Err(out_of_memory()),
            _ => Ok(()),
        }
    }

    /// The entry at `key`, after expiry.
    pub(super) fn entry(&mut self, key: &[u8]) -> Option<&Entry> {
        self.expire_if_due(self.db, key);
        self.databases[self.db].get(key)
    }

    /// The value at `key`, after expiry.
    pub(super) fn value(&mut self, key: &[u8]) -> Option<&Value> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The string at `key`.
    pub(super) fn text(&mut self, key: &[u8]) -> Result<Option<Bytes>, Reply> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => value.text().cloned().map(Some),
        }
    }

    /// Writes `key`, replacing what was there.
    pub(super) fn put(&mut self, key: &[u8], value: Value, deadline: Option<Timestamp>) {
        self.unlink(self.db, key);
        let key = Bytes::copy_from_slice(key);
        let weight = value.weight(&key);
        self.weight += weight;
        if let Some(deadline) = deadline {
            self.expiries.insert((deadline, self.db, key.clone()));
        }
        let entry = Entry {
            value,
            deadline,
            weight,
        };
        self.databases[self.db].insert(key.clone(), entry);
        self.changes.push(Change::Key(self.db, key));
    }

    /// Removes `key`; nothing changes when it is missing or expired.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Entry> {
        self.expire_if_due(self.db, key);
        let entry = self.unlink(self.db, key)?;
        self.changed(self.db, key);
        Some(entry)
    }

    /// Gives an existing key another deadline.
    pub(super) fn set_deadline(&mut self, key: &[u8], deadline: Option<Timestamp>) {
        let Some((key, entry)) = self.databases[self.db].remove_entry(key) else {
            return;
        };
        if let Some(old) = entry.deadline {
            self.expiries.remove(&(old, self.db, key.clone()));
        }
        if let Some(new) = deadline {
            self.expiries.insert((new, self.db, key.clone()));
        }
        self.changes.push(Change::Key(self.db, key.clone()));
        self.databases[self.db].insert(key, Entry { deadline, ..entry });
    }

    /// Edits the collection at `key`, which is `empty` while missing and is removed when left empty.
    pub(super) fn edit(
        &mut self,
        key: &[u8],
        empty: Value,
        edit: impl FnOnce(&mut Value) -> Result<Edit, Reply>,
    ) -> Result<i64, Reply> {
        if self.value(key).is_none() {
            let mut value = empty;
            let done = edit(&mut value)?;
            if !value.is_empty() {
                self.put(key, value, None);
            }
            return Ok(done.reply);
        }
        let Some(entry) = self.databases[self.db].get_mut(key) else {
            return Ok(0);
        };
        let done = edit(&mut entry.value)?;
        entry.weight = (entry.weight + done.added).saturating_sub(done.removed);
        self.weight = (self.weight + done.added).saturating_sub(done.removed);
        if entry.value.is_empty() {
            self.unlink(self.db, key);
        }
        if done.changed {
            self.changed(self.db, key);
        }
        Ok(done.reply)
    }

    /// Empties one database, or all.
    pub(super) fn flush(&mut self, db: Option<usize>) {
        let mut gone = Vec::new();
        for (index, database) in self.databases.iter_mut().enumerate() {
            if db.is_none_or(|db| db == index) {
                self.weight -= database.values().map(|e| e.weight).sum::<usize>();
                gone.push((index, std::mem::take(database)));
            }
        }
        self.expiries
            .retain(|(_, index, _)| db.is_some_and(|db| db != *index));
        self.changes.push(Change::Flush(gone));
    }

    /// Lets two databases change places. No key counts as changed: no server announces it.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        self.databases.swap(a, b);
        self.expiries = std::mem::take(&mut self.expiries)
            .into_iter()
            .map(|(deadline, db, key)| match db {
                db if db == a => (deadline, b, key),
                db if db == b => (deadline, a, key),
                db => (deadline, db, key),
            })
            .collect();
        self.changes.push(Change::Swap(a, b));
    }

    /// The keys of the database that have not expired.
    pub(super) fn live_keys(&self) -> impl Iterator<Item = &Bytes> {
        let now = self.now;
        self.databases[self.db]
            .iter()
            .filter(move |(_, entry)| entry.deadline.is_none_or(|deadline| deadline > now))
            .map(|(key, _)| key)
    }

    /// How many keys the database holds, expired ones included.
    pub(super) fn len(&self) -> usize {
        self.databases[self.db].len()
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(deadline, _, _)| *deadline)
    }

    /// Removes everything whose time is up.
    pub(super) fn expire_all(&mut self) {
        while let Some((deadline, db, key)) = self.expiries.first().cloned() {
            if deadline > self.now {
                break;
            }
            self.unlink(db, &key);
            self.changed(db, &key);
        }
    }

    /// Whether `db` holds `key`, expired or not.
    pub(super) fn holds(&self, db: usize, key: &[u8]) -> bool {
        self.databases[db].contains_key(key)
    }

    /// Hands over what changed since the last call, in order.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn expire_if_due(&mut self, db: usize, key: &[u8]) {
        // Most stores have no key that expires: then nothing needs to be looked up.
        if self.expiries.is_empty() {
            return;
        }
        let due = self.databases[db]
            .get(key)
            .and_then(|entry| entry.deadline)
            .is_some_and(|deadline| deadline <= self.now);
        if due {
            self.unlink(db, key);
            self.changed(db, key);
        }
    }

    fn changed(&mut self, db: usize, key: &[u8]) {
        let key = Bytes::copy_from_slice(key);
        self.changes.push(Change::Key(db, key));
    }

    fn unlink(&mut self, db: usize, key: &[u8]) -> Option<Entry> {
        let (key, entry) = self.databases[db].remove_entry(key)?;
        self.weight -= entry.weight;
        if let Some(deadline) = entry.deadline {
            self.expiries.remove(&(deadline, db, key));
        }
        Some(entry)
    }
}

fn signed(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
