//! Whose turn it is: calls are polled one at a time, outside the world, so that it can go on when one is stopped.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Context, Poll, Waker};

use super::*;
use nearcache_proto::LoadPolicy;

use crate::calls::{Ending, LoaderPanic};
use crate::interrupt::{self, Stop};

/// A call whose turn it is.
pub struct Turn {
    call: Call,
    stop: Option<Stop>,
    submissions: u64,
    /// How often a loaded value had been lent.
    lent: u64,
}

/// What became of it.
pub enum Polled {
    Pending,
    Ready(Result<Outcome, Error>),
    /// Its loader panicked.
    Panicked,
}

impl Turn {
    /// Without any claim on the world.
    pub fn poll(&mut self) -> Polled {
        interrupt::arm(self.stop);
        let mut context = Context::from_waker(Waker::noop());
        let future = self.call.future.as_mut();
        let polled = match self.call.operation {
            Operation::Load => match catch_unwind(AssertUnwindSafe(|| future.poll(&mut context))) {
                Ok(polled) => polled,
                Err(panic) => return panicked(panic),
            },
            _ => future.poll(&mut context),
        };
        interrupt::arm(None);
        match polled {
            Poll::Pending => Polled::Pending,
            Poll::Ready(result) => Polled::Ready(result),
        }
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Polled {
    interrupt::arm(None);
    match panic.is::<LoaderPanic>() {
        true => Polled::Panicked,
        false => resume_unwind(panic),
    }
}

impl World {
    /// The next call whose turn it is, taken out.
    pub fn next_turn(&mut self) -> Option<Turn> {
        loop {
            let number = self.turns.pop_front()?;
            let index = self.calls.iter().position(|call| call.number == number);
            let Some(index) = index else { continue };
            if self.pods[self.calls[index].view.pod].stopped || self.calls[index].parked {
                continue;
            }
            self.turn(index);
            let call = self.calls.swap_remove(index);
            // Later readings may be made under a lock of the store.
            let stop = !call.polled && self.random.per_mille(self.mood.preempted);
            let stop = stop.then(|| match self.random.per_mille(800) {
                true => Stop::Before,
                false => Stop::After,
            });
            let io = &self.pods[call.view.pod].io;
            io.first_read.store(u64::MAX, Ordering::Relaxed);
            let lent = self.pods[call.view.pod].pod.totals().loads_lent_total;
            return Some(Turn {
                stop,
                lent,
                submissions: io.submissions.load(Ordering::Relaxed),
                call,
            });
        }
    }

    /// A call had its turn.
    pub fn polled(&mut self, turn: Turn, polled: Polled) {
        let Turn {
            mut call,
            stop,
            submissions,
            lent,
        } = turn;
        let pod = call.view.pod;
        call.lent = self.pods[pod].pod.totals().loads_lent_total > lent;
        if matches!(call.operation, Operation::Set | Operation::Delete) && !call.polled {
            // Its copy is dropped before it is sent.
            self.pods[pod].io.writes[call.name.1].fetch_add(1, Ordering::Relaxed);
        }
        let read = self.pods[pod].io.first_read.load(Ordering::Relaxed);
        call.read_at = match read {
            u64::MAX => call.view.at,
            read => Timestamp::from_micros(read),
        };
        if stop.is_some() {
            // What it found resident may have been gone when it looked.
            call.resident.fill(false);
        }
        let result = match polled {
            Polled::Pending => {
                let now = self.pods[pod].io.submissions.load(Ordering::Relaxed);
                call.asked_again |= call.polled && submissions != now;
                call.polled = true;
                return self.calls.push(call);
            }
            Polled::Panicked => {
                self.strike(pod, Fault::LoaderPanics);
                self.struck_by(&call);
                return self.met(&call);
            }
            Polled::Ready(result) => result,
        };
        if let (Some(_), Ok(Outcome::Read(.., Source::L1))) = (stop, &result) {
            self.coverage.preempted_hits += 1;
        }
        self.judge(&call, result);
        self.struck_by(&call);
        self.met(&call);
        self.peek(pod);
    }

    /// What a loader did counts as a fault for those beside it.
    fn struck_by(&mut self, call: &Call) {
        let fault = match call.load.map(|load| load.ending) {
            Some(Ending::Hang) => Fault::LoaderHangs,
            Some(Ending::Recursion) => Fault::LoaderRecurses,
            _ => return,
        };
        self.strike(call.view.pod, fault);
    }

    /// A caller's task does something else for good: another arm of a `select!`, say.
    pub(super) fn park(&mut self) {
        let loads = self.calls.iter_mut().filter(|call| call.load.is_some());
        let Some(call) = loads.max_by_key(|call| call.number) else {
            return;
        };
        call.parked = true;
        let (number, pod) = (call.number, call.view.pod);
        self.say(|| format!("call {number} is parked"));
        self.strike(pod, Fault::Parked);
    }

    /// Everybody else is done: what the parked hold must be free by now. Then they are polled again.
    fn unpark(&mut self) {
        if self.probed {
            self.calls.iter_mut().for_each(|call| call.parked = false);
            return;
        }
        self.probed = true;
        self.advance(1300, 1400);
        (0..self.pods.len()).for_each(|pod| self.pump(pod));
        let held: Vec<_> = self.calls.iter().map(|c| (c.view.pod, c.name)).collect();
        for (pod, name) in held {
            let load = self.load_with(name, Ending::Value, LoadPolicy::default());
            let cache = self.pods[pod].cache.clone();
            let future = load.future(cache);
            self.enlist(pod, (Operation::Load, name), (None, Some(load)), future);
            if let Some(call) = self.calls.last_mut() {
                call.must = true;
            }
        }
    }

    pub(super) fn poll_one(&mut self) {
        if !self.calls.is_empty() {
            let index = self.random.below(self.calls.len());
            self.turns.push_back(self.calls[index].number);
        }
    }

    /// Everybody in a pod runs, before anything else comes in.
    pub(super) fn poll_all(&mut self, pod: usize) {
        let of_pod = self.calls.iter().filter(|call| call.view.pod == pod);
        self.turns.extend(of_pod.rev().map(|call| call.number));
    }

    pub(super) fn cancel(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let index = self.random.below(self.calls.len());
        if self.pods[self.calls[index].view.pod].stopped {
            return;
        }
        self.turn(index);
        let call = self.calls.swap_remove(index);
        self.say(|| format!("call {} is cancelled", call.number));
        self.strike(call.view.pod, Fault::Cancel);
        self.met(&call);
    }

    /// Whatever is submitted from now on comes from this call.
    fn turn(&self, index: usize) {
        let call = &self.calls[index];
        let caller = &self.pods[call.view.pod].io.caller;
        caller.store(call.number, Ordering::Relaxed);
    }

    /// A caller of `pod` is stopped; everything else goes on.
    pub fn meanwhile(&mut self, pod: usize) {
        self.strike(pod, Fault::Preempted);
        self.step += 1;
        if self.random.per_mille(600) {
            let name = self.name();
            self.foreign_write(name);
        }
        // Not any more where calls must succeed: it takes longer than they have.
        let may_stop = self.mood.allows(Fault::Stopped) && !self.probed;
        if may_stop && self.random.per_mille(300) {
            // All of the process: its IO thread may be the first to go on.
            self.strike(pod, Fault::Stopped);
            self.advance(200, 1500);
        }
        for _ in 0..self.random.below(30) {
            self.step += 1;
            match self.random.below(4) {
                0 => self.pump(pod),
                1 => self.serve(pod),
                2 => self.deliver(pod),
                _ if self.random.per_mille(100) => self.advance(1, 15),
                _ => self.serve(pod),
            }
        }
    }

    /// Faults end, and everything in flight must come to its end. Whether there is more to do.
    pub fn heal(&mut self, round: usize) -> bool {
        if round == 0 {
            self.random = Random::new(self.seed, u64::MAX);
            self.relieve_all();
        }
        if self.calls.is_empty() {
            return false;
        }
        if self.calls.iter().all(|call| call.parked) {
            self.unpark();
        }
        assert!(
            round < PATIENCE,
            "C10: {} calls never ended: {:?}",
            self.calls.len(),
            self.calls
                .iter()
                .map(|call| call.operation)
                .collect::<Vec<_>>()
        );
        self.step += 1;
        let pod = self.random.below(self.pods.len());
        match round % 4 {
            0 => self.pump(pod),
            1 => self.serve(pod),
            2 => self.deliver(pod),
            _ => self.poll_one(),
        }
        if round.is_multiple_of(64) {
            self.advance(1, 40);
        }
        true
    }
}
