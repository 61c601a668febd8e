//! The IO thread: callers without a runtime, reconnects, its end, and that nothing ever hangs.

#[path = "../../nearcache-io/tests/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use nearcache_io::{IoThread, MemoryL2};
use nearcache_proto::{
    BoxFuture, Cache, Connection, Endpoint, Error, ErrorKind, Events, L2, PodConfig, Protocol,
    ReadPolicy, Source, Tracking,
};
use nearcache_redis::RedisL2;
use nearcache_testkit::{Server, eventually};
use support::{answering, pod, pod_with, wait};

fn redis(server: &Server) -> RedisL2 {
    RedisL2::open(&server.url(), Duration::from_secs(10)).unwrap()
}

fn read(cache: &Cache<IoThread>, key: &str) -> Result<(Option<Bytes>, Source), Error> {
    wait(cache.read(0, key.as_bytes(), ReadPolicy::PassThrough)).map(|r| (r.value, r.source))
}

fn set(cache: &Cache<IoThread>, key: &str, value: &str) -> Result<(), Error> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    wait(cache.set(0, key.as_bytes(), value, None))
}

#[test]
fn a_synchronous_caller_needs_no_runtime() {
    let server = Server::start();
    let (cache, _io) = pod(redis(&server));
    wait(cache.ready(Duration::ZERO)).unwrap();
    set(&cache, "k", "one").unwrap();
    assert_eq!(
        read(&cache, "k").unwrap(),
        (Some(Bytes::from("one")), Source::L2)
    );
    assert_eq!(
        read(&cache, "k").unwrap(),
        (Some(Bytes::from("one")), Source::L1)
    );
    server.client().ok(&["SET", "k", "two"]);
    eventually("the foreign write is seen", || {
        read(&cache, "k").unwrap().0 == Some(Bytes::from("two"))
    });
}

#[test]
fn many_threads_share_it() {
    let server = Server::start();
    let (cache, _io) = pod(redis(&server));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..200 {
                    let key = format!("{thread}:{}", round % 20);
                    let value = format!("{thread}.{round}");
                    set(cache, &key, &value).unwrap();
                    assert_eq!(read(cache, &key).unwrap().0, Some(Bytes::from(value)));
                }
            });
        }
    });
}

#[test]
fn c10_it_comes_back_after_the_server_did() {
    let mut server = Server::start();
    let (cache, _io) = pod(redis(&server));
    set(&cache, "k", "v").unwrap();
    assert!(read(&cache, "k").unwrap().0.is_some());
    server.kill();
    eventually("calls fail fast", || set(&cache, "k", "w").is_err());
    assert_eq!(read(&cache, "other").unwrap_err().kind(), ErrorKind::Retry);
    server.restart();
    eventually("calls succeed again", || set(&cache, "k", "x").is_ok());
    assert_eq!(read(&cache, "k").unwrap().0, Some(Bytes::from("x")));
}

#[test]
fn c6_the_end_of_the_connection_is_noticed_at_once() {
    let server = Server::start();
    let config = PodConfig {
        max_staleness: Duration::from_secs(3600),
        ..PodConfig::default()
    };
    let (cache, _io) = pod_with(Arc::new(redis(&server)), config);
    set(&cache, "k", "v").unwrap();
    read(&cache, "k").unwrap();
    let before = cache.pod().totals();
    // With heartbeats an hour apart only the connection itself can tell.
    server
        .client()
        .ok(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("it is up again", || {
        cache.pod().totals().connects_total > before.connects_total
    });
    assert_eq!(
        read(&cache, "k").unwrap(),
        (Some(Bytes::from("v")), Source::L2)
    );
}

/// What a pod was lent by its loaders lasts until its history ends, and that ended when the server went away.
#[test]
fn an_attempt_that_failed_ends_nothing_that_was() {
    for words in [
        &b""[..],
        b"-LOADING Redis is loading the dataset in memory\r\n",
    ] {
        let l2 = RedisL2::open(&answering(words), Duration::from_secs(10)).unwrap();
        let (cache, _io) = pod(l2);
        let before = cache.pod().token(b"k");
        let failures = || cache.pod().totals().connect_failures_total;
        assert!(read(&cache, "k").is_err());
        eventually("the next attempts have failed, too", || failures() >= 3);
        assert_eq!(cache.pod().token(b"k"), before, "{words:?}");
    }
}

#[test]
fn shutdown_ends_what_is_in_flight_and_everything_later() {
    let server = Server::start();
    let (cache, io) = pod(redis(&server));
    wait(cache.ready(Duration::ZERO)).unwrap();
    server.pause();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&cache, "k"));
        eventually("the read is on its way", || {
            cache.pod().totals().fills_total == 1
        });
        io.shutdown();
        assert_eq!(
            reader.join().unwrap().unwrap_err().kind(),
            ErrorKind::Closed
        );
    });
    io.shutdown();
    let error = set(&cache, "k", "v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    server.resume();
    eventually("the connection is closed", || {
        server.foreign_connections() == 0
    });
}

#[test]
fn shutdown_ends_the_wait_for_a_server_that_is_not_there() {
    let l2 = MemoryL2::new();
    l2.refuse_connections(true);
    let (cache, io) = pod(l2);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(cache.ready(Duration::from_secs(3600))));
        eventually("it is tried again", || {
            cache.pod().totals().connect_failures_total > 1
        });
        io.shutdown();
        assert_eq!(
            waiting.join().unwrap().unwrap_err().kind(),
            ErrorKind::Closed
        );
    });
}

#[test]
fn dropping_the_last_handle_ends_the_thread() {
    let server = Server::start();
    let (cache, io) = pod(redis(&server));
    wait(cache.ready(Duration::ZERO)).unwrap();
    assert_eq!(server.foreign_connections(), 1);
    drop(io);
    drop(cache);
    eventually("the connection is closed", || {
        server.foreign_connections() == 0
    });
}

#[test]
fn pods_in_one_process_stay_coherent_through_the_embedded_store() {
    let l2 = MemoryL2::new();
    let (one, _io1) = pod(l2.clone());
    let (two, _io2) = pod(l2);
    for round in 0..200 {
        let value = round.to_string();
        set(&one, "k", &value).unwrap();
        // In this store a push is applied before the writer's own reply is handed over.
        assert_eq!(read(&two, "k").unwrap().0, Some(Bytes::from(value)));
    }
    assert!(one.pod().is_tracked() && two.pod().is_tracked());
}

/// Delegates to the embedded store after doing something else first.
struct Odd {
    inner: MemoryL2,
    before: Box<dyn Fn() + Send + Sync>,
}

impl L2 for Odd {
    fn tracking(&self) -> Tracking {
        Tracking::Pushes
    }
    fn describe(&self) -> String {
        "odd".to_owned()
    }
    fn connect(
        &self,
        endpoint: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        (self.before)();
        self.inner.connect(endpoint, events)
    }
    fn connect_side(
        &self,
        endpoint: &Endpoint,
        protocol: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        (self.before)();
        self.inner.connect_side(endpoint, protocol)
    }
}

#[test]
fn c10_a_panic_on_the_thread_fails_what_waits_and_the_next_call_works() {
    let first = AtomicBool::new(true);
    let odd = Odd {
        inner: MemoryL2::new(),
        before: Box::new(move || {
            assert!(!first.swap(false, Ordering::SeqCst), "as the test wants it");
        }),
    };
    let (cache, _io) = pod(odd);
    assert!(read(&cache, "k").is_err());
    eventually("the next call works", || set(&cache, "k", "v").is_ok());
    assert_eq!(read(&cache, "k").unwrap().0, Some(Bytes::from("v")));
}

#[test]
fn c10_the_queue_is_bounded() {
    let (release, held): (Sender<()>, Receiver<()>) = channel();
    let held = Mutex::new(held);
    let connects = Arc::new(AtomicUsize::new(0));
    let counter = connects.clone();
    let odd = Odd {
        inner: MemoryL2::new(),
        before: Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = held.lock().unwrap().recv();
        }),
    };
    let config = PodConfig {
        queue_requests: 8,
        ..PodConfig::default()
    };
    let (cache, _io) = pod_with(Arc::new(odd), config);
    let first = cache.ready(Duration::ZERO);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| wait(first));
        eventually("the thread stands still", || {
            connects.load(Ordering::SeqCst) == 1
        });
        let waiting: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| wait(cache.ready(Duration::ZERO))))
            .collect();
        // The first one waits in the queue too: the thread stands still before it takes anything.
        eventually("the rest waits for room", || {
            cache.pod().totals().queue_waits_total == 13
        });
        drop(release);
        assert!(first.join().unwrap().is_ok());
        for caller in waiting {
            assert!(caller.join().unwrap().is_ok());
        }
        assert_eq!(cache.pod().totals().rejected_total, 0);
    });
}
