//! The connection that `MONITOR` runs on: a plain socket, so that lines of any length can be read in pieces.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use redis::{Client, ConnectionAddr};

use crate::Failure;

const PATIENCE: Duration = Duration::from_secs(5);
/// How long a read waits, so that the end of the recording is noticed on a quiet server.
const STEP: Duration = Duration::from_millis(50);

trait Socket: Read + Write {}
impl<T: Read + Write> Socket for T {}

/// A connection with `MONITOR` under way. Dropping it ends that.
pub(super) struct Link(Box<dyn Socket>);

/// What a read brought.
pub(super) enum Got {
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The server hung up.
    End,
}

impl Link {
    /// Connects, logs in and starts `MONITOR`.
    pub(super) fn open(client: &Client) -> Result<Self, Failure> {
        let info = client.get_connection_info();
        let failed = |error: std::io::Error| {
            format!("cannot reach the server: {error}; check the address given with --redis")
        };
        let socket: Box<dyn Socket> = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Box::new(tcp(host, *port).map_err(failed)?),
            ConnectionAddr::Unix(path) => {
                let socket = UnixStream::connect(path).map_err(failed)?;
                socket.set_read_timeout(Some(STEP)).map_err(failed)?;
                socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
                Box::new(socket)
            }
            _ => {
                return Err("record speaks no TLS: run it beside the server, or through a tunnel, with redis://".to_owned());
            }
        };
        let mut link = Self(socket);
        let settings = info.redis_settings();
        if let Some(password) = settings.password() {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = settings.username() {
                auth.arg(user);
            }
            link.say(auth.arg(password), "AUTH")?;
        }
        link.say(&redis::cmd("MONITOR"), "MONITOR")?;
        Ok(link)
    }

    /// Sends a command whose answer must be `+OK`.
    fn say(&mut self, command: &redis::Cmd, name: &str) -> Result<(), Failure> {
        let failed = |error: std::io::Error| format!("{name} was not answered: {error}");
        let bytes = command.get_packed_command();
        self.0.write_all(&bytes).map_err(failed)?;
        let (deadline, mut answer) = (Instant::now() + PATIENCE, Vec::new());
        while !answer.ends_with(b"\n") {
            let mut byte = [0];
            match self.read(&mut byte).map_err(failed)? {
                Got::Bytes(_) if answer.len() < 512 => answer.push(byte[0]),
                Got::Nothing if Instant::now() < deadline => {}
                Got::End => return Err(failed(ErrorKind::UnexpectedEof.into())),
                _ => return Err(failed(ErrorKind::TimedOut.into())),
            }
        }
        match answer.trim_ascii() {
            b"+OK" => Ok(()),
            refused => Err(format!(
                "the server refuses {name}: {}",
                refused.escape_ascii()
            )),
        }
    }

    /// Reads what there is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Got> {
        match self.0.read(buffer) {
            Ok(0) => Ok(Got::End),
            Ok(bytes) => Ok(Got::Bytes(bytes)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                    Ok(Got::Nothing)
                }
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Got::End),
                _ => Err(error),
            },
        }
    }
}

fn tcp(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut failed = ErrorKind::AddrNotAvailable.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => {
                socket.set_read_timeout(Some(STEP))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
