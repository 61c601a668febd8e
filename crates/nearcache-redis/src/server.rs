//! L2 on a Redis or Valkey server, by redis-rs: opens lanes and side connections.
//!
//! Never reconnects and never times out a reply by itself: both are the lane's business.

mod answer;
mod connection;
mod greeting;
mod push;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearcache_proto::{BoxFuture, Connection, Error, ErrorKind, Events, L2, Protocol, Tracking};
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion};

use crate::convert;
use connection::RedisConnection;
pub(crate) use greeting::Refusal;
use greeting::Refusals;
use push::{Canary, PushSink, Reports};

/// A Redis or Valkey server as the L2.
pub struct RedisL2 {
    /// For the lane, and for side connections that speak RESP3.
    client: Client,
    /// For side connections that speak RESP2.
    client_resp2: Client,
    protocol: Protocol,
    place: Arc<str>,
    tls: bool,
    db: u32,
    connect_timeout: Duration,
    /// Whether a connection was ever made: then the address is right, and advice about it would mislead.
    worked: Arc<AtomicBool>,
    refusals: Arc<Refusals>,
}

impl RedisL2 {
    /// An L2 at `url`: `redis://`, `rediss://` (TLS), `unix://` and their `valkey` twins, with user,
    /// password and db as redis-rs reads them. Nothing is sent yet.
    ///
    /// `connect_timeout` bounds everything from the name look-up to the server's greeting.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`]: the URL cannot be used.
    pub fn open(url: &str, connect_timeout: Duration) -> Result<Self, Error> {
        check_encoding(url)?;
        let client =
            Client::open(url).map_err(|error| match is_tls(url) && !cfg!(feature = "tls") {
                true => without_tls(),
                false => convert::url_error(&error),
            })?;
        Self::with_info(client.get_connection_info().clone(), connect_timeout)
    }

    /// The same from redis-rs's own description of a server, which can hold TLS certificates too.
    /// The lane speaks RESP3 in any case; its protocol is what [`L2::protocol`] says.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn with_info(info: ConnectionInfo, connect_timeout: Duration) -> Result<Self, Error> {
        let number = info.redis_settings().db();
        let db = u32::try_from(number).map_err(|_| {
            Error::new(
                ErrorKind::Configuration,
                format!("the database number {number} is not one: use 0 or more"),
            )
        })?;
        let tls = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    "certificates are always verified: leave #insecure out of the URL, and give the \
                     root certificate of the server's authority if it is not a public one",
                ));
            }
            ConnectionAddr::TcpTls { .. } => true,
            _ => false,
        };
        let place = place(info.addr(), db).into();
        let protocol = match info.redis_settings().protocol() {
            ProtocolVersion::RESP2 => Protocol::Resp2,
            _ => Protocol::Resp3,
        };
        let redis = info
            .redis_settings()
            .clone()
            .set_lib_name("nearcache", env!("CARGO_PKG_VERSION"));
        // One small request at a time goes out: waiting to fill a packet would only add latency.
        // A side connection may wait for long, and has no heartbeat: the system notices when it is dead.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5));
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let tcp = match tcp.keepalive() {
            Some(_) => tcp,
            None => tcp.set_keepalive(keepalive),
        };
        let info = info.set_tcp_settings(tcp);
        let client = |protocol| {
            let redis = redis.clone().set_protocol(protocol);
            let info = info.clone().set_redis_settings(redis);
            Client::open(info).map_err(|error| convert::url_error(&error))
        };
        Ok(Self {
            client: client(ProtocolVersion::RESP3)?,
            client_resp2: client(ProtocolVersion::RESP2)?,
            protocol,
            place,
            tls,
            db,
            connect_timeout,
            worked: Arc::default(),
            refusals: Arc::default(),
        })
    }

    /// The database the URL names, in which every connection rests: 0 unless given.
    pub fn db(&self) -> u32 {
        self.db
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            // An answer is a reply of the server, never a timeout: deadlines are the lane's.
            .set_response_timeout(None)
            // Never full, so that a batch is in line as soon as it is offered, in the order of the
            // calls. What may be in flight is bounded by the lane.
            .set_pipeline_buffer_size(tokio::sync::Semaphore::MAX_PERMITS)
    }

    fn dial(
        &self,
        protocol: Protocol,
        config: AsyncConnectionConfig,
        reports: Option<Arc<Reports>>,
    ) -> BoxFuture<Result<redis::aio::MultiplexedConnection, Error>> {
        let client = match protocol {
            Protocol::Resp2 => self.client_resp2.clone(),
            Protocol::Resp3 => self.client.clone(),
        };
        let (place, worked) = (self.place.clone(), self.worked.clone());
        let refusals = self.refusals.clone();
        let (tls, timeout) = (self.tls, self.connect_timeout);
        Box::pin(async move {
            if tls {
                choose_crypto();
            }
            let dialled = client
                .get_multiplexed_async_connection_with_config(&config)
                .await;
            let error = match dialled {
                Ok(con) => {
                    worked.store(true, Ordering::Relaxed);
                    refusals.forget();
                    return Ok(con);
                }
                Err(error) => error,
            };
            // The end of what never began is told by the result alone, before `config` lets go of the sink.
            if let Some(reports) = reports {
                reports.silence();
            }
            let addr = client.get_connection_info().addr();
            let refusal = match convert::is_closed(&error) {
                true => refusals.reason(addr, timeout).await,
                false => None,
            };
            let port = convert::Port {
                tls,
                worked: worked.load(Ordering::Relaxed),
            };
            Err(convert::connect_error(&place, port, error, refusal))
        })
    }
}

impl L2 for RedisL2 {
    fn tracking(&self) -> Tracking {
        Tracking::Pushes
    }

    fn describe(&self) -> String {
        self.place.to_string()
    }

    fn resting_db(&self) -> u32 {
        self.db
    }

    /// The protocol the URL names: RESP2 unless given, as in redis-rs.
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn connect(&self, events: Events) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let canary = Arc::new(Canary::default());
        let reports = Arc::new(Reports::new(events));
        let sink = PushSink::new(reports.clone(), canary.clone());
        let config = self.config().set_push_sender(sink);
        let dial = self.dial(Protocol::Resp3, config, Some(reports.clone()));
        let place = self.place.clone();
        let db = self.db;
        Box::pin(async move {
            let con = dial.await?;
            Ok(Box::new(RedisConnection::new(
                con,
                place,
                db,
                Some((reports, canary)),
            )) as Box<dyn Connection>)
        })
    }

    fn connect_side(&self, protocol: Protocol) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let dial = self.dial(protocol, self.config(), None);
        let place = self.place.clone();
        let db = self.db;
        Box::pin(async move {
            let con = dial.await?;
            Ok(Box::new(RedisConnection::new(con, place, db, None)) as Box<dyn Connection>)
        })
    }
}

/// A sign of the password that ends the part of a URL where passwords are: what follows would be read as a database,
/// and what is before it as a host and a port, which are no secrets.
fn check_encoding(url: &str) -> Result<(), Error> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']);
    let unix = rest.starts_with('/');
    let cut = end.is_some_and(|end| rest[end..].contains('@')) && !unix;
    // TLS has a meaning for it, and refuses any other.
    let ignored = rest.contains('#') && !is_tls(url);
    if !cut && !ignored {
        return Ok(());
    }
    let what = "the URL has a `/`, `?` or `#` where none can be: in a user or password write %2F, %3F and %23 \
                instead (and %40 for `@`, %25 for `%`)";
    Err(Error::new(ErrorKind::Configuration, what))
}

fn is_tls(url: &str) -> bool {
    url.starts_with("rediss://") || url.starts_with("valkeys://")
}

#[cold]
fn without_tls() -> Error {
    let why = "this program was built without TLS: give nearcache its feature `tls`, or write redis:// for a plain port";
    Error::new(ErrorKind::Configuration, why)
}

/// With two providers compiled in (another crate of the build may bring one), rustls would panic at
/// the first connection. A provider that the program installed itself stays.
#[cfg(feature = "tls")]
fn choose_crypto() {
    // Without a `Once`, which a forked child could inherit half done; rustls keeps the first it is given.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Whoever gave redis-rs its TLS chose.
#[cfg(not(feature = "tls"))]
fn choose_crypto() {}

/// Where the server is, without credentials.
fn place(addr: &ConnectionAddr, db: u32) -> String {
    match addr {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{db}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{db}"),
        ConnectionAddr::Unix(path) => format!("unix://{}?db={db}", path.display()),
        other => format!("{other}/{db}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str) -> Result<RedisL2, Error> {
        RedisL2::open(url, Duration::from_secs(1))
    }

    #[test]
    fn c13_no_credentials_where_it_is_described() {
        let l2 = open("redis://someone:s3cret@cache.example:7000/5").unwrap();
        assert_eq!(l2.describe(), "redis://cache.example:7000/5");
        assert_eq!(l2.db(), 5);
        let l2 = open("rediss://:s3cret@cache.example").unwrap();
        assert_eq!(l2.describe(), "rediss://cache.example:6379/0");
        let l2 = open("unix:///run/r.sock?db=2&pass=s3cret").unwrap();
        assert_eq!(l2.describe(), "unix:///run/r.sock?db=2");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn accepted_schemes() {
        for url in [
            "redis://h",
            "rediss://h",
            "valkey://h",
            "valkeys://h",
            "unix:///p",
            "unix:///p?pass=a@b",
            "redis://u:p%2Fa%23@h/1?protocol=resp3",
            "redis+unix:///p",
        ] {
            assert!(open(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn c12_a_bad_url_says_what_to_write() {
        for (url, part) in [
            ("http://s3cret@h", "write redis://"),
            ("", "write redis://"),
            ("redis://h/x", "database number"),
            ("redis://:s3cret@0.0.0.0", "listen"),
            ("redis://h/-1", "0 or more"),
            ("redis://:s3cret/s3cret@h/0", "%2F"),
            ("redis://user:12/s3cret@h", "%2F"),
            ("redis://user:12#s3cret@h", "%23"),
            ("redis://:s3cret?s3cret@h:1/0", "%3F"),
            ("rediss://user:12#s3cret@h", "%23"),
            ("unix:///run/r.sock?pass=ab#s3cret", "%23"),
            ("rediss://:s3cret@h/#insecure", "always verified"),
            ("rediss://:s3cret@h/#other", "leave the `#` part out"),
        ] {
            let error = open(url).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{url}");
            assert!(error.to_string().contains(part), "{url}: {error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{url}: {error}");
        }
    }
}
