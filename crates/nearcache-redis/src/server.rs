//! L2 on a Redis or Valkey server: opens lanes and side connections, on a wire of our own.
//!
//! Never reconnects and never times out a reply by itself: both are the lane's business.

mod connection;
mod dial;
mod greeting;
mod refused;
mod socket;
mod target;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearcache_proto::{
    BoxFuture, Connection, Endpoint, Error, ErrorKind, Events, L2, Protocol, Tracking,
};

use connection::RedisConnection;
use dial::dial;
use greeting::Refusals;
use refused::{Port, connect_error};
use target::Target;
use tls::Tls;
pub use tls::TlsFiles;

/// A Redis or Valkey server as the L2. Clones share what is known of it.
#[derive(Clone)]
pub struct RedisL2 {
    shared: Arc<Shared>,
}

struct Shared {
    target: Target,
    place: Arc<str>,
    tls: Option<Tls>,
    connect_timeout: Duration,
    /// Whether a connection was ever made: then the address is right, and advice about it would mislead.
    worked: AtomicBool,
    refusals: Refusals,
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
        Self::with_target(Target::parse(url)?, connect_timeout, files)
    }

    /// The same from redis-rs's own description of a server: address, user, db, protocol, and of its TCP settings keepalive
    /// and user timeout (what it says of lingering cannot be read, and `TCP_NODELAY` is always on). The lane speaks RESP3 in
    /// any case; its protocol is what [`L2::protocol`] says.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`ErrorKind::Configuration`] for a description that holds certificates, which cannot
    /// be read out of it: [`open_with`](Self::open_with) takes their files.
    #[cfg(feature = "redis-rs")]
    pub fn with_info(
        info: &redis::ConnectionInfo,
        connect_timeout: Duration,
    ) -> Result<Self, Error> {
        Self::with_info_and(info, connect_timeout, &TlsFiles::default())
    }

    /// The same with certificates from files.
    ///
    /// # Errors
    /// As for [`with_info`](Self::with_info) and [`open_with`](Self::open_with).
    #[cfg(feature = "redis-rs")]
    pub fn with_info_and(
        info: &redis::ConnectionInfo,
        connect_timeout: Duration,
        files: &TlsFiles,
    ) -> Result<Self, Error> {
        Self::with_target(Target::of(info)?, connect_timeout, files)
    }

    fn with_target(
        target: Target,
        connect_timeout: Duration,
        files: &TlsFiles,
    ) -> Result<Self, Error> {
        if target.is_tls() && !cfg!(feature = "tls") {
            return Err(without_tls());
        }
        let tls = Tls::new(&target, files)?;
        if let (Some(tls), target::Address::Tcp { host, .. }) = (&tls, &target.address) {
            // What is wrong with a file is told now.
            tls.setup(host)?;
        }
        Ok(Self {
            shared: Arc::new(Shared {
                place: target.place(),
                target,
                tls,
                connect_timeout,
                worked: AtomicBool::new(false),
                refusals: Refusals::default(),
            }),
        })
    }

    /// The database the URL names, in which every connection rests: 0 unless given.
    pub fn db(&self) -> u32 {
        self.shared.target.db
    }

    fn dial(
        &self,
        protocol: Protocol,
        events: Option<Events>,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let con = shared.dial(protocol, events).await?;
            Ok(Box::new(con) as Box<dyn Connection>)
        })
    }
}

impl Shared {
    async fn dial(
        &self,
        protocol: Protocol,
        events: Option<Events>,
    ) -> Result<RedisConnection, Error> {
        let tls = self.tls.as_ref();
        let timeout = self.connect_timeout;
        let rest = (self.place.clone(), events);
        let failure = match dial(&self.target, tls, protocol, timeout, rest).await {
            Ok(con) => {
                self.worked.store(true, Ordering::Relaxed);
                self.refusals.forget();
                return Ok(con);
            }
            Err(failure) => failure,
        };
        let refusal = match failure.is_closed() {
            true => self.refusals.reason(&self.target.address, timeout).await,
            false => None,
        };
        let port = Port {
            tls,
            worked: self.worked.load(Ordering::Relaxed),
            user: self.target.user_name(),
        };
        Err(connect_error(&self.place, port, failure, refusal))
    }
}

impl L2 for RedisL2 {
    fn tracking(&self) -> Tracking {
        Tracking::Pushes
    }

    fn describe(&self) -> String {
        self.shared.place.to_string()
    }

    fn resting_db(&self) -> u32 {
        self.db()
    }

    fn user(&self) -> Option<String> {
        Some(self.shared.target.user_name().to_owned())
    }

    /// The protocol the URL names: RESP2 unless given, as in redis-rs.
    fn protocol(&self) -> Protocol {
        self.shared.target.protocol
    }

    fn connect(
        &self,
        _: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.dial(Protocol::Resp3, Some(events))
    }

    fn connect_side(
        &self,
        _: &Endpoint,
        protocol: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.dial(protocol, None)
    }
}

#[cold]
fn without_tls() -> Error {
    let why = "this program was built without TLS: give nearcache its feature `tls`, or write redis:// for a plain port";
    Error::new(ErrorKind::Configuration, why)
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
