//! Reads request streams from files: CSV with the header `ts_ms,client,op,key,size`, or plain text with one key a line;
//! both may be compressed with zstd. Keys become numbers in the order in which they first appear.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::Failure;

/// What a request does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Reads it.
    Get,
    /// Changes or deletes it: a copy is of no use any more.
    Change,
}

/// A request stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// What was done to which key.
    pub(crate) requests: Vec<(Op, u32)>,
    /// How many different keys there are.
    pub(crate) keys: u32,
    /// When each request was made, in milliseconds as the file says; the number of the request in a plain file of keys.
    pub(crate) at_ms: Vec<u64>,
    /// Who made each request: a number as it stands there, a name as its hash; 0 in a plain file of keys.
    pub(crate) clients: Vec<u32>,
    /// What the keys are called.
    pub(crate) names: Vec<Box<[u8]>>,
    /// The last size that was said of each key.
    pub(crate) sizes: Vec<Option<u32>>,
}

/// The first line of a trace in CSV.
pub(crate) const HEADER: &str = "ts_ms,client,op,key,size";
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// No trace has longer lines; what has is no trace.
const LINE_MAX: u64 = 64 << 10;
/// Requests of a trace: some 12 bytes of memory each.
const REQUESTS_MAX: usize = 200_000_000;

impl Trace {
    /// Reads a file; how it is packed and laid out is seen from its content.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |why: String| format!("trace {}: {why}", path.display());
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let mut input = BufReader::with_capacity(1 << 16, file);
        let start = input
            .fill_buf()
            .map_err(|error| failed(error.to_string()))?;
        let parsed = if start.starts_with(&ZSTD) {
            let unpacked =
                zstd::Decoder::with_buffer(input).map_err(|error| failed(error.to_string()))?;
            Self::parse(BufReader::new(unpacked))
        } else {
            Self::parse(input)
        };
        parsed.map_err(failed)
    }

    /// Reads unpacked lines.
    fn parse(mut input: impl BufRead) -> Result<Self, Failure> {
        let mut trace = Self::default();
        let mut numbers = HashMap::new();
        let mut line = Vec::new();
        let mut csv = false;
        for number in 1u64.. {
            line.clear();
            let read = input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
            if read.map_err(|error| format!("line {number}: {error}"))? == 0 {
                break;
            }
            if line.len() as u64 == LINE_MAX {
                return Err(format!(
                    "line {number} is longer than {LINE_MAX} bytes: this is no trace"
                ));
            }
            let text = line.trim_ascii();
            if number == 1 && text == HEADER.as_bytes() {
                csv = true;
            } else if number == 1 && text.contains(&b',') {
                return Err(format!(
                    "line 1 looks like CSV, but is not the header {HEADER}"
                ));
            } else if !text.is_empty() {
                let fields = if csv {
                    fields(text).map_err(|why| format!("line {number}: {why}"))?
                } else {
                    Fields {
                        at_ms: number,
                        client: 0,
                        op: Op::Get,
                        key: text,
                        size: None,
                    }
                };
                trace.push(&fields, &mut numbers)?;
            }
        }
        if trace.requests.is_empty() {
            return Err("there is no request in it".to_owned());
        }
        trace.names = vec![Box::default(); numbers.len()];
        for (name, number) in numbers {
            trace.names[number as usize] = name;
        }
        Ok(trace)
    }

    fn push(
        &mut self,
        fields: &Fields<'_>,
        numbers: &mut HashMap<Box<[u8]>, u32>,
    ) -> Result<(), Failure> {
        let number = match numbers.get(fields.key) {
            Some(number) => *number,
            None => {
                let number = self.keys;
                self.keys = number
                    .checked_add(1)
                    .ok_or("there are more than 2^32 keys in it")?;
                numbers.insert(fields.key.into(), number);
                self.sizes.push(None);
                number
            }
        };
        let size = &mut self.sizes[number as usize];
        *size = fields.size.or(*size);
        if self.requests.len() == REQUESTS_MAX {
            return Err(format!("there are more than {REQUESTS_MAX} requests in it"));
        }
        self.at_ms.push(fields.at_ms);
        self.clients.push(fields.client);
        self.requests.push((fields.op, number));
        Ok(())
    }
}

/// What a line says.
struct Fields<'a> {
    at_ms: u64,
    client: u32,
    op: Op,
    key: &'a [u8],
    size: Option<u32>,
}

/// Reads one line of CSV.
fn fields(line: &[u8]) -> Result<Fields<'_>, Failure> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b',').collect();
    let [at_ms, client, op, key, size] = fields[..] else {
        return Err(format!(
            "{} fields instead of the 5 of {HEADER}",
            fields.len()
        ));
    };
    if key.is_empty() {
        return Err("the key is empty".to_owned());
    }
    if !size.iter().all(u8::is_ascii_digit) {
        return Err(format!(
            "the size is \"{}\", which is no number of bytes",
            size.escape_ascii()
        ));
    }
    let at_ms = number(at_ms).ok_or_else(|| {
        let shown = at_ms.escape_ascii();
        format!("the time is \"{shown}\", which is no number of milliseconds")
    })?;
    let read = match op {
        b"get" => Op::Get,
        b"set" | b"del" => Op::Change,
        other => {
            return Err(format!(
                "the op is \"{}\", which is none of get, set, del",
                other.escape_ascii()
            ));
        }
    };
    // What was deleted has no size, whatever is written there.
    let bytes = number(size);
    Ok(Fields {
        at_ms,
        client: number(client).unwrap_or_else(|| hash(client)),
        op: read,
        key,
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

    fn parsed(text: &str) -> Result<Trace, Failure> {
        Trace::parse(text.as_bytes())
    }

    #[test]
    fn plain_keys_are_gets() {
        let trace = parsed("a\nb\n\na\r\n").unwrap();
        assert_eq!(trace.requests, [(Op::Get, 0), (Op::Get, 1), (Op::Get, 0)]);
        assert_eq!((trace.keys, &trace.at_ms[..]), (2, &[1, 2, 4][..]));
        assert_eq!(trace.names, [b"a"[..].into(), b"b"[..].into()]);
    }

    #[test]
    fn csv_has_operations() {
        let trace =
            parsed("ts_ms,client,op,key,size\n1,c,get,a,\n2,c,set,a,17\n3,d,del,b,0\n").unwrap();
        assert_eq!(
            trace.requests,
            [(Op::Get, 0), (Op::Change, 0), (Op::Change, 1)]
        );
        assert_eq!(trace.sizes, [Some(17), None]);
        assert_eq!(trace.clients[0], trace.clients[1]);
        assert_ne!(trace.clients[1], trace.clients[2]);
        assert_eq!(trace.at_ms, [1, 2, 3]);
        let numbered =
            parsed("ts_ms,client,op,key,size\n1,4000000000,get,a,\n1,4294967296,get,a,\n").unwrap();
        assert_eq!(numbered.clients[0], 4_000_000_000);
    }

    #[test]
    fn c12_bad_input_is_said_by_line() {
        let header = "ts_ms,client,op,key,size\n";
        let cases = [
            (String::new(), "no request"),
            (header.to_owned(), "no request"),
            ("time,key\n1,a\n".to_owned(), "line 1 looks like CSV"),
            (format!("{header}1,c,get,a,\n1,c,get\n"), "line 3: 3 fields"),
            (
                format!("{header}1,c,incr,a,1\n"),
                "line 2: the op is \"incr\"",
            ),
            (format!("{header}1,c,get,,1\n"), "line 2: the key is empty"),
            (
                format!("{header}1,c,get,a,1KB\n"),
                "line 2: the size is \"1KB\"",
            ),
            ("x".repeat(LINE_MAX as usize + 1), "line 1 is longer"),
        ];
        for (text, expected) in cases {
            let why = parsed(&text).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn packed_and_plain_files_are_the_same_and_a_cut_one_is_an_error() {
        let dir = std::env::temp_dir().join(format!("nearcache-trace-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let text: String = (0..10_000)
            .map(|number| format!("key{}\n", number % 977))
            .collect();
        let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).unwrap();
            Trace::read(&path)
        };
        let plain = write("plain", text.as_bytes()).unwrap();
        assert_eq!(plain.requests.len(), 10_000);
        assert_eq!(write("packed", &packed).unwrap(), plain);
        assert!(write("cut", &packed[..packed.len() / 2]).is_err());
        let why = Trace::read(&dir.join("missing")).unwrap_err();
        assert!(why.contains("missing"), "{why}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
