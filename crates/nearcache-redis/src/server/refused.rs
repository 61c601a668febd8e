//! Why a connection could not be opened, and what to do about it.
//!
//! Never lets credentials or received data into a message.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use nearcache_proto::{Error, ErrorKind};
use redis::{RedisError, ServerErrorKind};

use super::greeting::Refusal;
use super::tls::Tls;

/// What is known of the port that was dialled.
#[derive(Clone, Copy)]
pub(super) struct Port<'a> {
    pub(super) tls: Option<&'a Tls>,
    /// A connection to it was made before: whatever is wrong now, it is not the address.
    pub(super) worked: bool,
    /// As whom.
    pub(super) user: &'a str,
}

/// Whether the other end hung up before it answered.
pub(super) fn is_closed(error: &RedisError) -> bool {
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
pub(super) fn connect_error(
    place: &str,
    port: Port<'_>,
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

fn advise(port: Port<'_>, error: &RedisError) -> (ErrorKind, String) {
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
            format!(
                "this user may not do what is needed (NOPERM {detail}): allow it (ACL SETUSER {} +<command>)",
                port.user
            ),
        ),
        (Kind::RESP3NotSupported, _) | (_, Some("NOPROTO")) => (Configuration, NO_RESP3.to_owned()),
        _ if quotes_arguments(error) => (Configuration, NO_RESP3.to_owned()),
        (Kind::Server(ServerErrorKind::BusyLoading), _) => {
            (Retry, "the server is still loading its data".to_owned())
        }
        (Kind::Server(_), _) if no_select(error) => (
            Configuration,
            format!(
                "this user may not select the database in the URL (NOPERM {detail}): run ACL SETUSER {} +select, or leave \
                 the database out of the URL",
                port.user
            ),
        ),
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
fn closed(port: Port<'_>) -> String {
    let closed = match port.tls {
        Some(_) => "the connection was closed during the TLS handshake",
        None => "the connection was closed before an answer came",
    };
    let advice = match port {
        Port { worked: true, .. } => {
            "the server, or a proxy before it, is restarting, has failed over or takes no more connections (maxclients)"
        }
        Port { tls: Some(_), .. } => {
            "if that port is plain, use redis://; else the server may be starting, or takes no more connections \
             (maxclients)"
        }
        Port { tls: None, .. } => {
            "the server is gone or starting; if it never works, that port may expect TLS (rediss://)"
        }
    };
    format!("{closed}: {advice}")
}

fn advise_io(port: Port<'_>, error: &io::Error) -> (ErrorKind, String) {
    use ErrorKind::{Configuration, Retry};
    let text = error.to_string();
    let Port { tls, worked, .. } = port;
    if let Some(tls) = tls
        && matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        )
    {
        return (
            Configuration,
            format!("TLS failed ({text}): {}", advise_tls(&text, tls)),
        );
    }
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
        io::ErrorKind::TimedOut if tls.is_some() => (
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
        _ if text.contains("lookup") => (
            Retry,
            format!("the host name cannot be resolved ({text})"),
        ),
        _ => (Retry, text),
    }
}

/// Whether it is the right to select a database that is missing.
fn no_select(error: &RedisError) -> bool {
    let permission = |detail: &str| detail.contains("no permissions to run");
    error.to_string().contains("switch database") && error.detail().is_some_and(permission)
}

/// What to do about a handshake that failed, in the words of rustls.
fn advise_tls(text: &str, tls: &Tls) -> String {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["alert"]) && has(&["Certificate", "UnknownCA", "AccessDenied"]) {
        let advice = tls.advice_on_identity();
        return format!("the server wants a client certificate that it accepts: {advice}");
    }
    if has(&["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"]) {
        let advice = tls.advice_on_roots();
        return format!("the server's certificate is of an authority unknown here: {advice}");
    }
    let advice = if has(&["NotValidForName", "not valid for name"]) {
        "the server's certificate is for another host name: use a name it was made for"
    } else if has(&["xpired", "not valid yet", "NotValidYet"]) {
        "the server's certificate is out of date: renew it, or correct this machine's clock"
    } else {
        "check certificate and host name; for a plain port use redis://"
    };
    advice.to_owned()
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
    use super::super::tls::TlsFiles;
    use super::*;
    use redis::{IntoConnectionInfo, Value};

    const PLAIN: Port<'_> = Port {
        tls: None,
        worked: false,
        user: "default",
    };

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
        let addr = "rediss://h:1"
            .into_connection_info()
            .unwrap()
            .addr()
            .clone();
        let tls_port = Tls::of(&addr, &TlsFiles::default(), String::new());
        let tls_port = tls_port.unwrap().unwrap();
        let tls = RedisError::from(io::Error::new(io::ErrorKind::InvalidData, "UnknownIssuer"));
        let error = connect_error(
            "rediss://h:1",
            Port {
                tls: Some(&tls_port),
                ..PLAIN
            },
            tls,
            None,
        );
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        assert!(error.to_string().contains("tls_ca_file"), "{error}");
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
        let error = connect_error("redis://h:1", PLAIN, parse, None);
        assert!(error.source().is_none());
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
