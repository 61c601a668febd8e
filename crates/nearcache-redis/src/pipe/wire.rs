//! The bytes of a pipe: commands out of them, replies into them.
//!
//! Never trusts a length that it read, and makes room for no more than has come.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use nearcache_proto::Protocol;
use nearcache_proto::resp::Reply;

/// As servers do, which take no longer word.
const LONGEST_WORD: usize = 512 << 20;

/// What was sent is not what a client sends.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed;

/// The next command in `input`, taken off it; `None` until all of it is there.
pub(super) fn command(input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, Malformed> {
    let Some(lengths) = lengths(input)? else {
        return Ok(None);
    };
    let whole = lengths.last().map_or(0, |word| word.end + 2);
    let bytes = match lengths.is_empty() {
        true => Bytes::new(),
        false => input.split_to(whole).freeze(),
    };
    Ok(Some(
        lengths.into_iter().map(|word| bytes.slice(word)).collect(),
    ))
}

/// Where the words of the first command are.
fn lengths(input: &[u8]) -> Result<Option<Vec<std::ops::Range<usize>>>, Malformed> {
    let mut at = 0;
    let Some(count) = header(input, &mut at, b'*')? else {
        return Ok(None);
    };
    if count == 0 {
        return Err(Malformed);
    }
    // No word takes less than six bytes.
    let mut words = Vec::with_capacity(count.min(input.len() / 6));
    for _ in 0..count {
        let Some(length) = header(input, &mut at, b'$')? else {
            return Ok(None);
        };
        if length > LONGEST_WORD {
            return Err(Malformed);
        }
        let end = at + length;
        match input.get(end..end + 2) {
            Some(b"\r\n") => words.push(at..end),
            Some(_) => return Err(Malformed),
            None => return Ok(None),
        }
        at = end + 2;
    }
    Ok(Some(words))
}

/// The number in a line that begins with `kind`; `None`: the line is not all there.
fn header(input: &[u8], at: &mut usize, kind: u8) -> Result<Option<usize>, Malformed> {
    const LONGEST: usize = 20;
    let line = &input[*at..];
    let Some(first) = line.first() else {
        return Ok(None);
    };
    if *first != kind {
        return Err(Malformed);
    }
    let line = &line[1..];
    let Some(end) = line.iter().take(LONGEST).position(|byte| *byte == b'\r') else {
        return match line.len() < LONGEST {
            true => Ok(None),
            false => Err(Malformed),
        };
    };
    let digits = std::str::from_utf8(&line[..end]).map_err(|_| Malformed)?;
    let number = digits.parse().map_err(|_| Malformed)?;
    match line.get(end + 1) {
        Some(b'\n') => *at += end + 3,
        Some(_) => return Err(Malformed),
        None => return Ok(None),
    }
    Ok(Some(number))
}

/// Writes a reply, which already has the shapes of `protocol`.
pub(super) fn encode(reply: &Reply, protocol: Protocol, out: &mut BytesMut) {
    match reply {
        Reply::Nil if protocol == Protocol::Resp2 => out.put_slice(b"$-1\r\n"),
        Reply::Nil => out.put_slice(b"_\r\n"),
        Reply::Int(number) => line(out, b':', &number.to_string()),
        Reply::Bulk(bytes) => {
            line(out, b'$', &bytes.len().to_string());
            out.put_slice(bytes);
            out.put_slice(b"\r\n");
        }
        Reply::Simple(text) => line(out, b'+', text),
        Reply::Array(items) => list(out, b'*', items, protocol),
        Reply::Set(items) => list(out, b'~', items, protocol),
        Reply::Map(pairs) => {
            line(out, b'%', &pairs.len().to_string());
            for (field, value) in pairs {
                encode(field, protocol, out);
                encode(value, protocol, out);
            }
        }
        Reply::Double(number) => line(out, b',', &number.to_string().to_lowercase()),
        Reply::Bool(flag) => line(out, b'#', if *flag { "t" } else { "f" }),
        Reply::Verbatim(format, text) => {
            line(out, b'=', &(format.len() + 1 + text.len()).to_string());
            for part in [format, ":", text, "\r\n"] {
                out.put_slice(part.as_bytes());
            }
        }
        Reply::BigNumber(digits) => line(out, b'(', digits),
        Reply::Error { code, message } if message.is_empty() => line(out, b'-', code),
        Reply::Error { code, message } => line(out, b'-', &format!("{code} {message}")),
    }
}

fn list(out: &mut BytesMut, kind: u8, items: &[Reply], protocol: Protocol) {
    line(out, kind, &items.len().to_string());
    for item in items {
        encode(item, protocol, out);
    }
}

/// A line that nothing in `text` can end early.
fn line(out: &mut BytesMut, kind: u8, text: &str) {
    out.put_u8(kind);
    out.reserve(text.len() + 2);
    for byte in text.bytes() {
        out.put_u8(match byte {
            b'\r' | b'\n' => b' ',
            byte => byte,
        });
    }
    out.put_slice(b"\r\n");
}

/// As much of `output` as there is room for.
pub(super) fn hand_over(output: &mut BytesMut, buf: &mut tokio::io::ReadBuf<'_>) {
    let count = output.len().min(buf.remaining());
    buf.put_slice(&output[..count]);
    output.advance(count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;

    fn all(bytes: &[u8]) -> Result<Vec<Vec<Bytes>>, Malformed> {
        let mut input = BytesMut::from(bytes);
        let mut found = Vec::new();
        while let Some(argv) = command(&mut input)? {
            found.push(argv);
        }
        Ok(found)
    }

    #[test]
    fn commands_that_came_together_are_told_apart() {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("SET").arg("k\0").arg(b"\r\n$1\r\n");
        pipeline.cmd("GET").arg("");
        let found = all(&pipeline.get_packed_pipeline()).unwrap();
        let expected: [&[&[u8]]; 4] = [
            &[b"MULTI"],
            &[b"SET", b"k\0", b"\r\n$1\r\n"],
            &[b"GET", b""],
            &[b"EXEC"],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn c12_a_command_cut_at_any_byte_waits_for_the_rest() {
        let packed = redis::cmd("SET")
            .arg("key")
            .arg("value")
            .get_packed_command();
        for end in 0..packed.len() {
            let mut input = BytesMut::from(&packed[..end]);
            assert_eq!(command(&mut input), Ok(None), "{end}");
            input.put_slice(&packed[end..]);
            let argv = command(&mut input).unwrap().unwrap();
            assert_eq!(argv, [&b"SET"[..], b"key", b"value"]);
            assert!(input.is_empty());
        }
    }

    #[test]
    fn c12_anything_else_is_refused() {
        for bad in [
            &b"PING\r\n"[..],
            b"*0\r\n",
            b"*-1\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$1\r\nxyz",
            b"*1\r\n$536870913\r\n",
            b"*1\r\n$18446744073709551615\r\n",
            b"*99999999999999999999999\r\n",
            b"*1\rx",
            b"\0",
        ] {
            assert_eq!(all(bad), Err(Malformed), "{}", bad.escape_ascii());
        }
        // What only claims to be large takes no room.
        assert_eq!(all(b"*1000000000\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn redis_rs_reads_what_is_written() {
        let replies = [
            Reply::Nil,
            Reply::Int(-7),
            Reply::Bulk(Bytes::from_static(b"\r\n")),
            Reply::Simple("QUEUED".to_owned()),
            Reply::ok(),
            Reply::Array(vec![Reply::Nil, Reply::Set(vec![Reply::Bool(true)])]),
            Reply::Map(vec![(Reply::Int(1), Reply::Double(0.1))]),
            Reply::Double(f64::INFINITY),
            Reply::Double(f64::NEG_INFINITY),
            Reply::Double(1e300),
            Reply::Verbatim("txt".to_owned(), "some".to_owned()),
            Reply::BigNumber("3492890328409238509324850943850943825024385".to_owned()),
            Reply::error("WRONGTYPE Operation against a key"),
            Reply::error("BUSY"),
        ];
        for reply in replies {
            let mut out = BytesMut::new();
            encode(&reply, Protocol::Resp3, &mut out);
            let read = redis::parse_redis_value(&out).unwrap();
            assert_eq!(read, convert::value(reply));
        }
        let mut out = BytesMut::new();
        encode(&Reply::error("ERR two\r\nlines"), Protocol::Resp2, &mut out);
        encode(&Reply::Nil, Protocol::Resp2, &mut out);
        assert_eq!(&out[..], b"-ERR two  lines\r\n$-1\r\n");
    }
}
