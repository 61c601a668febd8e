//! The pods' side of the world: their IO threads, the links, and how both fail.

use super::*;
use nearcache_proto::Op;

/// Fetches of one key that may be under way.
const FLIGHTS: usize = 4;

/// The number of the second lane.
const APART: u64 = u64::MAX;

impl SimPod {
    pub(super) fn new(number: usize, clock: Clock, seed: u64, calm: bool, picky: bool) -> Self {
        let config = PodConfig {
            max_staleness: MAX_STALENESS,
            untracked_life: MAX_STALENESS,
            admit_after: if picky { 2 } else { 1 },
            // Where nothing is wrong, a call that is not answered hangs.
            operation_timeout: if calm { TIMEOUT * 100 } else { TIMEOUT },
            max_inline: calls::MAX_INLINE,
            load_timeout: LOAD_TIMEOUT,
            max_loads: MAX_LOADS,
            // In some schedules most calls wait for room.
            queue_requests: if seed % 4 == 3 { 2 } else { 4096 },
            ..PodConfig::default()
        };
        let store = StoreConfig::new(1 << 16);
        let pod = Arc::new(Pod::new(store, config).expect("a good configuration"));
        let io = Arc::new(SimIo::new(number, clock));
        let lane = LaneConfig {
            dead_after: Duration::from_millis(1200),
            ..LaneConfig::default()
        };
        Self {
            cache: Cache::new(pod.clone(), io.clone()),
            lane: Lane::new(pod.clone(), PrimaryId::FIRST, lane, seed ^ number as u64)
                .expect("there is one"),
            pod,
            io,
            link: None,
            sides: BTreeMap::new(),
            connecting: None,
            completions: VecDeque::new(),
            sent: BTreeMap::new(),
            floors: Floors::default(),
            ended: None,
            starved: false,
            stopped: false,
            strikes: [0; FAULTS],
        }
    }

    /// What its clock shows at this time of the world.
    pub(super) fn clock(&self, now: Timestamp) -> Timestamp {
        self.io.clock.at(now.as_micros())
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.link.iter().chain(self.sides.values())
    }

    pub(super) fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.link.iter_mut().chain(self.sides.values_mut())
    }

    fn runs_io(&self) -> bool {
        !self.starved && !self.stopped
    }

    pub(super) fn ever_degraded(&self) -> bool {
        self.pod.totals().degraded_total > 0
    }
}

impl World {
    /// One output of one connection reaches the pod's IO thread, or one finished batch its lane.
    pub(super) fn deliver(&mut self, number: usize) {
        if !self.pods[number].runs_io() {
            return;
        }
        // Pushes are applied as they are read; finished batches may be taken up late and out of order.
        if !self.pods[number].completions.is_empty() && self.random.per_mille(600) {
            return self.complete(number);
        }
        let now = self.now();
        let random = &mut self.random;
        let pod = &mut self.pods[number];
        let side = random.per_mille(300) && !pod.sides.is_empty();
        let link = if side {
            let index = random.below(pod.sides.len());
            pod.sides.values_mut().nth(index)
        } else {
            pod.link.as_mut()
        };
        let Some(link) = link.filter(|link| link.delivers(now)) else {
            return;
        };
        if link.hung_up && link.to_pod.is_empty() {
            return self.notice(number);
        }
        let (push, completion) = link.deliver();
        pod.completions.extend(completion);
        if let Some((step, push)) = push {
            self.pushed(number, step, push);
        }
    }

    /// The lane takes up a finished batch.
    fn complete(&mut self, number: usize) {
        let now = self.now();
        let random = &mut self.random;
        let pod = &mut self.pods[number];
        let index = match random.per_mille(800) {
            true => 0,
            false => random.below(pod.completions.len()),
        };
        let Some((batch, result, proven)) = pod.completions.remove(index) else {
            return;
        };
        let before = pod.pod.totals();
        let now = pod.clock(now);
        pod.lane.handle_reply(batch, result, now);
        let refused = pod.pod.totals().fills_refused_total - before.fills_refused_total;
        if refused > 0 {
            let sent = pod.sent.get(&batch).copied().unwrap_or_default();
            let cause = match sent {
                (_, disconnects) if disconnects != before.disconnects_total => Cause::HistoryOver,
                (flushes, _) if flushes != before.flushes_total => Cause::Flushed,
                _ => Cause::Key,
            };
            self.coverage.refused[cause as usize] += refused;
        }
        pod.sent.remove(&batch);
        let at_once = random.per_mille(300);
        if index > 0 {
            self.strike(number, Fault::Reorder);
        }
        self.raise(number, proven);
        if at_once {
            self.poll_all(number);
        }
    }

    /// A push was applied.
    fn pushed(&mut self, number: usize, step: u64, push: Push) {
        let step = self.splits.one_primary(step);
        self.say(|| format!("pod {number} hears of {push:?} of step {step}"));
        let pod = &mut self.pods[number];
        match push {
            Push::All => {
                pod.floors.all = pod.floors.all.max(step);
                pod.io.hear(None);
            }
            Push::Keys(keys) => {
                for key in keys {
                    if let Some(key) = calls::number(&key) {
                        let floor = &mut pod.floors.keys[key];
                        *floor = step.max(*floor);
                        pod.io.hear(Some(key));
                    }
                }
            }
        }
    }

    /// The pod's IO thread runs for a moment.
    pub(super) fn pump(&mut self, pod: usize) {
        if !self.pods[pod].runs_io() {
            return;
        }
        if let Some(connection) = self.pods[pod].connecting.take() {
            self.connected(pod, connection);
        }
        let now = self.pods[pod].clock(self.now());
        let random = &mut self.random;
        let this = &mut self.pods[pod];
        if let Some(connection) = this.ended.take_if(|_| random.per_mille(300)) {
            this.lane.handle_disconnected(connection, now);
        }
        // A caller may be preempted between what it did to L1 and what it asks of the lane.
        let mut late = BTreeSet::new();
        let mut inbox = this.io.inbox.lock().expect("one thread");
        for (caller, request) in std::mem::take(&mut *inbox) {
            if late.contains(&caller) || random.per_mille(100) {
                late.insert(caller);
                inbox.push((caller, request));
            } else {
                this.lane.submit(request, now);
            }
        }
        drop(inbox);
        this.lane.handle_timeout(now);
        this.io.told.store(now.as_micros(), Ordering::Relaxed);
        while let Some(action) = self.pods[pod].lane.poll_action(now) {
            self.act(pod, action);
        }
    }

    fn act(&mut self, pod: usize, action: Action) {
        match action {
            Action::Connect { connection } => self.pods[pod].connecting = Some(connection),
            Action::Send { batch, line, ops } => {
                self.may_send(pod, &ops);
                let totals = self.pods[pod].pod.totals();
                let lives = (totals.flushes_total, totals.disconnects_total);
                self.pods[pod].sent.insert(batch, lives);
                let link = match line {
                    Line::Lane(_) if self.is_apart(&ops) => self.apart(pod),
                    Line::Lane(_) => self.pods[pod].link.as_mut(),
                    Line::Side(Side {
                        id: side,
                        may_open,
                        db,
                        ..
                    }) => {
                        if may_open && !self.pods[pod].sides.contains_key(&side) {
                            let mut link = Link::new(self.server.connect(), None);
                            link.enter(db);
                            self.pods[pod].sides.insert(side, link);
                        }
                        self.pods[pod].sides.get_mut(&side)
                    }
                };
                match link {
                    Some(link) => link.send(batch, ops),
                    None if matches!(line, Line::Side(_)) => {
                        let now = self.pods[pod].clock(self.now());
                        self.pods[pod].lane.handle_unsent(batch, &gone(), now);
                    }
                    None => self.pods[pod]
                        .completions
                        .push_back((batch, Err(gone()), 0)),
                }
            }
            Action::CloseSide { side, .. } => {
                if let Some(link) = self.pods[pod].sides.remove(&side) {
                    self.close(pod, link, true);
                }
            }
            Action::Disconnect { connection } => {
                self.pods[pod]
                    .connecting
                    .take_if(|current| *current == connection);
                let link = &mut self.pods[pod].link;
                if let Some(link) = link.take_if(|link| link.connection() == Some(connection)) {
                    self.close(pod, link, false);
                }
            }
            Action::Report { .. } => {}
        }
    }

    fn may_send(&self, pod: usize, ops: &[Op]) {
        let pod = &self.pods[pod];
        pod.io.may_send(ops, pod.clock(self.now()));
        for op in ops {
            if let (
                Op::Read { tracked: true, .. } | Op::ReadWith { tracked: true, .. },
                Some(link),
            ) = (op, &pod.link)
            {
                assert!(link.reads(op) < FLIGHTS, "C8: too many fetches of {op:?}");
            }
        }
    }

    /// Whether a batch belongs to the second lane that there must not be.
    fn is_apart(&self, ops: &[Op]) -> bool {
        let other = |op: &Op| matches!(op, Op::Read { db: 1, .. } | Op::ReadWith { db: 1, .. });
        self.lane_per_db && ops.iter().all(other)
    }

    /// The second lane, which the first knows nothing of.
    fn apart(&mut self, pod: usize) -> Option<&mut Link> {
        let connection = self.pods[pod].link.as_ref()?.connection()?;
        let this = &mut self.pods[pod];
        if !this.sides.contains_key(&APART) {
            let now = Timestamp::from_micros(self.clock.load(Ordering::Relaxed));
            let conn = self.server.connect();
            let words = ["CLIENT", "TRACKING", "ON", "OPTIN"].map(Bytes::from);
            self.server.execute(conn, &words, now);
            self.server.drain(conn);
            let events = Events::new(connection, this.pod.clone());
            this.sides.insert(APART, Link::new(conn, Some(events)));
        }
        this.sides.get_mut(&APART)
    }

    pub(super) fn close(&mut self, pod: usize, mut link: Link, answer: bool) {
        self.server.disconnect(link.conn);
        for batch in link.abandon() {
            if answer {
                self.pods[pod]
                    .completions
                    .push_back((batch, Err(gone()), 0));
            }
        }
    }

    fn connected(&mut self, pod: usize, connection: ConnectionId) {
        let now = self.now();
        let refused = !self.mood.calm && (self.server_paused || self.random.per_mille(150));
        let this = &mut self.pods[pod];
        let time = this.clock(now);
        if refused {
            this.lane.handle_connect_failed(connection, gone(), time);
            return;
        }
        let conn = self.server.connect();
        let events = Events::new(connection, this.pod.clone());
        let link = Link::new(conn, Some(events));
        // What a client library says before the lane does.
        let hello = [Bytes::from_static(b"HELLO"), Bytes::from_static(b"3")];
        self.server.execute(conn, &hello, now);
        self.server.drain(conn);
        this.link = Some(link);
        this.lane.handle_connected(connection, time);
    }

    /// Most schedules begin with lanes that are up.
    pub(super) fn warm_up(&mut self) {
        for _ in 0..3 {
            for pod in 0..self.pods.len() {
                self.pump(pod);
                for _ in 0..10 {
                    self.serve(pod);
                }
                for _ in 0..40 {
                    self.deliver(pod);
                }
            }
        }
    }

    /// A session's connection ends with it, whatever became of its calls, and the shared ones when nobody uses them.
    pub(super) fn no_side_left(&mut self) {
        for round in 0..250 {
            match round {
                200 => self.advance(61_000, 61_000),
                _ => self.advance(1, 20),
            }
            for pod in 0..self.pods.len() {
                self.pump(pod);
                self.serve(pod);
                self.deliver(pod);
            }
        }
        for pod in &self.pods {
            let left: Vec<_> = pod
                .sides
                .keys()
                .filter(|id| ![0, APART].contains(*id))
                .collect();
            assert!(
                left.is_empty(),
                "C10: side connections of no session: {left:?}"
            );
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Retry, "the connection is gone")
}
