//! How L1 files what it keeps: which db numbers mean what, and the names of kept replies.
//!
//! A value lies under its key. A reply to any other command lies under a name made of the command, and
//! is of use only while the *head* of its key is the one it was filed with. The head is an entry under
//! the key itself, so an invalidation of the key removes it, and with it every reply, at once.

use bytes::Bytes;
use nearcache_l1::Key;

use crate::commands::{self, Class};

/// Dbs have smaller numbers than this.
pub(crate) const DBS: u32 = HEADS;

/// Flights of loaders, and what they lend, live beside the fetches of the same key: in the slot of this db number, so
/// that an invalidation of the key finds both.
pub(crate) const LOADS: u32 = 1 << 31;

/// Kept replies: their names are made by [`compose`].
pub(crate) const REPLIES: u32 = 1 << 30;

/// Heads.
pub(crate) const HEADS: u32 = 1 << 29;

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

/// The key in L2 that a slot is about.
pub(crate) fn subject(slot: Key<'_>) -> Key<'_> {
    let db = slot.db & (DBS - 1);
    if slot.db & REPLIES == 0 {
        return Key::new(db, slot.bytes);
    }
    let key = slot.bytes.get(2..).and_then(|mut rest| pull(&mut rest));
    Key::new(db, key.unwrap_or(slot.bytes))
}

/// What a user may be told about a slot: the key whose value or reply it holds, `None` for what is no copy of L2's.
pub fn user_key(slot: Key<'_>) -> Option<Key<'_>> {
    (slot.db & (HEADS | LOADS) == 0).then(|| subject(slot))
}

/// The key whose data takes room in a slot; `None` for a head.
pub fn weighed_key(slot: Key<'_>) -> Option<Key<'_>> {
    (slot.db & HEADS == 0).then(|| subject(slot))
}

/// The slot of the loads of a key.
pub(crate) fn loads(key: Key<'_>) -> Key<'_> {
    Key::new(key.db | LOADS, key.bytes)
}

/// Whether a slot holds a reply about a hash.
pub(crate) fn is_of_hash(slot: Key<'_>) -> bool {
    let place = match slot.bytes.split_first_chunk() {
        Some((place, _)) if slot.db & REPLIES != 0 => u16::from_le_bytes(*place),
        _ => return false,
    };
    commands::at(place).is_some_and(
        |command| matches!(command.class, Class::Serve(serve) if serve.source.is_of_hash()),
    )
}

/// The slot of the head of a key.
pub(crate) fn head(key: Key<'_>) -> Key<'_> {
    Key::new(key.db | HEADS, key.bytes)
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

#[cfg(all(test, not(feature = "loom")))]
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
        let slot = Key::new(3 | REPLIES, &name);
        assert_eq!(subject(slot), Key::new(3, b"k\0\xff"));
        assert_eq!(user_key(slot), Some(Key::new(3, b"k\0\xff")));
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
            let _ = subject(Key::new(REPLIES, &name));
        }
        assert!(compose(0, &[vec![0; LONGEST]]).is_none());
    }

    #[test]
    fn a_head_is_nobodys_business() {
        let key = Key::new(1, b"k");
        assert_eq!(user_key(head(key)), None);
        assert_eq!(weighed_key(head(key)), None);
        assert_eq!(user_key(loads(key)), None);
        assert_eq!(weighed_key(loads(key)), Some(key));
        assert_eq!(subject(head(key)), key);
        assert_eq!(user_key(key), Some(key));
    }
}
