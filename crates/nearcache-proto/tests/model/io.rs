//! A simulated pod's clock and inbox, with what the model must know of both ends of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearcache_l1::Timestamp;
use nearcache_proto::{Io, Op, Request};

use crate::calls::{decode, number};
use crate::interrupt;
use crate::oracle::Name;
use crate::world::{KEYS, LOAD_TIMEOUT, MAX_LOADS};

/// A minute.
const REPLACE_AGAIN: Duration = Duration::from_secs(60);

/// A pod's own clock: it began at another time than the world's, and runs at another rate.
#[derive(Clone)]
pub struct Clock {
    pub world: Arc<AtomicU64>,
    /// Of a thousand: the contract allows 990 to 1010.
    pub rate: u64,
    pub offset: u64,
}

impl Clock {
    /// What it shows at `world` microseconds.
    pub fn at(&self, world: u64) -> Timestamp {
        Timestamp::from_micros(self.offset + world * self.rate / 1000)
    }
}

/// The clock and inbox of a simulated pod.
pub struct SimIo {
    pub pod: usize,
    pub clock: Clock,
    /// The world's time when the caller whose turn it is first read the clock: what it says is true then.
    pub first_read: AtomicU64,
    /// Whose turn it is: the requests of one caller stay in order, those of different ones need not.
    pub caller: AtomicU64,
    pub inbox: std::sync::Mutex<Vec<(u64, Request)>>,
    /// How many requests there were.
    pub submissions: AtomicU64,
    /// By key: how often the pod learnt that its copies may be out of date.
    pub news: [AtomicU64; KEYS],
    /// By key: how often this pod began to write it.
    pub writes: [AtomicU64; KEYS],
    /// By key: how often a loader of it failed.
    pub failures: [AtomicU64; KEYS],
    /// What was so when a loader began, by the value it loads.
    pub loading: std::sync::Mutex<BTreeMap<u64, Began>>,
    /// Loaders that run, by value.
    pub running: std::sync::Mutex<BTreeMap<u64, Began>>,
    /// Microseconds, on the pod's clock: up to when its lane was last told the time.
    pub told: AtomicU64,
    /// Loads that had begun without L2.
    l2_down: AtomicU64,
    /// When a value of another release was replaced, by name.
    replaced: std::sync::Mutex<BTreeMap<(u32, Vec<u8>), Timestamp>>,
}

/// How things were when a loader began.
#[derive(Clone, Copy)]
pub struct Began {
    name: Name,
    token: [u32; 3],
    /// The news of its key.
    pub news: u64,
    /// How often this pod had begun to write its key.
    pub writes: u64,
    /// On the pod's clock.
    pub at: Timestamp,
    /// L2 was away, so that its value must be kept nowhere.
    l2_down: bool,
}

impl SimIo {
    pub fn new(pod: usize, clock: Clock) -> Self {
        Self {
            pod,
            clock,
            first_read: AtomicU64::default(),
            caller: AtomicU64::default(),
            inbox: std::sync::Mutex::default(),
            submissions: AtomicU64::default(),
            news: Default::default(),
            writes: Default::default(),
            failures: Default::default(),
            loading: std::sync::Mutex::default(),
            running: std::sync::Mutex::default(),
            told: AtomicU64::default(),
            l2_down: AtomicU64::default(),
            replaced: std::sync::Mutex::default(),
        }
    }

    /// Something was changed: this key, or anything.
    pub fn hear(&self, key: Option<usize>) {
        for (number, news) in self.news.iter().enumerate() {
            if key.is_none_or(|key| key == number) {
                news.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A loader fails, or hangs, which will be a failure.
    pub fn failed(&self, name: Name) {
        self.failures[name.1].fetch_add(1, Ordering::Relaxed);
    }

    /// A loader begins: no other may be at it that knows as much, and not too many at a time. One that has been at it
    /// for longer than it may is no longer believed to be.
    pub fn begins(&self, name: Name, value: u64, token: [u32; 3], l2_down: u64) {
        let now = self.clock.at(self.clock.world.load(Ordering::Relaxed));
        let began = Began {
            name,
            token,
            news: self.news[name.1].load(Ordering::Relaxed),
            writes: self.writes[name.1].load(Ordering::Relaxed),
            at: now,
            l2_down: self.l2_down.swap(l2_down, Ordering::Relaxed) != l2_down,
        };
        self.loading
            .lock()
            .expect("one thread")
            .insert(value, began);
        let mut running = self.running.lock().expect("one thread");
        let at_it = |other: &&Began| now.saturating_since(other.at) < LOAD_TIMEOUT * 9 / 8;
        let twin = running
            .values()
            .filter(at_it)
            .any(|other| (other.name, other.token) == (name, token));
        assert!(!twin, "C8: two loaders of {name:?} at once");
        let others = running.values().filter(at_it).count();
        assert!(
            others < MAX_LOADS,
            "C8: more than max_loads loaders at once"
        );
        running.insert(value, began);
    }

    /// So many loads have begun without L2; the last of them was nobody's that is looked at.
    pub fn knows_of(&self, l2_down: u64) {
        self.l2_down.store(l2_down, Ordering::Relaxed);
    }

    /// It has ended, in whatever way.
    pub fn ends(&self, value: u64) {
        let running = self.running.lock();
        // A failed assertion may have poisoned it: it is the one to be told of.
        running
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(&value);
    }

    /// What was loaded before the last news of its key must not be written any more, nor what was loaded without L2.
    pub fn may_send(&self, ops: &[Op], now: Timestamp) {
        for op in ops {
            let (db, key, value) = match op {
                Op::Set { db, key, value, .. } | Op::Replace { db, key, value, .. } => {
                    (*db, key, value)
                }
                _ => continue,
            };
            let value = decode(Some(value)).expect("a number");
            if let Some(began) = self.loading.lock().expect("one thread").get(&value) {
                let news = self.news[number(key).expect("a key")].load(Ordering::Relaxed);
                assert_eq!(
                    began.news, news,
                    "C4: {value} was loaded before the key was changed"
                );
                assert!(
                    !began.l2_down,
                    "C10: {value} was loaded without L2, and is written"
                );
            }
            if let Op::Replace { .. } = op {
                let before = self
                    .replaced
                    .lock()
                    .expect("one thread")
                    .insert((db, key.to_vec()), now);
                let often =
                    before.is_some_and(|before| now.saturating_since(before) < REPLACE_AGAIN);
                assert!(!often, "C4: values of two releases replace each other");
            }
        }
    }
}

impl Io for SimIo {
    fn now(&self) -> Timestamp {
        interrupt::at_clock(self.pod, || {
            let world = self.clock.world.load(Ordering::Relaxed);
            self.first_read.fetch_min(world, Ordering::Relaxed);
            self.clock.at(world)
        })
    }

    fn submit(&self, request: Request) {
        self.submissions.fetch_add(1, Ordering::Relaxed);
        let caller = self.caller.load(Ordering::Relaxed);
        self.inbox
            .lock()
            .expect("one thread")
            .push((caller, request));
    }
}
