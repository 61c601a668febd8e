//! Why a connection could not be opened, and what to do about it.
//!
//! Never lets credentials or received data into a message.

use std::io;

use nearcache_proto::{Error, ErrorKind, OpError};

use super::dial::{Failure, Step};
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

impl Failure {
    /// Whether the other end hung up before it answered.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Io(error) if is_hang_up(error.kind()))
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
    failure: Failure,
    refusal: Option<Refusal>,
) -> Error {
    let (kind, advice) = match (refusal, &failure) {
        (Some(Refusal::MaxClients), _) => (ErrorKind::Retry, MAX_CLIENTS.to_owned()),
        (Some(Refusal::Protected), _) => (ErrorKind::Configuration, PROTECTED.to_owned()),
        (None, Failure::TimedOut) => advise_io(port, &io::ErrorKind::TimedOut.into()),
        (None, Failure::Refused { what, error }) => advise(port, *what, error),
        (None, Failure::Io(error)) => advise_io(port, error),
        (None, Failure::Nonsense) => (ErrorKind::Configuration, NO_RESP.to_owned()),
        (None, Failure::Ours(error)) => return error.clone(),
    };
    let message = format!("cannot connect to {place}: {advice}");
    match failure {
        Failure::Io(error) => Error::with_source(kind, message, error),
        // What a server said may quote the password that was sent.
        _ => Error::new(kind, message),
    }
}

const NO_RESP3: &str = "the server does not speak RESP3: use Redis 7.0 or later, or Valkey, without a proxy that \
                        knows only some commands";

const NO_RESP: &str =
    "what answers does not speak the Redis protocol; if that port expects TLS, use rediss://";

const MAX_CLIENTS: &str = "the server has as many connections as it may have: raise its maxclients, or find who holds \
                           them (CLIENT LIST)";

const PROTECTED: &str =
    "the server is in protected mode: give it a password or bind it to this network";

fn advise(port: Port<'_>, what: Step, error: &OpError) -> (ErrorKind, String) {
    use ErrorKind::{Configuration, Retry};

    let OpError::Server { code, message } = error else {
        return (Configuration, NO_RESP.to_owned());
    };
    let user = port.user;
    match (code.as_str(), what) {
        ("WRONGPASS", _) => (
            Configuration,
            "user or password were refused: correct them in the URL".to_owned(),
        ),
        ("NOAUTH", _) => (
            Configuration,
            "the server asks for a password: put user and password in the URL".to_owned(),
        ),
        ("DENIED", _) => (Configuration, PROTECTED.to_owned()),
        ("NOPROTO", _) => (Configuration, NO_RESP3.to_owned()),
        ("LOADING", _) => (Retry, "the server is still loading its data".to_owned()),
        // It quotes its arguments, the password among them.
        _ if message.starts_with("unknown command") => (Configuration, NO_RESP3.to_owned()),
        _ if message.starts_with("max number of clients") => (Retry, MAX_CLIENTS.to_owned()),
        ("NOPERM", Step::Hello) => (
            Configuration,
            format!(
                "this user may not do what is needed (NOPERM {message}): allow it (ACL SETUSER {user} +<command>)"
            ),
        ),
        ("NOPERM", Step::Select) => (
            Configuration,
            format!(
                "this user may not select the database in the URL (NOPERM {message}): run ACL SETUSER {user} +select, or \
                 leave the database out of the URL"
            ),
        ),
        (_, Step::Select) => (
            Configuration,
            format!("the database in the URL cannot be selected ({message})"),
        ),
        (code, Step::Hello) => (Retry, format!("{code} {message}")),
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

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use super::super::tls::TlsFiles;
    use super::*;

    const PLAIN: Port<'_> = Port {
        tls: None,
        worked: false,
        user: "default",
    };

    fn io(kind: io::ErrorKind) -> Failure {
        Failure::Io(kind.into())
    }

    #[test]
    fn io_errors_say_what_to_do() {
        let refused = io(io::ErrorKind::ConnectionRefused);
        let error = connect_error("redis://h:1", PLAIN, refused, None);
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(
            error.to_string().contains("nothing listens there"),
            "{error}"
        );
        let reset = || io(io::ErrorKind::ConnectionReset);
        let error = connect_error("redis://h:1", PLAIN, reset(), None);
        assert!(error.to_string().contains("TLS"), "{error}");
        let worked = Port {
            worked: true,
            ..PLAIN
        };
        let error = connect_error("redis://h:1", worked, reset(), None);
        assert!(!error.to_string().contains("TLS"), "{error}");
        let tls_port = Tls::of(true, &TlsFiles::default(), String::new());
        let tls_port = tls_port.unwrap().unwrap();
        let tls = Failure::Io(io::Error::new(io::ErrorKind::InvalidData, "UnknownIssuer"));
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
        let quoted = Failure::Refused {
            what: Step::Hello,
            error: OpError::Server {
                code: "ERR".to_owned(),
                message:
                    "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'secret'"
                        .to_owned(),
            },
        };
        let error = connect_error("redis://h:1", PLAIN, quoted, None);
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("RESP3"), "{error}");
        let source = error.source().map(|source| format!("{source:?}"));
        assert!(!format!("{error} {error:?} {source:?}").contains("secret"));
    }
}
