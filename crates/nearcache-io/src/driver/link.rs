//! The connection of one lane: opened when the lane says so, never by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use nearcache_proto::{
    BatchId, BoxFuture, Connection, ConnectionId, Endpoint, Error, ErrorKind, Events,
    Invalidations, L2, Op, Pod,
};
use tokio::sync::mpsc;

use super::asked::Asked;
use super::links::News;

pub(super) struct Link {
    pod: Arc<Pod>,
    lane: LaneLink,
    /// Hears when the connection has reported its end.
    ended: mpsc::Receiver<()>,
}

enum LaneLink {
    Down,
    Connecting {
        connection: ConnectionId,
        dial: BoxFuture<Result<Box<dyn Connection>, Error>>,
        open: Arc<AtomicBool>,
    },
    Open {
        connection: ConnectionId,
        con: Box<dyn Connection>,
        asked: Asked,
    },
}

/// Hears what the lane's connection reports: the pod acts on it at once, the loop hears of the end.
struct Relay {
    pod: Arc<Pod>,
    /// Whether it was ever open: the end of an attempt is no loss, as nothing was read through it.
    open: Arc<AtomicBool>,
    ended: mpsc::Sender<()>,
}

impl Invalidations for Relay {
    fn invalidate(&self, connection: ConnectionId, key: &[u8]) {
        self.pod.invalidate(connection, key);
    }

    fn invalidate_all(&self, connection: ConnectionId) {
        self.pod.invalidate_all(connection);
    }

    fn disconnected(&self, connection: ConnectionId) {
        if self.open.load(Ordering::Acquire) {
            self.pod.disconnected(connection);
        }
        // Full: it was reported before.
        let _ = self.ended.try_send(());
    }
}

impl Link {
    pub(super) fn new(pod: Arc<Pod>) -> Self {
        Self {
            pod,
            lane: LaneLink::Down,
            ended: mpsc::channel(1).1,
        }
    }

    /// Begins to open a connection.
    pub(super) fn connect(&mut self, connection: ConnectionId, endpoint: &Endpoint, l2: &dyn L2) {
        let (ended, heard) = mpsc::channel(1);
        self.ended = heard;
        let open = Arc::new(AtomicBool::new(false));
        let relay = Relay {
            pod: self.pod.clone(),
            open: open.clone(),
            ended,
        };
        let events = Events::new(connection, Arc::new(relay));
        let dial = l2.connect(endpoint, events);
        self.lane = LaneLink::Connecting {
            connection,
            dial,
            open,
        };
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        let current = match &self.lane {
            LaneLink::Down => None,
            LaneLink::Connecting { connection, .. } | LaneLink::Open { connection, .. } => {
                Some(*connection)
            }
        };
        if current == Some(connection) {
            self.lane = LaneLink::Down;
        }
    }

    /// Puts a batch in line for the lane: the next poll sends it. An error is the answer when it is not open.
    pub(super) fn send(&mut self, batch: BatchId, ops: Vec<Op>) -> Result<(), Error> {
        let LaneLink::Open { con, asked, .. } = &mut self.lane else {
            return Err(Error::new(ErrorKind::Retry, "the lane is not open"));
        };
        asked.put(batch, &ops);
        con.send(ops);
        Ok(())
    }

    /// The next piece of news.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        let connection = match &mut self.lane {
            LaneLink::Down => return Poll::Pending,
            LaneLink::Connecting {
                connection,
                dial,
                open,
            } => {
                let (connection, open) = (*connection, open.clone());
                return dial.as_mut().poll(cx).map(|dialled| match dialled {
                    Ok(con) => {
                        open.store(true, Ordering::Release);
                        self.lane = LaneLink::Open {
                            connection,
                            con,
                            asked: Asked::default(),
                        };
                        News::Connected(connection)
                    }
                    Err(error) => {
                        self.lane = LaneLink::Down;
                        News::ConnectFailed(connection, error)
                    }
                });
            }
            LaneLink::Open {
                connection,
                con,
                asked,
            } => {
                let connection = *connection;
                if let Poll::Ready(answer) = con.poll_answer(cx) {
                    let over = answer.is_err() || asked.is_empty();
                    let news = match asked.check(answer) {
                        Ok((batch, result)) => News::Answered(connection.primary, batch, result),
                        // With nothing on its way.
                        Err(_) => News::Disconnected(connection),
                    };
                    if over {
                        self.pod.disconnected(connection);
                        self.lane = LaneLink::Down;
                    }
                    return Poll::Ready(news);
                }
                connection
            }
        };
        // What was answered before the end is handed over before it.
        match self.ended.poll_recv(cx) {
            Poll::Ready(Some(())) => {
                self.lane = LaneLink::Down;
                Poll::Ready(News::Disconnected(connection))
            }
            // A store that reports nothing has let go of its listener.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
