//! One line of RESP, without its end: what it announces.

use std::str::FromStr;

use super::WireError;
use crate::resp::Reply;

/// Elements of a reply, and bytes of a string in it: what no server sends.
const MOST_ELEMENTS: usize = u32::MAX as usize;
const MOST_BYTES: usize = u32::MAX as usize;

/// What a line says.
pub(super) enum Line {
    /// All of it.
    Whole(Reply),
    /// So many bytes follow, and the end of a line.
    Text(Text, usize),
    /// So many elements follow; of a map, pairs.
    Open(Open, usize),
}

/// What a string of known length is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Bulk,
    Error,
    Verbatim,
}

/// What elements belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Array,
    Set,
    Map,
    Attributes,
    Push,
}

impl Line {
    pub(super) fn parse(line: &[u8]) -> Result<Self, WireError> {
        let (kind, rest) = line.split_first().ok_or(WireError("an empty line"))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        Ok(Self::Whole(match kind {
            b'+' => Reply::Simple(text()),
            b'-' => Reply::error(&String::from_utf8_lossy(rest)),
            b':' => Reply::Int(number(rest)?),
            b'_' if rest.is_empty() => Reply::Nil,
            b',' => Reply::Double(number(rest)?),
            b'#' => match rest {
                b"t" => Reply::Bool(true),
                b"f" => Reply::Bool(false),
                _ => return Err(WireError("a boolean that is neither true nor false")),
            },
            b'(' => {
                let digits = rest.strip_prefix(b"-").unwrap_or(rest);
                match digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                    true => return Err(NO_NUMBER),
                    false => Reply::BigNumber(text()),
                }
            }
            b'$' => return announced(rest, MOST_BYTES, |count| Self::Text(Text::Bulk, count)),
            b'!' => return announced(rest, MOST_BYTES, |count| Self::Text(Text::Error, count)),
            b'=' => return announced(rest, MOST_BYTES, |count| Self::Text(Text::Verbatim, count)),
            b'*' => return opened(rest, Open::Array),
            b'~' => return opened(rest, Open::Set),
            b'%' => return opened(rest, Open::Map),
            b'|' => return opened(rest, Open::Attributes),
            b'>' => return opened(rest, Open::Push),
            b';' | b'.' => return Err(STREAMED),
            _ => return Err(WireError("a line that begins with no type of RESP")),
        }))
    }
}

const NO_NUMBER: WireError = WireError("a number that is none");

const STREAMED: WireError = WireError(
    "a streamed string or list, which no supported server sends: is there a proxy in between?",
);

fn opened(rest: &[u8], open: Open) -> Result<Line, WireError> {
    announced(rest, MOST_ELEMENTS, |count| Line::Open(open, count))
}

/// A length; `-1` stands for null where RESP2 has it.
fn announced(rest: &[u8], most: usize, line: impl Fn(usize) -> Line) -> Result<Line, WireError> {
    if rest == b"?" {
        return Err(STREAMED);
    }
    match number::<i64>(rest)? {
        -1 if matches!(
            line(0),
            Line::Text(Text::Bulk, _) | Line::Open(Open::Array, _)
        ) =>
        {
            Ok(Line::Whole(Reply::Nil))
        }
        length => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(line(length)),
            Ok(_) => Err(WireError("a length that is too large")),
            Err(_) => Err(WireError("a length below zero")),
        },
    }
}

fn number<T: FromStr>(text: &[u8]) -> Result<T, WireError> {
    let text = std::str::from_utf8(text).map_err(|_| NO_NUMBER)?;
    text.parse().map_err(|_| NO_NUMBER)
}
