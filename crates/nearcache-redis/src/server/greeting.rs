//! What a server says unasked before it closes: why it refuses a connection.
//!
//! A client that has already sent something loses these words with the reset that follows: here nothing is sent.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::UnixStream;

use super::dial::connect;
use super::target::{Address, Tcp};

/// Longest time for it: a server that refuses does so at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// Of so many attempts that were closed in a row one is followed by the question: a server that has too many
/// connections must not get twice as many.
const ONE_IN: usize = 16;

/// Why a server has refused its last connections, as far as it was asked.
#[derive(Default)]
pub(super) struct Refusals {
    attempts: AtomicUsize,
    /// [`UNKNOWN`], [`MAX_CLIENTS`] or [`PROTECTED`].
    last: AtomicU8,
}

const UNKNOWN: u8 = 0;
const MAX_CLIENTS: u8 = 1;
const PROTECTED: u8 = 2;

impl Refusals {
    /// A connection was made: the next refusal is another story.
    pub(super) fn forget(&self) {
        self.attempts.store(0, Relaxed);
        self.last.store(UNKNOWN, Relaxed);
    }

    /// Why one was closed before an answer came.
    pub(super) async fn reason(&self, address: &Address, timeout: Duration) -> Option<Refusal> {
        if self.attempts.fetch_add(1, Relaxed).is_multiple_of(ONE_IN) {
            let last = match refusal(address, timeout).await {
                None => UNKNOWN,
                Some(Refusal::MaxClients) => MAX_CLIENTS,
                Some(Refusal::Protected) => PROTECTED,
            };
            self.last.store(last, Relaxed);
        }
        match self.last.load(Relaxed) {
            MAX_CLIENTS => Some(Refusal::MaxClients),
            PROTECTED => Some(Refusal::Protected),
            _ => None,
        }
    }
}

/// Connects once more and listens. `None`: nothing is known, as with TLS, where it is closed without a word.
async fn refusal(address: &Address, timeout: Duration) -> Option<Refusal> {
    let said = tokio::time::timeout(timeout.min(PATIENCE), hear(address));
    let said = said.await.ok()?.ok()?;
    let said = String::from_utf8_lossy(&said).into_owned();
    [
        ("-ERR max number of clients", Refusal::MaxClients),
        ("-DENIED", Refusal::Protected),
    ]
    .into_iter()
    .find_map(|(words, refusal)| said.starts_with(words).then_some(refusal))
}

/// Why a server wants no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has as many as it may have.
    MaxClients,
    /// It talks to its own machine only.
    Protected,
}

async fn hear(address: &Address) -> io::Result<Vec<u8>> {
    let mut said = vec![0; 128];
    let count = match address {
        Address::Tcp {
            host,
            port,
            tls: false,
        } => {
            let socket = connect(host, *port, &Tcp::default()).await?;
            socket.readable().await?;
            socket.try_read(&mut said)?
        }
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await?;
            socket.readable().await?;
            socket.try_read(&mut said)?
        }
        Address::Tcp { tls: true, .. } => 0,
    };
    said.truncate(count);
    Ok(said)
}
