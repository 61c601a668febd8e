//! A proxy before L2 that makes the way longer, half of it in each direction, or holds what comes from the server for a
//! while without closing anything.
//! Knows nothing of what passes through.

use std::io;
use std::net::Ipv4Addr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nearcache_cli::outcome::Failure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::timer::Timer;
use crate::machine::now_ns;

/// Pieces of one direction of a connection that may be on their way; then its sender has to wait.
const PIECES_MAX: usize = 64;
const PIECE_BYTES: usize = 64 << 10;

/// A proxy in a thread of its own; dropping it closes all that goes through it.
pub(crate) struct Proxy {
    port: u16,
    stalled: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `host:port`; an answer comes `delay` later than without it.
    pub(crate) fn start(target: &str, delay: Duration) -> Result<Self, Failure> {
        let failed = |error: io::Error| format!("cannot start the proxy: {error}");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (stalled, stall) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        let (target, half_ns) = (target.to_owned(), delay.as_nanos() as u64 / 2);
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::spawn(accept(listener, target, half_ns, stall));
                let _ = stopped.await;
            });
        });
        Ok(Self {
            port,
            stalled,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The address of the server as seen through the proxy.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Stops what comes from the server, or lets it go on: what is sent meanwhile is kept and comes late.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The end of the sender is the signal.
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    target: String,
    half_ns: u64,
    stall: watch::Receiver<bool>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Too many files, say: that may pass.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(server) = TcpStream::connect(&target).await else {
            continue;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        forward(from_client, to_server, half_ns, None);
        forward(from_server, to_client, half_ns, Some(stall.clone()));
    }
}

/// One direction: a task that takes pieces in, and one that passes each on when its time has come.
fn forward(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    half_ns: u64,
    stall: Option<watch::Receiver<bool>>,
) {
    let (send, receive) = mpsc::channel(PIECES_MAX);
    tokio::spawn(take_in(from, half_ns, send));
    tokio::spawn(pass_on(receive, to, stall));
}

async fn take_in(mut from: OwnedReadHalf, half_ns: u64, send: mpsc::Sender<(u64, Bytes)>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE_BYTES);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let piece = (now_ns() + half_ns, buffer.split().freeze());
        if send.send(piece).await.is_err() {
            return;
        }
    }
}

/// Dropping `to` at the end passes the end on as well.
async fn pass_on(
    mut receive: mpsc::Receiver<(u64, Bytes)>,
    mut to: OwnedWriteHalf,
    mut stall: Option<watch::Receiver<bool>>,
) {
    let Ok(timer) = Timer::new() else {
        return;
    };
    while let Some((due_ns, mut piece)) = receive.recv().await {
        if timer.until(due_ns).await.is_err() {
            return;
        }
        if let Some(stall) = &mut stall
            && *stall.borrow_and_update()
        {
            if stall.wait_for(|stalled| !stalled).await.is_err() {
                return;
            }
            // What was held goes on in one lump.
            let mut lump = BytesMut::from(piece);
            while let Ok((_, more)) = receive.try_recv() {
                lump.extend_from_slice(&more);
            }
            piece = lump.freeze();
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_not_too_soon() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let echo = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut text = [0; 5];
            socket.read_exact(&mut text).unwrap();
            socket.write_all(&text).unwrap();
        });
        let proxy = Proxy::start(&target, Duration::from_millis(4)).unwrap();
        let address = proxy.url().replace("redis://", "");
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        let (start, mut text) = (now_ns(), [0; 5]);
        socket.write_all(b"hello").unwrap();
        socket.read_exact(&mut text).unwrap();
        assert!(now_ns() - start >= 4_000_000);
        assert_eq!(&text, b"hello");
        echo.join().unwrap();
        // The other end has hung up, and so does the proxy.
        assert_eq!(socket.read(&mut text).unwrap(), 0);
    }
}
