//! A simulated pod's clock and inbox, with what the model must know of both ends of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearcache_l1::Timestamp;
use nearcache_proto::{Io, Op, Request};

use crate::calls::{decode, number};
use crate::world::KEYS;

/// The clock and inbox of a simulated pod.
pub struct SimIo {
    pub clock: Arc<AtomicU64>,
    /// Whose turn it is: the requests of one caller stay in order, those of different ones need not.
    pub caller: AtomicU64,
    pub inbox: std::sync::Mutex<Vec<(u64, Request)>>,
    /// How many requests there were.
    pub submissions: AtomicU64,
    /// By key: how often the pod learnt that its copies may be out of date.
    pub news: [AtomicU64; KEYS],
    /// The news of the key when a loader began, by the value it loads.
    pub loading: std::sync::Mutex<BTreeMap<u64, u64>>,
}

impl SimIo {
    /// Something was changed: this key, or anything.
    pub fn hear(&self, key: Option<usize>) {
        for (number, news) in self.news.iter().enumerate() {
            if key.is_none_or(|key| key == number) {
                news.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What was loaded before the last news of its key must not be written any more.
    pub fn may_send(&self, ops: &[Op]) {
        for op in ops {
            if let Op::Set {
                key,
                value,
                if_absent: true,
                ..
            } = op
            {
                let value = decode(Some(value)).expect("a number");
                let began = self.loading.lock().expect("one thread")[&value];
                let now = self.news[number(key).expect("a key")].load(Ordering::Relaxed);
                assert_eq!(
                    began, now,
                    "C4: {value} was loaded before the key was changed"
                );
            }
        }
    }
}

impl Io for SimIo {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::Relaxed))
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
