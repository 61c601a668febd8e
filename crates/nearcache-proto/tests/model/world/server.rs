//! The server's side of the world: executing one command at a time, expiry, foreign writers.

use super::*;

/// What a connection may leave unread.
const OUTPUT_LIMIT: usize = 16;

impl World {
    /// The server executes the next command of one of the pod's connections.
    pub(super) fn serve(&mut self, pod: usize) {
        if self.server_paused {
            return;
        }
        let now = self.now();
        let pod = &mut self.pods[pod];
        let count = pod.links().filter(|link| link.serves(now)).count();
        if count == 0 {
            return;
        }
        let which = self.random.below(count);
        let links = pod.link.iter_mut().chain(pod.sides.values_mut());
        let mut links = links.filter(|link| link.serves(now));
        let Some(link) = links.nth(which) else {
            return;
        };
        let (conn, command) = (link.conn, link.to_server.pop_front());
        if let Some(command) = command {
            self.execute(conn, &command);
            // Right behind a read, a write does the most harm.
            if &*command[0] == b"GET" && self.random.per_mille(50) && !self.mood.quiet {
                let key = calls::number(&command[1]).unwrap_or(0);
                let name = (self.name().0, key);
                self.foreign_write(name);
            }
        }
    }

    pub(super) fn execute(&mut self, conn: ConnId, command: &[Bytes]) {
        let now = self.now();
        self.step += 1;
        self.expire();
        self.say(|| format!("the server executes, for {conn:?}: {command:?}"));
        if let Some(value) = written(command) {
            self.oracle.is_written(value);
        }
        self.server.execute(conn, command, now);
        if may_change(command) {
            let moves: [&[u8]; 3] = [b"RENAME", b"COPY", b"MOVE"];
            self.observe(match moves.contains(&&*command[0]) {
                true => Change::Moved,
                false => Change::Written,
            });
        }
        self.collect();
    }

    /// The oracle hears that time has passed.
    pub(super) fn expire(&mut self) {
        if self.oracle.expire(self.step, self.now()) > 0 {
            self.strike_all(Fault::Expiry);
        }
    }

    /// Tells the oracle what the server holds now, unless another one holds the truth.
    pub(super) fn observe(&mut self, change: Change) {
        if self.split() {
            return;
        }
        let now = self.now();
        for db in 0..2 {
            self.ask(&[b"SELECT", db.to_string().as_bytes()]);
            for key in 0..KEYS {
                let name = (db, key);
                let value = self.ask(&[b"GET", &calls::key(name)]);
                let Reply::Int(ttl) = self.ask(&[b"PTTL", &calls::key(name)]) else {
                    panic!("PTTL gives a number");
                };
                let seen = match value {
                    Reply::Nil => None,
                    Reply::Bulk(bytes) => calls::decode(Some(&bytes)),
                    other => panic!("GET gives a string, not {other:?}"),
                };
                let expires = match u64::try_from(ttl) {
                    Ok(ttl) => now.saturating_add(Duration::from_millis(ttl)),
                    Err(_) => Timestamp::MAX,
                };
                self.oracle
                    .observe(name, (seen, expires), self.step, now, change);
            }
        }
    }

    fn ask(&mut self, command: &[&[u8]]) -> Reply {
        let now = self.now();
        let argv: Vec<Bytes> = command
            .iter()
            .map(|arg| Bytes::copy_from_slice(arg))
            .collect();
        self.server.execute(self.observer, &argv, now);
        match self.server.drain(self.observer).pop() {
            Some(Output::Reply(reply)) => reply,
            other => panic!("one reply, not {other:?}"),
        }
    }

    /// Puts what the server said in line on every connection. One that takes too little of it is closed.
    pub(super) fn collect(&mut self) {
        self.server.drain(self.writer);
        for conn in self.server.ready() {
            let links = self.pods.iter_mut().flat_map(SimPod::links_mut);
            for link in links.filter(|link| link.conn == conn) {
                let said = self.server.drain(conn);
                link.to_pod
                    .extend(said.into_iter().map(|output| (self.step, output)));
            }
        }
        if !self.mood.calm && self.mood.allows(Fault::SlowConsumer) {
            for pod in 0..self.pods.len() {
                let link = &self.pods[pod].link;
                if link
                    .as_ref()
                    .is_some_and(|link| link.to_pod.len() > OUTPUT_LIMIT)
                {
                    self.hang_up(pod, Fault::SlowConsumer);
                }
            }
        }
    }

    pub(super) fn foreign(&mut self, command: &[&[u8]]) {
        let argv: Vec<Bytes> = command
            .iter()
            .map(|arg| Bytes::copy_from_slice(arg))
            .collect();
        self.execute(self.writer, &argv);
    }

    /// A command of the foreign writer that nobody looks at yet.
    pub(super) fn quietly(&mut self, command: &[&[u8]]) {
        let now = self.now();
        let argv: Vec<Bytes> = command
            .iter()
            .map(|arg| Bytes::copy_from_slice(arg))
            .collect();
        self.server.execute(self.writer, &argv, now);
    }

    pub(super) fn foreign_write(&mut self, name: Name) {
        if self.server_paused {
            return;
        }
        self.coverage.foreign_writes += 1;
        if self.split() {
            let value = self.random.per_mille(800).then(|| self.value());
            return self.write_away(name, value);
        }
        let key = calls::key(name);
        self.foreign(&[b"SELECT", name.0.to_string().as_bytes()]);
        match self.random.below(10) {
            0..6 => {
                let value = calls::encode(self.value());
                match self.ttl() {
                    None => self.foreign(&[b"SET", &key, &value]),
                    Some(ttl) => {
                        let ttl = ttl.as_millis().to_string();
                        self.foreign(&[b"SET", &key, &value, b"PX", ttl.as_bytes()]);
                    }
                }
            }
            6..8 => self.foreign(&[b"DEL", &key]),
            8 => self.foreign(&[b"PEXPIRE", &key, b"50"]),
            _ => self.foreign(&[b"PERSIST", &key]),
        }
    }

    pub(super) fn flush(&mut self) {
        if self.server_paused {
            return;
        }
        self.strike_all(Fault::Flush);
        let all = self.random.per_mille(500);
        self.foreign(if all { &[b"FLUSHALL"] } else { &[b"FLUSHDB"] });
    }

    /// Time passes until something ends, or has just ended: a value, or a pod's lease.
    pub(super) fn reach_an_edge(&mut self, pod: usize) {
        let now = self.now();
        let end = match self.random.per_mille(500) {
            true => self.oracle.next_expiry(now),
            false => {
                let pod = &self.pods[pod];
                let lanes = pod.pod.lanes(pod.clock(now));
                let age = lanes.first().and_then(|lane| lane.lease_age);
                age.map(|age| now.saturating_add(MAX_STALENESS.saturating_sub(age)))
            }
        };
        let Some(end) = end else { return };
        let wait = end.saturating_since(now).as_millis() as u64;
        if wait < 400 || !self.mood.calm {
            let wait = (wait + self.random.between(0, 8)).saturating_sub(5);
            self.pass(wait);
            (0..self.pods.len()).for_each(|pod| self.peek(pod));
        }
    }

    /// In whole milliseconds, so that what PTTL says is exact.
    fn pass(&mut self, millis: u64) {
        self.clock.fetch_add(millis * 1000, Ordering::Relaxed);
        self.expire();
    }

    /// Time passes; sometimes the server looks for expired keys.
    pub(super) fn advance(&mut self, least_ms: u64, most_ms: u64) {
        let millis = self.random.between(least_ms, most_ms);
        self.pass(millis);
        if !self.server_paused && self.random.per_mille(300) {
            self.server.tick(self.now());
            self.collect();
        }
    }
}

/// The value in a command that writes one.
fn written(command: &[Bytes]) -> Option<u64> {
    match &*command[0] {
        b"SET" if calls::number(&command[1]).is_some() => calls::decode(command.get(2)),
        b"EVAL" => calls::decode(command.last()),
        _ => None,
    }
}

/// Whether it can change a key: time alone is the oracle's own affair.
fn may_change(command: &[Bytes]) -> bool {
    const CANNOT: [&[u8]; 7] = [
        b"CLIENT", b"GET", b"PTTL", b"ECHO", b"HELLO", b"SELECT", b"MULTI",
    ];
    !CANNOT.contains(&&*command[0])
}
