//! Reading of arguments, and the errors that more than one command gives.

use bytes::Bytes;

use nearcache_proto::resp::Reply;

/// What a command answers; `Err` holds a [`Reply::Error`].
pub(super) type Outcome = Result<Reply, Reply>;

/// An integer as the server takes it: decimal, no plus sign, no leading zeros.
pub(super) fn int(text: &[u8]) -> Result<i64, Reply> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| Some((text, text.parse::<i64>().ok()?)))
        .filter(|(text, number)| number.to_string() == *text)
        .map(|(_, number)| number)
        .ok_or_else(|| Reply::error("ERR value is not an integer or out of range"))
}

/// The number of a database.
pub(super) fn database(text: &[u8], databases: usize) -> Result<usize, Reply> {
    usize::try_from(int(text)?)
        .ok()
        .filter(|db| *db < databases)
        .ok_or_else(|| Reply::error("ERR DB index is out of range"))
}

/// Whether `text` is the keyword `word`, in any case.
pub(super) fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

/// `text` for an error message: one line, printable, short.
pub(super) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(128)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A length or count as a reply.
pub(super) fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A flag as the integer 1 or 0.
pub(super) fn flag(yes: bool) -> Reply {
    Reply::Int(i64::from(yes))
}

/// A string or nil.
pub(super) fn bulk(text: Option<Bytes>) -> Reply {
    text.map_or(Reply::Nil, Reply::Bulk)
}

/// A constant as a bulk string.
pub(super) fn label(text: &'static str) -> Reply {
    Reply::Bulk(Bytes::from_static(text.as_bytes()))
}

pub(super) fn syntax_error() -> Reply {
    Reply::error("ERR syntax error")
}

pub(super) fn wrong_type() -> Reply {
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

pub(super) fn wrong_arity(command: &str) -> Reply {
    Reply::error(&format!(
        "ERR wrong number of arguments for '{}' command",
        command.to_ascii_lowercase()
    ))
}

pub(super) fn too_long() -> Reply {
    Reply::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
}

pub(super) fn out_of_memory() -> Reply {
    Reply::error("OOM command not allowed when used memory > 'maxmemory'.")
}
