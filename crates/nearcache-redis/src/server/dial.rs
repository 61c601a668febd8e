//! Opens a connection: looks the name up, tries all its addresses, shakes hands.
//!
//! Bounded by one time for all of it. Never blocks the thread: names are looked up on another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use nearcache_proto::resp::Reply;
use nearcache_proto::{Connection, Error, Events, Op, OpError, OpReply, Protocol};
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use super::connection::{End, RedisConnection};
use super::socket::Socket;
use super::target::{Address, Target, Tcp};
use super::tls::Tls;

/// The next address of a name is tried when the one before it has not answered for so long, or has failed (RFC 8305).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;

/// Why there is no connection.
pub(super) enum Failure {
    Io(io::Error),
    /// The server refused what sets a connection up.
    Refused {
        what: Step,
        error: OpError,
    },
    /// What answers is no such server.
    Nonsense,
    /// TLS cannot be set up here.
    Ours(Error),
    TimedOut,
}

/// What a server is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Hello,
    Select,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a connection that speaks `protocol` and rests in the target's db.
pub(super) async fn dial(
    target: &Target,
    tls: Option<&Tls>,
    protocol: Protocol,
    timeout: Duration,
    (place, events): (Arc<str>, Option<Events>),
) -> Result<RedisConnection, Failure> {
    let open = async {
        let socket = open(target, tls).await?;
        let mut con = RedisConnection::new(socket, place, target.db, events);
        greet(&mut con, target, protocol).await?;
        Ok(con)
    };
    match tokio::time::timeout(timeout, open).await {
        Ok(result) => result,
        Err(_) => Err(Failure::TimedOut),
    }
}

async fn open(target: &Target, tls: Option<&Tls>) -> Result<Socket, Failure> {
    match (&target.address, tls) {
        (Address::Unix(path), _) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        (Address::Tcp { host, port, .. }, None) => {
            Ok(Socket::Tcp(connect(host, *port, &target.tcp).await?))
        }
        (Address::Tcp { host, port, .. }, Some(tls)) => {
            // Before anything is sent: a file that is wrong is told of, whatever the network does.
            let setup = tls.setup(host).map_err(Failure::Ours)?;
            let socket = connect(host, *port, &target.tcp).await?;
            Ok(setup.shake_hands(socket).await?)
        }
    }
}

/// Connects to whichever address of a host answers first: the families of addresses take turns, and each address is given
/// a head start.
pub(super) async fn connect(host: &str, port: u16, options: &Tcp) -> io::Result<TcpStream> {
    let looked_up = tokio::net::lookup_host((host, port)).await;
    let found: Vec<_> = looked_up
        .map_err(|error| io::Error::new(error.kind(), format!("lookup failed: {error}")))?
        .collect();
    let mut rest = in_turn(found).into_iter();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "lookup gave no address");
    let mut attempts = FuturesUnordered::new();
    loop {
        match rest.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let ended = match rest.len() {
            0 => attempts.next().await,
            _ => tokio::select! {
                ended = attempts.next() => ended,
                () = sleep(NEXT_ADDRESS) => None,
            },
        };
        match ended {
            Some(Ok(socket)) => {
                set_up(&socket, options)?;
                return Ok(socket);
            }
            Some(Err(error)) => last = error,
            None => {}
        }
    }
}

/// The addresses of a name, of the two families in turn, beginning with that of the first.
fn in_turn(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = found.first().map(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|a| Some(a.is_ipv6()) == first);
    let longest = one.len().max(other.len());
    let pairs = (0..longest).flat_map(|n| [one.get(n), other.get(n)]);
    pairs.flatten().copied().take(MOST_ADDRESSES).collect()
}

fn set_up(socket: &TcpStream, options: &Tcp) -> io::Result<()> {
    // One small request at a time goes out: waiting to fill a packet would only add latency.
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&options.keepalive)?;
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(options.user_timeout)?;
    Ok(())
}

/// Logs in, says who connects, and goes to the db: all of it is sent at once.
async fn greet(
    con: &mut RedisConnection,
    target: &Target,
    protocol: Protocol,
) -> Result<(), Failure> {
    let version = match protocol {
        Protocol::Resp2 => "2",
        Protocol::Resp3 => "3",
    };
    let mut hello = vec!["HELLO", version];
    if let Some(password) = &target.password {
        hello.extend(["AUTH", target.user_name(), password]);
    }
    con.send(vec![command(&hello)]);
    let names = target.library.iter().flat_map(|(name, version)| {
        [("LIB-NAME", name), ("LIB-VER", version)]
            .map(|(what, word)| command(&["CLIENT", "SETINFO", what, word]))
    });
    // Unknown to older servers, and refused to some users: it is for operators only.
    con.send(names.collect());
    let db = target.db.to_string();
    let select = (target.db != 0).then(|| command(&["SELECT", &db]));
    con.send(select.into_iter().collect());
    for what in [Some(Step::Hello), None, Some(Step::Select)] {
        let answer = std::future::poll_fn(|cx| con.poll_next(cx)).await;
        let mut answers = answer.map_err(|end| match end {
            End::Lost(error) => Failure::Io(error),
            End::Nonsense(_) => Failure::Nonsense,
        })?;
        match (what, answers.pop()) {
            (Some(what), Some(Err(error))) => return Err(Failure::Refused { what, error }),
            (Some(Step::Hello), Some(Ok(OpReply::Value(Reply::Map(_) | Reply::Array(_))))) => {}
            (Some(Step::Hello), _) => {
                let error = OpError::Protocol("HELLO was answered by something else".to_owned());
                return Err(Failure::Refused {
                    what: Step::Hello,
                    error,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn command(words: &[&str]) -> Op {
    let word = |word: &&str| Bytes::copy_from_slice(word.as_bytes());
    Op::Command {
        db: Op::AS_IS,
        argv: words.iter().map(word).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_addresses_take_turns() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(of);
        let order = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(of);
        assert_eq!(in_turn(found.to_vec()), order);
        assert!(in_turn(Vec::new()).is_empty());
    }
}
