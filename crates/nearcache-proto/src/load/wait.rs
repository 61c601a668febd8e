//! The waits of a load: for a place, for another caller's load, and for the lane, which tells the time.
//!
//! None is without an end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nearcache_l1::{Landed, Timestamp};

use super::seat::{Seat, is_inside};
use super::table::Wait;
use crate::cache::{Cache, Io};
use crate::error::{Error, ErrorKind};
use crate::fill::{FillOutcome, PodFlight};
use crate::request::{AlarmTicket, Work};

impl<I: Io> Cache<I> {
    /// Waits for a place among `max_loads`, in line.
    pub(super) async fn take_place(&self, seat: &Seat, until: Timestamp) -> Result<(), Error> {
        if seat.turn.has_place() || off!(Places) {
            return Ok(());
        }
        let Some(mut given) = self.pod.loads.place(&seat.turn) else {
            return Ok(());
        };
        self.pod.counters.loads_queued_total.bump();
        let mut wait = self.wait(until);
        let over = poll_fn(|cx| match pin!(&mut given).poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => pin!(&mut wait.over).poll(cx).map(Err),
        });
        match over.await {
            Ok(()) => Ok(()),
            Err(Err(error)) => Err(error),
            Err(Ok(())) => Err(self.no_place()),
        }
    }

    #[cold]
    fn no_place(&self) -> Error {
        self.pod.counters.load_waits_expired_total.bump();
        Error::new(
            ErrorKind::Retry,
            "waited for load_timeout in line for one of max_loads places: the origin is slower than it is asked, try \
             again later",
        )
    }

    /// Waits for somebody else's load.
    pub(super) async fn wait_for(
        &self,
        flight: &Arc<PodFlight>,
        until: Timestamp,
    ) -> Result<Landed<FillOutcome>, Error> {
        if is_inside(flight) && !off!(Recursion) {
            return Err(Error::new(
                ErrorKind::Usage,
                "a loader asks for the key that it loads: it would wait for itself; read the origin there, or load \
                 another key",
            ));
        }
        let mut landing = flight.wait_landed();
        let mut wait = self.wait(until);
        poll_fn(|cx| {
            if let Poll::Ready(landed) = pin!(&mut landing).poll(cx) {
                return Poll::Ready(Ok(landed));
            }
            match pin!(&mut wait.over).poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    self.pod.counters.load_waits_expired_total.bump();
                    Poll::Ready(Err(Error::new(
                        ErrorKind::Retry,
                        "another caller still loads this key (load_timeout): the origin is slow, or loaders wait for \
                         each other's keys",
                    )))
                }
            }
        })
        .await
    }

    /// Believes this caller to be at its turn until then, and for as long again as a sign of life may take.
    pub(super) fn expect(&self, seat: &Seat, until: Timestamp) {
        let overdue = until.saturating_add(self.grace());
        if self.pod.loads.expect(&seat.turn, overdue) {
            self.tell_the_lane();
        }
    }

    pub(super) fn wait(&self, until: Timestamp) -> Wait {
        let (wait, tell) = self.pod.loads.wait(until);
        if tell {
            self.tell_the_lane();
        }
        wait
    }

    /// The lane tells the time: it must hear of the next moment that something waits for.
    pub(super) fn tell_the_lane(&self) {
        let ticket = AlarmTicket::new(self.pod.clone());
        let primary = self.pod.route.unkeyed().id();
        self.submit(primary, Timestamp::MAX, Work::Alarm(ticket));
    }

    pub(super) fn load_timeout(&self) -> Duration {
        self.pod.config.load_timeout
    }

    /// What a load may take at L2 after its loader has run: two requests at most.
    pub(super) fn requests(&self) -> Duration {
        self.pod.config.operation_timeout * 2
    }

    /// What a caller that is woken may take to be polled.
    pub(super) fn grace(&self) -> Duration {
        self.load_timeout() / 8
    }
}

#[cold]
pub(super) fn parked() -> Error {
    Error::new(
        ErrorKind::Retry,
        "the call was not polled for load_timeout while it waited for its turn to load: its task does something else, \
         try again",
    )
}
