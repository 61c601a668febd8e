//! A reply of the server, as RESP3 gives it.

use bytes::Bytes;

/// A RESP3 value.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Null.
    Nil,
    /// An integer.
    Int(i64),
    /// A binary-safe string.
    Bulk(Bytes),
    /// A status line such as `OK` or `QUEUED`.
    Simple(String),
    /// An ordered list.
    Array(Vec<Reply>),
    /// Pairs in the server's order.
    Map(Vec<(Reply, Reply)>),
    /// An unordered collection.
    Set(Vec<Reply>),
    /// A floating point number.
    Double(f64),
    /// A boolean.
    Bool(bool),
    /// Text with a three-letter format.
    Verbatim(String, String),
    /// An integer beyond 64 bits, as text.
    BigNumber(String),
    /// An error: first word and the rest.
    Error {
        /// First word (`ERR`, `WRONGTYPE`, ...).
        code: String,
        /// The rest of the line.
        message: String,
    },
}

impl Reply {
    /// The status `OK`.
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// Whether this is the status `OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }

    /// The error whose line (without the leading `-`) is `line`.
    pub fn error(line: &str) -> Self {
        let (code, message) = line.split_once(' ').unwrap_or((line, ""));
        Self::Error {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// A word for the shape of the reply. Never its content: that may be a user's value.
    pub(crate) fn shape(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Int(_) => "an integer",
            Self::Bulk(_) => "a bulk string",
            Self::Simple(_) => "a simple string",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Set(_) => "a set",
            Self::Double(_) => "a double",
            Self::Bool(_) => "a boolean",
            Self::Verbatim(..) => "a verbatim string",
            Self::BigNumber(_) => "a big number",
            Self::Error { .. } => "an error",
        }
    }

    /// The bytes of a string of any kind.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Simple(text) | Self::Verbatim(_, text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}
