//! A simulated pod's clock and inbox, with what the model must know of both ends of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearcache_l1::Timestamp;
use nearcache_proto::{Io, Op, Request};

use crate::calls::{decode, number};
use crate::interrupt;
use crate::oracle::Name;
use crate::world::KEYS;

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
    /// The same, with what it did itself: whenever a loader's token may have changed.
    pub moves: [AtomicU64; KEYS],
    /// The news of the key when a loader began, by the value it loads.
    pub loading: std::sync::Mutex<BTreeMap<u64, u64>>,
    /// Loaders that run, by value: of which name, and the moves of its key when they began.
    pub running: std::sync::Mutex<BTreeMap<u64, (Name, u64)>>,
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
            moves: Default::default(),
            loading: std::sync::Mutex::default(),
            running: std::sync::Mutex::default(),
        }
    }

    /// Something was changed: this key, or anything.
    pub fn hear(&self, key: Option<usize>) {
        for (number, news) in self.news.iter().enumerate() {
            if key.is_none_or(|key| key == number) {
                news.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.moved(key);
    }

    /// This pod may have dropped its copies of a key, or of any.
    pub fn moved(&self, key: Option<usize>) {
        for (number, moves) in self.moves.iter().enumerate() {
            if key.is_none_or(|key| key == number) {
                moves.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A loader begins: no other may be at it that knows as much.
    pub fn begins(&self, name: Name, value: u64) {
        let news = self.news[name.1].load(Ordering::Relaxed);
        self.loading.lock().expect("one thread").insert(value, news);
        let moves = self.moves[name.1].load(Ordering::Relaxed);
        let mut running = self.running.lock().expect("one thread");
        let twin = running.values().any(|other| *other == (name, moves));
        assert!(!twin, "C8: two loaders of {name:?} at once");
        running.insert(value, (name, moves));
    }

    /// It has ended, in whatever way.
    pub fn ends(&self, value: u64) {
        self.running.lock().expect("one thread").remove(&value);
    }

    /// What was loaded before the last news of its key must not be written any more.
    pub fn may_send(&self, ops: &[Op]) {
        for op in ops {
            if let Op::Set { key, value, .. } = op
                && let value = decode(Some(value)).expect("a number")
                && let Some(began) = self.loading.lock().expect("one thread").get(&value)
            {
                let now = self.news[number(key).expect("a key")].load(Ordering::Relaxed);
                assert_eq!(
                    *began, now,
                    "C4: {value} was loaded before the key was changed"
                );
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
