//! Reads of many keys: hits from L1 and one round trip for the rest, never mixed out of order.
//!
//! A reply from L2 may be newer than a hit that was read before it. So every token is taken before
//! its hit, compared when the last reply is in, and everything is read again if one has moved.

use bytes::Bytes;
use nearcache_l1::{Key, Landed, Landing, Timestamp};

use crate::cache::{Cache, Io};
use crate::coherence::FillToken;
use crate::error::{Error, ErrorKind};
use crate::op::{Op, OpReply};
use crate::pod::{FillMeta, FillOutcome};
use crate::read::{Fetch, Share};
use crate::request::{CommandWork, Effect, Guard, Work};

/// Rounds with hits before everything is read from L2 in one batch.
const ROUNDS: usize = 3;

/// Keys that are read together; more are read in turn, so that flights and batches stay bounded.
const TOGETHER: usize = 4096;

/// Keys in one batch that takes nothing from L1.
const BATCH: usize = 512;

/// One key of a round.
struct Place {
    /// Taken before the key was looked up; `None` when its answer comes from this round's own fetch.
    token: Option<FillToken>,
    state: State,
}

enum State {
    Hit(Option<Bytes>),
    Flight(Landing<FillMeta, FillOutcome>),
    Crowded(Landing<FillMeta, FillOutcome>),
}

impl<I: Io> Cache<I> {
    /// Reads keys of one db, in the order asked; all that is missing in one round trip
    /// (of up to 4,096 keys).
    ///
    /// # Errors
    /// As [`read`](Self::read) under [`ReadPolicy::PassThrough`](crate::ReadPolicy); one key's error
    /// fails the call.
    ///
    /// # Cost
    /// Per hit as [`get_resident`](Self::get_resident), and one allocation for the answer.
    pub async fn get_many(&self, db: u32, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            values.append(&mut self.get_together(db, keys).await?);
        }
        Ok(values)
    }

    async fn get_together(&self, db: u32, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, Error> {
        let began = self.io.now();
        let deadline = self.call_deadline();
        let mut share = Share::Any;
        for _ in 0..ROUNDS {
            if !self.pod.lease_holds(self.io.now()) {
                // Most keys are likely resident: one heartbeat instead of a value for each.
                self.renew(deadline).await?;
            }
            let mut led = Vec::new();
            let mut places = Vec::with_capacity(keys.len());
            for key in keys {
                places.push(self.place(db, key, share, &mut led)?);
            }
            if !led.is_empty() {
                self.submit(deadline, Work::Fill(led));
            }
            share = Share::SentAfter(began);
            if let Some(values) = self.collect(keys, places, began).await? {
                return Ok(values);
            }
        }
        self.read_all(db, keys).await
    }

    fn place(
        &self,
        db: u32,
        key: &[u8],
        share: Share,
        led: &mut Vec<Guard>,
    ) -> Result<Place, Error> {
        let token = self.pod.coherence.token(key);
        if let Some(hit) = self.get_resident(db, key) {
            return Ok(Place {
                token: Some(token),
                state: State::Hit(hit.value),
            });
        }
        let before = led.len();
        let fetch = self.enter(Key::new(db, key), share, |guard| led.push(guard))?;
        let own = led.len() > before;
        let state = match fetch {
            Fetch::Hit(hit) => State::Hit(hit.value),
            Fetch::Led(flight) | Fetch::Joined(flight) => State::Flight(flight.wait_landed()),
            Fetch::Crowded(flight) => State::Crowded(flight.wait_landed()),
        };
        Ok(Place {
            token: (!own).then_some(token),
            state,
        })
    }

    /// Waits for a round; `None` when it has to be done again.
    async fn collect(
        &self,
        keys: &[&[u8]],
        places: Vec<Place>,
        began: Timestamp,
    ) -> Result<Option<Vec<Option<Bytes>>>, Error> {
        let mut values = Vec::with_capacity(places.len());
        let mut tokens = Vec::with_capacity(places.len());
        let (mut replied, mut again) = (false, false);
        for place in places {
            tokens.push(place.token);
            values.push(match place.state {
                State::Hit(value) => value,
                State::Flight(landing) => {
                    replied = true;
                    match landing.await {
                        Landed::Done(outcome) => {
                            let fetched = outcome?;
                            // Joined, and expired before this call began.
                            again |= fetched.expired_before(began);
                            fetched.value
                        }
                        Landed::Abandoned => {
                            again = true;
                            None
                        }
                    }
                }
                State::Crowded(landing) => {
                    again = true;
                    landing.await;
                    None
                }
            });
        }
        let moved = |(key, token): (&&[u8], &Option<FillToken>)| {
            token.is_some_and(|token| !self.pod.coherence.unchanged(key, &token))
        };
        if again || (replied && keys.iter().zip(&tokens).any(moved)) {
            return Ok(None);
        }
        Ok(Some(values))
    }

    /// One batch for all keys, nothing from L1: for keys that change faster than rounds can follow.
    async fn read_all(&self, db: u32, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH) {
            values.append(&mut self.read_batch(db, keys).await?);
        }
        Ok(values)
    }

    async fn read_batch(&self, db: u32, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, Error> {
        let ops = keys
            .iter()
            .map(|key| Op::Read {
                db,
                key: Bytes::copy_from_slice(key),
                tracked: false,
            })
            .collect();
        let deadline = self.call_deadline();
        let replies = self
            .ask(deadline, |done| {
                Work::Command(CommandWork {
                    ops,
                    effect: Effect::None,
                    done,
                })
            })
            .await?;
        replies.into_iter().map(read_value).collect()
    }
}

fn read_value(reply: OpReply) -> Result<Option<Bytes>, Error> {
    match reply {
        OpReply::Read { value, .. } => Ok(value),
        _ => Err(Error::new(
            ErrorKind::Retry,
            "the store answered a read with something else",
        )),
    }
}
