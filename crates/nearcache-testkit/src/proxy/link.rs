//! One connection through the proxy: two sockets and a thread for each direction.
//! Must never hold a lock of the proxy while it reads, writes or connects.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{Mode, Pieces, Shared, Way, lock};

const BURST_BYTES: usize = 256 * 1024;

/// A client's connection and the one to the server that belongs to it.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: OnceLock<TcpStream>,
    closed: AtomicBool,
}

impl Link {
    pub(super) fn new(client: TcpStream) -> Self {
        Self {
            client,
            server: OnceLock::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Closes both sides; both pumps end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for socket in [Some(&self.client), self.server.get()]
            .into_iter()
            .flatten()
        {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Connects to the server and pumps both ways until both ends are done. Tells whether the connection is closed:
    /// one that went half-open stays, sockets and all, until it is closed from outside.
    pub(super) fn run(&self, shared: &Shared) -> bool {
        let target = lock(&shared.control).target;
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
            self.close();
            return true;
        };
        let _ = server.set_nodelay(true);
        let _ = self.client.set_nodelay(true);
        let server = self.server.get_or_init(|| server);
        // A close that came during the connect has not seen this socket.
        if self.closed() {
            self.close();
            return true;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.pump(shared, Way::Down, server, &self.client));
            self.pump(shared, Way::Up, &self.client, server);
        });
        self.closed()
    }

    fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn pump(&self, shared: &Shared, way: Way, mut from: &TcpStream, to: &TcpStream) {
        let mut burst = vec![0; BURST_BYTES];
        let mut lost = false;
        loop {
            let len = from.read(&mut burst).unwrap_or(0);
            let mut pass = !lost && self.gate(shared, way, None);
            if len == 0 && pass {
                // The end of a stream is lost like any other packet.
                self.end(shared);
            }
            if len == 0 || self.closed() {
                return;
            }
            let mut rest = &burst[..len];
            while pass && !rest.is_empty() {
                let Some(written) = self.write(shared, way, to, rest) else {
                    self.end(shared);
                    return;
                };
                rest = &rest[written.bytes..];
                pass = rest.is_empty() || self.gate(shared, way, Some(written.pause));
            }
            if self.closed() {
                return;
            }
            if !pass {
                lost = true;
                shared.swallowed[way as usize].fetch_add(rest.len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// Writes as much as goes at once.
    fn write(&self, shared: &Shared, way: Way, mut to: &TcpStream, bytes: &[u8]) -> Option<Pieces> {
        let pieces = lock(&shared.control).pieces;
        let most = pieces.map_or(bytes.len(), |pieces| pieces.bytes.min(bytes.len()));
        to.write_all(&bytes[..most]).ok()?;
        shared.forwarded[way as usize].fetch_add(most as u64, Ordering::Relaxed);
        Some(Pieces {
            bytes: most,
            pause: pieces.map_or(Duration::ZERO, |pieces| pieces.pause),
        })
    }

    fn end(&self, shared: &Shared) {
        self.close();
        shared.wake_links();
    }

    /// Waits for the delay of a burst, or the pause within one, and for the end of a stall; tells whether the bytes in
    /// hand go on.
    fn gate(&self, shared: &Shared, way: Way, pause: Option<Duration>) -> bool {
        let arrived = Instant::now();
        let mut control = lock(&shared.control);
        loop {
            // A pause ends with the pieces.
            let wanted = match pause {
                Some(pause) if control.pieces.is_some() => pause,
                Some(_) => Duration::ZERO,
                None => control.delay,
            };
            let left = wanted.saturating_sub(arrived.elapsed());
            let mode = control.modes[way as usize];
            if self.closed() || mode == Mode::Swallow {
                return false;
            }
            if mode == Mode::Pass && left.is_zero() {
                return true;
            }
            control = if mode == Mode::Stall {
                shared
                    .changed
                    .wait(control)
                    .unwrap_or_else(PoisonError::into_inner)
            } else {
                let woken = shared.changed.wait_timeout(control, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}
