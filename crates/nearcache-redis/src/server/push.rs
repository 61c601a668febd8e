//! What the server pushes, applied while redis-rs reads it: before any later reply is handed over.
//!
//! Never queues a push, and never panics: a shape it does not know counts as "everything changed".

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nearcache_proto::Events;
use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

/// The end of a connection, reported once whoever notices it first.
pub(super) struct Reports {
    events: Events,
    ended: AtomicBool,
}

impl Reports {
    pub(super) fn new(events: Events) -> Self {
        Self {
            events,
            ended: AtomicBool::new(false),
        }
    }

    pub(super) fn end(&self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            self.events.disconnected();
        }
    }
}

/// Receives pushes inside redis-rs's reader.
pub(super) struct PushSink {
    reports: Arc<Reports>,
    canary: Arc<Canary>,
}

impl PushSink {
    pub(super) fn new(reports: Arc<Reports>, canary: Arc<Canary>) -> Self {
        Self { reports, canary }
    }

    fn invalidated(&self, data: &[Value]) {
        let events = &self.reports.events;
        let [Value::Array(keys)] = data else {
            // Null means everything; anything else is not known to mean less.
            return events.invalidate_all();
        };
        for key in keys {
            match key {
                Value::BulkString(key) => {
                    events.invalidate(key);
                    self.canary.pushed(key);
                }
                _ => events.invalidate_all(),
            }
        }
    }
}

impl AsyncPushSender for PushSink {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        match info.kind {
            PushKind::Invalidate => self.invalidated(&info.data),
            PushKind::Disconnection => self.reports.end(),
            // Invalidations would from now on go elsewhere, or nowhere.
            PushKind::Other(kind) if kind == "tracking-redir-broken" => self.reports.end(),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for PushSink {
    /// redis-rs lets go of its sink when its driver ends, for whatever reason: the connection was
    /// closed, a write failed, the task was aborted or panicked.
    fn drop(&mut self) {
        self.reports.end();
    }
}

/// Told of nothing but the end of a side connection, which redis-rs lets go of it at.
pub(super) struct SideSink {
    _open: watch::Sender<()>,
}

impl SideSink {
    pub(super) fn new() -> (Self, watch::Receiver<()>) {
        let (open, ended) = watch::channel(());
        (Self { _open: open }, ended)
    }
}

impl AsyncPushSender for SideSink {
    fn send(&self, _: PushInfo) -> Result<(), SendError> {
        Ok(())
    }
}

/// Tells whether the push of the self-test key was read before the reply that must come after it.
///
// Concurrency: the reader calls `pushed` and, through the waker of the batch, `answered`, both on its
// own thread and in wire order; the lane's thread calls `arm` before the batch is sent and `in_order`
// after it was answered. The lock is held for a comparison only.
#[derive(Default)]
pub(super) struct Canary {
    armed: AtomicBool,
    key: Mutex<Bytes>,
    pushed: AtomicBool,
    in_order: AtomicBool,
}

impl Canary {
    pub(super) fn arm(&self, key: Bytes) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
        self.pushed.store(false, Ordering::Release);
        self.in_order.store(false, Ordering::Release);
        self.armed.store(true, Ordering::Release);
    }

    fn pushed(&self, key: &[u8]) {
        if self.armed.load(Ordering::Acquire)
            && *self.key.lock().unwrap_or_else(PoisonError::into_inner) == key
        {
            self.pushed.store(true, Ordering::Release);
        }
    }

    /// The reader has just completed the batch.
    pub(super) fn answered(&self) {
        let pushed = self.pushed.load(Ordering::Acquire);
        self.in_order.store(pushed, Ordering::Release);
    }

    /// Whether the push had been read when the batch was completed.
    pub(super) fn in_order(&self) -> bool {
        self.armed.store(false, Ordering::Release);
        self.in_order.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearcache_proto::{ConnectionId, Invalidations, PrimaryId};

    const ID: ConnectionId = ConnectionId {
        primary: PrimaryId::FIRST,
        number: 7,
    };

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Invalidations for Log {
        fn invalidate(&self, connection: ConnectionId, key: &[u8]) {
            let key = String::from_utf8_lossy(key);
            self.0
                .lock()
                .unwrap()
                .push(format!("{} {key}", connection.number));
        }
        fn invalidate_all(&self, connection: ConnectionId) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{} all", connection.number));
        }
        fn disconnected(&self, connection: ConnectionId) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{} end", connection.number));
        }
    }

    fn sink() -> (PushSink, Arc<Log>, Arc<Canary>) {
        let log = Arc::new(Log::default());
        let reports = Arc::new(Reports::new(Events::new(ID, log.clone())));
        let canary = Arc::new(Canary::default());
        (PushSink::new(reports, canary.clone()), log, canary)
    }

    fn push(sink: &PushSink, kind: PushKind, data: Vec<Value>) {
        assert!(sink.send(PushInfo { kind, data }).is_ok());
    }

    #[test]
    fn c12_unknown_shapes_count_as_everything() {
        let (sink, log, _) = sink();
        let key = |k: &str| Value::BulkString(k.as_bytes().to_vec());
        push(
            &sink,
            PushKind::Invalidate,
            vec![Value::Array(vec![key("a"), key("")])],
        );
        push(&sink, PushKind::Invalidate, vec![Value::Nil]);
        push(&sink, PushKind::Invalidate, vec![]);
        push(
            &sink,
            PushKind::Invalidate,
            vec![Value::Int(1), Value::Int(2)],
        );
        push(
            &sink,
            PushKind::Invalidate,
            vec![Value::Array(vec![Value::Nil, key("b")])],
        );
        push(&sink, PushKind::Message, vec![key("c")]);
        let expected = ["7 a", "7 ", "7 all", "7 all", "7 all", "7 all", "7 b"];
        assert_eq!(*log.0.lock().unwrap(), expected);
    }

    #[test]
    fn c6_the_end_is_reported_once() {
        let (sink, log, _) = sink();
        push(&sink, PushKind::Disconnection, vec![]);
        push(&sink, PushKind::Disconnection, vec![]);
        drop(sink);
        assert_eq!(*log.0.lock().unwrap(), ["7 end"]);
    }

    #[test]
    fn c6_a_reader_that_just_goes_away_is_the_end_too() {
        let (sink, log, _) = sink();
        drop(sink);
        assert_eq!(*log.0.lock().unwrap(), ["7 end"]);
    }

    #[test]
    fn trap_a_push_after_the_echo_does_not_count() {
        let (sink, _, canary) = sink();
        let key = vec![Value::Array(vec![Value::BulkString(b"canary".to_vec())])];
        canary.arm(Bytes::from_static(b"canary"));
        canary.answered();
        push(&sink, PushKind::Invalidate, key.clone());
        assert!(!canary.in_order());
        canary.arm(Bytes::from_static(b"canary"));
        push(&sink, PushKind::Invalidate, key);
        canary.answered();
        assert!(canary.in_order());
    }
}
