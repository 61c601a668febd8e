//! The server's side of the world: executing one command at a time, expiry, foreign writers.

use super::*;

impl World {
    /// The server executes the next command of one of the pod's connections.
    pub(super) fn serve(&mut self, pod: usize) {
        let random = &mut self.random;
        let pod = &mut self.pods[pod];
        let mut links: Vec<&mut Link> = pod
            .link
            .iter_mut()
            .chain(pod.sides.values_mut())
            .filter(|link| !link.broken && !link.to_server.is_empty())
            .collect();
        if links.is_empty() {
            return;
        }
        let link = links.swap_remove(random.below(links.len()));
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
        self.coverage.expiries += self.oracle.expire(self.step, now);
        if self.trace {
            println!("{} {:?} {conn:?} {command:?}", self.step, now);
        }
        self.server.execute(conn, command, now);
        if may_change(command) {
            self.observe();
        }
        self.collect();
    }

    /// Tells the oracle what the server holds now, unless another one holds the truth.
    pub(super) fn observe(&mut self) {
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
                self.oracle.observe(name, seen, expires, self.step, now);
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

    /// Puts what the server said in line on every connection.
    pub(super) fn collect(&mut self) {
        self.server.drain(self.writer);
        for pod in &mut self.pods {
            for link in pod.link.iter_mut().chain(pod.sides.values_mut()) {
                if !link.broken {
                    let said = self.server.drain(link.conn);
                    link.to_pod
                        .extend(said.into_iter().map(|output| (self.step, output)));
                }
            }
        }
    }

    fn foreign(&mut self, command: &[&[u8]]) {
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
        self.coverage.flushes += 1;
        let all = self.random.per_mille(500);
        self.foreign(if all { &[b"FLUSHALL"] } else { &[b"FLUSHDB"] });
    }

    /// Time passes; sometimes the server looks for expired keys.
    pub(super) fn advance(&mut self, least_ms: u64, most_ms: u64) {
        let micros = self.random.between(least_ms * 1000, most_ms * 1000);
        self.clock.fetch_add(micros, Ordering::Relaxed);
        let now = self.now();
        self.coverage.expiries += self.oracle.expire(self.step, now);
        if self.random.per_mille(300) {
            self.server.tick(now);
            self.collect();
        }
    }
}

/// Whether it can change a key: time alone is the oracle's own affair.
fn may_change(command: &[Bytes]) -> bool {
    const CANNOT: [&[u8]; 7] = [
        b"CLIENT", b"GET", b"PTTL", b"ECHO", b"HELLO", b"SELECT", b"MULTI",
    ];
    !CANNOT.contains(&&*command[0])
}
