//! A loopback TCP proxy that breaks connections on command: half-open, stalled, slow, in pieces, reset, refused.
//! Moves bytes, never reads them; every fault is switched by the test, none happens by chance or by time.

mod accept;
mod link;

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Server, port, wait_until};
use link::Link;

/// A TCP proxy on a free loopback port in front of one server.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    url: String,
    acceptor: Option<JoinHandle<()>>,
}

/// State of one proxy, seen by its acceptor and its links.
// Concurrency: `control` and `links` are never held together, and neither while a socket is read, written or connected.
// Whoever changes `control` notifies `changed`; links and the acceptor wait on it.
#[derive(Debug)]
struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
    links: Mutex<HashMap<u64, Arc<Link>>>,
    connections_total: AtomicU64,
    rejected_total: AtomicU64,
    forwarded: [AtomicU64; 2],
    swallowed: [AtomicU64; 2],
}

#[derive(Debug)]
struct Control {
    modes: [Mode; 2],
    delay: Duration,
    pieces: Option<Pieces>,
    target: u16,
    refuse: bool,
    listening: bool,
    over: bool,
}

/// What happens to bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Stall,
    Swallow,
}

/// What is written at once, and how long nothing is after it.
#[derive(Debug, Clone, Copy)]
struct Pieces {
    bytes: usize,
    pause: Duration,
}

/// A direction, also the index of its mode and counters.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// From the client to the server.
    Up = 0,
    /// From the server to the client.
    Down = 1,
}

impl Proxy {
    /// Starts a proxy in front of `server`.
    #[track_caller]
    pub fn to(server: &Server) -> Self {
        let mut proxy = Self::to_port(server.port());
        proxy.url = server.url_at(proxy.port);
        proxy
    }

    /// Starts a proxy in front of whatever listens on this loopback port.
    #[track_caller]
    pub fn to_port(target: u16) -> Self {
        let mut bound = None;
        let done = wait_until(|| {
            let port = port::candidate();
            bound = listen(port).map(|listener| (port, listener));
            bound.is_some()
        });
        let Some((port, listener)) = bound.filter(|_| done) else {
            panic!("the proxy found no port to listen on");
        };
        let shared = Arc::new(Shared::new(target));
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept::run(&shared, listener, port))
        };
        Self {
            shared,
            port,
            url: format!("redis://127.0.0.1:{port}"),
            acceptor: Some(acceptor),
        }
    }

    /// The port clients connect to. It stays the same for the proxy's life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `redis://` address of the server through this proxy, password included.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// From now on every connection, old or new, swallows what is sent, both ways, and stays open: a cable was pulled.
    pub fn half_open(&self) {
        self.set(|control| control.modes = [Mode::Swallow; 2]);
    }

    /// Holds all bytes back, both ways and in order, until [`resume`](Self::resume): a network that stands still.
    pub fn stall(&self) {
        self.set(|control| control.modes = [Mode::Stall; 2]);
    }

    /// Holds back only what the server sends: requests are executed, replies and pushes do not arrive.
    pub fn stall_replies(&self) {
        self.set(|control| control.modes = [Mode::Pass, Mode::Stall]);
    }

    /// Lets bytes through again. A direction of a connection that has lost bytes stays silent for good: the rest of its
    /// stream would be garbage.
    pub fn resume(&self) {
        self.set(|control| control.modes = [Mode::Pass; 2]);
    }

    /// Adds `delay` to every burst of bytes (up to 256 KiB) in each direction; zero switches it off.
    pub fn delay(&self, delay: Duration) {
        self.set(|control| control.delay = delay);
    }

    /// Writes at most `bytes` of what came in one burst at once, in each direction, and nothing for `pause` between two pieces: one byte and no pause
    /// splits everything everywhere, one byte and a long pause is a peer that keeps others waiting, many bytes and a
    /// pause are a thin line. Zero bytes switch it off.
    pub fn pieces(&self, bytes: usize, pause: Duration) {
        self.set(|control| control.pieces = (bytes > 0).then_some(Pieces { bytes, pause }));
    }

    /// Closes every open connection on both sides; new ones are accepted as before.
    pub fn reset_all(&self) {
        let links: Vec<Arc<Link>> = lock(&self.shared.links)
            .drain()
            .map(|(_, link)| link)
            .collect();
        links.iter().for_each(|link| link.close());
        self.shared.wake_links();
    }

    /// Stops listening, so that new connections are refused, or starts listening again. Open connections are not touched.
    /// Returns when the change is in effect.
    #[track_caller]
    pub fn refuse(&self, refuse: bool) {
        let before = {
            let mut control = lock(&self.shared.control);
            std::mem::replace(&mut control.refuse, refuse)
        };
        if before == refuse {
            return;
        }
        self.shared.changed.notify_all();
        if refuse {
            self.wake_acceptor();
        }
        let done = wait_until(|| lock(&self.shared.control).listening != refuse);
        assert!(
            done,
            "the proxy could not change its listener on port {}",
            self.port
        );
    }

    /// Sends new connections to another loopback port: a failover. Open connections stay where they are.
    pub fn set_target(&self, port: u16) {
        self.set(|control| control.target = port);
    }

    /// Connections accepted so far.
    pub fn connections_total(&self) -> u64 {
        self.shared.connections_total.load(Ordering::Relaxed)
    }

    /// Connections closed at once because 256 were open.
    pub fn rejected_total(&self) -> u64 {
        self.shared.rejected_total.load(Ordering::Relaxed)
    }

    /// Connections open now, half-open ones included.
    pub fn connections(&self) -> usize {
        lock(&self.shared.links).len()
    }

    /// Bytes forwarded to the server so far.
    pub fn bytes_up_total(&self) -> u64 {
        self.shared.forwarded[Way::Up as usize].load(Ordering::Relaxed)
    }

    /// Bytes forwarded to clients so far.
    pub fn bytes_down_total(&self) -> u64 {
        self.shared.forwarded[Way::Down as usize].load(Ordering::Relaxed)
    }

    /// Bytes swallowed so far, both ways.
    pub fn swallowed_total(&self) -> u64 {
        self.shared
            .swallowed
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    fn set(&self, change: impl FnOnce(&mut Control)) {
        change(&mut lock(&self.shared.control));
        self.shared.changed.notify_all();
    }

    /// Makes a blocked `accept` return; nobody listening is as good.
    fn wake_acceptor(&self) {
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(|control| control.over = true);
        self.wake_acceptor();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.reset_all();
    }
}

impl Shared {
    fn new(target: u16) -> Self {
        Self {
            control: Mutex::new(Control {
                modes: [Mode::Pass; 2],
                delay: Duration::ZERO,
                pieces: None,
                target,
                refuse: false,
                listening: true,
                over: false,
            }),
            changed: Condvar::new(),
            links: Mutex::default(),
            connections_total: AtomicU64::new(0),
            rejected_total: AtomicU64::new(0),
            forwarded: Default::default(),
            swallowed: Default::default(),
        }
    }

    /// Makes every link look again whether it was closed.
    fn wake_links(&self) {
        // Passing through the lock: a link between its look and its wait would miss the notification.
        drop(lock(&self.control));
        self.changed.notify_all();
    }

    /// Waits until the proxy no longer refuses; `false` when it is over.
    fn wait_while_refusing(&self) -> bool {
        let mut control = lock(&self.control);
        control.listening = false;
        let control = self
            .changed
            .wait_while(control, |control| control.refuse && !control.over)
            .unwrap_or_else(PoisonError::into_inner);
        !control.over
    }
}

/// Locks a mutex; a panic of a test elsewhere must not hide its own message behind a poisoned lock here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}
