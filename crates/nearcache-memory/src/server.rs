//! The embedded server: takes a command of a connection, answers it, and tells who must know.
//!
//! On each connection the order of outputs is the order of execution: the reply to a write comes
//! before the push it causes, and that before the reply to the next command.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::args::{shown, wrong_arity};
use super::commands::{Command, Run};
use super::keyspace::{Change, Keyspace};
use super::script::Scripts;
use super::session::{ConnId, Output, Push, Session, Tracking};
use super::tracking::TrackingTable;
use nearcache_proto::resp::Reply;

/// Sixteen databases, their connections and their tracking, without IO.
pub struct MemoryServer {
    pub(super) space: Keyspace,
    pub(super) tracking: TrackingTable,
    pub(super) faults: Faults,
    pub(super) scripts: Scripts,
    sessions: BTreeMap<ConnId, Session>,
    last_conn: u64,
    /// Whose command is being executed.
    executing: Option<ConnId>,
    /// What that connection receives after the reply.
    own_pushes: Vec<Push>,
    ready: BTreeSet<ConnId>,
}

/// Deviations that tests ask for.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) replica: bool,
    pub(super) no_tracking: bool,
    pub(super) no_caching: bool,
    /// What nobody may run, `client|tracking` for a part of a command, but trusted connections.
    denied: Vec<String>,
    /// Prefix of the keys that nobody may touch, likewise.
    denied_keys: Option<Bytes>,
}

impl MemoryServer {
    /// An empty server that is a primary.
    pub fn new() -> Self {
        Self {
            space: Keyspace::new(),
            tracking: TrackingTable::new(),
            faults: Faults::default(),
            scripts: Scripts::default(),
            sessions: BTreeMap::new(),
            last_conn: 0,
            executing: None,
            own_pushes: Vec::new(),
            ready: BTreeSet::new(),
        }
    }

    /// Opens a connection. It speaks RESP3, is in database 0 and tracks nothing.
    pub fn connect(&mut self) -> ConnId {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        self.sessions.insert(conn, Session::new());
        conn
    }

    /// Ends a connection: what it has not received is lost.
    pub fn disconnect(&mut self, conn: ConnId) {
        self.sessions.remove(&conn);
        self.tracking.remove_reader(conn);
        self.ready.remove(&conn);
    }

    /// Executes one command of a connection. Exactly one [`Output::Reply`] is added to what it
    /// receives; pushes may be, for any connection. Nothing happens on a connection that has ended.
    ///
    /// Time does not go back: an earlier `now` than before counts as the latest one.
    pub fn execute(&mut self, conn: ConnId, argv: &[Bytes], now: Timestamp) {
        if !self.sessions.contains_key(&conn) {
            return;
        }
        self.space.set_now(now);
        self.limit_table();
        self.executing = Some(conn);
        let reply = self.process(conn, argv);
        self.executing = None;
        // The mark lasts for one command, a transaction counting as one; CLIENT does not use it up.
        let about_client = argv
            .first()
            .is_some_and(|n| n.eq_ignore_ascii_case(b"CLIENT"));
        let session = self.session(conn);
        if session.queue.is_none() && !about_client {
            session.caching = false;
        }
        self.emit(conn, Output::Reply(reply));
        for push in std::mem::take(&mut self.own_pushes) {
            self.emit(conn, Output::Push(push));
        }
    }

    /// Takes all that a connection has to receive, in order.
    pub fn drain(&mut self, conn: ConnId) -> Vec<Output> {
        self.ready.remove(&conn);
        match self.sessions.get_mut(&conn) {
            Some(session) => session.drain(),
            None => Vec::new(),
        }
    }

    /// The connections that have something to receive.
    pub fn ready(&self) -> Vec<ConnId> {
        self.ready.iter().copied().collect()
    }

    /// When the next key expires; [`tick`](Self::tick) is due then.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.space.next_expiry()
    }

    /// Removes the keys that have expired by `now` and pushes them. Without it they are found, and
    /// pushed, when next accessed.
    pub fn tick(&mut self, now: Timestamp) {
        self.space.set_now(now);
        self.space.expire_all();
        self.apply_changes();
    }

    /// Says what the calendar shows at `now` (time since 1970), for commands that take or give
    /// absolute times. Until then [`Timestamp::ZERO`] is the beginning of 1970.
    pub fn set_unix_time(&mut self, now: Timestamp, unix: Duration) {
        self.space.set_now(now);
        self.space.set_calendar(unix);
    }

    /// Bounds what keys, values and their bookkeeping may occupy, in bytes: past it, commands that
    /// may grow get an `OOM` error. Unbounded by default.
    pub fn set_memory_limit(&mut self, bytes: usize) {
        self.space.set_limit(Some(bytes));
    }

    /// What keys, values and their bookkeeping occupy, in bytes (estimated).
    pub fn memory_used(&self) -> usize {
        self.space.weight()
    }

    /// How many keys somebody wants to be told about.
    pub fn tracked_keys(&self) -> usize {
        self.tracking.len()
    }

    /// Bounds the tracking table: past it, keys picked at random by `seed` are pushed and given up,
    /// before the next command is executed. The default is a million keys.
    pub fn table_limit(&mut self, keys: usize, seed: u64) {
        self.tracking.set_limit(keys, seed);
    }

    /// For tests: makes it a primary, or a replica that answers reads and refuses writes.
    pub fn set_role(&mut self, primary: bool) {
        self.faults.replica = !primary;
    }

    /// For tests: these commands are not permitted from now on, `client|tracking` being a part of one, nor are keys that
    /// begin with `keys`; but for [trusted](Self::trust) connections. A server always permits `HELLO`.
    pub fn deny(&mut self, commands: &[&str], keys: Option<&str>) {
        self.faults.denied = commands.iter().map(|name| name.to_lowercase()).collect();
        self.faults.denied_keys = keys.map(|keys| Bytes::copy_from_slice(keys.as_bytes()));
    }

    /// For tests: this connection may do everything.
    pub fn trust(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.trusted = true;
        }
    }

    /// For tests: refuses `CLIENT TRACKING` from now on, as a proxy does that does not know it.
    pub fn refuse_tracking(&mut self, refuse: bool) {
        self.faults.no_tracking = refuse;
    }

    /// For tests: refuses `CLIENT CACHING` from now on; reads are still answered.
    pub fn refuse_caching(&mut self, refuse: bool) {
        self.faults.no_caching = refuse;
    }

    /// The session of a connection that is executing a command.
    pub(super) fn session(&mut self, conn: ConnId) -> &mut Session {
        self.sessions
            .get_mut(&conn)
            .expect("a connection outlives its command")
    }

    fn process(&mut self, conn: ConnId, argv: &[Bytes]) -> Reply {
        match self.admit(conn, argv) {
            Ok(command) if self.is_queued(conn, command) => {
                if let Some(queue) = &mut self.session(conn).queue {
                    queue.weight += argv.iter().map(Bytes::len).sum::<usize>();
                    queue.commands.push((command, argv.to_vec()));
                }
                Reply::Simple("QUEUED".to_owned())
            }
            Ok(command) => self.call(conn, command, argv),
            Err(refusal) => {
                let ends = argv
                    .first()
                    .is_some_and(|name| name.eq_ignore_ascii_case(b"EXEC"));
                match &mut self.session(conn).queue {
                    _ if ends => return super::transaction::forbidden(self, conn, refusal),
                    Some(queue) => queue.broken = true,
                    None => {}
                }
                refusal
            }
        }
    }

    fn is_queued(&mut self, conn: ConnId, command: &Command) -> bool {
        self.session(conn).queue.is_some() && !command.is_immediate()
    }

    fn admit(&mut self, conn: ConnId, argv: &[Bytes]) -> Result<&'static Command, Reply> {
        let command = find(argv)?;
        self.permit(conn, command, argv)?;
        self.check(command, argv)?;
        // What waits for EXEC occupies memory as well.
        let waiting = self.session(conn).queue.as_ref().map_or(0, |q| q.weight);
        if waiting > 0 && !command.is_immediate() {
            let bytes = argv.iter().map(Bytes::len).sum::<usize>();
            self.space.check_room(waiting.saturating_add(bytes))?;
        }
        Ok(command)
    }

    /// What permissions have against a command.
    pub(super) fn permit(
        &mut self,
        conn: ConnId,
        command: &Command,
        argv: &[Bytes],
    ) -> Result<(), Reply> {
        if self.session(conn).trusted {
            return Ok(());
        }
        let is = |denied: &String| {
            let (name, part) = denied.split_once('|').unwrap_or((denied, ""));
            let given = argv.get(1).map_or(&[][..], |word| word);
            name.eq_ignore_ascii_case(command.name)
                && (part.is_empty() || given.eq_ignore_ascii_case(part.as_bytes()))
        };
        if let Some(denied) = self.faults.denied.iter().find(|denied| is(denied)) {
            return Err(Reply::error(&format!(
                "NOPERM User default has no permissions to run the '{denied}' command"
            )));
        }
        match &self.faults.denied_keys {
            Some(prefix) if command.keys(argv).any(|key| key.starts_with(prefix)) => {
                Err(Reply::error("NOPERM No permissions to access a key"))
            }
            _ => Ok(()),
        }
    }

    /// What the state of the server has against a command.
    pub(super) fn check(&self, command: &Command, argv: &[Bytes]) -> Result<(), Reply> {
        if command.is_write() && self.faults.replica {
            return Err(Reply::error(
                "READONLY You can't write against a read only replica.",
            ));
        }
        if command.grows() {
            self.space.check_room(argv.iter().map(Bytes::len).sum())?;
        }
        Ok(())
    }

    /// Executes a command that was admitted, also from within a transaction or a script.
    pub(super) fn call(&mut self, conn: ConnId, command: &Command, argv: &[Bytes]) -> Reply {
        let outcome = match command.run {
            Run::Data(run) => {
                let db = self.session(conn).db;
                self.space.select(db);
                run(&mut self.space, argv)
            }
            Run::Session(run) => run(self, conn, argv),
        };
        self.apply_changes();
        if self.session(conn).registers() {
            for key in command.read_keys(argv) {
                self.tracking.register(key, conn);
            }
        }
        outcome.unwrap_or_else(|refusal| refusal)
    }

    /// Tells watchers and readers what the last command changed.
    pub(super) fn apply_changes(&mut self) {
        for change in self.space.take_changes() {
            for session in self.sessions.values_mut() {
                let concerns = |(db, key): &(usize, Bytes)| match &change {
                    Change::Key(in_db, of) => db == in_db && key == of,
                    Change::Flush(gone) => gone
                        .iter()
                        .any(|(of, had)| of == db && had.contains_key(key)),
                    Change::Swap(a, b) => {
                        let (a, b) = (*a, *b);
                        (*db == a || *db == b)
                            && (self.space.holds(a, key) || self.space.holds(b, key))
                    }
                };
                session.dirty |= session.watched.iter().any(concerns);
            }
            match change {
                Change::Key(_, key) => self.push_key(key),
                Change::Flush(_) => self.push_all(),
                Change::Swap(..) => {}
            }
        }
    }

    fn push_key(&mut self, key: Bytes) {
        for reader in self.tracking.take(&key) {
            self.push(reader, Push::Keys(vec![key.clone()]));
        }
    }

    fn push_all(&mut self) {
        self.tracking.clear();
        let everybody: Vec<_> = self.sessions.keys().copied().collect();
        for conn in everybody {
            self.push(conn, Push::All);
        }
    }

    fn push(&mut self, conn: ConnId, push: Push) {
        let tracking = self.sessions.get(&conn).map(|session| session.tracking);
        if tracking.is_none_or(|tracking| tracking == Tracking::Off) {
            return;
        }
        if self.executing == Some(conn) {
            self.own_pushes.push(push);
        } else {
            self.emit(conn, Output::Push(push));
        }
    }

    fn limit_table(&mut self) {
        while let Some(key) = self.tracking.surplus() {
            self.push_key(key);
        }
    }

    fn emit(&mut self, conn: ConnId, output: Output) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.emit(output);
            self.ready.insert(conn);
        }
    }
}

impl Default for MemoryServer {
    fn default() -> Self {
        Self::new()
    }
}

/// The command that `argv` calls, if it has as many words as it takes.
pub(super) fn find(argv: &[Bytes]) -> Result<&'static Command, Reply> {
    let name = argv.first().map_or(&[][..], |name| name);
    let Some(command) = Command::find(name) else {
        let mut message = format!(
            "ERR unknown command '{}' (the embedded store knows only those that the documentation of MemoryL2 lists), \
             with args beginning with: ",
            shown(name)
        );
        for word in argv.iter().skip(1) {
            if message.len() > 256 {
                break;
            }
            message.push_str(&format!("'{}' ", shown(word)));
        }
        return Err(Reply::error(&message));
    };
    if !command.takes(argv.len()) {
        return Err(wrong_arity(command.name));
    }
    Ok(command)
}
