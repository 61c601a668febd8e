//! The connection that `MONITOR` runs on: a plain socket or TLS over one, so that lines of any length can be read in
//! pieces. Knows nothing of what the lines say.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Client, ConnectionAddr, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::outcome::Failure;

const PATIENCE: Duration = Duration::from_secs(5);
/// How long a read waits, so that the end of the recording is noticed on a quiet server.
const STEP: Duration = Duration::from_millis(50);

/// Where the server is, and whom to believe that it is it.
pub(super) struct Target {
    /// For ordinary connections.
    pub(super) client: Client,
    /// Only where the address asks for it.
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// Reads the address. `authority` are PEM certificates to believe instead of the well-known ones.
    pub(super) fn new(url: &str, authority: Option<Vec<u8>>) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| {
            format!("--redis is no address of a server that can be used: {error}")
        };
        let plain = Client::open(url).map_err(|error| wrong(&error))?;
        match plain.get_connection_info().addr() {
            ConnectionAddr::TcpTls {
                insecure: false, ..
            } => {}
            ConnectionAddr::TcpTls { .. } => {
                return Err(wrong(
                    &"a certificate that is not looked at protects nobody; name its authority with --cacert",
                ));
            }
            _ if authority.is_some() => {
                return Err(
                    "--cacert is for TLS, with an address that begins with rediss://".to_owned(),
                );
            }
            _ => {
                return Ok(Self {
                    client: plain,
                    tls: None,
                });
            }
        }
        // One provider for the ordinary connections too, whatever else is compiled in.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        match &authority {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|error| no_authority(&error))?;
                    roots
                        .add(certificate)
                        .map_err(|error| no_authority(&error))?;
                }
                if roots.is_empty() {
                    return Err(no_authority(&"there is no certificate in it"));
                }
            }
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: authority,
        };
        let client = Client::build_with_tls(url, certificates).map_err(|error| wrong(&error))?;
        Ok(Self {
            client,
            tls: Some(Arc::new(config)),
        })
    }
}

fn no_authority(why: &dyn std::fmt::Display) -> Failure {
    format!("--cacert is no file of PEM certificates: {why}")
}

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
    pub(super) fn open(target: &Target) -> Result<Self, Failure> {
        let info = target.client.get_connection_info();
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
            ConnectionAddr::TcpTls { host, port, .. } => {
                let config = target.tls.clone().ok_or("there is no TLS to speak")?;
                let socket = tcp(host, *port).map_err(failed)?;
                Box::new(secured(config, host, socket).map_err(|error| {
                    format!("TLS failed: {error}; an authority of your own is named with --cacert")
                })?)
            }
            _ => return Err("record does not know this kind of address".to_owned()),
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
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                // TLS that ends without saying so.
                | ErrorKind::UnexpectedEof => Ok(Got::End),
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

/// The handshake at once: with the short patience of a read it might never end.
fn secured(
    config: Arc<ClientConfig>,
    host: &str,
    mut socket: TcpStream,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(std::io::Error::other)?;
    let mut session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    socket.set_read_timeout(Some(STEP))?;
    Ok(StreamOwned::new(session, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_say_why() {
        let refused = |url: &str, authority: Option<&str>| {
            let authority = authority.map(|pem| pem.as_bytes().to_vec());
            let refused = Target::new(url, authority).map(drop);
            refused.expect_err("it can be used")
        };
        assert!(refused("http://x", None).contains("--redis"));
        assert!(refused("redis://x", Some("x")).contains("rediss://"));
        assert!(refused("rediss://x", Some("x")).contains("no certificate"));
        assert!(refused("rediss://x/#insecure", None).contains("--cacert"));
        assert!(Target::new("rediss://x", None).is_ok_and(|target| target.tls.is_some()));
        assert!(Target::new("redis://x", None).is_ok_and(|target| target.tls.is_none()));
    }
}
