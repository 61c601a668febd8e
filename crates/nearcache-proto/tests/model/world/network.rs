//! The pods' side of the world: their IO threads, the links, and how both fail.

use super::*;

impl SimPod {
    pub(super) fn new(number: usize, clock: &Arc<AtomicU64>, seed: u64, picky: bool) -> Self {
        let config = PodConfig {
            max_staleness: MAX_STALENESS,
            untracked_life: MAX_STALENESS,
            admit_after: if picky { 2 } else { 1 },
            operation_timeout: Duration::from_millis(800),
            ..PodConfig::default()
        };
        let store = StoreConfig::new(1 << 16);
        let pod = Arc::new(Pod::new(store, config).expect("a good configuration"));
        let io = Arc::new(SimIo {
            clock: clock.clone(),
            inbox: std::sync::Mutex::default(),
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
            floor: 0,
            key_floors: [0; KEYS],
            own: BTreeMap::new(),
            paused: false,
        }
    }

    pub(super) fn ever_degraded(&self) -> bool {
        self.pod.totals().degraded_total > 0
    }
}

impl World {
    /// One output of one connection reaches the pod's IO thread, or one finished batch its lane.
    pub(super) fn deliver(&mut self, pod: usize) {
        let now = self.now();
        let random = &mut self.random;
        let pod = &mut self.pods[pod];
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
            if let Some((batch, result)) = pod.completions.remove(index) {
                pod.lane.handle_reply(batch, result, now);
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
        match push {
            Some((step, Push::All)) => pod.floor = pod.floor.max(step),
            Some((step, Push::Keys(keys))) => {
                for key in keys {
                    if let Some(number) = key.strip_prefix(b"k") {
                        let number = usize::from(number[0] - b'0');
                        pod.key_floors[number] = pod.key_floors[number].max(step);
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
        let this = &mut self.pods[pod];
        for request in std::mem::take(&mut *this.io.inbox.lock().expect("one thread")) {
            this.lane.submit(request, now);
        }
        this.lane.handle_timeout(now);
        while let Some(action) = self.pods[pod].lane.poll_action(now) {
            self.act(pod, action);
        }
    }

    fn act(&mut self, pod: usize, action: Action) {
        match action {
            Action::Connect { connection } => self.pods[pod].connecting = Some(connection),
            Action::Send { batch, line, ops } => {
                let link = match line {
                    Line::Lane => self.pods[pod].link.as_mut(),
                    Line::Side { id: side, may_open } => {
                        if may_open && !self.pods[pod].sides.contains_key(&side) {
                            let link = Link::new(self.server.connect(), None);
                            self.pods[pod].sides.insert(side, link);
                        }
                        self.pods[pod].sides.get_mut(&side)
                    }
                };
                match link {
                    Some(link) => link.send(batch, ops),
                    None => self.pods[pod].completions.push_back((batch, Err(gone()))),
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
                self.pods[pod].completions.push_back((batch, Err(gone())));
            }
        }
    }

    fn connected(&mut self, pod: usize, connection: u64) {
        let now = self.now();
        let refused = self.random.per_mille(150);
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
        let now = self.now();
        let step = self.step;
        let side = self.random.per_mille(300);
        let this = &mut self.pods[pod];
        if side {
            if let Some((&id, _)) = this.sides.iter().next()
                && let Some(link) = this.sides.remove(&id)
            {
                self.close(pod, link, true);
            }
            return;
        }
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
        this.floor = this.floor.max(step);
        this.lane.handle_disconnected(connection, now);
    }

    /// Faults end, and everything in flight must come to its end.
    pub(super) fn heal(&mut self) {
        self.server.refuse_caching(false);
        self.server.set_role(true);
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
