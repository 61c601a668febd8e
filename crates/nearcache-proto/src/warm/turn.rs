//! Whose turn it is to warm up: the fleet's allowance, kept in L2.
//!
//! A counter in L2 that lives for a quarter of a second holds what was taken of that time's allowance, so no
//! pod's clock matters. The unit is a microsecond of the fleet's time: a fetch takes as many as it would if
//! the fleet did nothing else at its allowed rate. What was taken before it is therefore also when its turn comes:
//! thirty pods that ask at once do not fetch at once.

use std::time::Duration;

use nearcache_l1::Timestamp;

use super::command::argv;
use super::ground::Ground;
use super::rate::{Rate, WINDOW};
use crate::cache::Io;
use crate::error::Error;
use crate::fleet::fleet_key;
use crate::random::Random;
use crate::resp::Reply;

/// The fleet's allowance, as one pod asks for it.
pub(super) struct Turns {
    key: Vec<u8>,
    random: Random,
}

impl Turns {
    pub(super) fn new(service: &str, random: Random) -> Self {
        Self {
            key: fleet_key(service, "pace").into_bytes(),
            random,
        }
    }

    /// Waits until it is this pod's turn to spend `cost` of the fleet's time, at most until `by`; whether it is.
    ///
    /// # Errors
    /// L2 did not answer.
    pub(super) async fn may_fetch<I: Io>(
        &mut self,
        ground: &Ground<I>,
        rate: &Rate,
        cost: Duration,
        by: Timestamp,
    ) -> Result<bool, Error> {
        let micros = cost.as_micros().max(1).to_string();
        // What takes more than a window has the next ones, too.
        let window = cost.max(WINDOW).as_millis().to_string();
        loop {
            let key = &self.key;
            let set = argv([b"SET", key, b"0", b"PX", window.as_bytes(), b"NX"]);
            let take = argv([b"INCRBY", key, micros.as_bytes()]);
            let rest = argv([b"PTTL", key]);
            let replies = ground.ask(vec![set, take, rest]).await?;
            let (taken, rest) = match replies.as_slice() {
                [_, Reply::Int(taken), Reply::Int(rest)] => (*taken, *rest),
                _ => return Err(crate::error::unexpected()),
            };
            if rest < 0 {
                // It expired between the two commands, and was made anew without an end: nobody could fetch any more.
                let end = argv([b"PEXPIRE", &self.key, window.as_bytes()]);
                ground.ask(vec![end]).await?;
            }
            let taken = Duration::from_micros(u64::try_from(taken).unwrap_or(0));
            let rest = Duration::from_millis(u64::try_from(rest).unwrap_or(1).clamp(1, 3_600_000));
            let turn = turn(taken.saturating_sub(cost), cost, rest);
            // Jitter, or all who were refused would come back at once.
            let jitter = Duration::from_micros(self.random.next() % 20_000);
            let pause = turn.unwrap_or(rest + jitter);
            let at_once = turn.is_some() && !rate.in_turn;
            if !pause.is_zero() && !at_once {
                let next = ground.now().saturating_add(pause);
                if next >= by || ground.is_closing() {
                    return Ok(false);
                }
                ground.pause_until(next).await;
            }
            if turn.is_some() {
                return Ok(!ground.is_closing());
            }
        }
    }
}

/// How long it is until the turn of a fetch comes, before which `before` of a window was taken that has `rest` left; `None`
/// when the window has no room for it.
fn turn(before: Duration, cost: Duration, rest: Duration) -> Option<Duration> {
    // The first to come in a window may take more than it: else what is large never went.
    if !before.is_zero() && before + cost > WINDOW {
        return None;
    }
    let gone = WINDOW.saturating_sub(rest);
    Some(before.saturating_sub(gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn c11_pods_that_ask_at_once_take_turns() {
        // Thirty that ask in the first millisecond, for 10 ms each: 25 turns, one after the other.
        let turns: Vec<_> = (0..30)
            .map(|pod| turn(ms(pod * 10), ms(10), WINDOW))
            .collect();
        for (pod, turn) in turns.iter().enumerate() {
            let expected = (pod < 25).then(|| ms(pod as u64 * 10));
            assert_eq!(*turn, expected, "pod {pod}");
        }
    }

    #[test]
    fn c11_who_asks_late_does_not_wait_for_time_that_is_gone() {
        assert_eq!(turn(ms(40), ms(10), ms(100)), Some(ms(0)));
        assert_eq!(turn(ms(200), ms(10), ms(100)), Some(ms(50)));
    }

    #[test]
    fn c11_what_is_larger_than_a_window_goes_first_or_waits() {
        assert_eq!(turn(ms(0), ms(900), ms(900)), Some(ms(0)));
        assert_eq!(turn(ms(10), ms(900), ms(200)), None);
        // In the window that it made longer there is no room for others.
        assert_eq!(turn(ms(900), ms(10), ms(800)), None);
    }
}
