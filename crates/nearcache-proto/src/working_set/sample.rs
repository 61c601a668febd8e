//! Where the hit path leaves which entry was read, for the counts to be made of later.
//!
//! A hit never waits here and allocates nothing; what cannot be left at once is dropped and counted.
//!
//! Concurrency: the lock of a stripe is only ever tried by hits, for one copy of a name, and taken by
//! [`Sampler::drain`] for an exchange of buffers; `spare` is taken before it, by nobody else. The period
//! orders nothing: a sample counts as many reads as the period that was current when it was left.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nearcache_l1::Key;

use super::name::LONGEST;
use crate::counters::STRIPES;
use crate::shim::{AtomicU32, Mutex, Ordering, lock, try_lock};

/// Samples to take per second, at most, roughly.
const ENOUGH_PER_S: f64 = 4096.0;

/// Binary logarithm of the longest period.
const LONGEST_PERIOD: u32 = 20;

/// Weight, db, and length of the name.
const HEAD: usize = 3 * size_of::<u32>();

#[repr(align(64))]
struct Stripe {
    /// Samples, one behind the other. Never grows: allocated once, for `room` bytes.
    buffer: Mutex<Vec<u8>>,
}

/// Reads that were sampled and not counted yet.
pub struct Sampler {
    stripes: [Stripe; STRIPES],
    /// Binary logarithm of the period: one in so many reads is sampled.
    shift: AtomicU32,
    room: usize,
    /// Changes places with the buffer that is drained.
    spare: Mutex<Vec<u8>>,
    dropped: AtomicU64,
}

impl Sampler {
    /// A sampler that holds no more than `capacity_bytes` of samples, all allocated now.
    pub fn new(capacity_bytes: usize) -> Self {
        let room = capacity_bytes / (STRIPES + 1);
        let buffer = || Mutex::new(Vec::with_capacity(room));
        Self {
            stripes: std::array::from_fn(|_| Stripe { buffer: buffer() }),
            shift: AtomicU32::new(0),
            room,
            spare: buffer(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether the `n`-th hit of a stripe is to be sampled: one in a period is, at places that no pattern of
    /// reads keeps step with.
    ///
    /// # Cost
    /// One relaxed load and a multiplication.
    #[inline]
    pub fn wants(&self, n: u64) -> bool {
        // Multiples of the golden ratio are spread evenly, whatever stride they are looked at with.
        let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let shift = self.shift.load(Ordering::Relaxed);
        // In two steps, since a shift by 64 is none.
        (hash >> 1) >> (63 - shift) == 0
    }

    /// Leaves a sample of a read in a stripe. Dropped when the stripe is full, in use at this moment, or the name
    /// of the entry longer than 1 KiB.
    ///
    /// # Cost
    /// A lock that is tried once, and a copy of the name; never waits, never allocates.
    pub fn push(&self, stripe: usize, filed: Key<'_>) {
        if !self.leave(stripe, filed) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn leave(&self, stripe: usize, filed: Key<'_>) -> bool {
        if filed.bytes.len() > LONGEST {
            return false;
        }
        let weight: u32 = 1 << self.shift.load(Ordering::Relaxed);
        let stripe = &self.stripes[stripe % STRIPES];
        let Some(mut buffer) = try_lock(&stripe.buffer) else {
            return false;
        };
        if buffer.len() + HEAD + filed.bytes.len() > self.room {
            return false;
        }
        for number in [weight, filed.db, filed.bytes.len() as u32] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        buffer.extend_from_slice(filed.bytes);
        true
    }

    /// Takes all samples: each entry with the number of reads that its sample stands for. One caller at a time;
    /// `f` must not drain.
    ///
    /// # Cost
    /// Nothing to the hits meanwhile, but that one which comes at the moment of an exchange is dropped.
    pub fn drain(&self, mut f: impl FnMut(Key<'_>, u32)) {
        let mut spare = lock(&self.spare);
        for stripe in &self.stripes {
            spare.clear();
            std::mem::swap(&mut *lock(&stripe.buffer), &mut *spare);
            let mut rest = &spare[..];
            while let Some((filed, weight)) = next(&mut rest) {
                f(filed, weight);
            }
        }
    }

    /// Chooses the period by the reads since it was chosen last: every read is sampled as long as there are
    /// few.
    pub fn adapt(&self, reads: u64, elapsed: Duration) {
        if elapsed.is_zero() {
            return;
        }
        let per_s = reads as f64 / elapsed.as_secs_f64();
        // The smallest power of two that makes few enough; a float of any size becomes a number.
        let shift = (per_s / ENOUGH_PER_S).max(1.0).log2().ceil() as u32;
        self.shift
            .store(shift.min(LONGEST_PERIOD), Ordering::Relaxed);
    }

    /// One in so many reads is sampled.
    pub fn period(&self) -> u32 {
        1 << self.shift.load(Ordering::Relaxed)
    }

    /// Bytes of memory held, ever the same.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.room * (STRIPES + 1)
    }

    /// Samples that were to be taken and were dropped.
    pub fn samples_dropped_total(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(Key<'a>, u32)> {
    let mut number = || {
        let (number, tail) = rest.split_first_chunk()?;
        *rest = tail;
        Some(u32::from_le_bytes(*number))
    };
    let (weight, db, length) = (number()?, number()?, number()?);
    let (name, tail) = rest.split_at_checked(length as usize)?;
    *rest = tail;
    Some((Key::new(db, name), weight))
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests;
