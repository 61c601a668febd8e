//! The writer: one thread with a connection of its own that changes values under the pods and notes when each change
//! was acknowledged. Never reads, and never tells the pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{panic, thread};

use nearcache_cli::outcome::Failure;

use super::check::Written;
use super::control::{Control, Place};
use super::header::Header;
use super::plan::{Plan, WATCHED};
use super::progress::Progress;
use super::traffic::Draw;
use crate::machine::{now_ns, sleep_until};
use crate::zipf::{Rng, Zipf};

/// Keys between two words on how far filling is.
const FILL_STRIDE: usize = 64;

/// How values change during a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Updates {
    /// Writes a second, at random moments.
    pub(crate) per_s: f64,
    /// Which keys: as uneven as the reads, instead of all alike.
    pub(crate) skewed: bool,
    /// Each key twice, soon after each other: what a reader that asked in between gets is old at once.
    pub(crate) twice: bool,
    /// The keys that the trace writes, in its order, where there is a trace that writes.
    pub(crate) traced: bool,
}

/// How long the writer sleeps at a time.
const STEP_NS: u64 = 50_000_000;
/// The longest gap between the two writes of a pair.
const TWICE_NS: u32 = 60_000_000;

/// The values as they are in L2, and the connection that puts them there.
pub(crate) struct Writer {
    control: Control,
    plan: Plan,
    sequences: Vec<u64>,
    watched: u64,
    /// The writes of the trace; keys all alike where there are none.
    draw: Draw,
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
        let writes = plan.traffic.as_ref().map(|traffic| &traffic.writes[..]);
        let draw = Draw::new(writes.unwrap_or_default(), plan.keys, 0.0);
        Ok(Self {
            control: Control::open(place)?,
            plan,
            sequences,
            watched: 0,
            draw,
        })
    }

    /// Writes every key once.
    pub(crate) fn fill(&mut self, progress: &mut Progress) -> Result<Vec<Written>, Failure> {
        let keys = self.plan.keys as usize;
        (0..self.plan.keys)
            .chain([WATCHED])
            .enumerate()
            .map(|(done, key)| {
                if done % FILL_STRIDE == 0 {
                    progress.part(done, keys);
                }
                self.write(key)
            })
            .collect()
    }

    /// Starts to write, until told to stop.
    pub(crate) fn start(self, updates: Updates, stream: u64) -> Writing {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut writer = self;
            let log = writer.work(updates, stream, &seen);
            (writer, log)
        });
        Writing { stop, thread }
    }

    fn work(
        &mut self,
        updates: Updates,
        stream: u64,
        stop: &AtomicBool,
    ) -> Result<Vec<Written>, Failure> {
        self.draw.rewind();
        let exponent = if updates.skewed { self.plan.zipf } else { 0.0 };
        let zipf = Zipf::new(self.plan.keys, exponent);
        let mut rng = Rng::new(self.plan.seed, stream);
        let (mut log, start) = (Vec::new(), now_ns() as f64);
        let gap = |rng: &mut Rng, rate: f64| rng.exponential(1e9 / rate);
        let mut next_watched = start;
        let mut next = match updates.per_s > 0.0 {
            true => start + gap(&mut rng, updates.per_s),
            false => f64::INFINITY,
        };
        while !stop.load(Ordering::Relaxed) {
            // In short steps: a phase that is over waits for its writer.
            let due = (next.min(next_watched) as u64).min(now_ns() + STEP_NS);
            sleep_until(due);
            if (due as f64) < next.min(next_watched) - 1.0 {
                continue;
            }
            if next_watched <= next {
                log.push(self.write(WATCHED)?);
                next_watched += 1e9 / self.plan.watched_writes;
            } else {
                let key = match &self.plan.traffic {
                    Some(_) if updates.traced => self.draw.sample(&mut rng),
                    Some(traffic) if updates.skewed => traffic.any_read(&mut rng),
                    _ => zipf.sample(&mut rng),
                };
                log.push(self.write(key)?);
                if updates.twice {
                    sleep_until(now_ns() + u64::from(rng.below(TWICE_NS)));
                    log.push(self.write(key)?);
                }
                next += gap(&mut rng, updates.per_s);
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
        let (name, value) = (self.plan.name(key), self.plan.value(header));
        self.control.set(&name, value, self.plan.life_seconds())?;
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
