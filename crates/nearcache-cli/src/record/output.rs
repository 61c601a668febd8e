//! The file that is written: CSV as `trace` reads it, in whole lines, so that an interrupted recording is a trace as well.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nearcache_sim::Lines;

use crate::outcome::Failure;

/// Bytes that are collected before they are written.
const COLLECTED: usize = 64 << 10;

/// The file, and what names become in it.
pub(super) struct Output {
    file: File,
    lines: Vec<u8>,
    names: Names,
}

/// A keyed hash (SipHash-2-4): who does not have the key can neither undo it nor try names.
pub(super) struct Names {
    key: (u64, u64),
    /// Whether names of keys are replaced as well, not only addresses of clients.
    hashed: bool,
}

impl Names {
    /// `salt`: none for names as they are; empty for a key that nobody knows afterwards.
    pub(super) fn new(salt: Option<&str>) -> Self {
        let key = match salt {
            Some(salt) if !salt.is_empty() => {
                let half = |number| sip((number, 0), &[salt.as_bytes()]);
                (half(1), half(2))
            }
            _ => {
                let random = RandomState::new();
                (random.hash_one(1), random.hash_one(2))
            }
        };
        Self {
            key,
            hashed: salt.is_some(),
        }
    }

    /// The number of a key of a database.
    pub(super) fn number(&self, db: u32, key: &[u8]) -> u64 {
        sip(self.key, &[&db.to_le_bytes(), key])
    }

    /// The number of a client: of its address without the port, as the connections of a pool are one pod.
    pub(super) fn client(&self, address: &[u8]) -> u32 {
        let port = address.iter().rposition(|byte| *byte == b':');
        let host = port.filter(|at| address[at + 1..].iter().all(u8::is_ascii_digit));
        let host = host.map_or(address, |at| &address[..at]);
        sip(self.key, &[b"client", host]) as u32
    }

    /// Appends the name of a key: its hash, or itself with what would disturb CSV as `%2c`.
    fn put(&self, db: u32, key: &[u8], number: u64, line: &mut Vec<u8>) {
        if self.hashed {
            line.extend_from_slice(format!("{number:016x}").as_bytes());
            return;
        }
        if db != 0 {
            line.extend_from_slice(format!("db{db}:").as_bytes());
        }
        for byte in key {
            match byte {
                b',' | b'%' | b'"' => line.extend_from_slice(format!("%{byte:02x}").as_bytes()),
                byte if byte.is_ascii_graphic() => line.push(*byte),
                byte => line.extend_from_slice(format!("%{byte:02x}").as_bytes()),
            }
        }
        if key.is_empty() {
            line.push(b'%');
        }
    }
}

#[allow(
    deprecated,
    reason = "the only keyed hash of std whose algorithm stays the same"
)]
fn sip((first, second): (u64, u64), parts: &[&[u8]]) -> u64 {
    let mut hasher = std::hash::SipHasher::new_with_keys(first, second);
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

/// A line of the file.
pub(super) struct Request<'a> {
    pub(super) at_ms: u64,
    pub(super) client: u32,
    pub(super) op: &'static str,
    pub(super) db: u32,
    pub(super) key: &'a [u8],
    pub(super) number: u64,
    pub(super) size: Option<u64>,
}

impl Output {
    /// Makes the file, which must not exist yet. Only its owner can read it: names of keys may say who somebody is.
    pub(super) fn create(path: &Path, names: Names) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self {
            file,
            lines: format!("{}\n", Lines::HEADER).into_bytes(),
            names,
        })
    }

    /// What names become.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Adds a line.
    pub(super) fn add(&mut self, request: &Request<'_>) -> Result<(), Failure> {
        let start = format!("{},{},{},", request.at_ms, request.client, request.op);
        self.lines.extend_from_slice(start.as_bytes());
        let Request {
            db, key, number, ..
        } = *request;
        self.names.put(db, key, number, &mut self.lines);
        let size = request.size.map(|size| size.to_string());
        let end = format!(",{}\n", size.unwrap_or_default());
        self.lines.extend_from_slice(end.as_bytes());
        match self.lines.len() >= COLLECTED {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes what was collected.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        written.map_err(|error| format!("cannot write the trace: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_of_a_pool_are_one_client() {
        let names = Names::new(None);
        let client = |address: &str| names.client(address.as_bytes());
        assert_eq!(client("10.0.0.1:60866"), client("10.0.0.1:1"));
        assert_eq!(client("[::1]:60866"), client("[::1]:1"));
        assert_ne!(client("10.0.0.1:60866"), client("10.0.0.2:60866"));
        assert_ne!(client("unix:/a b:c"), client("unix:/a b"));
        assert_ne!(client("lua"), client(""));
    }

    #[test]
    fn names_are_hashed_by_the_salt_or_made_fit_for_csv() {
        let name = |names: &Names, db, key: &[u8]| {
            let mut line = Vec::new();
            names.put(db, key, names.number(db, key), &mut line);
            String::from_utf8(line).unwrap()
        };
        let plain = Names::new(None);
        assert_eq!(name(&plain, 0, b"a:1"), "a:1");
        assert_eq!(name(&plain, 3, b"a, b%\n\xff"), "db3:a%2c%20b%25%0a%ff");
        assert_eq!(name(&plain, 0, b""), "%");
        let (one, same, other) = (
            Names::new(Some("x")),
            Names::new(Some("x")),
            Names::new(Some("y")),
        );
        let hashed = name(&one, 0, b"a:1");
        assert_eq!((hashed.len(), &hashed), (16, &name(&same, 0, b"a:1")));
        assert_ne!(hashed, name(&other, 0, b"a:1"));
        assert_ne!(hashed, name(&one, 1, b"a:1"));
        let unknown = Names::new(Some(""));
        assert_ne!(
            name(&unknown, 0, b"a"),
            name(&Names::new(Some("")), 0, b"a")
        );
    }
}
