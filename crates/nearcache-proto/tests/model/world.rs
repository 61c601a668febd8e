//! The world of one schedule: a server, pods, the network between them, and the scheduler that picks
//! what happens next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::{Hit, StoreConfig, Timestamp};
use nearcache_proto::memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp::Reply;
use nearcache_proto::{
    Action, Cache, Error, ErrorKind, Events, Freshness, Lane, LaneConfig, Line, Pod, PodConfig,
    ReadPolicy, Side, Source, WriteOutcome,
};

use crate::calls::{self, Call, Kind, Outcome};
use crate::io::SimIo;
use crate::link::{Completion, Link};
use crate::oracle::{Name, Oracle, Seen};
use crate::random::Random;

use judge::Floors;
pub use judge::View;
use split::Splits;

const EVENTS: usize = 900;
pub const KEYS: usize = 3;
/// They share key names: a push must reach both.
const DBS: usize = 2;
const MAX_CALLS: usize = 10;
/// L of the pods.
const MAX_STALENESS: Duration = Duration::from_millis(300);
/// How long a call may wait.
const TIMEOUT: Duration = Duration::from_millis(800);
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
    hits, peeks, kept_replies, l2_reads, stale_reads, renewals, many, together, validated, loads, loader_failures, own_writes,
    foreign_writes, hidden_writes, flushes, expiries, breaks, resets, reconnects, lane_pauses,
    cancels, degraded, demotions, away_writes, refused_fills, large, joined, not_sent, unknown_outcomes, timeouts,
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
    floors: Floors,
    /// The connection that has ended, until the lane hears of it.
    ended: Option<u64>,
    /// The IO thread does not run; callers do.
    paused: bool,
}

/// What kind of schedule it is.
#[derive(Clone, Copy)]
struct Mood {
    /// Nothing fails, and no call may.
    calm: bool,
    /// Keys live long enough to be hit again and again.
    quiet: bool,
    /// The server may refuse tracking, or be demoted.
    hostile: bool,
}

impl Mood {
    fn new(random: &mut Random) -> Self {
        let calm = random.per_mille(150);
        Self {
            calm,
            quiet: random.per_mille(500),
            hostile: !calm && random.per_mille(300),
        }
    }
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
    next_call: u64,
    mood: Mood,
    caching_refused: bool,
    splits: Splits,
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
        let mood = Mood::new(&mut random);
        let pods = (0..2 + random.below(2))
            .map(|number| SimPod::new(number, &clock, seed, mood.calm, random.per_mille(150)))
            .collect();
        if mood.hostile && random.per_mille(300) {
            server.table_limit(KEYS - 1, seed);
        }
        let caching_refused = mood.hostile && random.per_mille(400);
        server.refuse_caching(caching_refused);
        Self {
            caching_refused,
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
            next_call: 0,
            mood,
            splits: Splits::default(),
            coverage: Coverage::default(),
            writes_failed: Vec::new(),
        }
    }

    pub fn run(mut self) -> Coverage {
        if self.random.per_mille(800) {
            self.warm_up();
        }
        for _ in 0..EVENTS {
            self.step += 1;
            self.one();
        }
        self.heal();
        self.no_side_left();
        for pod in &self.pods {
            pod.pod.validate();
            let totals = pod.pod.totals();
            self.coverage.renewals += totals.lapsed_total;
            self.coverage.refused_fills += totals.fills_refused_total;
            self.coverage.joined += totals.joined_total;
            self.coverage.degraded += totals.degraded_total;
            self.coverage.reconnects += totals.connects_total.saturating_sub(1);
            self.coverage.timeouts += totals.timeouts_total;
            self.coverage.large += totals.oversize_total;
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
            0..120 => self.begin_call(pod),
            120..380 => self.few(4, |world| world.serve(pod)),
            380..660 => self.few(6, |world| world.deliver(pod)),
            660..780 => self.pump(pod),
            780..900 => self.few(3, Self::poll_call),
            900..944 => self.peek(pod),
            944..967 => self.advance(1, 15),
            967..972 if !self.mood.calm => {
                let long = self.random.per_mille(150);
                if long {
                    self.advance(500, 900)
                } else {
                    self.advance(50, 500)
                }
            }
            972..982 if !self.mood.quiet || self.random.per_mille(300) => {
                let name = self.name();
                self.foreign_write(name);
            }
            982..985 => self.cancel(),
            985..987 => self.flush(),
            987..989 => {
                let name = self.name();
                self.pods[pod].cache.forget(name.0, &calls::key(name));
            }
            989..1000 if !self.mood.calm => self.fault(pod),
            _ => {}
        }
    }

    fn fault(&mut self, pod: usize) {
        match self.random.below(11) {
            0 => self.break_link(pod, false),
            1 => self.break_link(pod, true),
            2 => self.break_side(pod),
            3 => {
                self.pods[pod].paused = true;
                self.coverage.lane_pauses += 1;
            }
            4..6 => self.pods[pod].paused = false,
            6 | 7 if self.mood.hostile => {
                self.caching_refused = !self.caching_refused && self.random.per_mille(500);
                self.server.refuse_caching(self.caching_refused);
            }
            8 | 9 if self.mood.hostile => match self.split() {
                true => self.promote(),
                false if self.random.per_mille(500) => self.demote(),
                false => {}
            },
            // Long enough for a lane without invalidations to try again.
            10 if self.mood.hostile && self.random.per_mille(500) => self.advance(30_000, 31_000),
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
        some.then(|| Duration::from_millis(self.random.between(20, 400)))
    }

    fn begin_call(&mut self, pod: usize) {
        let name = self.name();
        let kind = match self.random.below(100) {
            80..98 if self.mood.quiet && self.random.per_mille(700) => 0,
            kind => kind,
        };
        // Loads come in pairs: it is about what one does when the other is cancelled.
        let twins = if (72..80).contains(&kind) { 2 } else { 1 };
        for _ in 0..twins {
            if self.calls.len() < MAX_CALLS {
                self.begin(pod, name, kind);
            }
        }
    }

    fn begin(&mut self, pod: usize, name: Name, which: usize) {
        let cache = self.pods[pod].cache.clone();
        let mut writes = None;
        let mut kind = Kind::Read;
        let mut losses = None;
        let future = match which {
            0..30 => calls::read(cache, name, ReadPolicy::PassThrough),
            30..45 => calls::reply(cache, name, ReadPolicy::PassThrough),
            45..50 => calls::read(cache, name, ReadPolicy::Error),
            50..58 => {
                let max = Duration::from_secs(2);
                calls::read(cache, name, ReadPolicy::ServeStale { max })
            }
            58..66 => {
                let db = name.0;
                let count = 1 + self.random.below(KEYS);
                let names = (0..count).map(|key| (db, key)).collect();
                match self.random.per_mille(500) {
                    true => calls::many(cache, names),
                    false => calls::pipeline(cache, names),
                }
            }
            66..72 => calls::validated(cache, name),
            72..80 => {
                kind = Kind::Load;
                let (value, pauses) = (self.value(), self.random.below(6));
                let fails = self.random.per_mille(200);
                self.oracle.is_loaded(value);
                calls::load(cache, name, value, pauses, fails)
            }
            80..90 => {
                let value = self.value();
                (kind, writes) = (Kind::Write, Some((name, value)));
                let pod = &self.pods[pod];
                losses = match pod.ended {
                    None => Some(pod.pod.totals().disconnects_total),
                    Some(_) => None,
                };
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
        self.next_call += 1;
        let resident = (0..KEYS).map(|key| self.resident(pod, (name.0, key)).is_some());
        let resident = resident.collect();
        let call = Call {
            number: self.next_call,
            kind,
            future,
            view: self.view(pod),
            writes,
            losses,
            resident,
            asked_again: false,
            news: self.pods[pod].io.news[name.1].load(Ordering::Relaxed),
        };
        self.calls.push(call);
        self.poll(self.calls.len() - 1, true);
    }

    fn poll_call(&mut self) {
        if !self.calls.is_empty() {
            let index = self.random.below(self.calls.len());
            self.poll(index, false);
        }
    }

    fn poll(&mut self, index: usize, first: bool) {
        self.turn(index);
        let io = self.pods[self.calls[index].view.pod].io.clone();
        let before = io.submissions.load(Ordering::Relaxed);
        let mut context = Context::from_waker(Waker::noop());
        let polled = self.calls[index].future.as_mut().poll(&mut context);
        self.calls[index].asked_again |= !first && before != io.submissions.load(Ordering::Relaxed);
        if let Poll::Ready(result) = polled {
            let call = self.calls.swap_remove(index);
            self.judge(&call, result);
            self.peek(call.view.pod);
        }
    }

    /// Everybody in a pod runs, before anything else comes in.
    fn poll_all(&mut self, pod: usize) {
        for index in (0..self.calls.len()).rev() {
            if self.calls[index].view.pod == pod {
                self.poll(index, false);
            }
        }
    }

    fn cancel(&mut self) {
        if !self.calls.is_empty() {
            let index = self.random.below(self.calls.len());
            self.turn(index);
            self.calls.swap_remove(index);
            self.coverage.cancels += 1;
        }
    }

    /// Whatever is submitted from now on comes from this call.
    fn turn(&self, index: usize) {
        let call = &self.calls[index];
        let caller = &self.pods[call.view.pod].io.caller;
        caller.store(call.number, Ordering::Relaxed);
    }
}

mod judge;
mod network;
mod server;
mod split;
