//! Scripts: a sequence of `redis.call(...)` statements, which is what a store without Lua can offer.
//!
//! `[return] redis.call('name', ...)`, also `redis.pcall` and `server.call`, with strings, numbers,
//! `KEYS[n]` and `ARGV[n]` as arguments; `return` also takes one of those, and so does
//! `if redis.call(...) ~= value then return value end`. Anything else is an error.

mod parse;

use bytes::Bytes;

use super::args::{Outcome, int};
use super::server::{MemoryServer, find};
use super::session::ConnId;
use crate::resp::Reply;
use parse::{Statement, Term};

pub(super) fn eval(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    run(server, conn, argv, true)
}

pub(super) fn eval_ro(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    run(server, conn, argv, false)
}

pub(super) fn evalsha(_: &mut MemoryServer, _: ConnId, _: &[Bytes]) -> Outcome {
    Err(Reply::error(
        "NOSCRIPT No matching script. Please use EVAL.",
    ))
}

fn run(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes], may_write: bool) -> Outcome {
    let keys = usize::try_from(int(&argv[2])?)
        .map_err(|_| Reply::error("ERR Number of keys can't be negative"))?;
    let Some((keys, args)) = argv[3..].split_at_checked(keys) else {
        return Err(Reply::error(
            "ERR Number of keys can't be greater than number of args",
        ));
    };
    let statements = parse::parse(&argv[1])
        .map_err(|what| Reply::error(&format!("ERR Error compiling script: {what}")))?;
    for statement in &statements {
        match statement {
            Statement::Call {
                words,
                returned,
                protected,
            } => {
                let reply = call_with(server, conn, words, (keys, args), may_write);
                let failed = matches!(reply, Reply::Error { .. });
                if *returned || (failed && !protected) {
                    return Ok(through_lua(reply));
                }
            }
            Statement::Unless { words, is, returns } => {
                let reply = call_with(server, conn, words, (keys, args), may_write);
                if matches!(reply, Reply::Error { .. }) {
                    return Ok(reply);
                }
                // To Lua, a nil of the server's is `false`: equal to no string.
                if !matches!(&reply, Reply::Bulk(found) if is.is_text(found, keys, args)) {
                    return Ok(returned(returns, keys, args));
                }
            }
            Statement::Return(term) => return Ok(returned(term, keys, args)),
        }
    }
    Ok(Reply::Nil)
}

fn returned(term: &Term, keys: &[Bytes], args: &[Bytes]) -> Reply {
    match term {
        Term::Number(number) => Reply::Int(*number),
        term => term.value(keys, args).map_or(Reply::Nil, Reply::Bulk),
    }
}

fn call_with(
    server: &mut MemoryServer,
    conn: ConnId,
    words: &[Term],
    (keys, args): (&[Bytes], &[Bytes]),
    may_write: bool,
) -> Reply {
    let words: Option<Vec<Bytes>> = words.iter().map(|term| term.value(keys, args)).collect();
    match words {
        Some(words) => call(server, conn, &words, may_write),
        None => Reply::error(
            "ERR Command arguments must be strings or integers: \
             there is no such KEYS or ARGV",
        ),
    }
}

fn call(server: &mut MemoryServer, conn: ConnId, words: &[Bytes], may_write: bool) -> Reply {
    let command = match find(words) {
        Ok(command) => command,
        Err(refusal) => return refusal,
    };
    if !command.runs_in_scripts() {
        return Reply::error("ERR This Redis command is not allowed from script");
    }
    if command.is_write() && !may_write {
        return Reply::error("ERR Write commands are not allowed from read-only scripts.");
    }
    match server.check(command, words) {
        Ok(()) => server.call(conn, command, words),
        Err(refusal) => refusal,
    }
}

/// What is left of a reply after Lua had it: scripts see RESP2 unless they ask for more.
fn through_lua(reply: Reply) -> Reply {
    match reply {
        Reply::Map(pairs) => Reply::Array(
            pairs
                .into_iter()
                .flat_map(|(field, value)| [field, value])
                .collect(),
        ),
        Reply::Set(members) => Reply::Array(members),
        other => other,
    }
}
