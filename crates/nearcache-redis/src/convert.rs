//! Between redis-rs's types and ours: replies, and errors that say what to do.
//!
//! Never lets credentials or received data into a message.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use nearcache_proto::resp::Reply;
use nearcache_proto::{Error, ErrorKind, Reason};
use redis::{RedisError, Value};

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

/// Finds the error of the operating system or of TLS that redis-rs wrapped.
pub(crate) fn io_error(error: &RedisError) -> Option<&io::Error> {
    let mut source = StdError::source(error);
    while let Some(error) = source {
        if let Some(shared) = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>()
            && let Some(io) = shared.downcast_ref::<io::Error>()
        {
            return Some(io);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        source = error.source();
    }
    None
}
