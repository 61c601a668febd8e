//! What pools need to hand out drop-in connections: deadpool's and bb8's managers.
//!
//! Never hands a transaction, or another db, on to the next user.

use nearcache_redis::redis::RedisError;

use crate::redis::Connection;

/// Makes drop-in connections for a pool: with feature `deadpool` it is a `deadpool::managed::Manager`, with feature `bb8`
/// a `bb8::ManageConnection`.
///
/// Reads, writes and atomic pipelines need no pool: a clone of a [`Connection`] does as well. A pool bounds how many side
/// connections there are (blocking commands, `WATCH`, commands of modules) and keeps them for the next user.
///
/// What is handed out is outside of any transaction and in the db of the connection this was made of. Nothing is sent to
/// find out whether it works: a lost lane comes back by itself. After the cache was shut down nothing is handed out.
///
/// # Examples
/// With deadpool (`crates/nearcache/examples/pool.rs` is a program):
#[cfg_attr(feature = "deadpool", doc = "```no_run")]
#[cfg_attr(not(feature = "deadpool"), doc = "```ignore")]
/// # async fn made() -> Result<(), Box<dyn std::error::Error>> {
/// use nearcache::redis::{Connection, Manager};
///
/// let con = Connection::open("redis://127.0.0.1:6379").await?;
/// type Pool = deadpool::managed::Pool<Manager>;
/// let pool = Pool::builder(Manager::new(con)).max_size(16).build()?;
/// let mut con = pool.get().await?;
/// # let _: String = nearcache::redis_rs::cmd("PING").query_async(&mut *con).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Manager(Connection);

impl Manager {
    /// Hands out connections that share L1 and lane with `con`, and are as it is now.
    pub fn new(con: Connection) -> Self {
        Self(con.clone())
    }

    fn closed(&self) -> Option<RedisError> {
        let error =
            || std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the cache was shut down");
        self.0.cache().is_closed().then(|| error().into())
    }
}

#[cfg(feature = "deadpool")]
impl deadpool::managed::Manager for Manager {
    type Type = Connection;
    type Error = RedisError;

    async fn create(&self) -> Result<Connection, RedisError> {
        self.closed().map_or_else(|| Ok(self.0.clone()), Err)
    }

    async fn recycle(
        &self,
        con: &mut Connection,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<RedisError> {
        con.reset();
        self.closed()
            .map_or_else(|| Ok(()), |error| Err(error.into()))
    }
}

#[cfg(feature = "bb8")]
impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        self.closed().map_or_else(|| Ok(self.0.clone()), Err)
    }

    async fn is_valid(&self, con: &mut Connection) -> Result<(), RedisError> {
        con.reset();
        self.closed().map_or_else(|| Ok(()), Err)
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        self.closed().is_some()
    }
}
