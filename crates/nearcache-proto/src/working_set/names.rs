//! Names of slots as they leave the process, and as they come in.
//!
//! Inside, a kept reply is named by the place of its command in the table, which differs between versions;
//! outside, by the command's words. What comes in is never more than a read that L1 may serve.

use std::hash::Hasher;

use nearcache_l1::Key;
use siphasher::sip::SipHasher24;

use super::frame::{Reader, put_varint};
use super::ignored::Ignored;
use super::item::{LONGEST, Name};
use crate::commands::{self, Source};
use crate::slots::{self, DBS, REPLIES};

/// Begins the name of a value: db, key.
const VALUE: u8 = 0;

/// Begins the name of a kept reply: db, count of words, words.
const REPLY: u8 = 1;

/// Begins the hash of one of the others.
const HASHED: u8 = 2;

/// The shortest name on the wire: kind, db, length of an empty key.
pub(super) const SHORTEST: usize = 3;

/// How slots are named in what is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyNames {
    /// By their keys, so that a new pod can fetch them.
    #[default]
    Plain,
    /// By hashes of their keys, which pods that know the keys recognise. Whoever can guess a key can test
    /// the guess.
    Hashed,
}

/// Appends the name of a slot; `false`, and nothing appended, when the slot is none of value or kept
/// reply, or its name is too long.
pub(super) fn write(name: &Name, names: KeyNames, out: &mut Vec<u8>) -> bool {
    let (db, bytes) = match (name, names) {
        (Name::Plain { db, bytes }, KeyNames::Plain) => (*db, bytes),
        (Name::Plain { db, bytes }, KeyNames::Hashed) => {
            let hash = hash(Key::new(*db, bytes));
            hash.inspect(|hash| write_hash(*hash, out));
            return hash.is_some();
        }
        (Name::Hashed(hash), _) => {
            write_hash(*hash, out);
            return true;
        }
    };
    write_plain(Key::new(db, bytes), out).is_some()
}

/// The hash of a slot's name as it leaves the process, the same in every process and version; `None` where
/// it never leaves.
pub(super) fn hash(slot: Key<'_>) -> Option<u64> {
    let mut name = Vec::with_capacity(slot.bytes.len() + 16);
    write_plain(slot, &mut name)?;
    let mut hasher = SipHasher24::new_with_keys(0, 0);
    hasher.write(&name);
    Some(hasher.finish())
}

fn write_hash(hash: u64, out: &mut Vec<u8>) {
    out.push(HASHED);
    out.extend_from_slice(&hash.to_le_bytes());
}

fn write_plain(slot: Key<'_>, out: &mut Vec<u8>) -> Option<()> {
    let db = slot.db & !REPLIES;
    if db >= DBS || slot.bytes.len() > LONGEST {
        return None;
    }
    if slot.db & REPLIES == 0 {
        out.push(VALUE);
        put_varint(db, out);
        put_word(slot.bytes, out);
        return Some(());
    }
    let (_, argv) = slots::command(slot.bytes)?;
    out.push(REPLY);
    put_varint(db, out);
    put_varint(argv.len() as u32, out);
    argv.iter().for_each(|word| put_word(word, out));
    Some(())
}

fn put_word(word: &[u8], out: &mut Vec<u8>) {
    // No longer than a name.
    put_varint(word.len() as u32, out);
    out.extend_from_slice(word);
}

/// Reads a name; `None` for one that is not of use here: of a command that is not known or that L1 may
/// not serve, in a db that cannot be, or too long.
pub(super) fn read(from: &mut Reader<'_>) -> Result<Option<Name>, Ignored> {
    match from.array()? {
        [VALUE] => {
            let db = from.varint()?;
            let key = word(from)?;
            let of_use = db < DBS && key.len() <= LONGEST;
            Ok(of_use.then(|| Name::plain(Key::new(db, key))))
        }
        [REPLY] => {
            let db = from.varint()?;
            let words = from.varint()? as usize;
            if words > from.0.len() {
                return Err(Ignored::Hostile("more words than bytes"));
            }
            let argv: Vec<_> = (0..words).map(|_| word(from)).collect::<Result<_, _>>()?;
            Ok(reply(db, &argv))
        }
        [HASHED] => Ok(Some(Name::Hashed(from.u64()?))),
        _ => Err(Ignored::Hostile("a name of no known kind")),
    }
}

fn word<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], Ignored> {
    let length = from.varint()? as usize;
    from.take(length)
}

/// The slot of a kept reply. This decides what a manifest can make a pod send.
fn reply(db: u32, argv: &[&[u8]]) -> Option<Name> {
    let (place, serve) = commands::served(argv)?;
    // Their values lie under the keys themselves; under one name, a reply to MGET would outlive all keys
    // but the first.
    if db >= DBS || matches!(serve.source, Source::Get | Source::MGet) {
        return None;
    }
    let bytes = slots::compose(place, argv.get(1..)?)?.into_boxed_slice();
    let db = db | REPLIES;
    (bytes.len() <= LONGEST).then_some(Name::Plain { db, bytes })
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
