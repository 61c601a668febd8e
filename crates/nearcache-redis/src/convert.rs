//! Between redis-rs's types and ours: replies, and errors that say what to do.
//!
//! Never lets credentials or received data into a message.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use crate::server::Refusal;
use bytes::Bytes;
use nearcache_proto::resp::Reply;
use nearcache_proto::{Error, ErrorKind};
use redis::{RedisError, ServerErrorKind, ToRedisArgs, Value};

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
        // The lane heals by itself: nobody has to replace the handle.
        _ => io::ErrorKind::TimedOut,
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

/// What is known of the port that was dialled.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    pub(crate) tls: bool,
    /// A connection to it was made before: whatever is wrong now, it is not the address.
    pub(crate) worked: bool,
}

/// Whether the other end hung up before it answered.
pub(crate) fn is_closed(error: &RedisError) -> bool {
    match io_error(error) {
        Some(io) => is_hang_up(io.kind()),
        None => error.kind() == redis::ErrorKind::Io,
    }
}

fn is_hang_up(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Why a connection to `place` could not be opened; `refusal` is what the server itself said about it.
pub(crate) fn connect_error(
    place: &str,
    port: Port,
    error: RedisError,
    refusal: Option<Refusal>,
) -> Error {
    let (kind, advice) = match refusal {
        Some(Refusal::MaxClients) => (ErrorKind::Retry, MAX_CLIENTS.to_owned()),
        Some(Refusal::Protected) => (ErrorKind::Configuration, PROTECTED.to_owned()),
        None => advise(port, &error),
    };
    let message = format!("cannot connect to {place}: {advice}");
    if error.kind() == redis::ErrorKind::Parse || quotes_arguments(&error) {
        // Its text quotes what was received, or the password that was sent.
        return Error::new(kind, message);
    }
    Error::with_source(kind, message, error)
}

const NO_RESP3: &str = "the server does not speak RESP3: use Redis 7.0 or later, or Valkey, without a proxy that \
                        knows only some commands";

/// Whether a command that sets the connection up is unknown there: the error quotes its arguments.
fn quotes_arguments(error: &RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.starts_with("unknown command"))
}

const MAX_CLIENTS: &str = "the server has as many connections as it may have: raise its maxclients, or find who holds \
                           them (CLIENT LIST)";

const PROTECTED: &str =
    "the server is in protected mode: give it a password or bind it to this network";

fn advise(port: Port, error: &RedisError) -> (ErrorKind, String) {
    use ErrorKind::{Configuration, Retry};
    use redis::ErrorKind as Kind;

    if let Some(io) = io_error(error) {
        return advise_io(port, io);
    }
    let detail = error.detail().unwrap_or_default();
    match (error.kind(), error.code()) {
        (Kind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => (
            Configuration,
            "user or password were refused: correct them in the URL".to_owned(),
        ),
        (_, Some("NOAUTH")) => (
            Configuration,
            "the server asks for a password: put user and password in the URL".to_owned(),
        ),
        (_, Some("DENIED")) => (Configuration, PROTECTED.to_owned()),
        _ if detail.starts_with("max number of clients") => (Retry, MAX_CLIENTS.to_owned()),
        (Kind::Server(ServerErrorKind::NoPerm), _) => (
            Configuration,
            format!("this user may not do what is needed (NOPERM {detail}): extend its ACL"),
        ),
        (Kind::RESP3NotSupported, _) | (_, Some("NOPROTO")) => (Configuration, NO_RESP3.to_owned()),
        _ if quotes_arguments(error) => (Configuration, NO_RESP3.to_owned()),
        (Kind::Server(ServerErrorKind::BusyLoading), _) => {
            (Retry, "the server is still loading its data".to_owned())
        }
        (Kind::Server(_), _) if error.to_string().contains("switch database") => (
            Configuration,
            format!("the database in the URL cannot be selected ({detail})"),
        ),
        (Kind::Parse, _) => (
            Configuration,
            "what answers does not speak the Redis protocol; if that port expects TLS, \
             use rediss://"
                .to_owned(),
        ),
        (Kind::Io, _) => (Retry, closed(port)),
        (Kind::InvalidClientConfig, _) => (Configuration, error.to_string()),
        (_, Some(code)) => (Retry, format!("{code} {detail}")),
        (_, None) => (Retry, error.category().to_owned()),
    }
}

/// Hung up before it answered. What never worked may be the wrong kind of port; what did is a server that went away.
fn closed(port: Port) -> String {
    let closed = match port.tls {
        true => "the connection was closed during the TLS handshake",
        false => "the connection was closed before an answer came",
    };
    let advice = match port {
        Port { worked: true, .. } => {
            "the server, or a proxy before it, is restarting, has failed over or takes no more connections (maxclients)"
        }
        Port { tls: true, .. } => {
            "if that port is plain, use redis://; else the server may be starting, or takes no more connections \
             (maxclients)"
        }
        Port { tls: false, .. } => {
            "the server is gone or starting; if it never works, that port may expect TLS (rediss://)"
        }
    };
    format!("{closed}: {advice}")
}

fn advise_io(port: Port, error: &io::Error) -> (ErrorKind, String) {
    use ErrorKind::{Configuration, Retry};
    let text = error.to_string();
    let Port { tls, worked } = port;
    match error.kind() {
        io::ErrorKind::ConnectionRefused if worked => (
            Retry,
            "nothing listens there any more: the server is down or restarting".to_owned(),
        ),
        io::ErrorKind::ConnectionRefused => (
            Retry,
            "nothing listens there: start the server or correct the address".to_owned(),
        ),
        io::ErrorKind::NotFound => (
            Retry,
            "there is no such socket: start the server or correct the path".to_owned(),
        ),
        io::ErrorKind::PermissionDenied => (
            Configuration,
            "permission denied: let this user open the socket".to_owned(),
        ),
        io::ErrorKind::TimedOut if worked => (
            Retry,
            "no answer in time: the server is frozen or overloaded, or the network is broken".to_owned(),
        ),
        io::ErrorKind::TimedOut if tls => (
            Retry,
            "no answer in time: check the address, the network and firewalls; if that port is plain, \
             use redis://"
                .to_owned(),
        ),
        io::ErrorKind::TimedOut => (
            Retry,
            "no answer in time: check the address, the network and firewalls".to_owned(),
        ),
        kind if is_hang_up(kind) => (Retry, closed(port)),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if tls => {
            (Configuration, format!("TLS failed ({text}): {}", advise_tls(&text)))
        }
        _ if text.contains("lookup") => (
            Retry,
            format!("the host name cannot be resolved ({text})"),
        ),
        _ => (Retry, text),
    }
}

/// What to do about a handshake that failed, in the words of rustls.
fn advise_tls(text: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["alert"]) && has(&["Certificate", "UnknownCA", "AccessDenied"]) {
        "the server wants a client certificate that it accepts: give one with its key"
    } else if has(&["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"]) {
        "the server's certificate is of an authority unknown here: give the root certificate of that \
         authority"
    } else if has(&["NotValidForName", "not valid for name"]) {
        "the server's certificate is for another host name: use a name it was made for"
    } else if has(&["xpired", "not valid yet", "NotValidYet"]) {
        "the server's certificate is out of date: renew it, or correct this machine's clock"
    } else {
        "check certificate and host name; for a plain port use redis://"
    }
}

/// Why a batch got no answer: the connection is gone.
pub(crate) fn lost_error(place: &str, error: RedisError) -> Error {
    let message = format!("the connection to {place} was lost; it is opened again by itself");
    if error.kind() == redis::ErrorKind::Parse {
        return Error::new(
            ErrorKind::Retry,
            format!("{place} sent something that is not a reply; the connection is opened again"),
        );
    }
    Error::with_source(ErrorKind::Retry, message, error)
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Port = Port {
        tls: false,
        worked: false,
    };

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
    fn io_errors_say_what_to_do() {
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let error = connect_error("redis://h:1", PLAIN, refused, None);
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(
            error.to_string().contains("nothing listens there"),
            "{error}"
        );
        let reset = || RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        let error = connect_error("redis://h:1", PLAIN, reset(), None);
        assert!(error.to_string().contains("TLS"), "{error}");
        let worked = Port {
            worked: true,
            ..PLAIN
        };
        let error = connect_error("redis://h:1", worked, reset(), None);
        assert!(!error.to_string().contains("TLS"), "{error}");
        let tls = RedisError::from(io::Error::new(io::ErrorKind::InvalidData, "UnknownIssuer"));
        let error = connect_error(
            "rediss://h:1",
            Port {
                tls: true,
                worked: false,
            },
            tls,
            None,
        );
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    }

    #[test]
    fn c13_a_server_that_quotes_the_password_is_not_repeated() {
        let text =
            b"-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'secret'\r\n";
        let Ok(Value::ServerError(quoted)) = redis::parse_redis_value(text) else {
            panic!("not an error of the server");
        };
        let error = connect_error("redis://h:1", PLAIN, RedisError::from(quoted), None);
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("RESP3"), "{error}");
        let source = error.source().map(|source| format!("{source:?}"));
        assert!(!format!("{error} {error:?} {source:?}").contains("secret"));
    }

    #[test]
    fn c13_parse_errors_do_not_quote_what_was_received() {
        let parse = redis::parse_redis_value(b"?secret-value\r\n").unwrap_err();
        let error = lost_error("redis://h:1", parse.clone());
        assert!(error.source().is_none());
        assert!(!format!("{error} {error:?}").contains("secret"));
        let error = connect_error("redis://h:1", PLAIN, parse, None);
        assert!(error.source().is_none());
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
