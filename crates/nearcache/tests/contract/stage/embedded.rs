//! The embedded cast: one store that all pods of the test share, and a writer that works on it directly.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, Weak};

use nearcache::bytes::Bytes;
use nearcache::l2::{BoxFuture, Connection, Endpoint, Events, L2, Protocol, Tracking};
use nearcache::{Builder, Error, ErrorKind, MemoryL2, Reply};
use nearcache_l1::Promise;
use nearcache_memory::{ConnId, MemoryServer, Output};
use nearcache_testkit::Value;

use super::wire::{Wire, lock};
use super::{Cast, Net, Refuse};

/// A seed of the choice which keys a full table gives up.
const SEED: u64 = 11;

/// What a memory limit leaves free.
const QUEUE_BYTES: usize = 30;

/// The embedded store behind a network that fails on command.
pub(super) struct Embedded {
    l2: Wires,
    writer: ConnId,
}

impl Embedded {
    pub(super) fn new() -> Self {
        let store = MemoryL2::new();
        let writer = store.with_server(MemoryServer::connect);
        store.with_server(|server| server.trust(writer));
        let shared = Arc::new(Shared {
            net: Mutex::new(Net::Pass),
            calls: Mutex::default(),
            wires: Mutex::default(),
            parked: Mutex::default(),
        });
        Self {
            l2: Wires { store, shared },
            writer,
        }
    }
}

impl Cast for Embedded {
    fn attach(&self, builder: Builder) -> Builder {
        builder.store(self.l2.clone())
    }

    fn cmd(&self, db: u32, argv: &[&[u8]]) -> Value {
        let select = ["SELECT".to_owned(), db.to_string()].map(Bytes::from);
        let argv: Vec<Bytes> = argv.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        self.l2
            .shared
            .count(vec![String::from_utf8_lossy(&argv[0]).to_lowercase()]);
        let outputs = self.l2.store.with_server(|server| {
            server.execute(self.writer, &select, nearcache_io::now());
            server.execute(self.writer, &argv, nearcache_io::now());
            server.drain(self.writer)
        });
        match outputs.into_iter().next_back() {
            Some(Output::Reply(reply)) => value(reply),
            other => panic!("the embedded store answered {other:?}"),
        }
    }

    fn calls(&self, name: &str) -> u64 {
        lock(&self.l2.shared.calls).get(name).copied().unwrap_or(0)
    }

    fn connections(&self) -> usize {
        self.l2.shared.wires().len()
    }

    fn net(&self, net: Net) {
        *lock(&self.l2.shared.net) = net;
        for wire in self.l2.shared.wires() {
            wire.pump();
        }
        if net == Net::Pass {
            self.l2.shared.release(true);
        }
    }

    fn cut(&self) {
        self.l2.store.disconnect_all();
        self.l2.shared.release(false);
    }

    fn refuse_connections(&self, refuse: bool) {
        self.l2.store.refuse_connections(refuse);
    }

    fn freeze(&self, frozen: bool) {
        self.net(if frozen { Net::Stall } else { Net::Pass });
    }

    fn set_primary(&self, primary: bool) {
        self.l2.store.with_server(|server| server.set_role(primary));
    }

    fn refuse(&self, what: Refuse) {
        self.l2.store.with_server(|server| match what {
            Refuse::Caching => server.deny(&["client|caching"], None),
            Refuse::Tracking => server.deny(&["client|tracking"], None),
            Refuse::Echo => server.deny(&["echo"], None),
            Refuse::Lives => server.deny(&["pttl"], None),
            Refuse::OwnKeys => server.deny(&[], Some("nearcache:")),
            // Room for what a read in a transaction needs while it is queued, not for a write.
            Refuse::Canary | Refuse::Memory => {
                server.set_memory_limit(server.memory_used() + QUEUE_BYTES);
            }
        });
    }

    fn table_limit(&self, keys: usize) {
        self.l2
            .store
            .with_server(|server| server.table_limit(keys, SEED));
    }

    fn restart(&self) {
        self.l2.store.refuse_connections(true);
        self.l2.store.disconnect_all();
        self.cmd(0, &[b"FLUSHALL"]);
        self.l2.store.refuse_connections(false);
    }
}

/// The L2 of the pods: the store through wires.
#[derive(Clone)]
struct Wires {
    store: MemoryL2,
    shared: Arc<Shared>,
}

/// What all wires of a stage share.
pub(super) struct Shared {
    net: Mutex<Net>,
    calls: Mutex<HashMap<String, u64>>,
    wires: Mutex<Vec<Weak<Wire>>>,
    /// Attempts to connect that wait for the network to move.
    parked: Mutex<Vec<Promise<bool>>>,
}

impl Shared {
    pub(super) fn net(&self) -> Net {
        *lock(&self.net)
    }

    pub(super) fn count(&self, names: Vec<String>) {
        let mut calls = lock(&self.calls);
        for name in names {
            *calls.entry(name).or_default() += 1;
        }
    }

    /// Lets waiting attempts to connect go on, or fail.
    fn release(&self, connect: bool) {
        for parked in lock(&self.parked).drain(..) {
            parked.complete(connect);
        }
    }

    fn wires(&self) -> Vec<Arc<Wire>> {
        let mut wires = lock(&self.wires);
        wires.retain(|wire| wire.upgrade().is_some_and(|wire| wire.is_open()));
        wires.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Wires {
    /// Waits for the network, then connects.
    fn dial(&self, events: Option<Events>) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let way: BoxFuture<bool> = match self.shared.net() {
            Net::Pass | Net::LatePushes | Net::Drip(_) => Box::pin(ready(true)),
            Net::HalfOpen => Box::pin(pending()),
            Net::Stall | Net::StallReplies => {
                let parked = Promise::new();
                lock(&self.shared.parked).push(parked.clone());
                Box::pin(parked.future())
            }
        };
        let this = self.clone();
        Box::pin(async move {
            if !way.await {
                return Err(Error::new(ErrorKind::Retry, "cut while it was opened"));
            }
            let wire = Wire::new(this.shared.clone(), events.clone());
            let con = match events {
                Some(events) => {
                    let heard = Events::new(events.connection(), wire.clone());
                    this.store.connect(&Endpoint::Given, heard).await?
                }
                None => {
                    this.store
                        .connect_side(&Endpoint::Given, Protocol::Resp3)
                        .await?
                }
            };
            let end = wire.open(con);
            lock(&this.shared.wires).push(Arc::downgrade(&wire));
            if !wire.is_open() {
                return Err(Error::new(ErrorKind::Retry, "cut while it was opened"));
            }
            Ok(end)
        })
    }
}

impl L2 for Wires {
    fn tracking(&self) -> Tracking {
        self.store.tracking()
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn connect(
        &self,
        _: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.dial(Some(events))
    }

    fn connect_side(
        &self,
        _: &Endpoint,
        _: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.dial(None)
    }
}

fn value(reply: Reply) -> Value {
    let all = |items: Vec<Reply>| items.into_iter().map(value).collect();
    match reply {
        Reply::Nil => Value::Nil,
        Reply::Int(number) => Value::Int(number),
        Reply::Bulk(bytes) => Value::Bulk(bytes.to_vec()),
        Reply::Simple(text) => Value::Simple(text),
        Reply::Array(items) | Reply::Set(items) => Value::Array(all(items)),
        Reply::Bool(flag) => Value::Bool(flag),
        Reply::Double(number) => Value::Number(number.to_string()),
        Reply::BigNumber(digits) => Value::Number(digits),
        Reply::Verbatim(_, text) => Value::Bulk(text.into_bytes()),
        Reply::Map(pairs) => {
            let flat = pairs.into_iter().flat_map(|(field, value)| [field, value]);
            Value::Map(flat.map(value).collect())
        }
        Reply::Error { code, message } => Value::Error(format!("{code} {message}")),
    }
}
