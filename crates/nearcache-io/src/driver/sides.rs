//! The side connections that are open, one for each number that somebody sends on.
//!
//! Opens one at its first batch and, where nothing hangs on it, at the first after it was lost. Never sends a batch twice, and
//! none on a connection that lay idle without a look at whether it is still there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, Stream};
use nearcache_proto::{
    BatchId, BoxFuture, Connection, Endpoint, Error, ErrorKind, L2, Op, OpError, PrimaryId, Reason,
    Side,
};

use super::asked::Asked;
use super::links::{Answered, News};

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
    serial: u64,
    state: State,
}

enum State {
    /// It is opened, for these.
    Opening(Vec<Batch>),
    Open(Arc<Open>),
}

type Batch = (BatchId, Vec<Op>);

/// An open side connection, in the hands of the future that polls it and of whoever sends.
//
// Concurrency: all of it happens on the IO thread; the lock is never waited for.
struct Open(Mutex<Line>);

struct Line {
    /// `None` once it is over.
    con: Option<Box<dyn Connection>>,
    asked: Asked,
    /// Of the future that polls it.
    waker: Waker,
}

/// What became of a side connection that was closed.
pub(super) struct Closed {
    /// What was not sent.
    pub(super) unsent: Vec<BatchId>,
    /// What will have no answer.
    pub(super) unanswered: Vec<Answered>,
}

struct Event {
    side: SideId,
    serial: u64,
    what: What,
}

enum What {
    Opened(Result<Box<dyn Connection>, Unopened>),
    Answered(Answered),
    /// With what it owes.
    Ended(Vec<Answered>),
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
            self.open(side, endpoint, vec![(batch, ops)]);
            return Ok(());
        };
        known.side = side;
        match &mut known.state {
            State::Opening(waiting) => waiting.push((batch, ops)),
            State::Open(open) if open.is_there() => open.put(batch, ops),
            // It ended while it lay idle: nothing was lost with it.
            State::Open(_) if side.may_open => {
                self.open(side, endpoint, vec![(batch, ops)]);
            }
            State::Open(_) => {
                self.known.remove(&id);
                return Err(lost());
            }
        }
        Ok(())
    }

    /// Closes a side connection.
    pub(super) fn close(&mut self, side: SideId) -> Closed {
        let known = self.known.remove(&side);
        known.map_or_else(Closed::nothing, Known::close)
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
        let mut known = match self.known.entry(side) {
            Entry::Occupied(known) if known.get().serial == serial => known,
            // It was closed meanwhile, and whoever waited for it has been told.
            _ => return None,
        };
        match what {
            What::Answered(answered) => {
                if let State::Open(open) = &known.get().state {
                    let open = open.clone();
                    self.expect(side, serial, open.answer());
                }
                Some(News::SideAnswered(side.0, vec![answered]))
            }
            What::Ended(unanswered) => {
                known.remove();
                match unanswered.is_empty() {
                    true => None,
                    false => Some(News::SideAnswered(side.0, unanswered)),
                }
            }
            What::Opened(Ok(con)) => {
                let open = Arc::new(Open::new(con));
                let state = &mut known.get_mut().state;
                if let State::Opening(waiting) = std::mem::replace(state, State::Open(open.clone()))
                {
                    for (batch, ops) in waiting {
                        open.put(batch, ops);
                    }
                }
                self.expect(side, serial, open.answer());
                None
            }
            What::Opened(Err(Unopened::Failed(error))) => Some(News::SideUnsent(
                side.0,
                known.remove().close().unsent,
                error,
            )),
            What::Opened(Err(Unopened::Refused(error))) => {
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
        }
    }

    fn open(&mut self, side: Side, endpoint: &Endpoint, waiting: Vec<Batch>) {
        self.serial += 1;
        let serial = self.serial;
        let dial = self.l2.connect_side(endpoint, side.protocol);
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
            serial,
            state: State::Opening(waiting),
        };
        self.known.insert(id, known);
    }

    fn expect(&self, side: SideId, serial: u64, what: impl Future<Output = What> + Send + 'static) {
        let event = what.map(move |what| Event { side, serial, what });
        self.events.push(event.boxed());
    }
}

impl Known {
    fn close(self) -> Closed {
        match self.state {
            State::Opening(waiting) => Closed {
                unsent: waiting.into_iter().map(|(batch, _)| batch).collect(),
                unanswered: Vec::new(),
            },
            State::Open(open) => Closed {
                unsent: Vec::new(),
                unanswered: open.close(),
            },
        }
    }
}

impl Closed {
    fn nothing() -> Self {
        Self {
            unsent: Vec::new(),
            unanswered: Vec::new(),
        }
    }
}

impl Open {
    fn new(con: Box<dyn Connection>) -> Self {
        Self(Mutex::new(Line {
            con: Some(con),
            asked: Asked::default(),
            waker: Waker::noop().clone(),
        }))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may be sent on: looked at when nothing is on its way, as what is sent then would have an unknown outcome
    /// for no reason.
    fn is_there(&self) -> bool {
        let mut line = self.line();
        let idle = line.asked.is_empty();
        let open = line.con.as_mut().is_some_and(|con| !idle || con.is_open());
        if !open {
            line.con = None;
        }
        open
    }

    /// Puts a batch in line.
    fn put(&self, batch: BatchId, ops: Vec<Op>) {
        let mut line = self.line();
        line.asked.put(batch, &ops);
        if let Some(con) = &mut line.con {
            con.send(ops);
        }
        let waker = line.waker.clone();
        drop(line);
        waker.wake();
    }

    /// The next answer, or the end.
    async fn answer(self: Arc<Self>) -> What {
        poll_fn(|cx| {
            let mut line = self.line();
            let Line { con, asked, waker } = &mut *line;
            let Some(open) = con else {
                return Poll::Ready(What::Ended(Vec::new()));
            };
            match open.poll_answer(cx) {
                Poll::Pending => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                Poll::Ready(Err(error)) => {
                    *con = None;
                    Poll::Ready(What::Ended(asked.fail(&error)))
                }
                Poll::Ready(answer) => Poll::Ready(match asked.check(answer) {
                    Ok(answered) => What::Answered(answered),
                    Err(_) => {
                        *con = None;
                        What::Ended(Vec::new())
                    }
                }),
            }
        })
        .await
    }

    /// Ends it on our side: what will have no answer.
    fn close(&self) -> Vec<Answered> {
        let mut line = self.line();
        line.con = None;
        let unanswered = line.asked.fail(&side_closed());
        let waker = line.waker.clone();
        drop(line);
        waker.wake();
        unanswered
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
    let mut asked = Asked::default();
    asked.put(0, std::slice::from_ref(&select));
    let (_, answer) = asked.check(con.ask(vec![select]).await)?;
    match answer?.pop() {
        Some(Err(error)) => Err(Unopened::Refused(error)),
        _ => Ok(()),
    }
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
