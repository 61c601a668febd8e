//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.

use bytes::Bytes;

use super::args::Outcome;
use super::server::MemoryServer;
use super::session::{ConnId, Queue};
use nearcache_proto::resp::Reply;

pub(super) fn multi(server: &mut MemoryServer, conn: ConnId, _: &[Bytes]) -> Outcome {
    let queue = &mut server.session(conn).queue;
    if queue.is_some() {
        return Err(Reply::error("ERR MULTI calls can not be nested"));
    }
    *queue = Some(Queue::default());
    Ok(Reply::ok())
}

pub(super) fn exec(server: &mut MemoryServer, conn: ConnId, _: &[Bytes]) -> Outcome {
    let Some(queue) = server.session(conn).queue.take() else {
        return Err(Reply::error("ERR EXEC without MULTI"));
    };
    touch_watched(server, conn);
    let dirty = server.session(conn).dirty;
    server.session(conn).unwatch();
    if queue.broken {
        return Err(Reply::error(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if dirty {
        return Ok(Reply::Nil);
    }
    let replies = queue.commands.iter().map(|(command, argv)| {
        // What was admitted one by one may not fit together.
        match server.check(command, argv) {
            Ok(()) => server.call(conn, command, argv),
            Err(refusal) => refusal,
        }
    });
    Ok(Reply::Array(replies.collect()))
}

/// An `EXEC` that is not permitted ends the transaction, if there is one or not.
pub(super) fn forbidden(server: &mut MemoryServer, conn: ConnId, refusal: Reply) -> Reply {
    let session = server.session(conn);
    session.queue = None;
    session.unwatch();
    match refusal {
        Reply::Error { code, message } => Reply::error(&format!(
            "EXECABORT Transaction discarded because of: {code} {message}"
        )),
        other => other,
    }
}

pub(super) fn discard(server: &mut MemoryServer, conn: ConnId, _: &[Bytes]) -> Outcome {
    let session = server.session(conn);
    if session.queue.take().is_none() {
        return Err(Reply::error("ERR DISCARD without MULTI"));
    }
    session.unwatch();
    Ok(Reply::ok())
}

pub(super) fn watch(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    if server.session(conn).queue.is_some() {
        return Err(Reply::error("ERR WATCH inside MULTI is not allowed"));
    }
    let db = server.session(conn).db;
    for key in &argv[1..] {
        // What has expired by now is missing, and its removal later is no change.
        server.space.select(db);
        server.space.entry(key);
        server.apply_changes();
        let watched = &mut server.session(conn).watched;
        if !watched.iter().any(|(d, k)| *d == db && k == key) {
            watched.push((db, key.clone()));
        }
    }
    Ok(Reply::ok())
}

pub(super) fn unwatch(server: &mut MemoryServer, conn: ConnId, _: &[Bytes]) -> Outcome {
    server.session(conn).unwatch();
    Ok(Reply::ok())
}

/// Lets watched keys whose time is up count as changed.
fn touch_watched(server: &mut MemoryServer, conn: ConnId) {
    for (db, key) in server.session(conn).watched.clone() {
        server.space.select(db);
        server.space.entry(&key);
    }
    server.apply_changes();
}
