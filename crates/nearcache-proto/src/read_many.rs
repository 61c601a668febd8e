//! Several reads at once: hits from L1 and one round trip for the rest, never mixed out of order.
//!
//! A reply from L2 may be newer than a hit that was read before it. So every token is taken before
//! its hit, all are compared when the last reply is in, and everything is read again if one has moved,
//! or a value has expired meanwhile, of which the news may be late.

use bytes::Bytes;
use nearcache_l1::{Hit, Landed, Landing, Timestamp};

use crate::cache::{Cache, Freshness, Io, Read, ReadPolicy, Source, check_sizes};
use crate::entry_key::EntryKey;
use crate::epochs::FillToken;
use crate::error::{Error, ErrorKind};
use crate::fill::{FillMeta, FillOutcome};
use crate::op::{Op, OpReply};
use crate::primary::Verdict;
use crate::read::{Fetch, Led, Share, from_l2};
use crate::request::Effect;
use crate::resp::Reply;

/// Rounds with hits before everything is read from L2 in one batch.
const ROUNDS: usize = 3;

/// Keys that are read together; more are read in turn, so that flights and batches stay bounded.
pub(crate) const TOGETHER: usize = 4096;

/// Keys in one batch that takes nothing from L1.
const BATCH: usize = 512;

/// What one of several reads came to: the value, a [held](crate::held) reply, or why there is neither.
pub(crate) type One = Result<Option<Bytes>, Error>;

/// Several reads that were true together, and until when they are.
pub(crate) struct Together {
    pub(crate) ones: Vec<One>,
    /// Who gave each of them.
    pub(crate) sources: Vec<Source>,
    pub(crate) until: Timestamp,
    /// Whether a change of any of them would have been told.
    pub(crate) tracked: bool,
}

enum State {
    Hit(Hit),
    Flight(Landing<FillMeta, FillOutcome>),
    Crowded(Landing<FillMeta, FillOutcome>),
}

impl<I: Io> Cache<I> {
    /// Reads keys of one db, in the order asked; all that is missing in one round trip
    /// (of up to 4,096 keys). [`ReadPolicy::Error`] counts as [`ReadPolicy::PassThrough`].
    ///
    /// # Errors
    /// As [`read`](Self::read), each key its own; when L2 cannot be asked, each key that no copy is served of.
    ///
    /// # Cost
    /// Per hit as [`get_resident`](Self::get_resident), and some allocations for the call.
    pub async fn get_many(
        &self,
        db: u32,
        keys: &[&[u8]],
        policy: ReadPolicy,
    ) -> Vec<Result<Read, Error>> {
        let mut reads = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            let mut some: Vec<_> = keys
                .iter()
                .map(|key| self.without_l2(EntryKey::value(db, key), policy))
                .collect();
            let missing: Vec<_> = keys
                .iter()
                .zip(&some)
                .filter_map(|(key, one)| one.is_none().then_some(*key))
                .collect();
            let mut rest = self.read_missing(db, &missing).await.into_iter();
            for (key, one) in keys.iter().zip(&mut some) {
                if one.is_none() {
                    *one = rest.next().map(|read| match read {
                        // L2 was to be asked, and did not answer: by now that may be known.
                        Err(error) if error.kind() == ErrorKind::Retry => self
                            .without_l2(EntryKey::value(db, key), policy)
                            .unwrap_or(Err(error)),
                        read => read,
                    });
                }
            }
            reads.extend(some.into_iter().flatten());
        }
        reads
    }

    /// What can be said of a key without asking L2, and need not be compared with the answers for others: that its
    /// policy serves it stale, or that no server takes it.
    fn without_l2(&self, entry: EntryKey<'_>, policy: ReadPolicy) -> Option<Result<Read, Error>> {
        if let Err(error) = check_sizes(entry.bytes, 0) {
            return Some(Err(error));
        }
        let ReadPolicy::ServeStale { .. } = policy else {
            return None;
        };
        let (hit, age) = self.stale_copy(entry, policy)?;
        self.pod.counters.stale_total.bump();
        Some(Ok(Read {
            value: hit.value,
            freshness: Freshness::Stale(age),
            source: Source::L1,
        }))
    }

    async fn read_missing(&self, db: u32, keys: &[&[u8]]) -> Vec<Result<Read, Error>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let entries: Vec<_> = keys.iter().map(|key| EntryKey::value(db, key)).collect();
        match self.read_together(&entries, false).await {
            Ok(Some(together)) => together
                .ones
                .into_iter()
                .zip(together.sources)
                .map(|(one, source)| {
                    one.map(|value| Read {
                        source,
                        ..from_l2(value)
                    })
                })
                .collect(),
            Ok(None) => self.read_all(db, keys).await,
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Reads at most [`TOGETHER`] entries; `None` when they change faster than rounds can follow. All hits, and all
    /// answers whose changes are told, were true at one moment. With `strict`, others do not count
    /// as answers, unless there is only one entry.
    ///
    /// # Errors
    /// L2 cannot be asked; what it answered stands in the places.
    pub(crate) async fn read_together(
        &self,
        entries: &[EntryKey<'_>],
        strict: bool,
    ) -> Result<Option<Together>, Error> {
        let began = self.io.now();
        let deadline = self.call_deadline();
        let mut share = Share::Any;
        for _ in 0..ROUNDS {
            let keys = entries.iter().map(|entry| entry.subject().bytes);
            for primary in self.pod.route.owners(keys) {
                if primary.lease_holds(self.io.now()) {
                    continue;
                }
                // Most keys are likely resident: one heartbeat instead of a value for each. Once a round: where L2 is
                // slower than L, the lease is over again when its answer comes.
                match self.renew_of(primary, deadline).await {
                    // No copy can be proven any more: all are asked for, once the lane is there.
                    Err(error) if self.waits_out(&error, deadline) => break,
                    renewed => renewed?,
                }
            }
            let mut led = Led::new(&self.pod);
            let mut places = Vec::with_capacity(entries.len());
            for entry in entries {
                let token = self.pod.fill_token(entry.subject().bytes);
                let state = loop {
                    if let Some(state) = self.place(*entry, share, &mut led)? {
                        break state;
                    }
                    // Others may wait for what this call leads: it is sent before this call waits.
                    self.submit_led(std::mem::replace(&mut led, Led::new(&self.pod)), deadline);
                    self.admit(&mut led.permit, deadline).await?;
                };
                places.push((token, state));
            }
            self.submit_led(led, deadline);
            share = Share::SentAfter(began);
            let Some(together) = self.collect(entries, places, began, deadline).await else {
                continue;
            };
            // Read beside the lane (large, or not to be kept), it may be older than the other answers.
            let apart = strict && entries.len() > 1 && !together.tracked;
            return Ok((!apart).then_some(together));
        }
        Ok(None)
    }

    /// The fresh copy in this pod of an entry of any kind.
    pub(crate) fn fresh(&self, entry: EntryKey<'_>) -> Option<Hit> {
        let hit = self.copy(entry)?;
        self.pod.count_hit(entry);
        Some(hit)
    }

    /// The same, before it is known whether it will be served.
    pub(crate) fn copy(&self, entry: EntryKey<'_>) -> Option<Hit> {
        let found = self.pod.look(entry, || self.io.now())?;
        matches!(found.verdict, Verdict::Fresh).then_some(found.hit)
    }

    /// `None`: there is no room in line to ask for it.
    fn place(
        &self,
        entry: EntryKey<'_>,
        share: Share,
        led: &mut Led,
    ) -> Result<Option<State>, Error> {
        if let Some(hit) = self.fresh(entry) {
            return Ok(Some(State::Hit(hit)));
        }
        let fetch = self.enter(entry, share, led)?;
        Ok(fetch.map(|fetch| match fetch {
            Fetch::Hit(hit) => State::Hit(hit),
            Fetch::Led(flight) | Fetch::Joined(flight) => State::Flight(flight.wait_landed()),
            Fetch::Crowded(flight) => State::Crowded(flight.wait_landed()),
        }))
    }

    /// Waits for a round; `None` when it has to be done again.
    async fn collect(
        &self,
        entries: &[EntryKey<'_>],
        places: Vec<(FillToken, State)>,
        began: Timestamp,
        deadline: Timestamp,
    ) -> Option<Together> {
        let (mut until, mut tracked) = (Timestamp::MAX, true);
        let mut values = Vec::with_capacity(places.len());
        let mut tokens = Vec::with_capacity(places.len());
        let mut sources = Vec::with_capacity(places.len());
        let mut again = false;
        for (token, state) in places {
            tokens.push(token);
            sources.push(match state {
                State::Hit(_) => Source::L1,
                State::Flight(_) | State::Crowded(_) => Source::L2,
            });
            values.push(match state {
                State::Hit(hit) => {
                    until = until.min(hit.deadline);
                    Ok(hit.value)
                }
                State::Flight(landing) => match landing.await {
                    Landed::Done(Ok(fetched)) => {
                        // Joined, and expired before this call began.
                        again |= fetched.expired_before(began);
                        // What nobody tells of cannot be compared in any case.
                        if fetched.tracked {
                            until = until.min(fetched.deadline);
                        }
                        tracked &= fetched.tracked;
                        Ok(fetched.value)
                    }
                    Landed::Done(Err(error)) => {
                        again |= self.waits_out(&error, deadline);
                        Err(error)
                    }
                    Landed::Abandoned => {
                        again = true;
                        Ok(None)
                    }
                },
                State::Crowded(landing) => {
                    again = true;
                    landing.await;
                    Ok(None)
                }
            });
        }
        // A single answer is newer than nothing.
        let moved = |(entry, token): (&EntryKey<'_>, &FillToken)| {
            !self.pod.unchanged(entry.subject().bytes, token)
        };
        let apart =
            entries.len() > 1 && (self.io.now() >= until || entries.iter().zip(&tokens).any(moved));
        let apart = apart && !off!(Compare);
        (!again && !apart).then_some(Together {
            ones: values,
            sources,
            until,
            tracked,
        })
    }

    /// Nothing from L1, in batches: for keys that change faster than rounds can follow.
    async fn read_all(&self, db: u32, keys: &[&[u8]]) -> Vec<Result<Read, Error>> {
        let mut reads = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH) {
            match self.read_batch(db, keys).await {
                Ok(values) => reads.extend(values.into_iter().map(|value| Ok(from_l2(value)))),
                // One of them may be of another type.
                Err(error) if error.kind() == ErrorKind::Usage => {
                    for key in keys {
                        reads.push(self.read(db, key, ReadPolicy::PassThrough).await);
                    }
                }
                Err(error) => reads.extend(keys.iter().map(|_| Err(error.clone()))),
            }
        }
        reads
    }

    /// Reads one key of L2 with no flight in L1, in line with the commands.
    pub(crate) async fn read_beside(&self, entry: EntryKey<'_>) -> Result<Read, Error> {
        self.pod.count_miss(entry);
        self.pod.counters.bypassed_total.bump();
        let read = self.read_batch(entry.db, &[entry.bytes]).await?;
        Ok(from_l2(read.into_iter().flatten().next()))
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
        let owner = self.pod.route.of(keys.first().copied().unwrap_or_default());
        let deadline = self.call_deadline();
        let replies = self.send(owner.id(), deadline, ops, Effect::None).await?;
        replies.into_iter().map(read_value).collect()
    }
}

fn read_value(reply: OpReply) -> Result<Option<Bytes>, Error> {
    match reply {
        OpReply::Read { value, .. } => Ok(value),
        // From a user who may not ask for its life.
        OpReply::Value(Reply::Bulk(value)) => Ok(Some(value)),
        OpReply::Value(Reply::Nil) => Ok(None),
        _ => Err(Error::new(
            ErrorKind::Retry,
            "the store answered a read with something else",
        )),
    }
}
