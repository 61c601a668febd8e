//! Commands about the connection itself.

use bytes::Bytes;

use super::args::{Outcome, database, int, is, label, shown, syntax_error, wrong_arity};
use super::keyspace::DATABASES;
use super::server::MemoryServer;
use super::session::{ConnId, Tracking};
use nearcache_proto::resp::Reply;

pub(super) fn ping(_: &mut MemoryServer, _: ConnId, argv: &[Bytes]) -> Outcome {
    match argv {
        [_] => Ok(Reply::Simple("PONG".to_owned())),
        [_, text] => Ok(Reply::Bulk(text.clone())),
        _ => Err(wrong_arity("ping")),
    }
}

pub(super) fn echo(_: &mut MemoryServer, _: ConnId, argv: &[Bytes]) -> Outcome {
    Ok(Reply::Bulk(argv[1].clone()))
}

pub(super) fn select(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    server.session(conn).db = database(&argv[1], DATABASES)?;
    Ok(Reply::ok())
}

pub(super) fn auth(_: &mut MemoryServer, _: ConnId, argv: &[Bytes]) -> Outcome {
    match argv {
        // The default user needs no password, so that any will do.
        [_, user, _] if user.as_ref() == b"default" => Ok(Reply::ok()),
        [_, _] => Err(Reply::error(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        )),
        [_, _, _] => Err(Reply::error(
            "WRONGPASS invalid username-password pair or user is disabled.",
        )),
        _ => Err(syntax_error()),
    }
}

pub(super) fn hello(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    if let Some(protocol) = argv.get(1) {
        match int(protocol) {
            Ok(3) => {}
            Ok(_) => return Err(Reply::error("NOPROTO unsupported protocol version")),
            Err(_) => {
                return Err(Reply::error(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        }
    }
    let mut name = None;
    let mut options = argv.get(2..).unwrap_or_default();
    loop {
        options = match options {
            [] => break,
            [word, user, password, rest @ ..] if is(word, "AUTH") => {
                let login = [word.clone(), user.clone(), password.clone()];
                auth(server, conn, &login)?;
                rest
            }
            [word, given, rest @ ..] if is(word, "SETNAME") => {
                name = Some(checked_name(given)?);
                rest
            }
            [word, ..] => {
                return Err(Reply::error(&format!(
                    "ERR Syntax error in HELLO option '{}'",
                    shown(word)
                )));
            }
        }
    }
    if let Some(name) = name {
        server.session(conn).name = name;
    }
    let role = if server.faults.replica {
        "replica"
    } else {
        "master"
    };
    let fields = [
        ("server", label("nearcache")),
        ("version", label(env!("CARGO_PKG_VERSION"))),
        ("proto", Reply::Int(3)),
        ("id", id(conn)),
        ("mode", label("standalone")),
        ("role", label(role)),
        ("modules", Reply::Array(Vec::new())),
    ];
    Ok(Reply::Map(
        fields.map(|(name, value)| (label(name), value)).to_vec(),
    ))
}

pub(super) fn client(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    let name = argv[1].to_ascii_uppercase();
    let options = &argv[2..];
    match (name.as_slice(), options) {
        (b"TRACKING", [state, options @ ..]) => tracking(server, conn, state, options),
        (b"CACHING", [state]) => caching(server, conn, state),
        (b"TRACKINGINFO", []) => Ok(tracking_info(server, conn)),
        (b"ID", []) => Ok(id(conn)),
        (b"GETNAME", []) => {
            let name = server.session(conn).name.clone();
            Ok(if name.is_empty() {
                Reply::Nil
            } else {
                Reply::Bulk(name)
            })
        }
        (b"SETNAME", [name]) => {
            server.session(conn).name = checked_name(name)?;
            Ok(Reply::ok())
        }
        (b"SETINFO", [field, _]) => {
            if is(field, "LIB-NAME") || is(field, "LIB-VER") {
                Ok(Reply::ok())
            } else {
                let message = format!("ERR Unrecognized option '{}'", shown(field));
                Err(Reply::error(&message))
            }
        }
        (b"NO-EVICT" | b"NO-TOUCH", [state]) => on_or_off(state).map(|_| Reply::ok()),
        (
            b"TRACKING" | b"CACHING" | b"TRACKINGINFO" | b"ID" | b"GETNAME" | b"SETNAME"
            | b"SETINFO" | b"NO-EVICT" | b"NO-TOUCH",
            _,
        ) => Err(wrong_arity(&format!("client|{}", shown(&name)))),
        _ => Err(unknown_part(&argv[1])),
    }
}

fn tracking(server: &mut MemoryServer, conn: ConnId, state: &Bytes, options: &[Bytes]) -> Outcome {
    if server.faults.no_tracking {
        return Err(unknown_part(b"TRACKING"));
    }
    let mut mode = Tracking::All;
    for option in options {
        if is(option, "OPTIN") {
            mode = Tracking::OptIn;
        } else if ["BCAST", "PREFIX", "REDIRECT", "NOLOOP", "OPTOUT"]
            .iter()
            .any(|known| is(option, known))
        {
            return Err(Reply::error(&format!(
                "ERR CLIENT TRACKING {} is not available in the embedded store, use OPTIN",
                shown(option)
            )));
        } else {
            return Err(syntax_error());
        }
    }
    let on = on_or_off(state)?;
    let session = server.session(conn);
    session.tracking = if on { mode } else { Tracking::Off };
    // The mark goes with the tracking it was for.
    session.caching &= on;
    Ok(Reply::ok())
}

fn caching(server: &mut MemoryServer, conn: ConnId, state: &Bytes) -> Outcome {
    if server.faults.no_caching {
        return Err(unknown_part(b"CACHING"));
    }
    let session = server.session(conn);
    if session.tracking == Tracking::Off {
        return Err(Reply::error(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        ));
    }
    if is(state, "NO") {
        return Err(Reply::error(
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ));
    }
    if !is(state, "YES") {
        return Err(syntax_error());
    }
    if session.tracking != Tracking::OptIn {
        return Err(Reply::error(
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ));
    }
    session.caching = true;
    Ok(Reply::ok())
}

fn tracking_info(server: &mut MemoryServer, conn: ConnId) -> Reply {
    let session = server.session(conn);
    let mut flags = match session.tracking {
        Tracking::Off => vec![label("off")],
        Tracking::All => vec![label("on")],
        Tracking::OptIn => vec![label("on"), label("optin")],
    };
    if session.caching {
        flags.push(label("caching-yes"));
    }
    let redirect = if session.tracking == Tracking::Off {
        -1
    } else {
        0
    };
    Reply::Map(vec![
        (label("flags"), Reply::Set(flags)),
        (label("redirect"), Reply::Int(redirect)),
        (label("prefixes"), Reply::Array(Vec::new())),
    ])
}

fn on_or_off(state: &[u8]) -> Result<bool, Reply> {
    if is(state, "ON") {
        Ok(true)
    } else if is(state, "OFF") {
        Ok(false)
    } else {
        Err(syntax_error())
    }
}

fn checked_name(name: &Bytes) -> Result<Bytes, Reply> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(name.clone())
    } else {
        Err(Reply::error(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ))
    }
}

fn unknown_part(name: &[u8]) -> Reply {
    Reply::error(&format!(
        "ERR unknown subcommand '{}'. Try CLIENT HELP.",
        shown(name)
    ))
}

fn id(conn: ConnId) -> Reply {
    Reply::Int(i64::try_from(conn.0).unwrap_or(i64::MAX))
}
