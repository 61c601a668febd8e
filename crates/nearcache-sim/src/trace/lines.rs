//! The lines of a trace file: CSV with the header `ts_ms,client,op,key,size`, or plain text with one key a line.
//! Keys become numbers in the order in which they first appear. Neither opens nor unpacks a file.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{BufRead, Read as _};

use super::Kind;
use crate::Error;

/// What the lines of a trace file say. It lacks what not every file says: sizes, clients, moments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// What was done to which key.
    pub requests: Vec<(Kind, u32)>,
    /// How many different keys there are.
    pub keys: u32,
    /// When each request was made, in milliseconds as the file says; the number of the line in a plain file of keys.
    pub at_ms: Vec<u64>,
    /// Who made each request: a number as it stands there, a name as its hash; 0 in a plain file of keys.
    pub clients: Vec<u32>,
    /// Whether these are times; not in a plain file of keys.
    pub timed: bool,
    /// What the keys are called.
    pub names: Vec<Box<[u8]>>,
    /// The last size that was said of each key.
    pub sizes: Vec<Option<u32>>,
}

impl Lines {
    /// The first line of a trace in CSV.
    pub const HEADER: &str = "ts_ms,client,op,key,size";
    /// No trace has longer lines; what has is no trace.
    pub const LINE_BYTES_MAX: usize = 64 << 10;
    /// Most requests: some 20 bytes of memory each.
    pub const REQUESTS_MAX: usize = 200_000_000;
    /// The latest time: the year 10000, so that micro- and nanoseconds are not taken for milliseconds.
    pub const AT_MS_MAX: u64 = 253_402_300_800_000;
    /// Most bytes of all keys together: a small file that was packed may hold far more than memory does.
    pub const NAME_BYTES_MAX: usize = 3 << 30;

    /// Reads unpacked lines.
    ///
    /// # Errors
    /// When `input` fails, at the first line that is not one of a trace, and beyond the limits above.
    pub fn parse(input: impl BufRead) -> Result<Self, Error> {
        Self::within(input, Self::REQUESTS_MAX, Self::NAME_BYTES_MAX).map_err(Error::new)
    }

    /// Reads a second, on average; `None` where there are no times, or all are one.
    pub fn reads_per_s(&self) -> Option<f64> {
        let (first, last) = (self.at_ms.iter().min()?, self.at_ms.iter().max()?);
        let reads = self.requests.iter().filter(|(kind, _)| *kind == Kind::Read);
        let seconds = (last - first) as f64 / 1e3;
        (self.timed && seconds > 0.0).then(|| reads.count() as f64 / seconds)
    }

    /// The median of the sizes that are said, of keys.
    pub fn median_size(&self) -> Option<u32> {
        let mut sizes: Vec<u32> = self.sizes.iter().flatten().copied().collect();
        let middle = sizes.len() / 2;
        (!sizes.is_empty()).then(|| *sizes.select_nth_unstable(middle).1)
    }

    /// Keys whose size is not said.
    pub fn without_size(&self) -> usize {
        self.sizes.iter().filter(|size| size.is_none()).count()
    }

    fn within(
        mut input: impl BufRead,
        requests_max: usize,
        name_bytes_max: usize,
    ) -> Result<Self, String> {
        let mut lines = Self::default();
        let mut numbers = Numbers::default();
        let mut line = Vec::new();
        let mut csv = false;
        for number in 1u64.. {
            line.clear();
            let mut rest = input.by_ref().take(Self::LINE_BYTES_MAX as u64);
            let read = rest.read_until(b'\n', &mut line);
            if read.map_err(|error| format!("line {number}: {error}"))? == 0 {
                break;
            }
            if line.len() == Self::LINE_BYTES_MAX {
                return Err(format!(
                    "line {number} has {} bytes or more: this is no trace",
                    Self::LINE_BYTES_MAX
                ));
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let first = lines.requests.is_empty() && !csv;
            if first && text == Self::HEADER.as_bytes() {
                csv = true;
            } else if first && text.contains(&b',') {
                return Err(format!(
                    "line {number} looks like CSV, but is not the header {}",
                    Self::HEADER
                ));
            } else {
                let fields = match csv {
                    true => fields(text).map_err(|why| format!("line {number}: {why}"))?,
                    false => Fields::of_key(text, number),
                };
                if lines.requests.len() == requests_max {
                    return Err(format!("there are more than {requests_max} requests in it"));
                }
                let key = numbers.of(fields.key, name_bytes_max)?;
                lines.note_size(&fields, key);
                if let Some(kind) = fields.kind {
                    lines.push(kind, &fields, key);
                }
            }
        }
        if lines.requests.is_empty() {
            return Err("there is no request in it".to_owned());
        }
        lines.timed = csv;
        lines.keys = numbers.keys;
        lines.names = numbers.names();
        Ok(lines)
    }

    fn note_size(&mut self, fields: &Fields<'_>, key: u32) {
        if key as usize == self.sizes.len() {
            self.sizes.push(None);
        }
        let size = &mut self.sizes[key as usize];
        *size = fields.size.or(*size);
    }

    fn push(&mut self, kind: Kind, fields: &Fields<'_>, key: u32) {
        self.at_ms.push(fields.at_ms);
        self.clients.push(fields.client);
        self.requests.push((kind, key));
    }
}

/// The numbers that keys have, in the order in which they came.
#[derive(Default)]
struct Numbers {
    known: HashMap<Box<[u8]>, u32>,
    keys: u32,
    name_bytes: usize,
}

impl Numbers {
    fn of(&mut self, name: &[u8], name_bytes_max: usize) -> Result<u32, String> {
        if let Some(number) = self.known.get(name) {
            return Ok(*number);
        }
        let number = self.keys;
        self.keys = number
            .checked_add(1)
            .ok_or("there are more than 2^32 keys in it")?;
        self.name_bytes += name.len();
        if self.name_bytes > name_bytes_max {
            return Err(format!(
                "its keys are longer than {name_bytes_max} bytes together"
            ));
        }
        self.known.insert(name.into(), number);
        Ok(number)
    }

    fn names(self) -> Vec<Box<[u8]>> {
        let mut names = vec![Box::default(); self.known.len()];
        for (name, number) in self.known {
            names[number as usize] = name;
        }
        names
    }
}

/// What a line says.
struct Fields<'a> {
    at_ms: u64,
    client: u32,
    /// None for a fill, which only says a size: with another cache in front there is none, or it is its own.
    kind: Option<Kind>,
    key: &'a [u8],
    size: Option<u32>,
}

impl<'a> Fields<'a> {
    /// Of a line that is a key and nothing else.
    fn of_key(key: &'a [u8], number: u64) -> Self {
        Self {
            at_ms: number,
            client: 0,
            kind: Some(Kind::Read),
            key,
            size: None,
        }
    }
}

/// Reads one line of CSV.
fn fields(line: &[u8]) -> Result<Fields<'_>, String> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b',').collect();
    let [at_ms, client, op, key, size] = fields[..] else {
        return Err(format!(
            "{} fields instead of the 5 of {}",
            fields.len(),
            Lines::HEADER
        ));
    };
    if key.is_empty() {
        return Err("the key is empty".to_owned());
    }
    let bytes = number(size);
    if bytes.is_none() && !size.is_empty() {
        return Err(format!(
            "the size is \"{}\", which is no number of bytes below 2^32",
            size.escape_ascii()
        ));
    }
    let time = number(at_ms).filter(|at_ms| *at_ms <= Lines::AT_MS_MAX);
    let at_ms = time.ok_or_else(|| {
        let shown = at_ms.escape_ascii();
        format!("the time is \"{shown}\", which is no number of milliseconds before the year 10000")
    })?;
    let kind = match op {
        b"get" => Some(Kind::Read),
        b"set" | b"del" => Some(Kind::Write),
        b"fill" => None,
        other => {
            return Err(format!(
                "the op is \"{}\", which is none of get, set, del, fill",
                other.escape_ascii()
            ));
        }
    };
    Ok(Fields {
        at_ms,
        client: number(client).unwrap_or_else(|| hash(client)),
        kind,
        key,
        // What was deleted has no size, whatever is written there.
        size: bytes.filter(|_| op != b"del"),
    })
}

/// A decimal number without a sign.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let plain = text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| plain)?;
    text.parse().ok()
}

fn hash(client: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(client);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Lines, Error> {
        Lines::parse(text.as_bytes())
    }

    #[test]
    fn plain_keys_are_reads() {
        let lines = parsed("a\nb\n\na\r\n").unwrap();
        let reads = [(Kind::Read, 0), (Kind::Read, 1), (Kind::Read, 0)];
        assert_eq!(lines.requests, reads);
        assert_eq!((lines.keys, &lines.at_ms[..]), (2, &[1, 2, 4][..]));
        assert_eq!(lines.names, [b"a"[..].into(), b"b"[..].into()]);
    }

    #[test]
    fn csv_has_operations() {
        let lines =
            parsed("ts_ms,client,op,key,size\n1,c,get,a,\n2,c,set,a,17\n3,d,del,b,0\n").unwrap();
        assert_eq!(
            lines.requests,
            [(Kind::Read, 0), (Kind::Write, 0), (Kind::Write, 1)]
        );
        assert_eq!(lines.sizes, [Some(17), None]);
        assert_eq!(lines.clients[0], lines.clients[1]);
        assert_ne!(lines.clients[1], lines.clients[2]);
        assert_eq!(lines.at_ms, [1, 2, 3]);
        assert_eq!(lines.reads_per_s(), Some(500.0));
        assert_eq!(parsed("a\nb\n").unwrap().reads_per_s(), None);
        assert_eq!((lines.median_size(), lines.without_size()), (Some(17), 1));
        let numbered =
            parsed("ts_ms,client,op,key,size\n1,4000000000,get,a,\n1,4294967296,get,a,\n").unwrap();
        assert_eq!(numbered.clients[0], 4_000_000_000);
        let filled = parsed("ts_ms,client,op,key,size\n1,c,get,a,\n2,c,fill,a,17\n").unwrap();
        assert_eq!(
            (filled.requests.len(), &filled.sizes[..]),
            (1, &[Some(17)][..])
        );
        let late = parsed("\n\r\nts_ms,client,op,key,size\n7,c,get,a,\n").unwrap();
        assert_eq!(late.at_ms, [7]);
    }

    #[test]
    fn c12_bad_input_is_said_by_line() {
        let header = "ts_ms,client,op,key,size\n";
        let line = |text: &str| format!("{header}{text}\n");
        let cases = [
            (String::new(), "no request"),
            (header.to_owned(), "no request"),
            ("time,key\n1,a\n".to_owned(), "line 1 looks like CSV"),
            (line("1,c,get,a,\n1,c,get"), "line 3: 3 fields"),
            (line("1,c,incr,a,1"), "line 2: the op is \"incr\""),
            (line("1,c,get,,1"), "line 2: the key is empty"),
            (line("1,c,get,a,1KB"), "line 2: the size is \"1KB\""),
            (
                line("1,c,get,a,4294967296"),
                "line 2: the size is \"4294967296\"",
            ),
            (line("-1,c,get,a,"), "line 2: the time is \"-1\""),
            (line(",c,get,a,"), "line 2: the time is \"\""),
            (line("1800000000000000,c,get,a,"), "before the year 10000"),
            (line("18446744073709551615,c,get,a,"), "line 2: the time is"),
            ("x".repeat(Lines::LINE_BYTES_MAX), "line 1 has 65536 bytes"),
        ];
        for (text, expected) in cases {
            let why = parsed(&text).unwrap_err().to_string();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn c12_what_is_kept_has_limits() {
        let within = |text: &str| Lines::within(text.as_bytes(), 3, 4);
        assert_eq!(within("aa\nbb\naa\n").unwrap().keys, 2);
        let why = within("a\na\na\na\n").unwrap_err();
        assert!(why.contains("more than 3 requests"), "{why}");
        let why = within("aa\nbbb\n").unwrap_err();
        assert!(why.contains("longer than 4 bytes together"), "{why}");
    }
}
