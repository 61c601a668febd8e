//! The open connections of a pod's lanes: the tracked ones (`link`), and those beside them (`sides`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use nearcache_proto::{
    BatchId, BatchReply, ConnectionId, Error, ErrorKind, L2, Op, Pod, PrimaryId, Side,
};

use super::link::Link;
use super::sides::{Closed, Sides};

/// The answer to one batch.
pub(super) type Answered = (BatchId, Result<BatchReply, Error>);

/// What connections have to tell the lanes.
pub(super) enum News {
    Connected(ConnectionId),
    ConnectFailed(ConnectionId, Error),
    Disconnected(ConnectionId),
    /// Of this primary's lane, in the order of sending.
    Answered(PrimaryId, BatchId, Result<BatchReply, Error>),
    /// Of a side connection to this primary.
    SideAnswered(PrimaryId, Vec<Answered>),
    /// For a side connection that there is not, for this reason.
    SideUnsent(PrimaryId, Vec<BatchId>, Error),
}

pub(super) struct Links {
    pod: Arc<Pod>,
    l2: Arc<dyn L2>,
    lanes: BTreeMap<PrimaryId, Link>,
    sides: Sides,
    /// Whose turn it is to be looked at first.
    sides_first: bool,
}

impl Links {
    pub(super) fn new(pod: Arc<Pod>, l2: Arc<dyn L2>) -> Self {
        Self {
            sides: Sides::new(l2.clone()),
            pod,
            l2,
            lanes: BTreeMap::new(),
            sides_first: false,
        }
    }

    /// Begins to open a lane's connection; an error when nobody knows where its primary is.
    pub(super) fn connect(&mut self, connection: ConnectionId) -> Result<(), Error> {
        let primary = connection.primary;
        let endpoint = self.pod.endpoint(primary).ok_or_else(unknown)?;
        let link = || Link::new(self.pod.clone());
        let link = self.lanes.entry(primary).or_insert_with(link);
        link.connect(connection, &endpoint, &*self.l2);
        Ok(())
    }

    /// Closes a lane's connection.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        if let Some(link) = self.lanes.get_mut(&connection.primary) {
            link.disconnect(connection);
        }
    }

    /// See [`Link::send`].
    pub(super) fn send(
        &mut self,
        primary: PrimaryId,
        batch: BatchId,
        ops: Vec<Op>,
    ) -> Result<(), Error> {
        let link = self.lanes.get_mut(&primary).ok_or_else(unknown)?;
        link.send(batch, ops)
    }

    /// See [`Sides::send`].
    pub(super) fn send_side(
        &mut self,
        side: Side,
        batch: BatchId,
        ops: Vec<Op>,
    ) -> Result<(), Error> {
        let endpoint = self.pod.endpoint(side.primary).ok_or_else(unknown)?;
        self.sides.send(side, &endpoint, batch, ops)
    }

    /// See [`Sides::close`].
    pub(super) fn close_side(&mut self, primary: PrimaryId, side: u64) -> Closed {
        self.sides.close((primary, side))
    }

    /// The next piece of news.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        self.sides_first = !self.sides_first;
        if self.sides_first
            && let Poll::Ready(news) = self.sides.poll(cx)
        {
            return Poll::Ready(news);
        }
        for link in self.lanes.values_mut() {
            if let Poll::Ready(news) = link.poll(cx) {
                return Poll::Ready(news);
            }
        }
        match self.sides_first {
            true => Poll::Pending,
            false => self.sides.poll(cx),
        }
    }
}

#[cold]
fn unknown() -> Error {
    Error::new(
        ErrorKind::Retry,
        "the primary is not known any more: try again",
    )
}
