//! Between redis-rs's types and ours: replies, and errors that say what to do. Why a connection could not be opened is
//! `server::refused`.
//!
//! Never lets credentials or received data into a message.

use std::io;

use bytes::Bytes;
use nearcache_proto::resp::Reply;
use nearcache_proto::{Error, ErrorKind, Reason};
use redis::{RedisError, ToRedisArgs, Value};

/// The same reply in our words.
///
/// # Cost
/// Strings and lists are moved; the bytes of a bulk string are not copied.
pub(crate) fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(Bytes::from(bytes)),
        Value::Array(items) => Reply::Array(replies(items)),
        Value::SimpleString(text) => Reply::Simple(text),
        Value::Okay => Reply::ok(),
        Value::Map(pairs) => Reply::Map(
            pairs
                .into_iter()
                .map(|(field, value)| (reply(field), reply(value)))
                .collect(),
        ),
        Value::Attribute { data, .. } => reply(*data),
        Value::Set(items) => Reply::Set(replies(items)),
        Value::Double(number) => Reply::Double(number),
        Value::Boolean(flag) => Reply::Bool(flag),
        Value::VerbatimString { format, text } => Reply::Verbatim(format.to_string(), text),
        Value::BigNumber(number) => {
            // Bytes or a number of its own type, as another user of redis-rs in the same build chose
            // its features; as an argument both are the digits.
            let digits = number.to_redis_args().concat();
            Reply::BigNumber(String::from_utf8_lossy(&digits).into_owned())
        }
        Value::ServerError(error) => Reply::Error {
            code: error.code().to_owned(),
            message: error.details().unwrap_or_default().to_owned(),
        },
        // A confirmation of a subscription: the commands that cause one are refused, the list says
        // honestly what came.
        Value::Push { data, .. } => Reply::Array(replies(data)),
        _ => Reply::Error {
            code: "ERR".to_owned(),
            message: "a reply of a type unknown to nearcache".to_owned(),
        },
    }
}

/// The same reply in redis-rs's words.
///
/// # Cost
/// Copies strings, since redis-rs wants each in an allocation of its own.
pub(crate) fn value(reply: Reply) -> Value {
    let values = |items: Vec<Reply>| items.into_iter().map(value).collect();
    match reply {
        Reply::Nil => Value::Nil,
        Reply::Int(number) => Value::Int(number),
        Reply::Bulk(bytes) => Value::BulkString(Vec::from(bytes)),
        Reply::Simple(text) if text == "OK" => Value::Okay,
        Reply::Simple(text) => Value::SimpleString(text),
        Reply::Array(items) => Value::Array(values(items)),
        Reply::Set(items) => Value::Set(values(items)),
        Reply::Map(pairs) => Value::Map(
            pairs
                .into_iter()
                .map(|(field, content)| (value(field), value(content)))
                .collect(),
        ),
        Reply::Double(number) => Value::Double(number),
        Reply::Bool(flag) => Value::Boolean(flag),
        Reply::Verbatim(format, text) => Value::VerbatimString {
            format: match format.as_str() {
                "txt" => redis::VerbatimFormat::Text,
                "mkd" => redis::VerbatimFormat::Markdown,
                _ => redis::VerbatimFormat::Unknown(format),
            },
            text,
        },
        // How redis-rs holds one depends on its features: its own parser knows.
        Reply::BigNumber(digits) => parsed(&format!("({digits}\r\n")),
        Reply::Error { code, message } => server_error(&code, &message),
    }
}

/// An error of the server, as redis-rs would have read it off the wire.
fn server_error(code: &str, message: &str) -> Value {
    let line = |text: &str| text.replace(['\r', '\n'], " ");
    match message.is_empty() {
        true => parsed(&format!("-{}\r\n", line(code))),
        false => parsed(&format!("-{} {}\r\n", line(code), line(message))),
    }
}

fn parsed(wire: &str) -> Value {
    redis::parse_redis_value(wire.as_bytes()).unwrap_or(Value::Nil)
}

/// An error as redis-rs would say it: the server's own errors as they came, all else with ours as the source.
pub fn call_error(error: Error) -> RedisError {
    if let Some((code, message)) = error.server_error()
        && let Value::ServerError(error) = server_error(code, message)
    {
        return RedisError::from(error);
    }
    let kind = match error.kind() {
        ErrorKind::Usage => {
            return RedisError::from((
                redis::ErrorKind::Client,
                "this command cannot be sent through nearcache",
                error.to_string(),
            ));
        }
        ErrorKind::Configuration => {
            return RedisError::from((
                redis::ErrorKind::InvalidClientConfig,
                "nearcache cannot work with this configuration",
                error.to_string(),
            ));
        }
        // The handle is of no use any more.
        ErrorKind::Closed => io::ErrorKind::BrokenPipe,
        _ => match error.reason() {
            Some(Reason::Timeout) => io::ErrorKind::TimedOut,
            // As of a connection that was not made, or broke: what acts on that, as by a new handle, does no harm.
            Some(Reason::Unavailable) => io::ErrorKind::ConnectionRefused,
            Some(Reason::Interrupted) => io::ErrorKind::ConnectionReset,
            // Neither a timeout nor a connection to be replaced: it is this process that asks for too much.
            _ => io::ErrorKind::QuotaExceeded,
        },
    };
    RedisError::from(io::Error::new(kind, error))
}

fn replies(items: Vec<Value>) -> Vec<Reply> {
    items.into_iter().map(reply).collect()
}

/// Why the address or the credentials in it cannot be used at all.
pub(crate) fn url_error(error: &RedisError) -> Error {
    let why = error
        .detail()
        .map_or_else(String::new, |d| format!(" ({d})"));
    let what = match error.to_string() {
        text if text.contains("database") => "the database number in the URL is not a number",
        text if text.contains("wildcard") => {
            "0.0.0.0 and :: are addresses to listen on, not to connect to: name the server's own"
        }
        text if text.contains("hostname") => "the URL names no host",
        text if text.contains("path") => "the URL names no socket path",
        text if text.contains("UTF-8") => {
            "user or password in the URL are not UTF-8 after percent-decoding"
        }
        text if text.contains("protocol") => {
            "`protocol` in the URL must be resp2 or resp3: it decides the shapes of replies"
        }
        text if text.contains("fragment") => "leave the `#` part out of the URL",
        _ => {
            "the URL cannot be read: write redis://[user[:password]@]host[:port][/db], \
             rediss://... for TLS, or unix:///path; percent-encode special characters"
        }
    };
    Error::new(ErrorKind::Configuration, format!("{what}{why}"))
}

/// Why a batch got no answer: the connection is gone.
pub(crate) fn lost_error(place: &str, error: RedisError) -> Error {
    let message = format!("the connection to {place} was lost; it is opened again by itself");
    if error.kind() == redis::ErrorKind::Parse {
        return Error::retry(
            Reason::Interrupted,
            format!("{place} sent something that is not a reply; the connection is opened again"),
        );
    }
    Error::with_source(ErrorKind::Retry, message, error).because(Reason::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn c1_bulk_bytes_are_moved_not_copied() {
        let bytes = vec![7u8; 4096];
        let at = bytes.as_ptr();
        let Reply::Bulk(moved) = reply(Value::BulkString(bytes)) else {
            panic!("not a bulk string");
        };
        assert_eq!(moved.as_ptr(), at);
    }

    #[test]
    fn replies_keep_their_shape() {
        assert_eq!(reply(Value::Okay), Reply::ok());
        assert_eq!(
            reply(Value::Array(vec![Value::Nil, Value::Int(3)])),
            Reply::Array(vec![Reply::Nil, Reply::Int(3)])
        );
        let wrong = redis::parse_redis_value(b"-WRONGTYPE Operation against\r\n").unwrap();
        assert_eq!(reply(wrong), Reply::error("WRONGTYPE Operation against"));
        let big = redis::parse_redis_value(b"(3492890328409238509324850943850943825024385\r\n");
        assert_eq!(
            reply(big.unwrap()),
            Reply::BigNumber("3492890328409238509324850943850943825024385".into())
        );
        let text = redis::parse_redis_value(b"=8\r\ntxt:some\r\n").unwrap();
        assert_eq!(reply(text), Reply::Verbatim("txt".into(), "some".into()));
    }

    #[test]
    fn c13_parse_errors_do_not_quote_what_was_received() {
        let parse = redis::parse_redis_value(b"?secret-value\r\n").unwrap_err();
        let error = lost_error("redis://h:1", parse);
        assert!(error.source().is_none());
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
