//! Sizes of values that are read and whose writing was not seen: a thread with an ordinary connection asks `STRLEN`, a
//! bounded number of times a second, and never holds up the recording.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use redis::Client;

use crate::outcome::Failure;

/// Keys whose size is remembered; at 16 bytes or so each.
const KNOWN: usize = 1_000_000;
/// Questions that may wait.
const WAITING: usize = 64;

struct Question {
    db: u32,
    key: Vec<u8>,
    number: u64,
}

/// What is known of sizes.
pub(super) struct Sizes {
    ask: SyncSender<Question>,
    answers: Receiver<(u64, Option<u64>)>,
    /// By number of the key: bytes, or `None` for asked.
    known: HashMap<u64, Option<u64>>,
    per_second: u32,
    second: Instant,
    asked_now: u32,
    /// Nobody answers any more.
    pub(super) ended: bool,
    /// Sizes that were asked for.
    pub(super) asked: u64,
    /// What the asking connection is recognised by in `MONITOR`.
    pub(super) word: String,
}

impl Sizes {
    /// Connects.
    pub(super) fn open(client: &Client, per_second: u32, word: String) -> Result<Self, Failure> {
        let mut connection = client
            .get_connection_with_timeout(Duration::from_secs(5))
            .map_err(|error| format!("cannot reach the server: {error}"))?;
        let patience = Some(Duration::from_secs(2));
        let set = connection.set_read_timeout(patience);
        set.map_err(|error| error.to_string())?;
        let mut db = u32::try_from(client.get_connection_info().redis_settings().db()).ok();
        let (ask, questions) = sync_channel::<Question>(WAITING);
        let (answer, answers) = sync_channel(WAITING);
        let said = word.clone();
        // Ends with the channel, or with the connection: then sizes stay unknown.
        thread::spawn(move || {
            for question in questions {
                // Before anything else on this connection, every time: MONITOR may have begun anew.
                let mut commands = redis::pipe();
                commands.cmd("ECHO").arg(&said).ignore();
                if db != Some(question.db) {
                    commands.cmd("SELECT").arg(question.db).ignore();
                    db = Some(question.db);
                }
                if commands.exec(&mut connection).is_err() {
                    return;
                }
                let mut strlen = redis::cmd("STRLEN");
                strlen.arg(&question.key);
                let size = match strlen.query::<u64>(&mut connection) {
                    Ok(bytes) => Some(bytes),
                    Err(error) if error.is_io_error() => return,
                    // No string.
                    Err(_) => None,
                };
                if answer.send((question.number, size)).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            ask,
            answers,
            known: HashMap::new(),
            per_second,
            second: Instant::now(),
            asked_now: 0,
            ended: false,
            asked: 0,
            word,
        })
    }

    /// The size of a value that is read, if it is known; else it may be asked for.
    pub(super) fn of(&mut self, db: u32, key: &[u8], number: u64) -> Option<u64> {
        while let Ok((number, size)) = self.answers.try_recv() {
            // Not if it was written meanwhile: that is the newer word.
            if let Some(known) = self.known.get_mut(&number) {
                *known = known.or(size);
            }
        }
        if let Some(known) = self.known.get(&number) {
            return *known;
        }
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.asked_now = 0;
        }
        if self.asked_now < self.per_second && self.known.len() < KNOWN {
            let key = key.to_vec();
            match self.ask.try_send(Question { db, key, number }) {
                Ok(()) => {
                    self.known.insert(number, None);
                    self.asked_now += 1;
                    self.asked += 1;
                }
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Disconnected(_)) => self.ended = true,
            }
        }
        None
    }

    /// A value of this size was written; `None`: of an unknown one.
    pub(super) fn written(&mut self, number: u64, bytes: Option<u64>) {
        match bytes {
            Some(bytes) if self.known.len() < KNOWN || self.known.contains_key(&number) => {
                self.known.insert(number, Some(bytes));
            }
            _ => {
                self.known.remove(&number);
            }
        }
    }
}
