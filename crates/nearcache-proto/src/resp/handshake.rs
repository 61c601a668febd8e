//! How the replies to a handshake are judged, and what `HELLO` says: the role, the kind of server, the connection.
//!
//! Says what was refused; what follows from it is the lane's to decide.

use super::check::{echoed, next, refused};
use super::{DoubleText, Reply};
use crate::op::{OpError, OpReply, Traits};
use crate::rights::Rights;

pub(super) fn handshake<R: Iterator<Item = Reply>>(
    nonce: u64,
    replies: &mut R,
) -> Result<OpReply, OpError> {
    let tracking = next(replies)?;
    let _no_evict = next(replies)?; // Only a comfort, and unknown to some servers.
    let hello = next(replies)?;
    let fields = next(replies)?;
    let whoami = next(replies)?;
    let (multi, exec) = (next(replies)?, next(replies)?);
    let caching = next(replies)?;
    let (get, pttl) = (next(replies)?, next(replies)?);
    let set = next(replies)?;
    let echo = next(replies)?;

    let mut rights = Rights {
        user: user(&whoami),
        ..Rights::default()
    };
    for (rule, reply) in [
        ("+client|tracking", &tracking),
        ("+client|caching", &caching),
        ("+get", &get),
        ("+pttl", &pttl),
        ("+set", &set),
        ("+echo", &echo),
        ("+multi", &multi),
        ("+exec", &exec),
    ] {
        rights.note(rule, reply);
    }
    // Refused, it came in its turn all the same; what fences from now on is checked by the connection's number.
    let mut connection = None;
    if !rights.may("+echo") {
        connection = number(&hello);
    }
    if connection.is_none() {
        echoed(nonce, &echo)?;
    }

    // Not a matter of permissions: the same set-up will do later.
    for reply in [&tracking, &caching, &get, &pttl, &set] {
        if let Reply::Error { code, message } = reply
            && ["BUSY", "LOADING", "MASTERDOWN", "TRYAGAIN"].contains(&code.as_str())
        {
            return Err(OpError::Server {
                code: code.clone(),
                message: message.clone(),
            });
        }
    }
    let traits = Traits {
        // Refused for another reason, it may be known all the same.
        field_expiry: !matches!(&fields, Reply::Error { message, .. } if message.starts_with("unknown command")),
        doubles: DoubleText::of(
            &hello_text(&hello, b"server"),
            &hello_text(&hello, b"version"),
        ),
        rights,
        connection,
    };
    let primary = is_primary(hello)?;
    let proof = accepted(
        "CLIENT TRACKING",
        tracking,
        "use a server that supports it, without a proxy",
    )
    .and_then(|()| {
        accepted(
            "CLIENT CACHING",
            caching,
            "use a server that supports it, without a proxy",
        )
    })
    .and_then(|()| match get {
        Reply::Bulk(_) | Reply::Nil => Ok(()),
        other => accepted("GET of the self-test key", other, "allow it"),
    })
    .and_then(|()| match pttl {
        Reply::Int(_) => Ok(()),
        other => accepted("PTTL of the self-test key", other, "allow it"),
    })
    .and_then(|()| {
        accepted(
            "SET of the self-test key",
            set,
            "allow it, on a primary with free memory",
        )
    });
    Ok(OpReply::Handshake {
        primary,
        tracking: proof,
        traits,
    })
}

/// Who the server says is connected: a name that can be printed, or nobody.
fn user(whoami: &Reply) -> Option<String> {
    let name = std::str::from_utf8(whoami.text()?).ok()?;
    let shown = !name.is_empty() && !name.contains(|c: char| c.is_control());
    shown.then(|| name.to_owned())
}

fn accepted(what: &str, reply: Reply, advice: &str) -> Result<(), String> {
    match reply {
        reply if reply.is_ok() => Ok(()),
        // The line that grants it is known to whoever knows the user.
        Reply::Error { code, message } if code == "NOPERM" => {
            Err(format!("{what} was refused ({code} {message})"))
        }
        Reply::Error { code, message } => {
            Err(format!("{what} was refused ({code} {message}): {advice}"))
        }
        other => Err(format!("{what} answered {}", other.shape())),
    }
}

/// Reads the role out of the reply to `HELLO`.
pub(super) fn is_primary(hello: Reply) -> Result<bool, OpError> {
    if !matches!(hello, Reply::Map(_) | Reply::Array(_)) {
        return Err(refused("HELLO", hello));
    }
    match hello_field(&hello, b"role").and_then(Reply::text) {
        Some(role) => Ok(role == b"master"),
        None => Err(OpError::Protocol("HELLO answered without a role".into())),
    }
}

/// A field of the reply to `HELLO`, a map, or a flat list on a RESP2 connection.
fn hello_field<'a>(hello: &'a Reply, name: &[u8]) -> Option<&'a Reply> {
    let is = |field: &Reply| field.text() == Some(name);
    match hello {
        Reply::Map(pairs) => pairs.iter().find(|(f, _)| is(f)).map(|(_, v)| v),
        Reply::Array(flat) => flat.chunks_exact(2).find(|p| is(&p[0])).map(|p| &p[1]),
        _ => None,
    }
}

/// The number that the server gave the connection.
fn number(hello: &Reply) -> Option<i64> {
    match hello_field(hello, b"id") {
        Some(Reply::Int(number)) => Some(*number),
        _ => None,
    }
}

pub(super) fn fence_of(connection: i64, hello: Reply) -> Result<OpReply, OpError> {
    if !matches!(hello, Reply::Map(_) | Reply::Array(_)) {
        return Err(refused("HELLO", hello));
    }
    match number(&hello) {
        Some(number) if number == connection => Ok(OpReply::Fenced),
        _ => Err(OpError::Protocol(
            "HELLO answered of another connection".to_owned(),
        )),
    }
}

fn hello_text(hello: &Reply, name: &[u8]) -> String {
    let text = hello_field(hello, name).and_then(Reply::text);
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}
