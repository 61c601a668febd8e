//! Replies and pushes out of a stream of bytes that comes in pieces of any size.
//!
//! Reads no byte twice, except a line or a short string whose end has not come yet. Takes no more memory ahead of what has
//! come than [`AHEAD`], whatever lengths are announced.

use bytes::buf::Limit;
use bytes::{BufMut, Bytes};

use super::WireError;
use super::line::{Line, Text};
use super::nest::Nest;
use crate::resp::Reply;

/// A string of so many bytes has a buffer of its own, into which it is read; shorter ones are copied out of what was
/// read, so that none of them keeps a whole read buffer alive.
const LARGE: usize = 32 << 10;

/// Room that is made for a large string before it has come.
const AHEAD: usize = 16 << 20;

/// Bytes of a line: errors and states are short.
const LONGEST_LINE: usize = 64 << 10;

/// What a server has sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The next reply.
    Reply(Reply),
    /// A push: its kind, and what it says. It belongs between the replies before and after it.
    Push(Reply, Vec<Reply>),
}

/// Reads RESP2 and RESP3.
#[derive(Default)]
pub struct Decoder {
    nest: Nest,
    string: Option<Announced>,
    /// Bytes of the line under way in which its end was looked for.
    looked: usize,
}

/// A string that was announced.
enum Announced {
    Short(Text, usize),
    Large {
        text: Text,
        bytes: usize,
        read: Vec<u8>,
    },
}

impl Decoder {
    /// A decoder for a connection on which nothing was received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads from the front of `input` until something is complete, or more is needed: how many bytes of it are done
    /// with, and what is complete. The rest has to come again, with more behind it.
    ///
    /// # Errors
    /// It is no RESP, or beyond the limits: the connection has to end, and the decoder with it.
    ///
    /// # Cost
    /// An allocation for each string and list; a string of 32 KiB and more is copied only as far as it is in `input`.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Incoming>), WireError> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let complete = match self.string.take() {
                Some(string) => {
                    let (taken, reply) = self.text(string, rest)?;
                    at += taken;
                    match reply {
                        Some(reply) => self.nest.add(reply)?,
                        None => return Ok((at, None)),
                    }
                }
                None => {
                    let Some(line) = self.line(rest)? else {
                        return Ok((at, None));
                    };
                    at += line.len() + 2;
                    match Line::parse(line)? {
                        Line::Whole(reply) => self.nest.add(reply)?,
                        Line::Open(open, count) => self.nest.open(open, count)?,
                        Line::Text(text, bytes) if bytes < LARGE => {
                            self.string = Some(Announced::Short(text, bytes));
                            None
                        }
                        Line::Text(text, bytes) => {
                            self.string = Some(Announced::Large {
                                text,
                                bytes,
                                read: Vec::new(),
                            });
                            None
                        }
                    }
                }
            };
            if complete.is_some() {
                return Ok((at, complete));
            }
        }
    }

    /// The rest of a large string, where bytes that follow what was decoded may be read into directly, if it is what
    /// comes next.
    pub fn large(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        match &mut self.string {
            Some(Announced::Large { bytes, read, .. }) if read.len() < *bytes => {
                let missing = *bytes - read.len();
                make_room(read, missing);
                let room = missing.min(read.capacity() - read.len());
                Some(read.limit(room))
            }
            _ => None,
        }
    }

    /// Whether nothing is half read.
    pub fn is_between(&self) -> bool {
        self.nest.is_empty() && self.string.is_none() && self.looked == 0
    }

    /// The next line, without its end; `None`: it has not come yet.
    fn line<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, WireError> {
        let new = rest.get(self.looked..).unwrap_or_default();
        let Some(end) = new.iter().position(|byte| *byte == b'\n') else {
            self.looked = rest.len();
            return match rest.len() > LONGEST_LINE {
                true => Err(WireError("a line that does not end")),
                false => Ok(None),
            };
        };
        let end = self.looked + end;
        self.looked = 0;
        match rest.get(..end).and_then(|line| line.strip_suffix(b"\r")) {
            Some(line) => Ok(Some(line)),
            None => Err(WireError("a line that ends without a carriage return")),
        }
    }

    /// A string, as far as it has come: the bytes taken, and what it is once it is complete.
    fn text(
        &mut self,
        string: Announced,
        rest: &[u8],
    ) -> Result<(usize, Option<Reply>), WireError> {
        match string {
            Announced::Short(text, bytes) => match rest.get(..bytes + 2) {
                Some(whole) => {
                    let content = ended(whole)?;
                    let reply = string_reply(text, Bytes::copy_from_slice(content))?;
                    Ok((bytes + 2, Some(reply)))
                }
                None => {
                    self.string = Some(Announced::Short(text, bytes));
                    Ok((0, None))
                }
            },
            Announced::Large {
                text,
                bytes,
                mut read,
            } => {
                let here = rest.len().min(bytes - read.len());
                let missing = bytes - read.len();
                make_room(&mut read, missing);
                read.extend_from_slice(&rest[..here]);
                if let Some(end) = rest.get(here..here + 2)
                    && read.len() == bytes
                {
                    ended(end)?;
                    let reply = string_reply(text, Bytes::from(read))?;
                    return Ok((here + 2, Some(reply)));
                }
                self.string = Some(Announced::Large { text, bytes, read });
                Ok((here, None))
            }
        }
    }
}

/// Makes room for what is missing, or for the next part of it.
fn make_room(read: &mut Vec<u8>, missing: usize) {
    if read.len() == read.capacity() {
        read.reserve_exact(missing.min(AHEAD.max(read.len())));
    }
}

/// What is before the end of a line.
fn ended(text: &[u8]) -> Result<&[u8], WireError> {
    let end = WireError("a string that is longer than was announced");
    text.strip_suffix(b"\r\n").ok_or(end)
}

fn string_reply(text: Text, content: Bytes) -> Result<Reply, WireError> {
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match text {
        Text::Bulk => Ok(Reply::Bulk(content)),
        Text::Error => Ok(Reply::error(&words(&content))),
        Text::Verbatim => match content.split_at_checked(4) {
            Some(([format @ .., b':'], content)) => {
                Ok(Reply::Verbatim(words(format), words(content)))
            }
            _ => Err(WireError("a verbatim string without a format")),
        },
    }
}
