//! Commands of every kind beside the cache. The rules are in `nearcache-proto`; this names its parts.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use nearcache_io::{IoThread, Owned, PerProcess, left_behind};
use nearcache_proto::resp::Reply;
use nearcache_proto::{Cache, Error};

/// Commands of one caller, with a connection state (`MULTI`, `WATCH`, `SELECT`) of their own.
///
/// L1 neither answers them nor keeps their replies, but reads through the cache that start after an
/// answer see what the command wrote, scripts and unknown commands included.
///
/// ```
/// # use nearcache::NearCache;
/// # pollster::block_on(async {
/// # let cache = NearCache::builder().memory().build()?;
/// let mut session = cache.session();
/// session.command(&["INCR", "visits"]).await?;
/// assert_eq!(cache.get("visits").await?.as_deref(), Some(&b"1"[..]));
/// # Ok::<(), nearcache::Error>(()) }).unwrap();
/// ```
pub struct Session {
    lives: Arc<PerProcess<Cache<IoThread>>>,
    session: Owned<nearcache_proto::Session<IoThread>>,
}

impl Session {
    pub(crate) fn new(lives: Arc<PerProcess<Cache<IoThread>>>, db: u32) -> Self {
        let session = nearcache_proto::Session::new(lives.get().clone(), db);
        Self {
            lives,
            session: Owned::new(session),
        }
    }

    /// The session of this process: in a forked child a new one in the same db, outside of any transaction.
    fn here(&mut self) -> Result<&mut nearcache_proto::Session<IoThread>, Error> {
        if self.session.is_inherited() {
            let lost = self.session.in_transaction();
            *self = Self::new(self.lives.clone(), self.session.db());
            if lost {
                return Err(left_behind());
            }
        }
        Ok(&mut self.session)
    }

    /// Sends one command, its name first, and returns the reply.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for commands that are refused and for errors the
    /// server answers with; for writes [`Error::write_outcome`] says whether it was sent.
    ///
    /// # Cancellation
    /// Dropping the future of a command on the session's own side connection (one that blocks, one between `MULTI`
    /// or `WATCH` and their end) closes that connection at once, with any transaction on it. So a blocking command takes
    /// nothing once the server has seen the close; what it had taken before is lost. Other commands go on.
    pub async fn command(&mut self, argv: &[impl AsRef<[u8]>]) -> Result<Reply, Error> {
        self.here()?.command(argv).await
    }

    /// Sends commands as one atomic `MULTI`..`EXEC`, and returns the reply to `EXEC`: errors of single
    /// commands stand in their places.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when one of them cannot be part of a transaction.
    pub async fn transaction(&mut self, commands: Vec<Vec<Bytes>>) -> Result<Reply, Error> {
        self.here()?.transaction(commands).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
