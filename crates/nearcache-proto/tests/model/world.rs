//! The world of one schedule: a server, pods, the network between them, and the scheduler that picks
//! what happens next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Hit, StoreConfig, Timestamp};
use nearcache_memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp::Reply;
use nearcache_proto::{
    Action, Cache, ConnectionId, Error, ErrorKind, Events, Freshness, Lane, LaneConfig, Line, Pod,
    PodConfig, PrimaryId, ReadPolicy, Side, Source, Totals, WhileAway, WriteOutcome,
};

use crate::calls::{self, Call, Outcome};
use crate::coverage::{Cause, Coverage, FAULTS, Fault, Operation};
use crate::io::{Clock, SimIo};
use crate::link::{Completion, Link};
use crate::oracle::{Change, Name, Oracle, Seen};
use crate::random::Random;

use judge::Floors;
pub use judge::View;
use split::Splits;

/// Events of a schedule.
pub const EVENTS: usize = 900;
pub const KEYS: usize = 3;
/// They share key names: a push must reach both.
const DBS: usize = 2;
const MAX_CALLS: usize = 10;
/// L of the pods.
const MAX_STALENESS: Duration = Duration::from_millis(300);
/// How long a call may wait.
const TIMEOUT: Duration = Duration::from_millis(800);
/// How long a loader may run.
pub const LOAD_TIMEOUT: Duration = Duration::from_millis(1000);
/// How many may, at a time.
pub const MAX_LOADS: usize = 2;
/// Steps after which a healed world must be quiet.
pub const PATIENCE: usize = 20_000;

struct SimPod {
    pod: Arc<Pod>,
    lane: Lane,
    io: Arc<SimIo>,
    cache: Cache<SimIo>,
    link: Option<Link>,
    sides: BTreeMap<u64, Link>,
    connecting: Option<ConnectionId>,
    completions: VecDeque<Completion>,
    /// Flushes and losses there had been when a batch was sent.
    sent: BTreeMap<u64, (u64, u64)>,
    floors: Floors,
    /// The connection that has ended, until the lane hears of it.
    ended: Option<ConnectionId>,
    /// The IO thread does not run; callers do.
    starved: bool,
    /// Nothing of it runs.
    stopped: bool,
    /// How often each fault struck it.
    strikes: [u32; FAULTS],
}

/// What kind of schedule it is.
#[derive(Clone, Copy)]
struct Mood {
    /// Nothing fails, and no call may.
    calm: bool,
    /// Keys live long enough to be hit again and again.
    quiet: bool,
    /// Which faults may strike: with all of them in every schedule, none would meet a pod at its ease.
    faults: u32,
    /// Of a thousand events, so many are faults.
    fault_rate: u64,
    /// Of a thousand calls, so many are stopped at their clock.
    preempted: u64,
}

impl Mood {
    fn new(random: &mut Random) -> Self {
        let calm = random.per_mille(150);
        let mut faults = 0;
        for fault in Fault::ALL {
            let chance = match fault {
                // They weaken what can be asked of the rest of the schedule.
                Fault::CachingRefused => 150,
                Fault::Demotion | Fault::TableFull => 200,
                _ => 400,
            };
            let harmless = [Fault::Eviction, Fault::KeyMoves].contains(fault);
            if random.per_mille(chance) && (harmless || !calm) {
                faults |= 1 << *fault as u32;
            }
        }
        Self {
            calm,
            quiet: random.per_mille(500),
            faults,
            fault_rate: [3, 8, 20][random.below(3)],
            preempted: [0, 50, 300][random.below(3)],
        }
    }

    fn allows(&self, fault: Fault) -> bool {
        self.faults & (1 << fault as u32) != 0
    }
}

pub struct World {
    seed: u64,
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
    /// The numbers of calls whose turn it is.
    turns: VecDeque<u64>,
    oracle: Oracle,
    next_value: u64,
    next_call: u64,
    mood: Mood,
    caching_refused: bool,
    /// The server executes nothing.
    server_paused: bool,
    /// What the replica has that will be the next primary.
    replica: Option<Vec<(Name, Seen, Timestamp)>>,
    splits: Splits,
    coverage: Coverage,
    writes_failed: Vec<u64>,
    /// What parked callers held was asked for by others.
    probed: bool,
    /// The driver opens a connection for each db, as it must not.
    lane_per_db: bool,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed, 0);
        // Late enough that time 0 is long ago.
        let clock = Arc::new(AtomicU64::new(10_000_000));
        let mut server = MemoryServer::new();
        let observer = server.connect();
        let writer = server.connect();
        server.trust(observer);
        server.trust(writer);
        let mood = Mood::new(&mut random);
        let count = 2 + random.below(2);
        let pods = (0..count).map(|number| {
            let drifts = mood.allows(Fault::ClockRate);
            let clock = Clock {
                world: clock.clone(),
                rate: if drifts {
                    [990, 1010][random.below(2)]
                } else {
                    1000
                },
                offset: random.between(0, 1 << 40),
            };
            let picky = random.per_mille(150);
            SimPod::new(number, clock, seed, mood.calm, picky)
        });
        let pods = pods.collect();
        if mood.allows(Fault::TableFull) {
            server.table_limit(KEYS - 1, seed);
        }
        let caching_refused = mood.allows(Fault::CachingRefused) && random.per_mille(400);
        let mut world = Self {
            seed,
            random,
            trace,
            step: 1,
            clock,
            server,
            observer,
            writer,
            pods,
            calls: Vec::new(),
            turns: VecDeque::new(),
            oracle: Oracle::default(),
            next_value: 1,
            next_call: 0,
            mood,
            caching_refused: false,
            server_paused: false,
            replica: None,
            splits: Splits::default(),
            coverage: Coverage::default(),
            writes_failed: Vec::new(),
            probed: false,
            lane_per_db: crate::lane_per_db(),
        };
        world.refuse(caching_refused);
        for pod in 0..count {
            for fault in [Fault::ClockRate, Fault::TableFull] {
                if world.mood.allows(fault) {
                    world.strike(pod, fault);
                }
            }
        }
        if world.random.per_mille(800) {
            world.warm_up();
        }
        world
    }

    /// Event number `number` of the schedule.
    pub fn event(&mut self, number: usize) {
        self.random = Random::new(self.seed, number as u64 + 1);
        self.step += 1;
        self.coverage.events += 1;
        self.one();
    }

    /// What the schedule met, when everything has come to its end.
    pub fn end(mut self) -> Coverage {
        self.no_side_left();
        let causes = [
            (
                Cause::TooLarge,
                (|totals| totals.oversize_total) as fn(&Totals) -> u64,
            ),
            (Cause::NotAdmitted, |totals| totals.not_admitted_total),
            (Cause::Failed, |totals| totals.fill_errors_total),
        ];
        for pod in &self.pods {
            pod.pod.validate();
            let totals = pod.pod.totals();
            self.coverage.renewals += totals.lapsed_total;
            self.coverage.joined += totals.joined_total;
            self.coverage.degraded += totals.degraded_total;
            self.coverage.reconnects += totals.connects_total.saturating_sub(1);
            self.coverage.timeouts += totals.timeouts_total;
            self.coverage.loads_without_l2 += totals.loads_l2_down_total;
            self.coverage.loads_lent += totals.loads_lent_total;
            self.coverage.loads_queued += totals.loads_queued_total;
            self.coverage.loads_abandoned += totals.loads_abandoned_total;
            self.coverage.load_timeouts += totals.load_timeouts_total;
            self.coverage.replaced += totals.values_replaced_total;
            for (cause, count) in causes {
                self.coverage.refused[cause as usize] += count(&totals);
            }
        }
        for value in &self.writes_failed {
            assert!(
                !self.oracle.was_executed(*value),
                "C15: {value} was reported as not sent"
            );
        }
        self.coverage.schedules = 1;
        self.coverage
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::Relaxed))
    }

    /// One random event.
    fn one(&mut self) {
        let pod = self.random.below(self.pods.len());
        if !self.mood.calm && self.random.per_mille(self.mood.fault_rate) {
            return self.fault(pod);
        }
        match self.random.below(1000) {
            0..125 => self.begin_call(pod),
            125..385 => self.few(4, |world| world.serve(pod)),
            385..665 => self.few(6, |world| world.deliver(pod)),
            665..785 => self.pump(pod),
            785..905 => self.few(3, Self::poll_one),
            905..949 => self.peek(pod),
            949..968 => self.advance(1, 15),
            968..972 => self.reach_an_edge(pod),
            972..976 if !self.mood.calm => {
                let long = self.random.per_mille(150);
                if long {
                    self.advance(500, 900)
                } else {
                    self.advance(50, 500)
                }
            }
            976..986 if !self.mood.quiet || self.random.per_mille(300) => {
                let name = self.name();
                self.foreign_write(name);
            }
            986..989 if self.random.per_mille(700) => self.cancel(),
            986..989 if self.mood.allows(Fault::Parked) => self.park(),
            989..991 => self.flush(),
            991..993 => {
                let name = self.name();
                self.pods[pod].cache.forget(name.0, &calls::key(name));
            }
            993..996 if self.mood.allows(Fault::Eviction) => self.evict(),
            996..1000 if self.mood.allows(Fault::KeyMoves) => self.move_key(),
            _ => {}
        }
    }

    fn few(&mut self, most: usize, mut event: impl FnMut(&mut Self)) {
        for _ in 0..=self.random.below(most) {
            event(self);
        }
    }

    fn name(&mut self) -> Name {
        let db = u32::from(self.random.per_mille(200));
        (db, self.random.below(KEYS))
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn ttl(&mut self) -> Option<Duration> {
        let some = self.random.per_mille(350);
        let most = if self.random.per_mille(150) {
            4000
        } else {
            400
        };
        some.then(|| Duration::from_millis(self.random.between(20, most)))
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!(
                "{:>6} {:>10} us  {}",
                self.step,
                self.clock.load(Ordering::Relaxed) - 10_000_000,
                what()
            );
        }
    }
}

mod begin;
mod faults;
mod judge;
mod network;
mod server;
mod split;
mod turns;
