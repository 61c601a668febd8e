//! What a server says unasked before it closes: why it refuses a connection.
//!
//! A client that has already sent something loses these words with the reset that follows: here nothing is sent.

use std::io;
use std::time::Duration;

use redis::ConnectionAddr;
use tokio::net::{TcpStream, UnixStream};

/// Longest time for it: a server that refuses does so at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// Connects once more and listens. `None`: nothing is known, as with TLS, where it is closed without a word.
pub(super) async fn refusal(addr: &ConnectionAddr, timeout: Duration) -> Option<Refusal> {
    let said = tokio::time::timeout(timeout.min(PATIENCE), hear(addr));
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

async fn hear(addr: &ConnectionAddr) -> io::Result<Vec<u8>> {
    let mut said = vec![0; 128];
    let count = match addr {
        ConnectionAddr::Tcp(host, port) => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.readable().await?;
            socket.try_read(&mut said)?
        }
        ConnectionAddr::Unix(path) => {
            let socket = UnixStream::connect(path).await?;
            socket.readable().await?;
            socket.try_read(&mut said)?
        }
        _ => 0,
    };
    said.truncate(count);
    Ok(said)
}
