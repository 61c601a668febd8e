//! The lanes of a pod, one for each primary: hands each what is its own, and looks after all of them.

use nearcache_l1::Timestamp;
use nearcache_proto::{Action, Error, ErrorKind, Lane, PrimaryId, Request};

use super::Seat;

pub(super) struct Lanes(Vec<Lane>);

impl Lanes {
    pub(super) fn new(seat: &Seat, seed: u64) -> Self {
        let lane = |primary: PrimaryId| {
            let seed = seed.wrapping_add(u64::from(primary.0));
            Lane::new(seat.pod.clone(), primary, seat.lane.clone(), seed)
        };
        Self(seat.pod.primaries().into_iter().filter_map(lane).collect())
    }

    /// The lane to a primary. News of one that is not there any more are of no use to anybody.
    pub(super) fn of(&mut self, primary: PrimaryId) -> Option<&mut Lane> {
        self.0.iter_mut().find(|lane| lane.primary() == primary)
    }

    pub(super) fn submit(&mut self, request: Request, now: Timestamp) {
        match self.of(request.primary()) {
            Some(lane) => lane.submit(request, now),
            None => request.reject(&Error::new(
                ErrorKind::Retry,
                "the key's primary is not known any more: try again",
            )),
        }
    }

    /// The next thing that any of them wants done.
    pub(super) fn poll_action(&mut self, now: Timestamp) -> Option<Action> {
        self.0.iter_mut().find_map(|lane| lane.poll_action(now))
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(Lane::poll_timeout).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        self.0.iter_mut().for_each(|lane| lane.handle_timeout(now));
    }

    pub(super) fn shutdown(&mut self, now: Timestamp) {
        self.0.iter_mut().for_each(|lane| lane.shutdown(now));
    }

    pub(super) fn abandon(&mut self, error: &Error, now: Timestamp) {
        self.0.iter_mut().for_each(|lane| lane.abandon(error, now));
    }
}
