//! Names of entries as they leave the process, and as they come in.
//!
//! Inside, a kept reply is named by the place of its command in the table, which differs between versions;
//! outside, by the command's words. What comes in is never more than a read that L1 may serve.

use std::hash::Hasher;

use nearcache_l1::Key;
use siphasher::sip::SipHasher24;

use super::frame::{Reader, put_varint};
use super::ignored::Ignored;
use super::name::{LONGEST, Name};
use crate::commands::{self, Source};
use crate::entry_key::{self, DBS, EntryKey, Kind};

/// Begins the name of a value: db, key.
const VALUE: u8 = 0;

/// Begins the name of a kept reply: db, count of words, words.
const REPLY: u8 = 1;

/// Begins the hash of one of the others.
const HASHED: u8 = 2;

/// The shortest name on the wire: kind, db, length of an empty key.
pub(super) const SHORTEST: usize = 3;

/// Words of a command whose name inside is not too long: each but the first takes four bytes there.
const MOST_WORDS: usize = 1 + LONGEST / 4;

/// How entries are named in what is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyNames {
    /// By their keys, so that a new pod can fetch them.
    #[default]
    Plain,
    /// By hashes of their keys, which pods that know the keys recognise. Whoever can guess a key can test
    /// the guess.
    Hashed,
}

/// Appends the name of an entry; `false`, and nothing appended, when the entry is none of value or kept
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

/// The hash of an entry's name as it leaves the process, the same in every process and version; `None` where
/// it never leaves.
pub(super) fn hash(filed: Key<'_>) -> Option<u64> {
    let mut name = Vec::with_capacity(filed.bytes.len() + 16);
    write_plain(filed, &mut name)?;
    let mut hasher = SipHasher24::new_with_keys(0, 0);
    hasher.write(&name);
    Some(hasher.finish())
}

fn write_hash(hash: u64, out: &mut Vec<u8>) {
    out.push(HASHED);
    out.extend_from_slice(&hash.to_le_bytes());
}

fn write_plain(filed: Key<'_>, out: &mut Vec<u8>) -> Option<()> {
    let EntryKey { kind, db, bytes: _ } = EntryKey::of(filed);
    if matches!(kind, Kind::Head | Kind::Load) || filed.bytes.len() > LONGEST {
        return None;
    }
    if kind == Kind::Value {
        out.push(VALUE);
        put_varint(db, out);
        put_word(filed.bytes, out);
        return Some(());
    }
    let (_, argv) = entry_key::command(filed.bytes)?;
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
            if words > MOST_WORDS {
                // Passed over, and not kept: empty words are free to whoever writes them.
                for _ in 0..words {
                    word(from)?;
                }
                return Ok(None);
            }
            let mut argv = Vec::with_capacity(words);
            for _ in 0..words {
                argv.push(word(from)?);
            }
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

/// The entry of a kept reply. This decides what a manifest can make a pod send.
fn reply(db: u32, argv: &[&[u8]]) -> Option<Name> {
    let (place, serve) = commands::served(argv)?;
    // Their values lie under the keys themselves; under one name, a reply to MGET would outlive all keys
    // but the first.
    if db >= DBS || matches!(serve.source, Source::Get | Source::MGet) {
        return None;
    }
    let bytes = entry_key::compose(place, argv.get(1..)?)?.into_boxed_slice();
    let db = db | Kind::Reply as u32;
    (bytes.len() <= LONGEST).then_some(Name::Plain { db, bytes })
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests;
