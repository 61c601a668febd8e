//! One simulated pod: the real cache and lane, driven to a standstill after every call that needs L2.
//!
//! L2 answers at once: what a round trip costs is no part of a simulation, only how many there are.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Key, StoreConfig, Timestamp, Weigher};
use nearcache_memory::ConnId;
use nearcache_proto::warm::{Background, WarmConfig, WarmReport};
use nearcache_proto::working_set::Manifest;
use nearcache_proto::{
    Action, BoxFuture, Cache, Events, Lane, LaneConfig, Line, Pod, PodConfig, PrimaryId,
    ReadPolicy, Request, Source, Totals,
};

use crate::io::{Clock, SimIo, SimTimer};
use crate::l2::L2;
use crate::simulate::{Capacity, Error};

/// How long a lease is. A lease that ran out while its history is intact costs a heartbeat and never a read, so that its
/// length changes no figure of a report; heartbeats of the real length would be most of what there is to simulate.
const MAX_STALENESS: Duration = Duration::from_secs(24 * 3600);

/// What the simulated service is called.
const SERVICE: &str = "app";

/// The key under which its pods keep `what`.
pub(crate) fn fleet_key(what: &str) -> Bytes {
    nearcache_proto::fleet_key(SERVICE, what).into()
}

/// How often a call may need its lane before it is given up: an error of the simulator, not of a trace.
const ROUNDS: usize = 64;

pub(crate) struct SimPod {
    cache: Cache<SimIo>,
    link: Link,
    background: Option<Background<SimIo>>,
}

/// The background of a pod, on its way.
pub(crate) struct Running {
    run: BoxFuture<()>,
    timer: Arc<SimTimer>,
    /// When there is something to do, on the clock of the pod.
    pub(crate) due: Timestamp,
}

/// The lane and its way to L2.
struct Link {
    pod: Arc<Pod>,
    io: Arc<SimIo>,
    lane: Lane,
    conn: Option<ConnId>,
    sides: BTreeMap<u64, ConnId>,
    inbox: Vec<Request>,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// From L1.
    Hit,
    /// From L2.
    Miss,
    /// Not at all.
    Failed,
}

struct EachIsOne;

impl Weigher for EachIsOne {
    fn weigh(&self, _: Key<'_>, _: usize, _: usize) -> usize {
        1
    }
}

impl SimPod {
    /// An empty pod with its lane up.
    pub(crate) fn start(
        capacity: Capacity,
        clock: &Clock,
        seed: u64,
        l2: &mut L2,
    ) -> Result<Self, Error> {
        let store = match capacity {
            Capacity::Bytes(bytes) => StoreConfig::new(bytes),
            Capacity::Entries(entries) => StoreConfig {
                weigher: Some(Arc::new(EachIsOne)),
                max_entry_weight: Some(1),
                ..StoreConfig::new(entries)
            },
        };
        let config = PodConfig {
            max_staleness: MAX_STALENESS,
            service: SERVICE.to_owned(),
            ..PodConfig::default()
        };
        let pod = Pod::new(StoreConfig { seed, ..store }, config)
            .map_err(|error| Error::new(error.to_string()))?;
        let pod = Arc::new(pod);
        let io = Arc::new(SimIo::new(clock.clone()));
        let lane = Lane::new(pod.clone(), PrimaryId::FIRST, LaneConfig::default(), seed)
            .ok_or_else(|| Error::new("the pod knows no primary".to_owned()))?;
        let mut started = Self {
            cache: Cache::new(pod.clone(), io.clone()),
            link: Link {
                lane,
                pod,
                io,
                conn: None,
                sides: BTreeMap::new(),
                inbox: Vec::new(),
            },
            background: None,
        };
        let ready = started.cache.clone();
        match started.link.run(l2, ready.ready(Duration::ZERO)) {
            Some(Ok(())) => Ok(started),
            Some(Err(error)) => Err(Error::new(error.to_string())),
            None => Err(Error::new("the lane of a pod does not come up".to_owned())),
        }
    }

    /// Reads a key as a caller does.
    #[inline]
    pub(crate) fn read(&mut self, l2: &mut L2, key: &[u8]) -> Served {
        let read = self.cache.read(0, key, ReadPolicy::PassThrough);
        match self.link.run(l2, read) {
            Some(Ok(read)) if read.source == Source::L1 => Served::Hit,
            Some(Ok(_)) => Served::Miss,
            Some(Err(_)) | None => Served::Failed,
        }
    }

    /// The pod tops itself up from now on, whenever [`tend`](Self::tend) is called.
    pub(crate) fn top_up(&mut self, config: WarmConfig, seed: u64) {
        let timer = Arc::new(SimTimer::new(self.link.io.clock().clone()));
        let mut background = Background::new(self.cache.clone(), config, timer, None, seed);
        background.serve();
        self.background = Some(background);
    }

    /// One round of topping up. What the allowance of the fleet does not cover now is left out.
    pub(crate) fn tend(&mut self, l2: &mut L2, manifest: &Arc<Manifest>) {
        if let Some(background) = &mut self.background {
            self.link.run(l2, background.serve_round(manifest));
        }
    }

    /// Begins to run its background, and that with a warm start.
    pub(crate) fn run(&self, config: WarmConfig, seed: u64) -> Running {
        let clock = self.link.io.clock();
        let timer = Arc::new(SimTimer::new(clock.clone()));
        let background = Background::new(self.cache.clone(), config, timer.clone(), None, seed);
        Running {
            run: Box::pin(background.run()),
            timer,
            due: clock.now(),
        }
    }

    /// Goes on with a warm start; what it came to once it is over.
    pub(crate) fn go_on(&mut self, l2: &mut L2, start: &mut Running) -> Option<WarmReport> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            start.timer.take_due();
            let _ = start.run.as_mut().poll(&mut context);
            if let Some(report) = self.cache.pod().warm_report() {
                return Some(report);
            }
            if !self.link.pump(l2) {
                start.due = start.timer.take_due().unwrap_or(Timestamp::MAX);
                return None;
            }
        }
    }

    /// Lets its background do all that there is to do now. `is_woken` says whether `waker` was used since it was asked last.
    pub(crate) fn attend(
        &mut self,
        l2: &mut L2,
        running: &mut Running,
        waker: &Waker,
        is_woken: impl Fn() -> bool,
    ) {
        let mut context = Context::from_waker(waker);
        loop {
            is_woken();
            running.timer.take_due();
            if running.run.as_mut().poll(&mut context).is_ready() {
                running.due = Timestamp::MAX;
                return;
            }
            if !self.link.pump(l2) && !is_woken() {
                running.due = running.timer.take_due().unwrap_or(Timestamp::MAX);
                return;
            }
        }
    }

    /// The pod's own clock.
    pub(crate) fn clock(&self) -> &Clock {
        self.link.io.clock()
    }

    /// Calls `see` for every resident key and how often it was seen lately.
    pub(crate) fn for_each_resident(&self, mut see: impl FnMut(&[u8], u8)) {
        let pod = self.cache.pod();
        pod.for_each_resident(|key, info| see(key.bytes, info.frequency));
    }

    /// What its warm start did, once that is over.
    #[cfg(test)]
    pub(crate) fn warm_report(&self) -> Option<WarmReport> {
        self.cache.pod().warm_report()
    }

    /// What it counted.
    pub(crate) fn totals(&self) -> Totals {
        self.cache.pod().totals()
    }

    /// Ends the pod.
    pub(crate) fn stop(mut self, l2: &mut L2) {
        let now = self.link.io.clock().now();
        self.link.lane.shutdown(now);
        self.link.pump(l2);
    }
}

impl Link {
    /// Drives `call` to its end; `None` when it waits for what never comes.
    #[inline]
    fn run<T>(&mut self, l2: &mut L2, call: impl Future<Output = T>) -> Option<T> {
        let mut call = pin!(call);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..ROUNDS {
            if let Poll::Ready(value) = call.as_mut().poll(&mut context) {
                return Some(value);
            }
            if !self.pump(l2) {
                return None;
            }
        }
        None
    }

    /// Hands requests to the lane and carries out what it wants, until it wants nothing more.
    /// Whether there was anything to do.
    fn pump(&mut self, l2: &mut L2) -> bool {
        let now = self.io.clock().now();
        self.io.take(&mut self.inbox);
        let mut moved = !self.inbox.is_empty();
        for request in self.inbox.drain(..) {
            self.lane.submit(request, now);
        }
        if self.lane.poll_timeout().is_some_and(|due| due <= now) {
            self.lane.handle_timeout(now);
        }
        while let Some(action) = self.lane.poll_action(now) {
            self.act(action, l2, now);
            moved = true;
        }
        moved
    }

    fn act(&mut self, action: Action, l2: &mut L2, now: Timestamp) {
        match action {
            Action::Connect { connection } => {
                let events = Events::new(connection, self.pod.clone());
                self.conn = Some(l2.connect(events));
                self.lane.handle_connected(connection, now);
            }
            Action::Disconnect { .. } => {
                if let Some(conn) = self.conn.take() {
                    l2.close(conn);
                }
            }
            Action::Send {
                batch,
                line: Line::Lane(_),
                ops,
            } => {
                // A lane that sends has a connection.
                if let Some(conn) = self.conn {
                    let reply = l2.batch(conn, ops, self.io.clock().world());
                    self.lane.handle_reply(batch, Ok(reply), now);
                }
            }
            Action::Send {
                batch,
                line: Line::Side(side),
                ops,
            } => {
                let conn = *self
                    .sides
                    .entry(side.id)
                    .or_insert_with(|| l2.connect_side());
                let reply = l2.batch(conn, ops, self.io.clock().world());
                self.lane.handle_reply(batch, Ok(reply), now);
            }
            Action::CloseSide { side, .. } => {
                if let Some(conn) = self.sides.remove(&side) {
                    l2.close_side(conn);
                }
            }
            // Nothing here that an operator could do.
            Action::Report { .. } => {}
        }
    }
}
