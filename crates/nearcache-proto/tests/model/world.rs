//! The world of one schedule: a server, pods, the network between them, and the scheduler that picks
//! what happens next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{StoreConfig, Timestamp};
use nearcache_proto::memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp::Reply;
use nearcache_proto::{
    Action, Cache, Error, ErrorKind, Events, Freshness, Lane, LaneConfig, Line, Pod, PodConfig,
    ReadPolicy, Source, WriteOutcome,
};

use crate::calls::{self, Call, Kind, Outcome, SimIo};
use crate::link::{Completion, Link};
use crate::oracle::{Name, Oracle, Seen};
use crate::random::Random;

const EVENTS: usize = 900;
const KEYS: usize = 3;
const MAX_CALLS: usize = 10;
/// L of the pods.
const MAX_STALENESS: Duration = Duration::from_millis(300);
/// Steps after which a healed world must be quiet.
const PATIENCE: usize = 20_000;

macro_rules! coverage {
    ($($name:ident),* $(,)?) => {
        /// How often each thing happened: a schedule that never met it proves nothing about it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage { $(pub $name: u64,)* }

        impl Coverage {
            pub fn add(&mut self, other: &Self) { $(self.$name += other.$name;)* }

            /// Panics when something never happened.
            pub fn check(&self) {
                $(assert!(self.$name > 0, concat!("no schedule ever met: ", stringify!($name)));)*
            }
        }
    };
}

coverage! {
    hits, l2_reads, stale_reads, renewals, many, validated, loads, loader_failures, own_writes,
    foreign_writes, hidden_writes, flushes, expiries, breaks, resets, reconnects, lane_pauses,
    cancels, degraded, demotions, refused_fills, joined, not_sent, unknown_outcomes, timeouts,
    reads_failed,
}

struct SimPod {
    pod: Arc<Pod>,
    lane: Lane,
    io: Arc<SimIo>,
    cache: Cache<SimIo>,
    link: Option<Link>,
    sides: BTreeMap<u64, Link>,
    connecting: Option<u64>,
    completions: VecDeque<Completion>,
    /// Every fresh read that begins from now on must reflect this step.
    floor: u64,
    /// The same for one key in any db, after a push of it.
    key_floors: [u64; KEYS],
    /// The same for what this pod itself wrote, invalidations or not.
    own: BTreeMap<Name, u64>,
    /// The IO thread does not run; callers do.
    paused: bool,
}

pub struct World {
    random: Random,
    /// Print what happens.
    trace: bool,
    /// Counts everything that happens, so that any two things have an order.
    step: u64,
    clock: Arc<AtomicU64>,
    server: MemoryServer,
    observer: ConnId,
    writer: ConnId,
    pods: Vec<SimPod>,
    calls: Vec<Call>,
    oracle: Oracle,
    next_value: u64,
    /// Whether this schedule has a server that refuses tracking, or is demoted.
    hostile: bool,
    caching_refused: bool,
    demoted: bool,
    coverage: Coverage,
    writes_failed: Vec<u64>,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        // Late enough that time 0 is long ago.
        let clock = Arc::new(AtomicU64::new(10_000_000));
        let mut server = MemoryServer::new();
        let observer = server.connect();
        let writer = server.connect();
        let pods = (0..2 + random.below(2))
            .map(|number| SimPod::new(number, &clock, seed, random.per_mille(200)))
            .collect();
        let hostile = random.per_mille(250);
        Self {
            random,
            trace,
            step: 1,
            clock,
            server,
            observer,
            writer,
            pods,
            calls: Vec::new(),
            oracle: Oracle::default(),
            next_value: 1,
            hostile,
            caching_refused: false,
            demoted: false,
            coverage: Coverage::default(),
            writes_failed: Vec::new(),
        }
    }

    pub fn run(mut self) -> Coverage {
        for _ in 0..EVENTS {
            self.step += 1;
            self.one();
        }
        self.heal();
        for pod in &self.pods {
            pod.pod.validate();
            let totals = pod.pod.totals();
            self.coverage.renewals += totals.lapsed_total;
            self.coverage.refused_fills += totals.fills_refused_total;
            self.coverage.joined += totals.joined_total;
            self.coverage.degraded += totals.degraded_total;
            self.coverage.reconnects += totals.connects_total.saturating_sub(1);
            self.coverage.timeouts += totals.timeouts_total;
        }
        for value in &self.writes_failed {
            assert!(
                !self.oracle.was_executed(*value),
                "C15: {value} was reported as not sent"
            );
        }
        self.coverage
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::Relaxed))
    }

    /// One random event.
    fn one(&mut self) {
        let pod = self.random.below(self.pods.len());
        match self.random.below(1000) {
            0..130 => self.begin_call(pod),
            130..400 => self.few(4, |world| world.serve(pod)),
            400..680 => self.few(6, |world| world.deliver(pod)),
            680..800 => self.pump(pod),
            800..950 => self.few(3, Self::poll_call),
            950..975 => self.advance(1, 15),
            975..978 => self.advance(50, 500),
            978..988 => self.foreign_write(),
            988 => self.break_link(pod, false),
            989 => self.break_link(pod, true),
            990 => {
                self.pods[pod].paused = !self.pods[pod].paused;
                self.coverage.lane_pauses += 1;
            }
            991 => self.cancel(),
            992 => self.flush(),
            993 if self.hostile => {
                self.caching_refused = !self.caching_refused && self.random.per_mille(500);
                self.server.refuse_caching(self.caching_refused);
            }
            994 if self.hostile => {
                self.demoted = !self.demoted && self.random.per_mille(500);
                self.server.set_role(!self.demoted);
                self.coverage.demotions += u64::from(self.demoted);
            }
            _ => {
                let name = self.name();
                self.pods[pod].cache.forget(name.0, &calls::key(name));
            }
        }
    }

    fn few(&mut self, most: usize, mut event: impl FnMut(&mut Self)) {
        for _ in 0..=self.random.below(most) {
            event(self);
        }
    }

    fn name(&mut self) -> Name {
        // Two dbs share key names: a push must reach both.
        let db = u32::from(self.random.per_mille(200));
        (db, self.random.below(KEYS))
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn ttl(&mut self) -> Option<Duration> {
        let some = self.random.per_mille(250);
        some.then(|| Duration::from_millis(self.random.between(20, 400)))
    }

    fn begin_call(&mut self, pod: usize) {
        if self.calls.len() >= MAX_CALLS {
            return;
        }
        let name = self.name();
        let cache = self.pods[pod].cache.clone();
        let mut writes = None;
        let mut kind = Kind::Read;
        let future = match self.random.below(100) {
            0..45 => calls::read(cache, name, ReadPolicy::PassThrough),
            45..50 => calls::read(cache, name, ReadPolicy::Error),
            50..58 => {
                let max = Duration::from_secs(2);
                calls::read(cache, name, ReadPolicy::ServeStale { max })
            }
            58..66 => {
                let db = name.0;
                let count = 1 + self.random.below(KEYS);
                calls::many(cache, (0..count).map(|key| (db, key)).collect())
            }
            66..72 => calls::validated(cache, name),
            72..80 => {
                kind = Kind::Load;
                let (value, pauses) = (self.value(), self.random.below(6));
                let fails = self.random.per_mille(200);
                calls::load(cache, name, value, pauses, fails)
            }
            80..90 => {
                let value = self.value();
                (kind, writes) = (Kind::Write, Some((name, value)));
                let ttl = self.ttl();
                calls::set(cache, name, value, ttl)
            }
            90..93 => {
                kind = Kind::Write;
                calls::delete(cache, name)
            }
            93..98 => {
                let value = self.value();
                (kind, writes) = (Kind::Write, Some((name, value)));
                self.coverage.hidden_writes += 1;
                let script = self.random.per_mille(500);
                calls::hidden_write(cache, name, value, script)
            }
            _ => calls::fence(cache),
        };
        let call = Call {
            pod,
            kind,
            future,
            began_step: self.step,
            began_at: self.now(),
            floor: self.pods[pod].floor,
            key_floors: self.pods[pod].key_floors.to_vec(),
            own: self.pods[pod].own.clone(),
            writes,
        };
        self.calls.push(call);
        self.poll(self.calls.len() - 1);
    }

    fn poll_call(&mut self) {
        if !self.calls.is_empty() {
            let index = self.random.below(self.calls.len());
            self.poll(index);
        }
    }

    fn poll(&mut self, index: usize) {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = self.calls[index].future.as_mut().poll(&mut context) {
            let call = self.calls.swap_remove(index);
            self.judge(&call, result);
        }
    }

    fn cancel(&mut self) {
        if !self.calls.is_empty() {
            let index = self.random.below(self.calls.len());
            self.calls.swap_remove(index);
            self.coverage.cancels += 1;
        }
    }

    /// Whether `result` may be the end of `call`.
    fn judge(&mut self, call: &Call, result: Result<Outcome, Error>) {
        if self.trace {
            println!(
                "{} {:?} pod {} began {} floor {} {:?} -> {result:?}",
                self.step,
                self.now(),
                call.pod,
                call.began_step,
                call.floor,
                call.key_floors
            );
        }
        match result {
            Ok(Outcome::Read(name, seen, Freshness::Fresh, source)) => {
                match source {
                    Source::L1 => self.coverage.hits += 1,
                    Source::L2 => self.coverage.l2_reads += 1,
                }
                self.fresh(call, name, seen);
            }
            Ok(Outcome::Read(name, seen, Freshness::Stale(by), _)) => {
                self.coverage.stale_reads += 1;
                assert!(
                    by <= Duration::from_secs(2),
                    "C2: stale beyond its hard maximum"
                );
                self.oracle.not_expired(name, seen, call.began_at);
                let bound = back(call.began_at, by + Duration::from_millis(1));
                self.oracle.not_over_before(name, seen, bound, "C2 (stale)");
            }
            Ok(Outcome::Many(seen)) => {
                self.coverage.many += 1;
                for (name, seen) in seen {
                    self.fresh(call, name, seen);
                }
            }
            Ok(Outcome::Validated(name, seen)) => {
                self.coverage.validated += 1;
                self.fresh(call, name, seen);
                self.oracle
                    .not_older_than(name, seen, call.began_step, "C7");
            }
            Ok(Outcome::Loaded(name, value)) => {
                self.coverage.loads += 1;
                // A value that lost its race was never written: it is the loader's own.
                if self.oracle.was_executed(value) {
                    self.fresh(call, name, Some(value));
                }
            }
            Ok(Outcome::Done) => {
                self.coverage.own_writes += u64::from(call.kind == Kind::Write);
                // It was executed at its last step at the latest; everything this pod reads from now
                // on must reflect at least the step at which its answer was given.
                let floor = self.answered(call);
                self.raise(call.pod, floor);
                if let Some((name, value)) = call.writes
                    && let Some(step) = self.oracle.executed_at(value)
                {
                    let own = self.pods[call.pod].own.entry(name).or_default();
                    *own = step.max(*own);
                }
            }
            Err(error) => self.failed(call, &error),
        }
    }

    /// The step that an acknowledged write or fence proves: its value's version, or its beginning.
    fn answered(&self, call: &Call) -> u64 {
        call.writes
            .and_then(|(_, value)| self.oracle.executed_at(value))
            .unwrap_or(call.began_step)
    }

    fn failed(&mut self, call: &Call, error: &Error) {
        match error.kind() {
            ErrorKind::Retry | ErrorKind::Unproven => {}
            ErrorKind::Loader => self.coverage.loader_failures += 1,
            // The side connection was lost inside a transaction, or a demoted server refused.
            ErrorKind::Usage if call.kind == Kind::Write => {}
            kind => panic!("{kind:?} is no error for {:?}: {error}", call.kind),
        }
        self.coverage.reads_failed += u64::from(call.kind == Kind::Read);
        match (error.write_outcome(), call.writes) {
            (Some(WriteOutcome::NotSent), Some((_, value))) => {
                self.coverage.not_sent += 1;
                // A transaction may fail as a whole after its SET was sent.
                self.writes_failed.push(value);
            }
            (Some(WriteOutcome::Unknown), _) => self.coverage.unknown_outcomes += 1,
            _ => {}
        }
    }

    fn fresh(&mut self, call: &Call, name: Name, seen: Seen) {
        self.oracle
            .not_over_before(name, seen, back(call.began_at, MAX_STALENESS), "C2");
        self.oracle.not_expired(name, seen, call.began_at);
        let own = call.own.get(&name).copied().unwrap_or(0);
        self.oracle.not_older_than(name, seen, own, "C3");
        if !self.pods[call.pod].ever_degraded() {
            let floor = call.floor.max(call.key_floors[name.1]);
            self.oracle
                .not_older_than(name, seen, floor, "C3, C4, C6, C14");
            let began = self.oracle.began(name, seen);
            self.raise(call.pod, began);
        }
    }

    fn raise(&mut self, pod: usize, floor: u64) {
        let pod = &mut self.pods[pod];
        pod.floor = pod.floor.max(floor);
    }
}

fn back(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_sub(by.as_micros() as u64))
}

mod network;
mod server;
