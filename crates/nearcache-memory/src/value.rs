//! What a key can hold, and what it weighs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::args::wrong_type;
use super::sorted::SortedSet;
use nearcache_proto::resp::Reply;

/// Bookkeeping of one key, in bytes (estimated).
const KEY_OVERHEAD: usize = 128;
/// Bookkeeping of one element of a collection, in bytes (estimated).
const ELEMENT_OVERHEAD: usize = 64;

/// The value of a key. Collections are never empty.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Bytes),
    List(VecDeque<Bytes>),
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
    Sorted(SortedSet),
}

/// A value with its expiry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    /// When it expires; `None`: never.
    pub(super) deadline: Option<Timestamp>,
    /// What it is taken to occupy, its key included.
    pub(super) weight: usize,
}

impl Value {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::Sorted(_) => "zset",
        }
    }

    pub(super) fn text(&self) -> Result<&Bytes, Reply> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(wrong_type()),
        }
    }

    pub(super) fn list(&mut self) -> Result<&mut VecDeque<Bytes>, Reply> {
        match self {
            Self::List(list) => Ok(list),
            _ => Err(wrong_type()),
        }
    }

    pub(super) fn hash(&mut self) -> Result<&mut BTreeMap<Bytes, Bytes>, Reply> {
        match self {
            Self::Hash(hash) => Ok(hash),
            _ => Err(wrong_type()),
        }
    }

    pub(super) fn set(&mut self) -> Result<&mut BTreeSet<Bytes>, Reply> {
        match self {
            Self::Set(set) => Ok(set),
            _ => Err(wrong_type()),
        }
    }

    pub(super) fn sorted(&mut self) -> Result<&mut SortedSet, Reply> {
        match self {
            Self::Sorted(set) => Ok(set),
            _ => Err(wrong_type()),
        }
    }

    /// Whether it is a collection without elements.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::List(list) => list.is_empty(),
            Self::Hash(hash) => hash.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::Sorted(set) => set.is_empty(),
        }
    }

    /// What it is taken to occupy under `key`.
    pub(super) fn weight(&self, key: &[u8]) -> usize {
        let content = match self {
            Self::Text(text) => text.len(),
            Self::List(list) => list.iter().map(|e| element_weight(e)).sum(),
            Self::Hash(hash) => hash
                .iter()
                .map(|(field, value)| element_weight(field) + value.len())
                .sum(),
            Self::Set(set) => set.iter().map(|e| element_weight(e)).sum(),
            Self::Sorted(set) => set.weight(),
        };
        KEY_OVERHEAD + 2 * key.len() + content
    }
}

/// What one element of a collection is taken to occupy.
pub(super) fn element_weight(element: &[u8]) -> usize {
    ELEMENT_OVERHEAD + element.len()
}
