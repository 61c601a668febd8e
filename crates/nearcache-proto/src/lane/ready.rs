//! Who waits for the lane to be up: across attempts that failed, for as long as each is patient.
//!
//! What cannot heal ends every wait at once. Nothing else that a caller asks for waits here.

use std::time::Duration;

use nearcache_l1::Timestamp;

use super::{Lane, Phase};
use crate::admission::Permit;
use crate::error::{Error, ErrorKind};
use crate::request::{Done, Request, Work};

/// One who waits.
pub(super) struct Waiter {
    done: Done<()>,
    /// So that they cannot be more than may wait in line.
    _permit: Permit,
    since: Timestamp,
    /// When an attempt that failed is not followed by another.
    patient_until: Timestamp,
    /// Attempts that failed since.
    failures: u32,
}

impl Waiter {
    pub(super) fn end(&self, result: Result<(), Error>) {
        self.done.complete(result);
    }

    fn give_up(&self, error: &Error, now: Timestamp) {
        let patient = self.patient_until > self.since && error.kind() == ErrorKind::Retry;
        let error = match patient {
            true => error.given_up(&tried(self.failures, now.saturating_since(self.since))),
            false => error.clone(),
        };
        self.end(Err(error));
    }
}

impl Lane {
    /// Whether a request goes on waiting although the lane is down for this reason.
    pub(super) fn is_patient(&self, request: &Request, down: &Error, now: Timestamp) -> bool {
        let until = match request.work {
            Work::Ready(_) if matches!(self.phase, Phase::Up { .. }) => Timestamp::ZERO,
            Work::Ready(_) => request.deadline,
            _ => request.patient_until,
        };
        down.kind() == ErrorKind::Retry && now < until
    }

    pub(super) fn wait_ready(
        &mut self,
        done: Done<()>,
        permit: Permit,
        patient_until: Timestamp,
        now: Timestamp,
    ) {
        let waiter = Waiter {
            done,
            _permit: permit,
            since: now,
            patient_until,
            failures: 0,
        };
        match self.phase {
            Phase::Up { .. } => waiter.end(Ok(())),
            _ => self.ready.push(waiter),
        }
    }

    pub(super) fn end_ready(&mut self, result: &Result<(), Error>) {
        for waiter in self.ready.drain(..) {
            waiter.end(result.clone());
        }
    }

    /// An attempt failed: whoever is patient waits for the next, unless that would fail in the same way.
    pub(super) fn fail_ready(&mut self, error: &Error, now: Timestamp) {
        for waiter in &mut self.ready {
            waiter.failures = waiter.failures.saturating_add(1);
        }
        self.end_impatient(error, now);
    }

    /// When the first of those who wait is not patient any more; the first attempt has its own time.
    pub(super) fn patient_until(&self) -> Option<Timestamp> {
        self.failed()?;
        self.ready.iter().map(|waiter| waiter.patient_until).min()
    }

    pub(super) fn end_impatient(&mut self, error: &Error, now: Timestamp) {
        let heals = error.kind() == ErrorKind::Retry;
        let waits = |waiter: &Waiter| heals && now < waiter.patient_until;
        for waiter in std::mem::take(&mut self.ready) {
            match waits(&waiter) {
                true => self.ready.push(waiter),
                false => waiter.give_up(error, now),
            }
        }
    }

    /// Why the last attempt to connect failed, until one succeeds.
    pub(super) fn failed(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Waiting { failed, .. }
            | Phase::Connecting { failed, .. }
            | Phase::Handshaking { failed, .. } => failed.as_ref(),
            Phase::Up { .. } | Phase::Closed => None,
        }
    }
}

fn tried(failures: u32, time: Duration) -> String {
    let attempts = match failures {
        1 => "1 attempt".to_owned(),
        failures => format!("{failures} attempts"),
    };
    let seconds = time.as_secs_f64();
    format!("given up after {attempts} in {seconds:.2} s (warm_deadline)")
}
