//! Where a server is and as whom to log in there, as a URL or redis-rs's own description says it.
//!
//! Reads URLs as redis-rs does. Never shows a password.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nearcache_proto::{Error, ErrorKind, Protocol};
use percent_encoding::percent_decode_str;
use socket2::TcpKeepalive;
use url::{Host, Url};

const PORT: u16 = 6379;

/// A server and its user. Not `Debug`: it holds the password.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// The database that connections rest in.
    pub(super) db: u32,
    /// Whose shapes replies have where nobody says otherwise.
    pub(super) protocol: Protocol,
    /// What the program calls itself, and its version; `None`: it says nothing.
    pub(super) library: Option<(String, String)>,
    pub(super) tcp: Tcp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// Options of a TCP socket.
#[derive(Clone)]
pub(super) struct Tcp {
    pub(super) keepalive: TcpKeepalive,
    /// How long the system sends what nobody acknowledges; `None`: as the system has it.
    pub(super) user_timeout: Option<Duration>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            // A side connection may wait for long, and has no heartbeat: the system notices when it is dead.
            keepalive: TcpKeepalive::new()
                .with_time(Duration::from_secs(10))
                .with_interval(Duration::from_secs(5)),
            // A host that is gone takes no part in anything any more: without this it is a quarter of an hour.
            user_timeout: Some(Duration::from_secs(10)),
        }
    }
}

impl Target {
    /// What `url` names.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        check_encoding(url)?;
        let url = Url::parse(url).map_err(|_| unreadable())?;
        let library = ("nearcache".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let target = |address, user, password, db: Option<&str>| {
            Ok(Self {
                address,
                user,
                password,
                db: db.map_or(Ok(0), |db| number(db).and_then(db_number))?,
                protocol: protocol(&url)?,
                library: Some(library),
                tcp: Tcp::default(),
            })
        };
        match url.scheme() {
            "redis" | "valkey" | "rediss" | "valkeys" => {
                let tls = url.scheme().ends_with("ss") || url.scheme() == "valkeys";
                let host = match url.host() {
                    Some(Host::Domain(name)) => name.to_owned(),
                    Some(Host::Ipv4(address)) => address.to_string(),
                    Some(Host::Ipv6(address)) => address.to_string(),
                    None => return Err(wrong("the URL names no host")),
                };
                let address = Address::tcp(host, url.port().unwrap_or(PORT), tls)?;
                match url.fragment().filter(|_| tls) {
                    Some("insecure") => return Err(insecure()),
                    Some(_) => return Err(wrong("leave the `#` part out of the URL")),
                    None => {}
                }
                let user = match url.username() {
                    "" => None,
                    user => Some(decoded(user)?),
                };
                let password = url.password().map(decoded).transpose()?;
                let db = url.path().trim_matches('/');
                target(address, user, password, (!db.is_empty()).then_some(db))
            }
            "unix" | "redis+unix" | "valkey+unix" => {
                let no_path = |()| wrong("the URL names no socket path");
                let address = Address::Unix(url.to_file_path().map_err(no_path)?);
                // Of several, the last.
                let word = |name: &str| {
                    let named = url.query_pairs().filter(|(key, _)| key == name).last();
                    named.map(|(_, value)| value.into_owned())
                };
                target(address, word("user"), word("pass"), word("db").as_deref())
            }
            _ => Err(unreadable()),
        }
    }

    /// Where the server is, without credentials.
    pub(super) fn place(&self) -> Arc<str> {
        let db = self.db;
        match &self.address {
            Address::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                format!("{scheme}://{host}:{port}/{db}").into()
            }
            Address::Unix(path) => format!("unix://{}?db={db}", path.display()).into(),
        }
    }

    /// As whom it logs in.
    pub(super) fn user_name(&self) -> &str {
        self.user.as_deref().unwrap_or("default")
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.address, Address::Tcp { tls: true, .. })
    }
}

impl Address {
    pub(super) fn tcp(host: String, port: u16, tls: bool) -> Result<Self, Error> {
        let listens = host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified());
        if listens {
            return Err(wrong(
                "0.0.0.0 and :: are addresses to listen on, not to connect to: name the server's own",
            ));
        }
        Ok(Self::Tcp { host, port, tls })
    }
}

/// The number of a database, as L2 knows it.
pub(super) fn db_number(number: i64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| {
        wrong(&format!(
            "the database number {number} is not one: use 0 or more"
        ))
    })
}

#[cold]
pub(super) fn insecure() -> Error {
    wrong(
        "certificates are always verified: leave #insecure out of the URL, and give the root certificate of the \
         server's authority (tls_ca_file) if it is not a public one",
    )
}

fn number(text: &str) -> Result<i64, Error> {
    let why = |_| wrong("the database number in the URL is not a number");
    text.parse().map_err(why)
}

fn protocol(url: &Url) -> Result<Protocol, Error> {
    match url
        .query_pairs()
        .filter(|(key, _)| key == "protocol")
        .last()
    {
        None => Ok(Protocol::Resp2),
        Some((_, value)) => match &*value {
            "2" | "resp2" => Ok(Protocol::Resp2),
            "3" | "resp3" => Ok(Protocol::Resp3),
            _ => Err(wrong(
                "`protocol` in the URL must be resp2 or resp3: it decides the shapes of replies",
            )),
        },
    }
}

fn decoded(text: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(text).decode_utf8();
    let why = |_| wrong("user or password in the URL are not UTF-8 after percent-decoding");
    Ok(decoded.map_err(why)?.into_owned())
}

/// A sign of the password that ends the part of a URL where passwords are: what follows would be read as a database,
/// and what is before it as a host and a port, which are no secrets.
fn check_encoding(url: &str) -> Result<(), Error> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']);
    let unix = rest.starts_with('/');
    let cut = end.is_some_and(|end| rest[end..].contains('@')) && !unix;
    // TLS has a meaning for it, and refuses any other.
    let tls = url.starts_with("rediss://") || url.starts_with("valkeys://");
    if !cut && (tls || !rest.contains('#')) {
        return Ok(());
    }
    Err(wrong(
        "the URL has a `/`, `?` or `#` where none can be: in a user or password write %2F, %3F and %23 instead (and %40 \
         for `@`, %25 for `%`)",
    ))
}

#[cold]
fn unreadable() -> Error {
    wrong(
        "the URL cannot be read: write redis://[user[:password]@]host[:port][/db], rediss://... for TLS, or \
         unix:///path; percent-encode special characters",
    )
}

#[cold]
fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Configuration, what)
}

/// The same from redis-rs's own description of a server.
#[cfg(feature = "redis-rs")]
mod described {
    use redis::{ConnectionAddr, ConnectionInfo, ProtocolVersion};

    use super::*;

    impl Target {
        pub(crate) fn of(info: &ConnectionInfo) -> Result<Self, Error> {
            let redis = info.redis_settings();
            let owned = |text: Option<&str>| text.map(str::to_owned);
            // What the program calls itself, or that it wants no name, is what is sent.
            let library = match (redis.skip_set_lib_name(), redis.lib_name()) {
                (true, _) => None,
                (false, Some(name)) => Some((
                    name.to_owned(),
                    redis.lib_ver().unwrap_or_default().to_owned(),
                )),
                (false, None) => {
                    Some(("nearcache".to_owned(), env!("CARGO_PKG_VERSION").to_owned()))
                }
            };
            let mut tcp = Tcp::default();
            let asked = info.tcp_settings();
            if let Some(keepalive) = asked.keepalive() {
                tcp.keepalive = keepalive.clone();
            }
            #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
            if let Some(timeout) = asked.user_timeout() {
                tcp.user_timeout = Some(timeout);
            }
            Ok(Self {
                address: address(info.addr())?,
                user: owned(redis.username()),
                password: owned(redis.password()),
                db: db_number(redis.db())?,
                protocol: match redis.protocol() {
                    ProtocolVersion::RESP2 => Protocol::Resp2,
                    _ => Protocol::Resp3,
                },
                library,
                tcp,
            })
        }
    }

    fn address(addr: &ConnectionAddr) -> Result<Address, Error> {
        match addr {
            ConnectionAddr::Tcp(host, port) => Address::tcp(host.clone(), *port, false),
            ConnectionAddr::TcpTls { insecure: true, .. } => Err(insecure()),
            // They cannot be read out of it, and connecting without them would be something else than was asked for.
            ConnectionAddr::TcpTls {
                tls_params: Some(_),
                ..
            } => Err(wrong(
                "the certificates in this description of a server cannot be read: give their files instead, by the \
                 settings tls_ca_file, tls_cert_file and tls_key_file, or by RedisL2::open_with(url, timeout, files)",
            )),
            ConnectionAddr::TcpTls { host, port, .. } => Address::tcp(host.clone(), *port, true),
            ConnectionAddr::Unix(path) => Ok(Address::Unix(path.clone())),
            _ => Err(wrong("a server at an address of this kind cannot be used")),
        }
    }
}

#[cfg(all(test, feature = "redis-rs"))]
mod tests;
