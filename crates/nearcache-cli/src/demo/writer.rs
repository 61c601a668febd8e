//! The writer: one thread with a connection of its own that changes values under the pods and notes when each change
//! was acknowledged. Never reads, and never tells the pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{panic, thread};

use super::check::Written;
use super::control::{Control, Place};
use super::plan::{Header, Plan, WATCHED};
use crate::Failure;
use crate::machine::{now_ns, sleep_until};
use crate::zipf::Rng;

/// Writes of the watched key per second.
const WATCHED_PER_SECOND: f64 = 4.0;

/// The values as they are in L2, and the connection that puts them there.
pub(crate) struct Writer {
    control: Control,
    plan: Plan,
    sequences: Vec<u64>,
    watched: u64,
}

/// A writer at work.
pub(crate) struct Writing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Writer, Result<Vec<Written>, Failure>)>,
}

impl Writer {
    /// Opens its connection.
    pub(crate) fn new(place: &Place, plan: &Plan) -> Result<Self, Failure> {
        let (plan, sequences) = (plan.clone(), vec![0; plan.keys as usize]);
        Ok(Self {
            control: Control::open(place)?,
            plan,
            sequences,
            watched: 0,
        })
    }

    /// Writes every key once.
    pub(crate) fn fill(&mut self) -> Result<Vec<Written>, Failure> {
        (0..self.plan.keys)
            .chain([WATCHED])
            .map(|key| self.write(key))
            .collect()
    }

    /// Starts to write at random moments with the plan's mean rate, until told to stop.
    pub(crate) fn start(self, stream: u64) -> Writing {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut writer = self;
            let log = writer.work(stream, &seen);
            (writer, log)
        });
        Writing { stop, thread }
    }

    fn work(&mut self, stream: u64, stop: &AtomicBool) -> Result<Vec<Written>, Failure> {
        let mut rng = Rng::new(self.plan.seed, stream);
        let (mut log, start) = (Vec::new(), now_ns() as f64);
        let gap = |rng: &mut Rng, rate: f64| rng.exponential(1e9 / rate);
        let mut next_watched = start;
        let mut next = match self.plan.writes > 0.0 {
            true => start + gap(&mut rng, self.plan.writes),
            false => f64::INFINITY,
        };
        while !stop.load(Ordering::Relaxed) {
            sleep_until(next.min(next_watched) as u64);
            if next_watched <= next {
                log.push(self.write(WATCHED)?);
                next_watched += 1e9 / WATCHED_PER_SECOND;
            } else {
                log.push(self.write(rng.below(self.plan.keys))?);
                next += gap(&mut rng, self.plan.writes);
            }
        }
        Ok(log)
    }

    fn write(&mut self, key: u32) -> Result<Written, Failure> {
        let sequence = match key {
            WATCHED => &mut self.watched,
            key => &mut self.sequences[key as usize],
        };
        *sequence += 1;
        let header = Header {
            key,
            sequence: *sequence,
        };
        self.control
            .set(&self.plan.name(key), self.plan.value(header))?;
        Ok(Written {
            key,
            sequence: header.sequence,
            acked_ns: now_ns(),
        })
    }
}

impl Writing {
    /// Stops, and hands the writer back with what it wrote.
    pub(crate) fn stop(self) -> Result<(Writer, Vec<Written>), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let (writer, log) = self
            .thread
            .join()
            .unwrap_or_else(|panicked| panic::resume_unwind(panicked));
        Ok((writer, log?))
    }
}
