//! How L1 files what it keeps: the kinds of entries, and the names of kept replies.
//!
//! A value lies under its key. A reply to any other command lies under a name made of the command, and
//! is of use only while the *head* of its key is the one it was filed with. The head is an entry under
//! the key itself, so an invalidation of the key removes it, and with it every reply, at once.

use bytes::Bytes;
use nearcache_l1::Key;

use crate::commands::{self, Class};

/// Dbs have smaller numbers than this.
pub(crate) const DBS: u32 = 1 << 29;

/// What an entry of L1 is, or a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub(crate) enum Kind {
    /// The value of a key.
    Value = 0,
    /// The head of a key.
    Head = DBS,
    /// A kept reply: its name is made by [`compose`].
    Reply = 1 << 30,
    /// The loads of a key, and what they lend: beside the fetches of the same key, so that an invalidation of the key
    /// finds both.
    Load = 1 << 31,
}

/// The key of an entry of L1, or of a flight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey<'a> {
    pub(crate) kind: Kind,
    pub(crate) db: u32,
    /// A key of L2, or the name of a kept reply.
    pub(crate) bytes: &'a [u8],
}

impl<'a> EntryKey<'a> {
    /// Of the value of a key.
    pub(crate) fn value(db: u32, key: &'a [u8]) -> Self {
        Self::new(Kind::Value, db, key)
    }

    /// Of the reply of this [name](compose).
    pub(crate) fn reply(db: u32, name: &'a [u8]) -> Self {
        Self::new(Kind::Reply, db, name)
    }

    /// Of the loads of a key.
    pub(crate) fn load(db: u32, key: &'a [u8]) -> Self {
        Self::new(Kind::Load, db, key)
    }

    pub(crate) fn new(kind: Kind, db: u32, bytes: &'a [u8]) -> Self {
        Self { kind, db, bytes }
    }

    /// What is filed so.
    #[inline]
    pub(crate) fn of(filed: Key<'a>) -> Self {
        let kind = match filed.db & !(DBS - 1) {
            0 => Kind::Value,
            KIND_HEAD => Kind::Head,
            KIND_REPLY => Kind::Reply,
            _ => Kind::Load,
        };
        Self::new(kind, filed.db & (DBS - 1), filed.bytes)
    }

    /// As the store files it: the kind lies in the bits of the db number that no db has.
    #[inline]
    pub(crate) fn filed(self) -> Key<'a> {
        Key::new(self.db | self.kind as u32, self.bytes)
    }

    /// The head of the key that this is about.
    pub(crate) fn head(self) -> Self {
        let key = self.subject();
        Self::new(Kind::Head, key.db, key.bytes)
    }

    /// The key in L2 that this is about.
    pub(crate) fn subject(self) -> Key<'a> {
        let key = match self.kind {
            Kind::Reply => self.bytes.get(2..).and_then(|mut rest| pull(&mut rest)),
            Kind::Value | Kind::Head | Kind::Load => None,
        };
        Key::new(self.db, key.unwrap_or(self.bytes))
    }

    /// Whether it holds a reply about a hash.
    pub(crate) fn is_of_hash(self) -> bool {
        let place = match (self.kind, self.bytes.split_first_chunk()) {
            (Kind::Reply, Some((place, _))) => u16::from_le_bytes(*place),
            _ => return false,
        };
        commands::at(place).is_some_and(
            |command| matches!(command.class, Class::Serve(serve) if serve.source.is_of_hash()),
        )
    }
}

const KIND_HEAD: u32 = Kind::Head as u32;
const KIND_REPLY: u32 = Kind::Reply as u32;

/// Longer commands are not kept: their name would take more room than their reply is worth.
const LONGEST: usize = 16 << 10;

/// Place in the table of commands, and length of the key.
const PREFIX: usize = 2 + 4;

/// The name under which the reply to the command at `place` of the table is kept; `None`: too long.
pub(crate) fn compose<A: AsRef<[u8]>>(place: u16, arguments: &[A]) -> Option<Vec<u8>> {
    let (key, rest) = arguments.split_first()?;
    let key = key.as_ref();
    let rest_bytes: usize = rest.iter().map(|arg| 4 + arg.as_ref().len()).sum();
    let bytes = PREFIX + key.len() + rest_bytes;
    if bytes > LONGEST {
        return None;
    }
    let mut name = Vec::with_capacity(bytes);
    name.extend_from_slice(&place.to_le_bytes());
    push(&mut name, key);
    for arg in rest {
        push(&mut name, arg.as_ref());
    }
    Some(name)
}

/// The command whose reply is kept under a name.
pub(crate) fn command(name: &[u8]) -> Option<(u16, Vec<Bytes>)> {
    let (place, mut rest) = name.split_first_chunk()?;
    let place = u16::from_le_bytes(*place);
    let mut argv = vec![Bytes::from_static(commands::at(place)?.name.as_bytes())];
    while !rest.is_empty() {
        argv.push(Bytes::copy_from_slice(pull(&mut rest)?));
    }
    Some((place, argv))
}

/// The key in L2 that what is filed so is about.
pub(crate) fn subject(filed: Key<'_>) -> Key<'_> {
    EntryKey::of(filed).subject()
}

/// What a user may be told about an entry: the key whose value or reply it holds, `None` for what is no copy of L2's.
pub fn user_key(filed: Key<'_>) -> Option<Key<'_>> {
    let entry = EntryKey::of(filed);
    matches!(entry.kind, Kind::Value | Kind::Reply).then(|| entry.subject())
}

/// The key whose data takes room in an entry; `None` for a head.
pub fn weighed_key(filed: Key<'_>) -> Option<Key<'_>> {
    let entry = EntryKey::of(filed);
    (entry.kind != Kind::Head).then(|| entry.subject())
}

fn push(name: &mut Vec<u8>, word: &[u8]) {
    // Bounded by LONGEST.
    name.extend_from_slice(&(word.len() as u32).to_le_bytes());
    name.extend_from_slice(word);
}

fn pull<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk()?;
    let (word, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = tail;
    Some(word)
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back() {
        let place = commands::place("zrange");
        let arguments: [&[u8]; 4] = [b"k\0\xff", b"", b"-1", b"withscores"];
        let name = compose(place, &arguments).unwrap();
        let (same, argv) = command(&name).unwrap();
        assert_eq!(same, place);
        assert_eq!(argv[0], "zrange");
        assert_eq!(&argv[1..], arguments);
        let entry = EntryKey::reply(3, &name);
        assert_eq!(entry.subject(), Key::new(3, b"k\0\xff"));
        assert_eq!(user_key(entry.filed()), Some(Key::new(3, b"k\0\xff")));
    }

    #[test]
    fn no_two_commands_share_a_name() {
        let place = commands::place("hmget");
        let split = |arguments: &[&str]| compose(place, arguments).unwrap();
        assert_ne!(split(&["k", "ab"]), split(&["k", "a", "b"]));
        assert_ne!(split(&["ka", "b"]), split(&["k", "ab"]));
        assert_ne!(split(&["k"]), split(&["k", ""]));
    }

    #[test]
    fn c12_a_name_of_any_bytes_is_read_without_harm() {
        for length in 0..40 {
            let name = vec![0xff; length];
            let _ = command(&name);
            let _ = EntryKey::reply(0, &name).subject();
        }
        assert!(compose(0, &[vec![0; LONGEST]]).is_none());
    }

    #[test]
    fn what_is_filed_is_found_as_what_it_was() {
        let name = compose(commands::place("hgetall"), &[b"k"]).unwrap();
        for (kind, bytes) in [
            (Kind::Value, &b"k"[..]),
            (Kind::Head, b"k"),
            (Kind::Load, b"k"),
            (Kind::Reply, &name),
        ] {
            for db in [0, 15, DBS - 1] {
                let entry = EntryKey::new(kind, db, bytes);
                assert!(EntryKey::of(entry.filed()) == entry, "{kind:?}");
                assert_eq!(entry.subject(), Key::new(db, b"k"));
            }
        }
    }

    #[test]
    fn a_head_is_nobodys_business() {
        let value = EntryKey::value(1, b"k");
        let (head, load) = (value.head().filed(), EntryKey::load(1, b"k").filed());
        let key = Key::new(1, b"k");
        assert_eq!(value.filed(), key);
        assert_eq!((user_key(head), weighed_key(head)), (None, None));
        assert_eq!((user_key(load), weighed_key(load)), (None, Some(key)));
        assert_eq!(user_key(key), Some(key));
    }
}
