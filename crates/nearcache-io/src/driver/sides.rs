//! The side connections that are open, one for each number that somebody sends on.
//!
//! Opens one at its first batch and, where nothing hangs on it, at the first after it was lost. Never sends a batch twice, and
//! none on a connection that lay idle without a look at whether it is still there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, Stream};
use nearcache_proto::{
    BatchId, BatchReply, BoxFuture, Connection, Endpoint, Error, ErrorKind, L2, Op, OpError,
    PrimaryId, Reason, Side,
};
use tokio::sync::watch;
use tokio::task::yield_now;

use super::link::checked;
use super::links::News;

/// Its number, of those to one primary.
type SideId = (PrimaryId, u64);

pub(super) struct Sides {
    l2: Arc<dyn L2>,
    known: HashMap<SideId, Known>,
    /// Tells the life of a side connection from an earlier one of the same number.
    serial: u64,
    events: FuturesUnordered<BoxFuture<Event>>,
}

struct Known {
    side: Side,
    endpoint: Endpoint,
    serial: u64,
    state: State,
    /// Batches in flight.
    busy: usize,
    /// Closed with this one: whatever is in flight then ends.
    open: watch::Sender<()>,
}

enum State {
    /// It is opened, for these.
    Opening(Vec<Batch>),
    /// It lay idle, and is looked at before these are sent.
    Looking(Box<dyn Connection>, Vec<Batch>),
    Open(Box<dyn Connection>),
}

type Batch = (BatchId, Vec<Op>);

struct Event {
    side: SideId,
    serial: u64,
    what: What,
}

enum What {
    Opened(Result<Box<dyn Connection>, Unopened>),
    Looked { alive: bool },
    Ended,
    Answered(BatchId, Result<BatchReply, Error>),
}

/// Why there is no connection.
enum Unopened {
    Failed(Error),
    /// The server refused the db: in its own words, to whoever is to be told.
    Refused(OpError),
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Sides {
    pub(super) fn new(l2: Arc<dyn L2>) -> Self {
        Self {
            l2,
            known: HashMap::new(),
            serial: 0,
            events: FuturesUnordered::new(),
        }
    }

    /// Sends on a side connection, opening it first if need be.
    ///
    /// # Errors
    /// There is none, and another will not do. Nothing was sent.
    pub(super) fn send(
        &mut self,
        side: Side,
        endpoint: &Endpoint,
        batch: BatchId,
        ops: Vec<Op>,
    ) -> Result<(), Error> {
        let id = (side.primary, side.id);
        let Some(known) = self.known.get_mut(&id) else {
            if !side.may_open {
                return Err(lost());
            }
            self.open(side, endpoint.clone(), vec![(batch, ops)]);
            return Ok(());
        };
        known.side = side;
        match &mut known.state {
            State::Opening(waiting) | State::Looking(_, waiting) => waiting.push((batch, ops)),
            State::Open(_) if known.busy == 0 => {
                let (serial, waiting) = (known.serial, vec![(batch, ops)]);
                let before = std::mem::replace(&mut known.state, State::Opening(Vec::new()));
                if let State::Open(con) = before {
                    let look = look(con.ended());
                    known.state = State::Looking(con, waiting);
                    let looked = look.map(|alive| What::Looked { alive });
                    self.expect(id, serial, looked);
                }
            }
            State::Open(_) => self.put(id, vec![(batch, ops)]),
        }
        Ok(())
    }

    /// Closes a side connection. Batches on their way are answered by [`News`]; those that were not
    /// sent are returned.
    pub(super) fn close(&mut self, side: SideId) -> Vec<BatchId> {
        let known = self.known.remove(&side);
        known.map(Known::unsent).unwrap_or_default()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        loop {
            match Pin::new(&mut self.events).poll_next(cx) {
                Poll::Ready(Some(event)) => {
                    if let Some(news) = self.happened(event) {
                        return Poll::Ready(news);
                    }
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn happened(&mut self, event: Event) -> Option<News> {
        let Event { side, serial, what } = event;
        let known = match self.known.entry(side) {
            Entry::Occupied(known) if known.get().serial == serial => Some(known),
            _ => None,
        };
        match (what, known) {
            (What::Answered(batch, result), known) => {
                match known {
                    // Whoever was on it has been told; the next batch opens another.
                    Some(known) if result.is_err() => drop(known.remove()),
                    Some(mut known) => known.get_mut().busy -= 1,
                    None => {}
                }
                Some(News::SideAnswered(side.0, vec![(batch, result)]))
            }
            // It was closed meanwhile.
            (_, None) => None,
            (What::Opened(Ok(con)), Some(mut known)) => {
                let known = known.get_mut();
                let serial = known.serial;
                let ended = con.ended();
                let mut open = known.open.subscribe();
                let waiting = known.opened(con);
                let ended = async move {
                    tokio::select! {
                        () = ended => {}
                        // A store may never tell: this must not be kept for longer than the connection.
                        _ = open.changed() => {}
                    }
                    What::Ended
                };
                self.expect(side, serial, ended);
                self.put(side, waiting);
                None
            }
            (What::Opened(Err(Unopened::Failed(error))), Some(known)) => {
                Some(News::SideUnsent(side.0, known.remove().unsent(), error))
            }
            (What::Opened(Err(Unopened::Refused(error))), Some(known)) => {
                let State::Opening(waiting) = known.remove().state else {
                    return None;
                };
                let refuse = |(batch, ops): Batch| {
                    let replies = ops.iter().map(|_| Err(error.clone())).collect();
                    (batch, Ok(replies))
                };
                let answers = waiting.into_iter().map(refuse).collect();
                Some(News::SideAnswered(side.0, answers))
            }
            (What::Looked { alive: true }, Some(mut known)) => {
                let waiting = known.get_mut().looked();
                self.put(side, waiting);
                None
            }
            (What::Looked { alive: false } | What::Ended, Some(known)) => {
                if known.get().busy > 0 {
                    // Each of them hears of it, and the last takes it away.
                    return None;
                }
                let gone = known.remove();
                self.died(gone)
            }
        }
    }

    /// It ended with nothing in flight: what was not sent yet may go over another, if that will do.
    fn died(&mut self, known: Known) -> Option<News> {
        let side = known.side;
        match known.state {
            State::Looking(_, waiting) if side.may_open => {
                self.open(side, known.endpoint, waiting);
                None
            }
            State::Looking(_, waiting) => {
                let batches = waiting.into_iter().map(|(batch, _)| batch).collect();
                Some(News::SideUnsent(side.primary, batches, lost()))
            }
            State::Opening(_) | State::Open(_) => None,
        }
    }

    fn open(&mut self, side: Side, endpoint: Endpoint, waiting: Vec<Batch>) {
        self.serial += 1;
        let serial = self.serial;
        let dial = self.l2.connect_side(&endpoint, side.protocol);
        let elsewhere = ![Op::AS_IS, self.l2.resting_db()].contains(&side.db);
        let opened = async move {
            let mut con = dial.await?;
            if elsewhere {
                // Alone and first: had it failed in one batch with a command, that would have run elsewhere.
                enter(&mut *con, side.db).await?;
            }
            Ok(con)
        };
        let id = (side.primary, side.id);
        self.expect(id, serial, opened.map(What::Opened));
        let known = Known {
            side,
            endpoint,
            serial,
            state: State::Opening(waiting),
            busy: 0,
            open: watch::Sender::new(()),
        };
        self.known.insert(id, known);
    }

    /// Puts batches in line on a connection that is open.
    fn put(&mut self, side: SideId, batches: Vec<Batch>) {
        let Some(known) = self.known.get_mut(&side) else {
            return;
        };
        let State::Open(con) = &mut known.state else {
            return;
        };
        let mut answers = Vec::with_capacity(batches.len());
        for (batch, ops) in batches {
            known.busy += 1;
            let answer = answer(checked(&mut **con, ops), &known.open);
            answers.push(answer.map(move |result| What::Answered(batch, result)));
        }
        let serial = known.serial;
        for answered in answers {
            self.expect(side, serial, answered);
        }
    }

    fn expect(&self, side: SideId, serial: u64, what: impl Future<Output = What> + Send + 'static) {
        let event = what.map(move |what| Event { side, serial, what });
        self.events.push(event.boxed());
    }
}

impl Known {
    /// What was not sent.
    fn unsent(self) -> Vec<BatchId> {
        match self.state {
            State::Opening(waiting) | State::Looking(_, waiting) => {
                waiting.into_iter().map(|(batch, _)| batch).collect()
            }
            State::Open(_) => Vec::new(),
        }
    }

    /// It is open: what waits for that.
    fn opened(&mut self, con: Box<dyn Connection>) -> Vec<Batch> {
        match std::mem::replace(&mut self.state, State::Open(con)) {
            State::Opening(waiting) => waiting,
            State::Looking(..) | State::Open(_) => Vec::new(),
        }
    }

    /// It is still there: what waits for that.
    fn looked(&mut self) -> Vec<Batch> {
        match std::mem::replace(&mut self.state, State::Opening(Vec::new())) {
            State::Looking(con, waiting) => {
                self.state = State::Open(con);
                waiting
            }
            state => {
                self.state = state;
                Vec::new()
            }
        }
    }
}

/// Whether a connection is still there, as far as this machine knows: gives the reactor a turn to take what came, and
/// the connection's own task one to see its end. A batch that went out before would have an unknown outcome.
async fn look(ended: BoxFuture<()>) -> bool {
    let turns = async {
        yield_now().await;
        yield_now().await;
    };
    tokio::select! {
        biased;
        () = ended => false,
        () = turns => true,
    }
}

/// Puts a new connection in a db.
async fn enter(con: &mut dyn Connection, db: u32) -> Result<(), Unopened> {
    let db = Bytes::from(db.to_string());
    let argv = vec![Bytes::from_static(b"SELECT"), db];
    let select = Op::Command {
        db: Op::AS_IS,
        argv,
    };
    match checked(con, vec![select]).await?.pop() {
        Some(Err(error)) => Err(Unopened::Refused(error)),
        _ => Ok(()),
    }
}

/// What comes back, or the end of the connection on our side.
fn answer(
    answer: BoxFuture<Result<BatchReply, Error>>,
    open: &watch::Sender<()>,
) -> BoxFuture<Result<BatchReply, Error>> {
    let mut open = open.subscribe();
    Box::pin(async move {
        tokio::select! {
            biased;
            result = answer => result,
            _ = open.changed() => Err(side_closed()),
        }
    })
}

#[cold]
pub(super) fn side_closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the side connection was closed while this command was in flight",
    )
}

#[cold]
fn lost() -> Error {
    let why = "the session's side connection was lost, with its transaction and any other state: begin again";
    Error::retry(Reason::Interrupted, why)
}
