//! A store of a user's own: a map in this process, with or without reports of changes.
//!
//! Written against the public trait only, as a user would. Knows neither expiry nor commands.
#![allow(dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use nearcache_io::{Executor, InOrder};
use nearcache_proto::{
    BatchReply, BoxFuture, Connection, Endpoint, Error, ErrorKind, Events, L2, Op, OpError,
    OpReply, Protocol, Tracking, Traits,
};
use tokio::sync::watch;

/// What becomes of an honest answer on its way; `None`: it never comes.
pub type Twist = fn(&[Op], BatchReply) -> Option<Result<BatchReply, Error>>;

/// The store; clones share it.
#[derive(Clone)]
pub struct MapStore(Arc<Shared>);

struct Shared {
    tracking: Tracking,
    state: Mutex<State>,
    /// Executed reads.
    reads: AtomicUsize,
    connects: AtomicUsize,
    /// Replies are handed over while this is true.
    gate: watch::Sender<bool>,
}

// Concurrency: everything the store does, reports included, happens under the lock of its state; a
// reply is handed over after it was released. So a report comes before every later reply.
#[derive(Default)]
struct State {
    values: HashMap<(u32, Bytes), Bytes>,
    /// Who has to be told of the next change of a key.
    interest: HashMap<Bytes, Vec<Events>>,
    lanes: Vec<Events>,
    twist: Option<Twist>,
    /// Whether handshakes are twisted too.
    twist_handshakes: bool,
    side_silent: bool,
}

impl MapStore {
    pub fn new(tracking: Tracking) -> Self {
        Self(Arc::new(Shared {
            tracking,
            state: Mutex::default(),
            reads: AtomicUsize::new(0),
            connects: AtomicUsize::new(0),
            gate: watch::Sender::new(true),
        }))
    }

    /// A write by somebody who does not use nearcache.
    pub fn put(&self, db: u32, key: &str, value: &str) {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.change(|state| {
            state.values.insert((db, key.clone()), value);
            state.report(&key);
        });
    }

    pub fn flush(&self) {
        self.change(|state| {
            state.values.clear();
            state.interest.clear();
            state.lanes.iter().for_each(Events::invalidate_all);
        });
    }

    /// Every open connection ends, and says so.
    pub fn end_connections(&self) {
        self.change(|state| {
            state.interest.clear();
            state
                .lanes
                .drain(..)
                .for_each(|events| events.disconnected());
        });
    }

    pub fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    pub fn connects(&self) -> usize {
        self.0.connects.load(Ordering::SeqCst)
    }

    /// Keeps replies back, or lets those kept go.
    pub fn hold_replies(&self, hold: bool) {
        self.0.gate.send_replace(!hold);
    }

    /// From now on what is answered is twisted; `handshakes` too if asked.
    pub fn twist(&self, twist: Option<Twist>, handshakes: bool) {
        self.change(|state| {
            state.twist = twist;
            state.twist_handshakes = handshakes;
        });
    }

    /// Whether side connections opened from now on never answer.
    pub fn silence_side(&self, silent: bool) {
        self.change(|state| state.side_silent = silent);
    }

    fn change<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.0.state.lock().unwrap())
    }

    fn open(&self, events: Option<Events>) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.0.connects.fetch_add(1, Ordering::SeqCst);
        let silent = self.change(|state| {
            state.lanes.extend(events.clone());
            events.is_none() && state.side_silent
        });
        let con = MapConnection {
            store: self.clone(),
            events,
            silent,
        };
        let con: Box<dyn Connection> = Box::new(InOrder::new(con));
        Box::pin(std::future::ready(Ok(con)))
    }
}

impl L2 for MapStore {
    fn tracking(&self) -> Tracking {
        self.0.tracking
    }

    fn describe(&self) -> String {
        "a map".to_owned()
    }

    fn connect(
        &self,
        _: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.open(Some(events))
    }

    fn connect_side(
        &self,
        _: &Endpoint,
        _: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.open(None)
    }
}

struct MapConnection {
    store: MapStore,
    /// `None` for a side connection.
    events: Option<Events>,
    silent: bool,
}

impl Executor for MapConnection {
    fn execute(&mut self, ops: Vec<Op>) -> BoxFuture<Result<BatchReply, Error>> {
        let (replies, twist) = self.store.change(|state| {
            let replies = ops.iter().map(|op| self.answer(state, op)).collect();
            let spared = matches!(ops[..], [Op::Handshake { .. }]) && !state.twist_handshakes;
            (replies, state.twist.filter(|_| !spared))
        });
        let answer = match twist {
            Some(twist) => twist(&ops, replies),
            None => Some(Ok(replies)),
        };
        let Some(answer) = answer.filter(|_| !self.silent) else {
            return Box::pin(std::future::pending());
        };
        let mut gate = self.store.0.gate.subscribe();
        Box::pin(async move {
            let open = gate.wait_for(|open| *open).await;
            let gone = |_| Error::new(ErrorKind::Retry, "the map is gone");
            open.map_err(gone)?;
            answer
        })
    }
}

impl MapConnection {
    fn answer(&self, state: &mut State, op: &Op) -> Result<OpReply, OpError> {
        let pushes = self.store.0.tracking == Tracking::Pushes;
        Ok(match op {
            Op::Read { db, key, tracked } => {
                self.store.0.reads.fetch_add(1, Ordering::SeqCst);
                let tracked = *tracked && pushes;
                if let Some(events) = self.events.as_ref().filter(|_| tracked) {
                    let told = state.interest.entry(key.clone()).or_default();
                    told.push(events.clone());
                }
                OpReply::Read {
                    value: state.values.get(&(*db, key.clone())).cloned(),
                    ttl: None,
                    tracked,
                }
            }
            Op::Set {
                db,
                key,
                value,
                if_absent,
                ..
            } => {
                let slot = (*db, key.clone());
                let stored = !(*if_absent && state.values.contains_key(&slot));
                if stored {
                    state.values.insert(slot, value.clone());
                    state.report(key);
                }
                OpReply::Stored(stored)
            }
            Op::Replace {
                db,
                key,
                old,
                value,
                ..
            } => {
                let slot = (*db, key.clone());
                let stored = state.values.get(&slot) == Some(old);
                if stored {
                    state.values.insert(slot, value.clone());
                    state.report(key);
                }
                OpReply::Stored(stored)
            }
            Op::Delete { db, key } => {
                let existed = state.values.remove(&(*db, key.clone())).is_some();
                if existed {
                    state.report(key);
                }
                OpReply::Deleted(existed)
            }
            Op::Fence { .. } | Op::FenceOf { .. } => OpReply::Fenced,
            Op::Heartbeat => OpReply::Role { primary: true },
            Op::ProbeDb { .. } => OpReply::Selectable,
            Op::Handshake { .. } => OpReply::Handshake {
                primary: true,
                traits: Traits::default(),
                tracking: match self.store.0.tracking {
                    Tracking::Pushes => Ok(()),
                    Tracking::None => Err("a map reports nothing".to_owned()),
                },
            },
            Op::ReadWith { .. } | Op::Command { .. } | Op::Transaction { .. } => {
                return Err(OpError::Unsupported("commands".to_owned()));
            }
        })
    }
}

impl State {
    /// Tells whoever has read `key`, once, whatever db it is in.
    fn report(&mut self, key: &Bytes) {
        for events in self.interest.remove(key).unwrap_or_default() {
            events.invalidate(key);
        }
    }
}
