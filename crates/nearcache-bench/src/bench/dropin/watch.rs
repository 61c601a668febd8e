//! The latencies of one caller's calls, one after the other.
//! Reads the clock once a call and allocates nothing meanwhile.

use std::time::{Duration, Instant};

/// When a slice ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// After two reads of each key.
    Filled,
    /// After so long.
    Elapsed(Duration),
}

/// The latencies of one slice. A call begins where the one before it ends: one clock reading each.
pub(super) struct Stopwatch {
    began: Instant,
    last: Instant,
    until: Until,
    /// Calls that read every key twice.
    twice: usize,
    pub(super) times: Vec<u32>,
}

impl Stopwatch {
    pub(super) fn start(until: Until, keys: usize) -> Self {
        // Room first: growing in the midst of it would be timed.
        let room = match until {
            Until::Filled => keys * 2,
            Until::Elapsed(time) => time.as_micros() as usize * 10,
        };
        let times = Vec::with_capacity(room);
        let now = Instant::now();
        Self {
            began: now,
            last: now,
            until,
            twice: keys * 2,
            times,
        }
    }

    /// Notes a call; false when the slice is over.
    pub(super) fn lap(&mut self) -> bool {
        let now = Instant::now();
        let time = now.duration_since(self.last).as_nanos();
        self.times.push(u32::try_from(time).unwrap_or(u32::MAX));
        self.last = now;
        match self.until {
            Until::Filled => self.times.len() < self.twice,
            Until::Elapsed(time) => now.duration_since(self.began) < time,
        }
    }
}
