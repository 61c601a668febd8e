//! The load of `bench soak`: threads that read and write what they do not find, and one that changes keys.
//! Judges every value, measures nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nearcache::{Ttl, blocking};
use nearcache_cli::outcome::Failure;
use redis::Commands as _;

use super::options::Options;
use super::values::{Copying, Decoded, KeyKind, Values, same};
use crate::bench::errors;
use crate::machine::{now_ns, sleep_until};
use crate::zipf::{Rng, Zipf};

/// Keys that are read at once.
const TOGETHER: usize = 8;
/// The longest sleep: a low rate must not hold up the end.
const NAP_NS: u64 = 100_000_000;

/// What the threads share.
pub(super) struct Load<'a> {
    pub(super) cache: &'a blocking::NearCache,
    pub(super) values: &'a Values,
    pub(super) options: &'a Options,
    zipf: Zipf,
    ended: AtomicBool,
    /// Values asked for.
    pub(super) reads: AtomicU64,
    /// Values written because a read found none.
    pub(super) fills: AtomicU64,
    /// Values written and deleted by the writer.
    pub(super) writes: AtomicU64,
    /// Values that were not those of their key.
    pub(super) wrong: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl<'a> Load<'a> {
    /// Prepares it; nobody reads yet.
    pub(super) fn new(
        cache: &'a blocking::NearCache,
        values: &'a Values,
        options: &'a Options,
    ) -> Self {
        Self {
            cache,
            values,
            options,
            zipf: Zipf::new(options.keys, options.zipf),
            ended: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            fills: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            errors: Mutex::default(),
        }
    }

    /// Tells all threads to end.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// What failed, by why.
    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        let errors = self.errors.lock();
        errors.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads until the end; what is not there is written, as a cache in front of a database does.
    pub(super) fn read(&self, thread: u64) {
        let mut rng = Rng::new(self.options.seed, 100 + thread);
        let typed = self.cache.typed::<Decoded, _>(Copying);
        let mut drop_in = blocking::Connection::new(self.cache);
        while !self.ended.load(Ordering::Relaxed) {
            let key = self.zipf.sample(&mut rng);
            let done = match Values::kind(key) {
                KeyKind::Typed => self.read_typed(&typed, key),
                KeyKind::Hash => self.read_hash(&mut drop_in, key),
                KeyKind::Plain if rng.below(16) == 0 => self.read_many(&mut rng),
                KeyKind::Plain => self.read_plain(key),
            };
            self.noted(done);
        }
    }

    fn read_plain(&self, key: u32) -> Result<(), Failure> {
        let name = Values::name(key);
        let found = self.cache.get(&name).map_err(told)?;
        self.judge(key, found.as_deref())
    }

    fn read_many(&self, rng: &mut Rng) -> Result<(), Failure> {
        let drawn = std::iter::repeat_with(|| self.zipf.sample(rng)).take(TOGETHER);
        let keys: Vec<u32> = drawn
            .filter(|key| Values::kind(*key) == KeyKind::Plain)
            .collect();
        let names: Vec<String> = keys.iter().map(|key| Values::name(*key)).collect();
        let found = self.cache.get_many(&names);
        let mut each = keys.iter().zip(found);
        each.try_for_each(|(key, value)| self.judge(*key, value.map_err(told)?.as_deref()))
    }

    fn read_typed(
        &self,
        typed: &blocking::Typed<Decoded, Copying>,
        key: u32,
    ) -> Result<(), Failure> {
        let found = typed.get(Values::name(key)).map_err(told)?;
        self.judge(key, found.as_deref().map(|decoded| &*decoded.0))
    }

    fn read_hash(&self, drop_in: &mut blocking::Connection, key: u32) -> Result<(), Failure> {
        let name = Values::name(key);
        let found: HashMap<String, Vec<u8>> = drop_in.hgetall(&name).map_err(told)?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let fields = self.values.fields(key);
        if found.is_empty() {
            self.fills.fetch_add(1, Ordering::Relaxed);
            return drop_in.hset_multiple(&name, &pairs(&fields)).map_err(told);
        }
        let right = pairs(&fields).iter().all(|(field, part)| {
            let found = found.get(*field);
            found.is_some_and(|found| same(found, part))
        });
        self.wrong.fetch_add(u64::from(!right), Ordering::Relaxed);
        Ok(())
    }

    /// Compares what was read with what was written; writes it if there was nothing.
    fn judge(&self, key: u32, found: Option<&[u8]>) -> Result<(), Failure> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let value = self.values.value(key);
        match found {
            Some(found) => {
                let wrong = !same(found, &value);
                self.wrong.fetch_add(u64::from(wrong), Ordering::Relaxed);
                Ok(())
            }
            None => {
                self.fills.fetch_add(1, Ordering::Relaxed);
                let name = Values::name(key);
                self.cache.set(name, value, life(key)).map_err(told)
            }
        }
    }

    /// Changes keys at their rate until the end: through nearcache and past it, in turns.
    pub(super) fn write(&self, mut past: redis::Connection) {
        let mut rng = Rng::new(self.options.seed, 99);
        let mut drop_in = blocking::Connection::new(self.cache);
        let mut due_ns = now_ns();
        while !self.ended.load(Ordering::Relaxed) {
            if now_ns() < due_ns {
                sleep_until(due_ns.min(now_ns() + NAP_NS));
                continue;
            }
            let gap_ns = rng.exponential(1e9 / self.options.writes_per_s);
            due_ns = due_ns.saturating_add(gap_ns as u64);
            let key = self.zipf.sample(&mut rng);
            let deletes = rng.below(4) == 0;
            let done = match rng.below(2) {
                0 => self.change(&mut drop_in, key, deletes),
                _ => self.change(&mut past, key, deletes),
            };
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.noted(done);
        }
    }

    fn change(
        &self,
        connection: &mut impl redis::ConnectionLike,
        key: u32,
        deletes: bool,
    ) -> Result<(), Failure> {
        let name = Values::name(key);
        let done = if deletes {
            redis::cmd("DEL").arg(&name).exec(connection)
        } else if Values::kind(key) == KeyKind::Hash {
            let mut command = redis::cmd("HSET");
            command.arg(&name);
            for (field, part) in pairs(&self.values.fields(key)) {
                command.arg(field).arg(part);
            }
            command.exec(connection)
        } else {
            let mut command = redis::cmd("SET");
            command.arg(&name).arg(&self.values.value(key)[..]);
            if let Some(life) = life(key).as_duration() {
                command.arg("PX").arg(life.as_millis() as u64);
            }
            command.exec(connection)
        };
        done.map_err(told)
    }

    fn noted(&self, done: Result<(), Failure>) {
        let Err(why) = done else { return };
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors::count(&mut errors, &why, 1);
    }
}

/// Every eighth key lives for some seconds.
fn life(key: u32) -> Ttl {
    match key % 8 {
        3 => Ttl::millis(1_000 + u64::from(key / 8 % 30) * 1_000),
        _ => Ttl::NONE,
    }
}

fn pairs(fields: &[bytes::Bytes; super::values::FIELDS]) -> Vec<(&'static str, &[u8])> {
    let names = ["first", "second", "third", "fourth"];
    names
        .into_iter()
        .zip(fields.iter().map(|part| &part[..]))
        .collect()
}

fn told(error: impl Display) -> Failure {
    error.to_string()
}
