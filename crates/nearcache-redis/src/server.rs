//! L2 on a Redis or Valkey server, by redis-rs: opens lanes and side connections.
//!
//! Never reconnects and never times out a reply by itself: both are the lane's business.

mod answer;
mod connection;
mod greeting;
mod push;
mod refused;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearcache_io::InOrder;
use nearcache_proto::{
    BoxFuture, Connection, Endpoint, Error, ErrorKind, Events, L2, Protocol, Tracking,
};
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion};

use crate::convert;
use connection::RedisConnection;
use greeting::Refusals;
use push::{Canary, PushSink, Reports, SideSink};
pub(crate) use refused::io_error;
use refused::{Port, connect_error, is_closed};
use tls::Tls;
pub use tls::TlsFiles;

/// A Redis or Valkey server as the L2.
pub struct RedisL2 {
    client: Client,
    protocol: Protocol,
    place: Arc<str>,
    tls: Option<Arc<Tls>>,
    user: Arc<str>,
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
        Self::open_with(url, connect_timeout, &TlsFiles::default())
    }

    /// The same with certificates from files.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`ErrorKind::Configuration`] for a file that cannot be used, or that a URL
    /// without TLS has no use for.
    pub fn open_with(
        url: &str,
        connect_timeout: Duration,
        files: &TlsFiles,
    ) -> Result<Self, Error> {
        check_encoding(url)?;
        let client =
            Client::open(url).map_err(|error| match is_tls(url) && !cfg!(feature = "tls") {
                true => without_tls(),
                false => convert::url_error(&error),
            })?;
        Self::with_info_and(client.get_connection_info().clone(), connect_timeout, files)
    }

    /// The same from redis-rs's own description of a server, which can hold TLS certificates too.
    /// The lane speaks RESP3 in any case; its protocol is what [`L2::protocol`] says.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn with_info(info: ConnectionInfo, connect_timeout: Duration) -> Result<Self, Error> {
        Self::with_info_and(info, connect_timeout, &TlsFiles::default())
    }

    /// The same with certificates from files, unless the description holds some.
    ///
    /// # Errors
    /// As for [`open_with`](Self::open_with).
    pub fn with_info_and(
        info: ConnectionInfo,
        connect_timeout: Duration,
        files: &TlsFiles,
    ) -> Result<Self, Error> {
        let number = info.redis_settings().db();
        let db = u32::try_from(number).map_err(|_| {
            Error::new(
                ErrorKind::Configuration,
                format!("the database number {number} is not one: use 0 or more"),
            )
        })?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "certificates are always verified: leave #insecure out of the URL, and give the root certificate of the \
                 server's authority (tls_ca_file) if it is not a public one",
            ));
        }
        let tls = Tls::new(info.addr(), files)?.map(Arc::new);
        let place = place(info.addr(), db).into();
        let protocol = match info.redis_settings().protocol() {
            ProtocolVersion::RESP2 => Protocol::Resp2,
            _ => Protocol::Resp3,
        };
        let redis = info.redis_settings().clone();
        let user = redis.username().unwrap_or("default").into();
        // What the program calls itself, or that it wants no name, is what is sent.
        let redis = match redis.lib_name().is_some() || redis.skip_set_lib_name() {
            true => redis,
            false => redis.set_lib_name("nearcache", env!("CARGO_PKG_VERSION")),
        };
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
        let info = info.set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3));
        let client = Client::open(info).map_err(|error| convert::url_error(&error))?;
        if let Some(tls) = &tls {
            // What is wrong with a file is told now.
            tls.client(client.get_connection_info())?;
        }
        Ok(Self {
            client,
            protocol,
            place,
            tls,
            user,
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
        config: AsyncConnectionConfig,
    ) -> BoxFuture<Result<redis::aio::MultiplexedConnection, Error>> {
        // Small files, read once a connection.
        let client = match &self.tls {
            Some(tls) => tls.client(self.client.get_connection_info()),
            None => Ok(self.client.clone()),
        };
        let client = match client {
            Ok(client) => client,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let (place, worked) = (self.place.clone(), self.worked.clone());
        let refusals = self.refusals.clone();
        let (tls, timeout) = (self.tls.clone(), self.connect_timeout);
        let user = self.user.clone();
        Box::pin(async move {
            if tls.is_some() {
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
            let addr = client.get_connection_info().addr();
            let refusal = match is_closed(&error) {
                true => refusals.reason(addr, timeout).await,
                false => None,
            };
            let port = Port {
                tls: tls.as_deref(),
                worked: worked.load(Ordering::Relaxed),
                user: &user,
            };
            Err(connect_error(&place, port, error, refusal))
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

    fn user(&self) -> Option<String> {
        Some(self.user.to_string())
    }

    /// The protocol the URL names: RESP2 unless given, as in redis-rs.
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn connect(
        &self,
        _: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let canary = Arc::new(Canary::default());
        let reports = Arc::new(Reports::new(events));
        let sink = PushSink::new(reports.clone(), canary.clone());
        let config = self.config().set_push_sender(sink);
        let dial = self.dial(config);
        let place = self.place.clone();
        let db = self.db;
        Box::pin(async move {
            let con = dial.await?;
            let lane = RedisConnection::lane(con, place, db, (reports, canary));
            Ok(Box::new(InOrder::new(lane)) as Box<dyn Connection>)
        })
    }

    fn connect_side(
        &self,
        _: &Endpoint,
        protocol: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        // redis-rs tells of the end of a connection only where it takes pushes, and it takes them only where it has set
        // RESP3 up itself. So every connection begins with that.
        let (sink, ended) = SideSink::new();
        let dial = self.dial(self.config().set_push_sender(sink));
        let (place, tls, user) = (self.place.clone(), self.tls.clone(), self.user.clone());
        let timeout = self.connect_timeout;
        let db = self.db;
        Box::pin(async move {
            let mut con = dial.await?;
            if protocol == Protocol::Resp2 {
                let hello = redis::cmd("HELLO").arg(2).take();
                let said = tokio::time::timeout(timeout, con.send_packed_command(&hello));
                let said = said.await.map_err(|_| silent(&place))?;
                let port = Port {
                    tls: tls.as_deref(),
                    worked: true,
                    user: &user,
                };
                said.and_then(redis::Value::extract_error)
                    .map_err(|error| connect_error(&place, port, error, None))?;
            }
            let side = RedisConnection::side(con, place, db, ended);
            Ok(Box::new(InOrder::new(side)) as Box<dyn Connection>)
        })
    }
}

#[cold]
fn silent(place: &str) -> Error {
    let what = format!("cannot connect to {place}: it did not answer in time (connect_timeout)");
    Error::new(ErrorKind::Retry, what)
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
