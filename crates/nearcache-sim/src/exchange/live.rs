//! A fleet whose pods run their backgrounds as they do in production, each in its own time, moved by one virtual clock.
//!
//! Everything that is due is done in the order of its time, and pods due at once in that of their numbers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use nearcache_l1::Timestamp;
use nearcache_proto::warm::WarmConfig;

use crate::io::Clock;
use crate::l2::L2;
use crate::pod::{Running, Served, SimPod};
use crate::simulate::{Capacity, Error};
use crate::trace::Key;

/// The fleet.
pub(crate) struct Live {
    pub(crate) clock: Clock,
    pub(crate) l2: L2,
    pub(crate) members: Vec<Member>,
    /// When whose background has something to do.
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    woken: Arc<Woken>,
}

/// One pod and its background.
pub(crate) struct Member {
    pub(crate) pod: SimPod,
    running: Running,
    bell: Arc<Bell>,
    waker: Waker,
    due: Timestamp,
}

/// Pods that something happened to.
#[derive(Default)]
struct Woken(Mutex<Vec<usize>>);

struct Bell {
    number: usize,
    rung: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            let woken = &self.woken.0;
            woken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self.number);
        }
    }
}

impl Live {
    /// A fleet without pods, on an L2 that holds `keys`.
    pub(crate) fn new(keys: &[Key]) -> Self {
        let clock = Clock::new();
        Self {
            l2: L2::new(keys, clock.now()),
            clock,
            members: Vec::new(),
            due: BinaryHeap::new(),
            woken: Arc::default(),
        }
    }

    /// A pod joins, and begins to start warm; its clock is `clock`.
    pub(crate) fn join(
        &mut self,
        capacity: Capacity,
        config: WarmConfig,
        clock: &Clock,
        seed: u64,
    ) -> Result<(), Error> {
        let number = self.members.len();
        let pod = SimPod::start(capacity, clock, seed, &mut self.l2)?;
        let running = pod.run(config, seed);
        let bell = Arc::new(Bell {
            number,
            rung: AtomicBool::new(false),
            woken: self.woken.clone(),
        });
        let due = self.clock.world();
        self.members.push(Member {
            pod,
            running,
            waker: bell.clone().into(),
            bell,
            due,
        });
        self.due.push(Reverse((due, number)));
        Ok(())
    }

    /// Lets all backgrounds do what they have to do until `until`; `attended` hears of each whose turn it was, before and after.
    pub(crate) fn go_on(&mut self, until: Timestamp, attended: &mut impl FnMut(Turn<'_>)) {
        while let Some(Reverse((at, number))) = self.due.peek().copied() {
            if at > until {
                break;
            }
            self.due.pop();
            // One that was moved to another time is there twice.
            if self.members[number].due == at {
                self.clock.go_on(at);
                self.attend(number, attended);
            }
        }
        self.clock.go_on(until);
    }

    /// A pod is asked for a key.
    #[inline]
    pub(crate) fn read(&mut self, number: usize, key: &Key) -> Served {
        self.members[number].pod.read(&mut self.l2, &key.name)
    }

    /// Somebody outside the fleet writes a key.
    pub(crate) fn write(&mut self, key: &Key) {
        self.l2.write(key, self.clock.world());
        let woken =
            std::mem::take(&mut *self.woken.0.lock().unwrap_or_else(PoisonError::into_inner));
        for number in woken {
            let member = &mut self.members[number];
            if member.bell.rung.load(Ordering::Relaxed) {
                member.due = self.clock.world();
                self.due.push(Reverse((member.due, number)));
            }
        }
    }

    fn attend(&mut self, number: usize, attended: &mut impl FnMut(Turn<'_>)) {
        let member = &mut self.members[number];
        attended(Turn::Begins(&member.pod));
        let rung = &member.bell.rung;
        let is_woken = || rung.swap(false, Ordering::Relaxed);
        let (pod, running) = (&mut member.pod, &mut member.running);
        pod.attend(&mut self.l2, running, &member.waker, is_woken);
        attended(Turn::Ends(pod));
        member.due = match running.due {
            Timestamp::MAX => Timestamp::MAX,
            // Not at once again, however the clocks are cut.
            due => pod.clock().when(due).max(self.clock.world()),
        };
        self.due.push(Reverse((member.due, number)));
    }
}

/// What becomes of a pod whose background has something to do.
pub(crate) enum Turn<'a> {
    /// It is about to do it.
    Begins(&'a SimPod),
    /// It has.
    Ends(&'a SimPod),
}
