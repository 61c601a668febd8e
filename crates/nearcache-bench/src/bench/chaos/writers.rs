//! Those who write under the pods, each its own keys in its own way, and enter what they do in the history before they
//! do it. A write whose outcome is not known is settled before its key is written again. They never tell the pods.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nearcache::{NearCache, Ttl, WriteOutcome, blocking};
use redis::Connection;

use super::history::{Deed, History};
use crate::fleet::header::Header;
use crate::fleet::message::{Event, How, Probed, Seen};
use crate::fleet::plan::Plan;
use crate::fleet::pod::probe::number;
use crate::machine::{now_ns, sleep_until};
use crate::zipf::Rng;

/// Under which number the reads of the writers are told.
pub(super) const WRITER: usize = usize::MAX;
/// How long a writer sleeps at a time.
const STEP_NS: u64 = 50_000_000;
/// How long it waits for an answer: less than the server may stand still.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Round trips after which what was on its way to the server when its connection was given up has been read: each takes
/// the server a turn in which it reads all its connections.
const SETTLING: usize = 16;
/// Streams of random choices of the writers.
const STREAMS: u64 = 1 << 44;
/// In which ways writers write.
pub(super) const WAYS: [Way; 4] = [Way::Sdk, Way::Plain, Way::Script, Way::Expiry];

/// How a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through a handle of nearcache, and reads back what it wrote.
    Sdk,
    /// `SET`, `DEL`, and transactions that rename, on a connection of its own.
    Plain,
    /// Scripts, whose keys no command line shows.
    Script,
    /// Values with a short life.
    Expiry,
}

/// All writers at work.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<BTreeMap<String, u64>>>,
}

impl Writers {
    /// Starts them: so many writes a second of all together. What they read back goes to `tell`.
    pub(super) fn start(
        plan: &Plan,
        url: &str,
        history: &Arc<Mutex<History>>,
        tell: &Sender<(usize, Event)>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ways = WAYS.len() as u32;
        let threads = (0..ways).map(|at| {
            let mut writer = Writer {
                way: WAYS[at as usize],
                keys: (at..plan.keys).step_by(WAYS.len()).collect(),
                plan: plan.clone(),
                url: url.to_owned(),
                history: Arc::clone(history),
                tell: tell.clone(),
                stop: Arc::clone(&stop),
                rng: Rng::new(plan.seed, STREAMS + u64::from(at)),
                plain: None,
                sdk: None,
                errors: BTreeMap::new(),
            };
            thread::spawn(move || {
                writer.work();
                writer.errors
            })
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// Ends them; returns which errors they had, and how often.
    pub(super) fn stop(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for thread in self.threads {
            let errors = thread
                .join()
                .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
            for (error, times) in errors {
                *all.entry(error).or_default() += times;
            }
        }
        all
    }
}

/// What is known of a write that failed.
enum Fate {
    NotDone,
    Unknown,
}

struct Writer {
    way: Way,
    keys: Vec<u32>,
    plan: Plan,
    url: String,
    history: Arc<Mutex<History>>,
    tell: Sender<(usize, Event)>,
    stop: Arc<AtomicBool>,
    rng: Rng,
    plain: Option<Connection>,
    sdk: Option<blocking::NearCache>,
    errors: BTreeMap<String, u64>,
}

impl Writer {
    fn work(&mut self) {
        let mean_ns = 1e9 * WAYS.len() as f64 / self.plan.writes;
        // Every key once, as fast as that goes: a fleet that finds nothing proves nothing.
        for key in self.keys.clone() {
            self.deed(key, Deed::Write { life_ns: None });
        }
        let mut due_ns = now_ns() as f64;
        while !self.stopped() {
            due_ns = (due_ns + self.rng.exponential(mean_ns)).max(now_ns() as f64);
            while now_ns() < due_ns as u64 && !self.stopped() {
                sleep_until((due_ns as u64).min(now_ns() + STEP_NS));
            }
            let key = self.keys[self.rng.below(self.keys.len() as u32) as usize];
            let deed = self.choose();
            self.deed(key, deed);
        }
        if let Some(sdk) = self.sdk.take() {
            sdk.shutdown();
        }
    }

    fn choose(&mut self) -> Deed {
        let chance = self.rng.below(100);
        let life_ms = 200 + u64::from(self.rng.below(2_000));
        match self.way {
            Way::Expiry if chance < 80 => Deed::Write {
                life_ns: Some(life_ms * 1_000_000),
            },
            _ if chance < 8 => Deed::Delete,
            _ => Deed::Write { life_ns: None },
        }
    }

    fn deed(&mut self, key: u32, deed: Deed) {
        if self.stopped() {
            return;
        }
        let sequence = self.history().begin(key, deed, now_ns());
        let done = match self.way {
            Way::Sdk => self.by_sdk(key, sequence, deed),
            _ => self.by_command(key, sequence, deed),
        };
        match done {
            Ok(()) => {
                self.history().done(key, now_ns());
                self.read_back(key);
            }
            Err((error, outcome)) => {
                *self.errors.entry(error).or_default() += 1;
                match outcome {
                    Fate::NotDone => self.history().void(key, now_ns()),
                    Fate::Unknown => {
                        if self.settle() {
                            self.history().settled(key, now_ns());
                        }
                    }
                }
            }
        }
    }

    fn by_sdk(&mut self, key: u32, sequence: u64, deed: Deed) -> Result<(), (String, Fate)> {
        let (name, value) = (self.plan.name(key), self.value(key, sequence));
        if self.sdk.is_none() {
            let opened = NearCache::builder()
                .redis(&self.url)
                .max_staleness(Duration::from_millis(self.plan.max_staleness_ms))
                .capacity("16MiB")
                .warm_start(false)
                .connect_blocking();
            match opened {
                Ok(opened) => self.sdk = Some(opened),
                Err(_) => return Err(("writer: no handle".to_owned(), Fate::NotDone)),
            }
        }
        let Some(sdk) = &self.sdk else {
            return Ok(());
        };
        let done = match deed {
            Deed::Write { life_ns } => {
                let ttl = life_ns.map_or(Ttl::NONE, |life| Ttl::from(Duration::from_nanos(life)));
                sdk.set(name, value, ttl)
            }
            Deed::Delete => sdk.delete(name).map(drop),
        };
        done.map_err(|error| match error.write_outcome() {
            Some(WriteOutcome::NotSent) => ("write: not sent".to_owned(), Fate::NotDone),
            Some(WriteOutcome::Refused) => ("write: refused".to_owned(), Fate::NotDone),
            _ => ("write: unknown outcome".to_owned(), Fate::Unknown),
        })
    }

    fn by_command(&mut self, key: u32, sequence: u64, deed: Deed) -> Result<(), (String, Fate)> {
        let (name, value) = (self.plan.name(key), self.value(key, sequence));
        if self.plain.is_none() {
            self.plain = open(&self.url);
        }
        let renamed = self.way == Way::Plain && self.rng.below(5) == 0;
        let Some(connection) = &mut self.plain else {
            return Err(("writer: no connection".to_owned(), Fate::NotDone));
        };
        let done = match (deed, self.way) {
            (Deed::Delete, Way::Script) => redis::cmd("EVAL")
                .arg("return redis.call('UNLINK', ARGV[1])")
                .arg(0)
                .arg(name)
                .exec(connection),
            (Deed::Delete, _) => redis::cmd("DEL").arg(name).exec(connection),
            (Deed::Write { .. }, Way::Script) => redis::cmd("EVAL")
                .arg("return redis.call('SET', ARGV[1], ARGV[2])")
                .arg(0)
                .arg(name)
                .arg(value)
                .exec(connection),
            (
                Deed::Write {
                    life_ns: Some(life),
                },
                _,
            ) => redis::cmd("SET")
                .arg(name)
                .arg(value)
                .arg("PX")
                .arg(life / 1_000_000)
                .exec(connection),
            (Deed::Write { .. }, _) if renamed => redis::pipe()
                .atomic()
                .cmd("SET")
                .arg(format!("{name}:new"))
                .arg(value)
                .cmd("RENAME")
                .arg(format!("{name}:new"))
                .arg(name)
                .exec(connection),
            (Deed::Write { .. }, _) => redis::cmd("SET").arg(name).arg(value).exec(connection),
        };
        done.map_err(|error| match error.code() {
            // It is the server that says no, so it has read it and not done it.
            Some(_) => ("write: refused".to_owned(), Fate::NotDone),
            None => ("write: unknown outcome".to_owned(), Fate::Unknown),
        })
    }

    /// Whoever wrote through nearcache finds it there.
    fn read_back(&mut self, key: u32) {
        let Some(sdk) = &self.sdk else { return };
        let started_ns = now_ns();
        let read = sdk.get(self.plan.name(key));
        let ended_ns = now_ns();
        let mut told = Probed::default();
        match read {
            Ok(value) => told.seen.push(Seen {
                key,
                sequence: value.map(|value| number(key, &value)),
                started_ns,
                ended_ns,
                how: How::Own,
                hit: false,
            }),
            Err(error) => told
                .failed
                .push((ended_ns, format!("{:?}: {error}", error.kind()))),
        }
        // Nobody listens any more: the run is over.
        let _ = self.tell.send((WRITER, Event::Probed(Box::new(told))));
    }

    /// Gives the connection up and waits until nothing that it sent can be executed any more; whether that is so.
    fn settle(&mut self) -> bool {
        self.plain = None;
        if let Some(sdk) = self.sdk.take() {
            sdk.shutdown();
        }
        while !self.stopped() {
            if let Some(mut connection) = open(&self.url) {
                let trip = |_| redis::cmd("PING").exec(&mut connection).is_ok();
                if (0..SETTLING).all(trip) {
                    self.plain = (self.way != Way::Sdk).then_some(connection);
                    return true;
                }
            }
            sleep_until(now_ns() + STEP_NS);
        }
        false
    }

    fn value(&self, key: u32, sequence: u64) -> Vec<u8> {
        self.plan.value(Header { key, sequence })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that does not wait for ever.
fn open(url: &str) -> Option<Connection> {
    let client = redis::Client::open(url).ok()?;
    let connection = client.get_connection_with_timeout(PATIENCE).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    connection.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(connection)
}
