//! What an entry is called in what is counted and published.

use std::fmt;

use nearcache_l1::Key;

/// Entries with longer names are not counted, published or read from what was published.
pub(super) const LONGEST: usize = 1024;

/// What an entry is called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// As L1 files it.
    Plain {
        /// Number of the db, and flags.
        db: u32,
        /// The key, or the name of a kept reply.
        bytes: Box<[u8]>,
    },
    /// Only the hash of its name was told: it can be recognised, but not read.
    Hashed(u64),
}

impl Name {
    /// The name of an entry.
    pub fn plain(filed: Key<'_>) -> Self {
        Self::Plain {
            db: filed.db,
            bytes: filed.bytes.into(),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain { db, bytes } => Key::new(*db, bytes).fmt(f),
            Self::Hashed(hash) => write!(f, "#{hash:016x}"),
        }
    }
}
