//! Whose turn it is: calls are polled one at a time, outside the world, so that it can go on when one is stopped.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::calls::LoaderPanic;
use crate::interrupt::{self, Stop};

/// A call whose turn it is.
pub struct Turn {
    call: Call,
    stop: Option<Stop>,
    submissions: u64,
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
            if self.pods[self.calls[index].view.pod].stopped {
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
            return Some(Turn {
                stop,
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
        } = turn;
        let pod = call.view.pod;
        let read = self.pods[pod].io.first_read.load(Ordering::Relaxed);
        call.read_at = match read {
            u64::MAX => call.view.at,
            read => Timestamp::from_micros(read),
        };
        if call.is_write() {
            self.pods[pod].io.moved(None);
        }
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
                return self.met(&call);
            }
            Polled::Ready(result) => result,
        };
        if let (Some(_), Ok(Outcome::Read(.., Source::L1))) = (stop, &result) {
            self.coverage.preempted_hits += 1;
        }
        self.judge(&call, result);
        self.met(&call);
        self.peek(pod);
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
        let stopped = self.mood.allows(Fault::Stopped) && self.random.per_mille(300);
        if stopped {
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
