//! The words of a command: out of redis-rs's `Cmd`, and out of its encoding for the wire.
//!
//! Never trusts a length that it read.

use bytes::Bytes;
use redis::{Arg, Cmd, ErrorKind, RedisError};
use smallvec::SmallVec;

/// Most commands have no more.
pub(super) type Words<'a> = SmallVec<[&'a [u8]; 8]>;

/// A command's name and arguments. `buffer` is for a command with a cursor, which only its encoding shows.
pub(super) fn words<'a>(cmd: &'a Cmd, buffer: &'a mut Vec<u8>) -> Words<'a> {
    let mut words = Words::with_capacity(cmd.args_iter().len());
    for arg in cmd.args_iter() {
        let Arg::Simple(word) = arg else {
            *buffer = cmd.get_packed_command();
            let commands = unpack(buffer).unwrap_or_default();
            return commands
                .into_iter()
                .next()
                .map(Words::from_vec)
                .unwrap_or_default();
        };
        words.push(word);
    }
    words
}

/// The words in one allocation of their own.
pub(super) fn owned(words: &[&[u8]]) -> Vec<Bytes> {
    cut(&Bytes::from(words.concat()), &mut 0, words)
}

/// The words of several commands in one allocation of their own.
pub(super) fn owned_all<'a>(commands: &[impl AsRef<[&'a [u8]]>]) -> Vec<Vec<Bytes>> {
    let words = || commands.iter().flat_map(|words| words.as_ref());
    let mut all = Vec::with_capacity(words().map(|word| word.len()).sum());
    words().for_each(|word| all.extend_from_slice(word));
    let (all, mut end) = (Bytes::from(all), 0);
    let commands = commands.iter();
    commands
        .map(|words| cut(&all, &mut end, words.as_ref()))
        .collect()
}

/// The next words of a buffer that holds them one behind the other.
fn cut(all: &Bytes, end: &mut usize, words: &[&[u8]]) -> Vec<Bytes> {
    let next = |word: &&[u8]| {
        let start = *end;
        *end += word.len();
        all.slice(start..*end)
    };
    words.iter().map(next).collect()
}

/// The commands in a buffer as they go over the wire: lists of bulk strings.
///
/// # Errors
/// [`ErrorKind::Client`]: it holds anything else, or ends in the middle of a command.
pub(super) fn unpack(mut packed: &[u8]) -> Result<Vec<Vec<&[u8]>>, RedisError> {
    let mut commands = Vec::new();
    while !packed.is_empty() {
        commands.push(command(&mut packed).ok_or_else(malformed)?);
    }
    Ok(commands)
}

fn command<'a>(packed: &mut &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let count = header(packed, b'*')?;
    // No word takes less than six bytes.
    let mut words = Vec::with_capacity(count.min(packed.len() / 6));
    for _ in 0..count {
        let length = header(packed, b'$')?;
        let (word, rest) = packed.split_at_checked(length)?;
        *packed = rest.strip_prefix(b"\r\n")?;
        words.push(word);
    }
    Some(words)
}

fn header(packed: &mut &[u8], kind: u8) -> Option<usize> {
    let rest = packed.strip_prefix(&[kind])?;
    let end = rest.iter().take(20).position(|byte| *byte == b'\r')?;
    let digits = std::str::from_utf8(&rest[..end]).ok()?;
    *packed = rest[end..].strip_prefix(b"\r\n")?;
    digits.parse().ok()
}

#[cold]
fn malformed() -> RedisError {
    RedisError::from((
        ErrorKind::Client,
        "this buffer does not hold commands as redis-rs encodes them",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_rs_encodes_reads_back() {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("SET").arg("k\0").arg(b"\r\n$1\r\n");
        pipeline.cmd("PING").cmd("GET").arg("");
        let packed = pipeline.get_packed_pipeline();
        let commands = unpack(&packed).unwrap();
        let expected: [&[&[u8]]; 5] = [
            &[b"MULTI"],
            &[b"SET", b"k\0", b"\r\n$1\r\n"],
            &[b"PING"],
            &[b"GET", b""],
            &[b"EXEC"],
        ];
        assert_eq!(commands, expected);
        assert_eq!(owned(&commands[1]), expected[1]);
    }

    #[test]
    fn a_cursor_is_a_number() {
        let mut scan = redis::cmd("SSCAN");
        scan.arg("k").cursor_arg(42);
        let mut buffer = Vec::new();
        let words = words(&scan, &mut buffer);
        assert_eq!(words[..], [&b"SSCAN"[..], b"k", b"42"]);
    }

    #[test]
    fn c12_a_buffer_of_anything_else_is_refused() {
        let packed = redis::cmd("GET").arg("key").get_packed_command();
        for end in 1..packed.len() {
            assert!(unpack(&packed[..end]).is_err(), "{end}");
        }
        for bad in [
            &b"PING\r\n"[..],
            b"*1\r\n$18446744073709551615\r\n",
            b"*99999999999999999999999\r\n",
            b"*1000000000\r\n",
            b"*1\r\n:1\r\n",
            b"*-1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$1\r\nxyz",
        ] {
            assert!(unpack(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
