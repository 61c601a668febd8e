//! The lists and maps that are open: one place for each level, so that nothing is read twice and no reply can exhaust the
//! stack of a thread.

use super::line::Open;
use super::{Incoming, WireError};
use crate::resp::Reply;

/// Levels of one reply.
const DEEPEST: usize = 99;

/// Elements that room is made for before they have come.
const MOST_AHEAD: usize = 1024;

/// One level.
struct Level {
    open: Open,
    /// Elements that are still to come.
    missing: usize,
    /// Of a map, the field whose value comes next.
    field: Option<Reply>,
    items: Items,
}

enum Items {
    List(Vec<Reply>),
    Pairs(Vec<(Reply, Reply)>),
    /// Attributes: read and left out, as no supported server says anything by them that matters here.
    None,
}

#[derive(Default)]
pub(super) struct Nest(Vec<Level>);

/// What a level comes to.
enum Closed {
    Reply(Reply),
    Push(Incoming),
    /// What the attributes belong to comes next.
    Attributes,
}

impl Nest {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A list of so many elements begins, or a map of so many pairs; whatever is complete with that.
    pub(super) fn open(&mut self, open: Open, count: usize) -> Result<Option<Incoming>, WireError> {
        if self.0.len() == DEEPEST {
            return Err(WireError("lists in lists beyond any that a server sends"));
        }
        if open == Open::Push && !self.is_empty() {
            return Err(WireError("a push in the middle of a reply"));
        }
        let ahead = count.min(MOST_AHEAD);
        let (missing, items) = match open {
            Open::Array | Open::Set | Open::Push => (count, Items::List(Vec::with_capacity(ahead))),
            Open::Map => (count * 2, Items::Pairs(Vec::with_capacity(ahead))),
            Open::Attributes => (count * 2, Items::None),
        };
        let level = Level {
            open,
            missing,
            field: None,
            items,
        };
        if missing > 0 {
            self.0.push(level);
            return Ok(None);
        }
        match level.close()? {
            Closed::Reply(reply) => self.add(reply),
            Closed::Push(push) => Ok(Some(push)),
            Closed::Attributes => Ok(None),
        }
    }

    /// The next element is this; whatever is complete with it.
    pub(super) fn add(&mut self, mut reply: Reply) -> Result<Option<Incoming>, WireError> {
        loop {
            let Some(level) = self.0.last_mut() else {
                return Ok(Some(Incoming::Reply(reply)));
            };
            level.add(reply);
            if level.missing > 0 {
                return Ok(None);
            }
            let Some(level) = self.0.pop() else {
                return Ok(None);
            };
            match level.close()? {
                Closed::Reply(whole) => reply = whole,
                Closed::Push(push) => return Ok(Some(push)),
                Closed::Attributes => return Ok(None),
            }
        }
    }
}

impl Level {
    fn add(&mut self, reply: Reply) {
        match (&mut self.items, self.field.take()) {
            (Items::List(list), _) => list.push(reply),
            (Items::Pairs(pairs), Some(field)) => pairs.push((field, reply)),
            (Items::Pairs(_), None) => self.field = Some(reply),
            (Items::None, _) => {}
        }
        self.missing -= 1;
    }

    fn close(self) -> Result<Closed, WireError> {
        Ok(match (self.open, self.items) {
            (Open::Push, Items::List(list)) => {
                let mut list = list.into_iter();
                let kind = list.next().ok_or(WireError("a push of nothing"))?;
                Closed::Push(Incoming::Push(kind, list.collect()))
            }
            (Open::Set, Items::List(list)) => Closed::Reply(Reply::Set(list)),
            (_, Items::List(list)) => Closed::Reply(Reply::Array(list)),
            (_, Items::Pairs(pairs)) => Closed::Reply(Reply::Map(pairs)),
            (_, Items::None) => Closed::Attributes,
        })
    }
}
