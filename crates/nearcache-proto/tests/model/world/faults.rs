//! Faults: which strikes, what lasts, what is over, and who met which.

use super::*;

/// What [`World::fault`] picks from; the others come with calls, with time, or with the schedule.
const INJECTED: [Fault; 13] = [
    Fault::Delay,
    Fault::HalfOpen,
    Fault::Reset,
    Fault::HangUp,
    Fault::SideReset,
    Fault::ServerPause,
    Fault::IoStarved,
    Fault::Stopped,
    Fault::Restart,
    Fault::RestartEmpty,
    Fault::Demotion,
    Fault::Failover,
    Fault::CachingRefused,
];

impl World {
    /// A fault strikes a pod.
    pub(super) fn strike(&mut self, pod: usize, fault: Fault) {
        self.say(|| format!("pod {pod} meets: {}", fault.name()));
        self.pods[pod].strikes[fault as usize] += 1;
        self.coverage.strikes[fault as usize] += 1;
    }

    pub(super) fn strike_all(&mut self, fault: Fault) {
        for pod in 0..self.pods.len() {
            self.strike(pod, fault);
        }
    }

    /// What lasts counts as struck once more.
    pub(super) fn strikes_at_begin(&self, pod: usize) -> [u32; FAULTS] {
        let mut strikes = self.pods[pod].strikes;
        for fault in Fault::ALL {
            if self.lasts(pod, *fault) {
                strikes[*fault as usize] = u32::MAX;
            }
        }
        strikes
    }

    fn lasts(&self, pod: usize, fault: Fault) -> bool {
        let pod = &self.pods[pod];
        match fault {
            Fault::Delay => pod.links().any(|link| link.is_slow(self.now())),
            Fault::HalfOpen => pod.link.as_ref().is_some_and(|link| link.broken),
            Fault::HangUp => pod.link.as_ref().is_some_and(|link| link.hung_up),
            Fault::ServerPause => self.server_paused,
            Fault::IoStarved => pod.starved,
            Fault::Stopped => pod.stopped,
            Fault::Demotion => self.split(),
            Fault::CachingRefused => self.caching_refused,
            Fault::ClockRate | Fault::TableFull => self.mood.allows(fault),
            _ => false,
        }
    }

    /// A call is over: notes what it met.
    pub(super) fn met(&mut self, call: &Call) {
        let strikes = self.pods[call.view.pod].strikes;
        for fault in Fault::ALL {
            let number = *fault as usize;
            if strikes[number] != call.strikes[number] {
                self.coverage.met[number][call.operation as usize] += 1;
            }
        }
    }

    /// A hit was served by `pod`: notes after what.
    pub(super) fn hit_after(&mut self, pod: usize) {
        for (number, strikes) in self.pods[pod].strikes.iter().enumerate() {
            self.coverage.hits_after[number] += u64::from(*strikes > 0);
        }
    }

    /// Something that lasts is over, or something new begins.
    pub(super) fn fault(&mut self, pod: usize) {
        if self.random.per_mille(500) {
            return self.few(4, |world| world.relieve(pod));
        }
        let allowed: Vec<_> = INJECTED.iter().filter(|f| self.mood.allows(**f)).collect();
        if !allowed.is_empty() {
            let fault = *allowed[self.random.below(allowed.len())];
            self.inject(pod, fault);
        }
    }

    fn inject(&mut self, pod: usize, fault: Fault) {
        match fault {
            Fault::Delay => self.slow_down(pod),
            Fault::HalfOpen => self.break_link(pod, fault),
            Fault::Reset => self.break_link(pod, fault),
            Fault::HangUp => self.hang_up(pod, fault),
            Fault::SideReset => self.break_side(pod),
            Fault::ServerPause => {
                self.server_paused = true;
                self.strike_all(fault);
            }
            Fault::IoStarved => {
                self.pods[pod].starved = true;
                self.strike(pod, fault);
            }
            Fault::Stopped => {
                self.pods[pod].stopped = true;
                self.strike(pod, fault);
            }
            Fault::Restart | Fault::RestartEmpty => self.restart(fault),
            Fault::Demotion if !self.split() => self.demote(),
            Fault::Failover => match self.replica.take() {
                Some(state) => self.fail_over(state),
                None => self.replica = Some(self.oracle.state()),
            },
            Fault::CachingRefused => {
                let refused = !self.caching_refused && self.random.per_mille(500);
                self.refuse(refused);
                if self.caching_refused {
                    self.strike_all(fault);
                }
            }
            _ => {}
        }
    }

    fn relieve(&mut self, pod: usize) {
        match self.random.below(6) {
            0 => self.server_paused = false,
            1 => self.pods[pod].starved = false,
            2 => self.pods[pod].stopped = false,
            3 => self.promote(),
            4 => {
                self.refuse(false);
            }
            // Long enough for a lane without invalidations to try again.
            _ if self.mood.allows(Fault::CachingRefused) => self.advance(30_000, 31_000),
            _ => self.server_paused = false,
        }
    }

    pub(super) fn relieve_all(&mut self) {
        self.refuse(false);
        self.server_paused = false;
        self.promote();
        for pod in &mut self.pods {
            (pod.starved, pod.stopped) = (false, false);
        }
    }

    /// `CLIENT CACHING` is refused by somebody in between from now on, or the pods' user lacks rights; or neither.
    pub(super) fn refuse(&mut self, refused: bool) {
        // Not those to MULTI and EXEC, whose callers would be told.
        const RIGHTS: [&[&str]; 5] = [
            &["client|caching"],
            &["echo"],
            &["pttl"],
            &["client|caching", "echo"],
            &["client|tracking", "pttl"],
        ];
        self.caching_refused = refused;
        let kind = if refused { self.random.below(8) } else { 0 };
        let denied = kind.checked_sub(3).map_or(&[][..], |kind| RIGHTS[kind]);
        self.server.refuse_caching(refused && denied.is_empty());
        self.server.deny(denied, None);
    }

    /// One of the pod's connections takes its time, in one direction or both.
    fn slow_down(&mut self, pod: usize) {
        let until = self
            .now()
            .saturating_add(Duration::from_millis(self.random.between(5, 700)));
        let directions = 1 + self.random.below(3);
        let (which, random) = (self.random.per_mille(700), self.random.next());
        let this = &mut self.pods[pod];
        let sides = this.sides.len();
        let link = match which || sides == 0 {
            true => this.link.as_mut(),
            false => this.sides.values_mut().nth(random as usize % sides),
        };
        if let Some(link) = link {
            link.slow_down(until, directions & 1 != 0, directions & 2 != 0);
            self.strike(pod, Fault::Delay);
        }
    }

    /// The connection dies. Half-open: the pod hears nothing more, and is not told either.
    pub(super) fn break_link(&mut self, pod: usize, fault: Fault) {
        let this = &mut self.pods[pod];
        let Some(link) = this.link.as_mut().filter(|link| !link.broken) else {
            return;
        };
        link.broken = true;
        self.server.disconnect(link.conn);
        self.strike(pod, fault);
        if fault != Fault::HalfOpen {
            self.notice(pod);
        }
    }

    /// The server closes the connection: what it has sent is still on its way.
    pub(super) fn hang_up(&mut self, pod: usize, fault: Fault) {
        let this = &mut self.pods[pod];
        let Some(link) = this
            .link
            .as_mut()
            .filter(|link| !link.broken && !link.hung_up)
        else {
            return;
        };
        link.hung_up = true;
        link.to_server.clear();
        self.server.disconnect(link.conn);
        self.strike(pod, fault);
    }

    /// Whoever reads the connection notices first that it has ended; the lane is told when its turn comes.
    pub(super) fn notice(&mut self, pod: usize) {
        let step = self.splits.one_primary(self.step);
        let this = &mut self.pods[pod];
        let Some(link) = &mut this.link else { return };
        link.broken = true;
        let losses = this.pod.totals().disconnects_total;
        link.notice();
        this.floors.all = this.floors.all.max(step);
        // The end of a connection that never was the lane says nothing about any key.
        if this.pod.totals().disconnects_total != losses {
            this.io.hear(None);
        }
        this.ended = link.connection();
    }

    fn break_side(&mut self, pod: usize) {
        let sides = &mut self.pods[pod].sides;
        let Some(&id) = sides.keys().nth(self.random.below(sides.len().max(1))) else {
            return;
        };
        if let Some(link) = sides.remove(&id) {
            self.strike(pod, Fault::SideReset);
            self.close(pod, link, true);
        }
    }

    /// Every connection ends; how, differs.
    fn end_connections(&mut self) {
        for pod in 0..self.pods.len() {
            match self.random.below(4) {
                0 => self.break_link(pod, Fault::HalfOpen),
                1 => self.hang_up(pod, Fault::HangUp),
                _ => self.break_link(pod, Fault::Reset),
            }
            while let Some((_, link)) = self.pods[pod].sides.pop_first() {
                self.close(pod, link, true);
            }
        }
        for conn in [self.observer, self.writer] {
            self.server.disconnect(conn);
        }
        self.observer = self.server.connect();
        self.writer = self.server.connect();
        self.server.trust(self.observer);
        self.server.trust(self.writer);
    }

    /// The server's process ends and another begins, with its data or without.
    fn restart(&mut self, fault: Fault) {
        if self.split() {
            return;
        }
        self.step += 1;
        self.strike_all(fault);
        self.end_connections();
        self.server_paused = false;
        if fault == Fault::RestartEmpty {
            self.quietly(&[b"FLUSHALL"]);
        }
        self.observe(Change::Moved);
        self.collect();
    }

    /// A replica takes over that never heard of the last writes: they are lost.
    fn fail_over(&mut self, state: Vec<(Name, Seen, Timestamp)>) {
        if self.split() {
            return;
        }
        self.step += 1;
        self.strike_all(Fault::Failover);
        self.end_connections();
        let now = self.now();
        let mut lost = 0;
        for db in 0..DBS as u32 {
            self.quietly(&[b"SELECT", db.to_string().as_bytes()]);
            for key in 0..KEYS {
                let name = (db, key);
                let had = state.iter().find(|(other, ..)| *other == name);
                let (value, expires) = had.map_or((None, Timestamp::MAX), |had| (had.1, had.2));
                lost += u64::from(self.oracle.at_end(name) != value);
                let key = calls::key(name);
                self.quietly(&[b"DEL", &key]);
                let Some(value) = value.filter(|_| now < expires) else {
                    continue;
                };
                let value = calls::encode(value);
                let left = expires.saturating_since(now).as_millis().max(1).to_string();
                match expires {
                    Timestamp::MAX => self.quietly(&[b"SET", &key, &value]),
                    _ => self.quietly(&[b"SET", &key, &value, b"PX", left.as_bytes()]),
                }
            }
        }
        self.coverage.lost_writes += lost;
        self.observe(Change::Moved);
        self.collect();
    }

    /// Out of memory, the server drops a key.
    pub(super) fn evict(&mut self) {
        if self.split() || self.server_paused {
            return;
        }
        self.strike_all(Fault::Eviction);
        let name = self.name();
        self.foreign(&[b"SELECT", name.0.to_string().as_bytes()]);
        self.foreign(&[b"DEL", &calls::key(name)]);
    }

    /// A value gets another name, or another db.
    pub(super) fn move_key(&mut self) {
        if self.split() || self.server_paused {
            return;
        }
        self.strike_all(Fault::KeyMoves);
        let (from, to) = (self.name(), self.name());
        let (key, other) = (calls::key(from), calls::key(to));
        self.foreign(&[b"SELECT", from.0.to_string().as_bytes()]);
        let db = (1 - from.0).to_string();
        match self.random.below(3) {
            0 => self.foreign(&[b"MOVE", &key, db.as_bytes()]),
            1 => self.foreign(&[b"COPY", &key, &other, b"DB", db.as_bytes(), b"REPLACE"]),
            _ => self.foreign(&[b"RENAME", &key, &other]),
        }
    }
}
