//! Writes: the local copy goes before the write is sent and again when it is answered, before the
//! caller resumes. Nothing is ever written into L1; the next read fills it.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use crate::cache::{Cache, Io, ROUNDS, check_sizes};
use crate::epochs::FillToken;
use crate::error::{Error, ErrorKind, crowded, unexpected};
use crate::op::{Op, OpReply, PrimaryId};
use crate::request::{Work, Write};

impl<I: Io> Cache<I> {
    /// Writes a key. Reads in this pod that start after the answer see it or something newer.
    ///
    /// # Errors
    /// [`Error::write_outcome`] says whether it was sent; it is never sent twice.
    ///
    /// # Cancellation
    /// Once polled, the write is executed whether or not the future is kept; unless it still waits for room in line
    /// (`queue_requests`), when it is not sent.
    pub async fn set(
        &self,
        db: u32,
        key: &[u8],
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        check_sizes(key, value.len())?;
        let key = Bytes::copy_from_slice(key);
        let op = set_op(db, key.clone(), value, ttl, false)?;
        self.write(key, op).await.map(drop)
    }

    /// Deletes a key; returns whether it existed.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn delete(&self, db: u32, key: &[u8]) -> Result<bool, Error> {
        check_sizes(key, 0)?;
        let key = Bytes::copy_from_slice(key);
        let op = Op::Delete {
            db,
            key: key.clone(),
        };
        match self.write(key, op).await? {
            OpReply::Deleted(existed) => Ok(existed),
            _ => Err(unexpected()),
        }
    }

    /// Writes what a loader returned, if `token` is unchanged when it is sent and L2 has what the op expects; returns
    /// whether it was written.
    pub(crate) async fn set_loaded(
        &self,
        op: Op,
        key: &[u8],
        token: FillToken,
    ) -> Result<bool, Error> {
        let owner = self.pod.route.of(key).id();
        let write = self.ask(owner, self.call_deadline(), |done| {
            Work::Write(Write {
                op,
                key: Bytes::copy_from_slice(key),
                only_if: Some(token),
                done,
            })
        });
        match write.await? {
            OpReply::Stored(stored) => Ok(stored),
            _ => Err(unexpected()),
        }
    }

    /// A write of one known key.
    pub(crate) async fn write(&self, key: Bytes, op: Op) -> Result<OpReply, Error> {
        self.pod.invalidate_local(&key);
        let owner = self.pod.route.of(&key).id();
        self.ask(owner, self.call_deadline(), |done| {
            Work::Write(Write {
                op,
                key,
                only_if: None,
                done,
            })
        })
        .await
    }

    /// Comes back when every write that L2 executed before has reached this pod's L1: for commands
    /// sent through connections that this cache cannot see.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] when L2 does not answer; nothing is known then.
    pub async fn fence(&self) -> Result<(), Error> {
        let deadline = self.call_deadline();
        for primary in self.pod.route.all() {
            self.fence_of(primary.id(), deadline).await?;
        }
        Ok(())
    }

    async fn fence_of(&self, primary: PrimaryId, deadline: Timestamp) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let fence = |done| Work::Fence { role: false, done };
            match self.ask(primary, deadline, fence).await {
                // What is resident is of no use after a loss until L2 has been asked again.
                Err(error) if self.waits_out(&error, deadline) => {}
                answer => return answer,
            }
        }
        Err(crowded())
    }
}

/// A `Set` whose time to live can be expressed.
pub(crate) fn set_op(
    db: u32,
    key: Bytes,
    value: Bytes,
    ttl: Option<Duration>,
    if_absent: bool,
) -> Result<Op, Error> {
    check_ttl(ttl)?;
    Ok(Op::Set {
        db,
        key,
        value,
        ttl,
        if_absent,
    })
}

/// Whether L2 can keep a value for so long.
///
/// # Errors
/// [`ErrorKind::Usage`] for less than a millisecond.
pub fn check_ttl(ttl: Option<Duration>) -> Result<(), Error> {
    match ttl {
        Some(ttl) if ttl < Duration::from_millis(1) => Err(Error::new(
            ErrorKind::Usage,
            "the time to live is under a millisecond: use at least 1 ms, or delete the key",
        )),
        _ => Ok(()),
    }
}
