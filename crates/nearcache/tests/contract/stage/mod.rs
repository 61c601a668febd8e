//! The stage of a test: an L2 with pods on one side, a writer that shares nothing with them on the other,
//! and a network in between that fails on command. Two casts play on it.

mod embedded;
mod real;
mod wire;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nearcache::blocking::NearCache;
use nearcache::{Builder, Bytes};
use nearcache_testkit::Value;

pub(crate) use real::Real;

/// Above what any test takes on a loaded machine: a test that is still running then hangs.
const HANG: Duration = Duration::from_secs(150);

/// What the network does with what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// It arrives.
    Pass,
    /// It is held back, both ways.
    Stall,
    /// Requests arrive and are executed; replies and pushes are held back.
    StallReplies,
    /// A push arrives with the next reply behind it, and no sooner; on a socket that is up to chance.
    LatePushes,
    /// It arrives byte by byte with this pause between two of them, both ways. The embedded store knows no bytes: there it arrives.
    Drip(Duration),
    /// It is lost, both ways, and nobody is told.
    HalfOpen,
}

/// Something that L2 refuses from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    /// `CLIENT CACHING`, by permission; reads are still answered.
    Caching,
    /// `CLIENT TRACKING`, by permission.
    Tracking,
    /// `ECHO`, by permission.
    Echo,
    /// `PTTL`, by permission.
    Lives,
    /// Keys of nearcache's own, by permission.
    OwnKeys,
    /// The write of the self-test.
    Canary,
    /// Writes that need memory.
    Memory,
}

/// One L2 and all that can happen to it.
pub(crate) trait Cast: Send + Sync {
    /// Points a pod at it.
    fn attach(&self, builder: Builder) -> Builder;
    /// One command of the independent writer, past every fault of the network.
    fn cmd(&self, db: u32, argv: &[&[u8]]) -> Value;
    /// How often L2 executed this command, for whomever.
    fn calls(&self, name: &str) -> u64;
    /// Connections of pods that are open.
    fn connections(&self) -> usize;
    /// Switches the network.
    fn net(&self, net: Net);
    /// Closes all connections of pods.
    fn cut(&self);
    /// Refuses connections from now on, or not any more.
    fn refuse_connections(&self, refuse: bool);
    /// Stops the server, or lets it go on; connections stay.
    fn freeze(&self, frozen: bool);
    /// Makes it the primary or a replica of nobody.
    fn set_primary(&self, primary: bool);
    /// Refuses something from now on.
    fn refuse(&self, what: Refuse);
    /// Bounds the table of keys that readers are told about.
    fn table_limit(&self, keys: usize);
    /// Ends it and starts it empty.
    fn restart(&self);
}

/// A cast, and the words in which tests speak.
pub(crate) struct Stage(Box<dyn Cast>);

impl Stage {
    /// On the embedded store.
    pub(crate) fn embedded() -> Self {
        Self(Box::new(embedded::Embedded::new()))
    }

    /// On a server process of its own.
    pub(crate) fn server() -> Self {
        Self(Box::new(Real::new()))
    }

    /// Runs a test, and fails it when it hangs.
    #[track_caller]
    pub(crate) fn run(
        make: impl FnOnce() -> Self + Send + 'static,
        body: impl FnOnce(&Self) + Send + 'static,
    ) {
        Self::watch(move || body(&make()));
    }

    /// The same for a test that makes its own server.
    #[track_caller]
    pub(crate) fn watch(body: impl FnOnce() + Send + 'static) {
        let (alive, ended) = channel::<()>();
        let test = std::thread::spawn(move || {
            let _alive = alive;
            body();
        });
        if ended.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            panic!("the test hangs");
        }
        if let Err(panic) = test.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// A connected pod whose lease and timeouts outlast the test: what it forgets, it was told to.
    #[track_caller]
    pub(crate) fn pod(&self) -> NearCache {
        connect(self.builder())
    }

    /// What [`pod`](Self::pod) starts from.
    pub(crate) fn builder(&self) -> Builder {
        // What is exchanged in the background would be in the way of tests that hold requests up and count them.
        let builder = nearcache::NearCache::builder()
            .statistics(false)
            .capacity("16MiB")
            .max_staleness("60s")
            .operation_timeout("30s")
            .dead_after("60s")
            .connect_timeout("5s")
            .backoff_min("5ms")
            .backoff_max("50ms");
        self.0.attach(builder)
    }

    /// What a pod starts from whose lease runs out and whose calls give up soon. A silent lane is kept.
    pub(crate) fn hasty(&self) -> Builder {
        self.builder()
            .max_staleness("300ms")
            .operation_timeout("400ms")
            .connect_timeout("400ms")
    }

    /// A command of the independent writer in db 0.
    #[track_caller]
    pub(crate) fn cmd<A: AsRef<[u8]>>(&self, argv: &[A]) -> Value {
        self.cmd_in(0, argv)
    }

    /// A command of the independent writer; an error reply fails the test.
    #[track_caller]
    pub(crate) fn cmd_in<A: AsRef<[u8]>>(&self, db: u32, argv: &[A]) -> Value {
        let argv: Vec<&[u8]> = argv.iter().map(AsRef::as_ref).collect();
        let reply = self.0.cmd(db, &argv);
        assert!(!reply.is_error(), "L2 refused the writer: {reply:?}");
        reply
    }

    /// The independent writer writes.
    #[track_caller]
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.cmd(&["SET", key, value]);
    }

    /// What L2 holds.
    #[track_caller]
    pub(crate) fn stored(&self, key: &str) -> Option<Bytes> {
        match self.cmd(&["GET", key]) {
            Value::Nil => None,
            Value::Bulk(bytes) => Some(bytes.into()),
            other => panic!("GET answered {other:?}"),
        }
    }

    /// The cast.
    pub(crate) fn l2(&self) -> &dyn Cast {
        &*self.0
    }

    /// See [`Cast::calls`].
    pub(crate) fn calls(&self, name: &str) -> u64 {
        self.0.calls(name)
    }

    /// See [`Cast::net`].
    pub(crate) fn net(&self, net: Net) {
        self.0.net(net);
    }

    /// Ends all connections and lets no new one in; returns when `pod` has noticed.
    #[track_caller]
    pub(crate) fn part(&self, pod: &NearCache) {
        let before = pod.stats().totals.disconnects_total;
        self.0.refuse_connections(true);
        self.0.cut();
        nearcache_testkit::eventually("the pod notices that its lane is gone", || {
            pod.stats().totals.disconnects_total > before
        });
    }
}

/// A pod that is up.
#[track_caller]
pub(crate) fn connect(builder: Builder) -> NearCache {
    match builder.connect_blocking() {
        Ok(pod) => pod,
        Err(error) => panic!("the pod cannot connect: {error}"),
    }
}

/// Makes two tests of each body: on the embedded store and on a real server.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[test]
            fn $name() {
                $crate::Stage::run($crate::Stage::embedded, super::$name);
            })+
        }
        $crate::on_server!($($name),+);
    };
}

/// Makes a test of each body on a real server: for what the embedded store does not have.
macro_rules! on_server {
    ($($name:ident),+ $(,)?) => {
        mod server {
            $(#[test]
            fn $name() {
                $crate::Stage::run($crate::Stage::server, super::$name);
            })+
        }
    };
}

pub(crate) use {on_both, on_server};
