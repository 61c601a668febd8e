//! The pods' side of the world: their IO threads, the links, and how both fail.

use super::*;

impl SimPod {
    pub(super) fn new(
        number: usize,
        clock: &Arc<AtomicU64>,
        seed: u64,
        calm: bool,
        picky: bool,
    ) -> Self {
        let config = PodConfig {
            max_staleness: MAX_STALENESS,
            untracked_life: MAX_STALENESS,
            admit_after: if picky { 2 } else { 1 },
            // Where nothing is wrong, a call that is not answered hangs.
            operation_timeout: if calm { TIMEOUT * 100 } else { TIMEOUT },
            max_inline: calls::MAX_INLINE,
            ..PodConfig::default()
        };
        let store = StoreConfig::new(1 << 16);
        let pod = Arc::new(Pod::new(store, config).expect("a good configuration"));
        let io = Arc::new(SimIo {
            clock: clock.clone(),
            caller: AtomicU64::default(),
            inbox: std::sync::Mutex::default(),
            submissions: AtomicU64::default(),
            news: Default::default(),
            loading: std::sync::Mutex::default(),
        });
        let lane = LaneConfig {
            dead_after: Duration::from_secs(3),
            ..LaneConfig::default()
        };
        Self {
            cache: Cache::new(pod.clone(), io.clone()),
            lane: Lane::new(pod.clone(), lane, seed ^ number as u64),
            pod,
            io,
            link: None,
            sides: BTreeMap::new(),
            connecting: None,
            completions: VecDeque::new(),
            floors: Floors::default(),
            ended: None,
            paused: false,
        }
    }

    pub(super) fn ever_degraded(&self) -> bool {
        self.pod.totals().degraded_total > 0
    }
}

impl World {
    /// One output of one connection reaches the pod's IO thread, or one finished batch its lane.
    pub(super) fn deliver(&mut self, number: usize) {
        let now = self.now();
        let random = &mut self.random;
        let pod = &mut self.pods[number];
        if pod.paused {
            return;
        }
        // Pushes are applied as they are read; finished batches may be taken up late and out of order.
        if !pod.completions.is_empty() && random.per_mille(600) {
            let index = if random.per_mille(800) {
                0
            } else {
                random.below(pod.completions.len())
            };
            if let Some((batch, result, proven)) = pod.completions.remove(index) {
                pod.lane.handle_reply(batch, result, now);
                let at_once = random.per_mille(300);
                self.raise(number, proven);
                if at_once {
                    self.poll_all(number);
                }
            }
            return;
        }
        let side = random.per_mille(300) && !pod.sides.is_empty();
        let link = if side {
            let index = random.below(pod.sides.len());
            pod.sides.values_mut().nth(index)
        } else {
            pod.link.as_mut()
        };
        let Some(link) = link.filter(|link| !link.broken) else {
            return;
        };
        let (push, completion) = link.deliver();
        pod.completions.extend(completion);
        let push = push.map(|(step, push)| (self.splits.one_primary(step), push));
        match push {
            Some((step, Push::All)) => {
                pod.floors.all = pod.floors.all.max(step);
                pod.io.hear(None);
            }
            Some((step, Push::Keys(keys))) => {
                for key in keys {
                    if let Some(number) = calls::number(&key) {
                        let floor = &mut pod.floors.keys[number];
                        *floor = step.max(*floor);
                        pod.io.hear(Some(number));
                    }
                }
            }
            None => {}
        }
    }

    /// The pod's IO thread runs for a moment.
    pub(super) fn pump(&mut self, pod: usize) {
        if self.pods[pod].paused {
            return;
        }
        if let Some(connection) = self.pods[pod].connecting.take() {
            self.connected(pod, connection);
        }
        let now = self.now();
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
        while let Some(action) = self.pods[pod].lane.poll_action(now) {
            self.act(pod, action);
        }
    }

    fn act(&mut self, pod: usize, action: Action) {
        match action {
            Action::Connect { connection } => self.pods[pod].connecting = Some(connection),
            Action::Send { batch, line, ops } => {
                self.pods[pod].io.may_send(&ops);
                let link = match line {
                    Line::Lane => self.pods[pod].link.as_mut(),
                    Line::Side(Side {
                        id: side, may_open, ..
                    }) => {
                        if may_open && !self.pods[pod].sides.contains_key(&side) {
                            let link = Link::new(self.server.connect(), None);
                            self.pods[pod].sides.insert(side, link);
                        }
                        self.pods[pod].sides.get_mut(&side)
                    }
                };
                match link {
                    Some(link) => link.send(batch, ops),
                    None => self.pods[pod]
                        .completions
                        .push_back((batch, Err(gone()), 0)),
                }
            }
            Action::CloseSide(side) => {
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
            Action::Report(_) => {}
        }
    }

    fn close(&mut self, pod: usize, mut link: Link, answer: bool) {
        self.server.disconnect(link.conn);
        for batch in link.abandon() {
            if answer {
                self.pods[pod]
                    .completions
                    .push_back((batch, Err(gone()), 0));
            }
        }
    }

    fn connected(&mut self, pod: usize, connection: u64) {
        let now = self.now();
        let refused = !self.mood.calm && self.random.per_mille(150);
        let this = &mut self.pods[pod];
        if refused {
            this.lane.handle_connect_failed(connection, gone(), now);
            return;
        }
        let conn = self.server.connect();
        let events = Events::new(connection, this.pod.clone());
        let mut link = Link::new(conn, Some(events));
        // What a client library says before the lane does.
        let hello = [Bytes::from_static(b"HELLO"), Bytes::from_static(b"3")];
        self.server.execute(conn, &hello, now);
        self.server.drain(conn);
        link.broken = false;
        this.link = Some(link);
        this.lane.handle_connected(connection, now);
    }

    /// The connection dies. Half-open: the pod hears nothing more, and is not told either.
    pub(super) fn break_link(&mut self, pod: usize, half_open: bool) {
        let step = self.step;
        let this = &mut self.pods[pod];
        let Some(link) = this.link.as_mut().filter(|link| !link.broken) else {
            return;
        };
        link.broken = true;
        self.server.disconnect(link.conn);
        if half_open {
            self.coverage.breaks += 1;
            return;
        }
        self.coverage.resets += 1;
        let connection = link.connection().expect("a lane's link");
        link.notice();
        // Whoever reads the connection notices first; the lane is told when its turn comes.
        let step = self.splits.one_primary(step);
        this.floors.all = this.floors.all.max(step);
        this.io.hear(None);
        this.ended = Some(connection);
    }

    pub(super) fn break_side(&mut self, pod: usize) {
        let sides = &mut self.pods[pod].sides;
        let Some(&id) = sides.keys().nth(self.random.below(sides.len().max(1))) else {
            return;
        };
        if let Some(link) = sides.remove(&id) {
            self.close(pod, link, true);
        }
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

    /// A session's connection ends with it, whatever became of its calls.
    pub(super) fn no_side_left(&mut self) {
        for _ in 0..200 {
            self.advance(1, 20);
            for pod in 0..self.pods.len() {
                self.pump(pod);
                self.serve(pod);
                self.deliver(pod);
            }
        }
        for pod in &self.pods {
            let left: Vec<_> = pod.sides.keys().filter(|id| **id != 0).collect();
            assert!(
                left.is_empty(),
                "C10: side connections of no session: {left:?}"
            );
        }
    }

    /// Faults end, and everything in flight must come to its end.
    pub(super) fn heal(&mut self) {
        self.server.refuse_caching(false);
        self.promote();
        for pod in &mut self.pods {
            pod.paused = false;
        }
        for round in 0.. {
            if self.calls.is_empty() {
                return;
            }
            assert!(
                round < PATIENCE,
                "C10: {} calls never ended: {:?}",
                self.calls.len(),
                self.calls.iter().map(|call| call.kind).collect::<Vec<_>>()
            );
            self.step += 1;
            let pod = self.random.below(self.pods.len());
            match round % 4 {
                0 => self.pump(pod),
                1 => self.serve(pod),
                2 => self.deliver(pod),
                _ => self.poll_call(),
            }
            if round % 64 == 0 {
                self.advance(1, 40);
            }
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Retry, "the connection is gone")
}
