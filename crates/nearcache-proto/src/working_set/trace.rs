//! A trace of what a pod reads, made of its samples, as lines of CSV that `nearcache simulate` takes.
//!
//! Bounded in bytes until it is taken. Never holds a value; names of keys only as they were asked for.

use std::hash::Hasher as _;

use nearcache_l1::{Key, Timestamp};
use siphasher::sip::SipHasher24;

use crate::entry_key::{EntryKey, Kind, subject};
use crate::shim::{Mutex, lock};

/// The first line.
const HEADER: &str = "ts_ms,client,op,key,size\n";

/// How keys are named in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceNames {
    /// As they are.
    Plain,
    /// By hashes that nobody can undo who does not know this salt. Pods with the same salt give a key the same name, and
    /// so does `nearcache record --hash-keys SALT`.
    Hashed(String),
}

/// A trace that is being made.
pub struct ReadTrace {
    names: TraceNames,
    client: u32,
    unix_ms_at_zero: u64,
    most_bytes: usize,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    begun: bool,
    lines: u64,
    left_out: u64,
    reads: u64,
}

impl ReadTrace {
    /// A trace of the pod called `client`, which holds at most `most_bytes` that were not taken. Times are since 1970:
    /// the clock of the pod began at `unix_ms_at_zero`.
    pub fn new(names: TraceNames, client: u32, unix_ms_at_zero: u64, most_bytes: usize) -> Self {
        Self {
            names,
            client,
            unix_ms_at_zero,
            most_bytes,
            lines: Mutex::new(Lines::default()),
        }
    }

    /// Adds a read of an entry, which stands for so many.
    pub(crate) fn push(&self, at: Timestamp, filed: Key<'_>, reads: u32, size: Option<usize>) {
        let ms = self.unix_ms_at_zero.saturating_add(at.as_micros() / 1000);
        let name = self.name(filed);
        let size = size.map_or_else(String::new, |bytes| bytes.to_string());
        let line = format!("{ms},{},get,{name},{size}\n", self.client);
        let mut lines = lock(&self.lines);
        if lines.text.len() + line.len() > self.most_bytes {
            lines.left_out += 1;
            return;
        }
        lines.text.extend_from_slice(line.as_bytes());
        lines.lines += 1;
        lines.reads += u64::from(reads);
    }

    /// The lines since this was called last; before the first, the header. One behind the other they are a trace.
    pub fn take(&self) -> Vec<u8> {
        let mut lines = lock(&self.lines);
        let text = std::mem::take(&mut lines.text);
        match std::mem::replace(&mut lines.begun, true) {
            true => text,
            false => [HEADER.as_bytes(), &text].concat(),
        }
    }

    /// Lines so far.
    pub fn lines_total(&self) -> u64 {
        lock(&self.lines).lines
    }

    /// Reads that those lines stand for: more than one each where a pod is so busy that it samples.
    pub fn reads_total(&self) -> u64 {
        lock(&self.lines).reads
    }

    /// Lines for which there was no room.
    pub fn left_out_total(&self) -> u64 {
        lock(&self.lines).left_out
    }

    /// A kept reply is an entry of its own: its key, and which of them it is.
    fn name(&self, filed: Key<'_>) -> String {
        let key = subject(filed);
        let parts: [&[u8]; 2] = [&key.db.to_le_bytes(), filed.bytes];
        match &self.names {
            TraceNames::Hashed(salt) => {
                let half = |number| sip((number, 0), &[salt.as_bytes()]);
                format!("{:016x}", sip((half(1), half(2)), &parts))
            }
            TraceNames::Plain if EntryKey::of(filed).kind == Kind::Value => plain(key),
            TraceNames::Plain => format!("{}#{:016x}", plain(key), sip((0, 0), &parts)),
        }
    }
}

fn sip((first, second): (u64, u64), parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(first, second);
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

/// A key as it is, with what would disturb CSV as `%2c`.
fn plain(key: Key<'_>) -> String {
    use std::fmt::Write as _;
    let mut name = match key.db {
        0 => String::new(),
        db => format!("db{db}:"),
    };
    for byte in key.bytes {
        match byte {
            b',' | b'%' | b'"' => _ = write!(name, "%{byte:02x}"),
            byte if byte.is_ascii_graphic() => name.push(char::from(*byte)),
            byte => _ = write!(name, "%{byte:02x}"),
        }
    }
    match key.bytes {
        [] => name + "%",
        _ => name,
    }
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use super::*;
    use crate::entry_key::compose;

    const AT: Timestamp = Timestamp::from_micros(5_000);

    fn text(trace: &ReadTrace) -> String {
        String::from_utf8(trace.take()).expect("ASCII")
    }

    #[test]
    fn lines_are_csv_and_bounded() {
        let trace = ReadTrace::new(TraceNames::Plain, 7, 1_000, 60);
        trace.push(AT, Key::new(0, b"a,\n"), 1, Some(3));
        trace.push(AT, Key::new(2, b""), 4, None);
        let header = "ts_ms,client,op,key,size\n";
        assert_eq!(
            text(&trace),
            format!("{header}1005,7,get,a%2c%0a,3\n1005,7,get,db2:%,\n")
        );
        assert_eq!((trace.lines_total(), trace.reads_total()), (2, 5));
        for _ in 0..10 {
            trace.push(AT, Key::new(0, b"k"), 1, None);
        }
        assert_eq!(text(&trace), "1005,7,get,k,\n".repeat(4));
        assert_eq!(trace.left_out_total(), 6);
        assert_eq!(text(&trace), "");
    }

    #[test]
    fn c13_hashed_names_say_nothing_and_agree_where_the_salt_does() {
        let name = |salt: &str, key| {
            let trace = ReadTrace::new(TraceNames::Hashed(salt.to_owned()), 1, 0, 1 << 10);
            trace.name(key)
        };
        let key = Key::new(0, b"user:42");
        assert_eq!(name("salt", key), name("salt", key));
        assert_ne!(name("salt", key), name("pepper", key));
        assert!(!name("salt", key).contains("user"));
        assert_ne!(name("salt", key), name("salt", Key::new(1, b"user:42")));
    }

    #[test]
    fn replies_about_a_key_are_told_apart() {
        let trace = ReadTrace::new(TraceNames::Plain, 1, 0, 1 << 10);
        let names = [&b"f"[..], b"g"].map(|field| {
            let filed = compose(3, &[&b"hash"[..], field]).expect("short");
            trace.name(EntryKey::reply(0, &filed).filed())
        });
        assert!(
            names.iter().all(|name| name.starts_with("hash#")),
            "{names:?}"
        );
        assert_ne!(names[0], names[1]);
    }
}
