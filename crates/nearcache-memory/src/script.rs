//! Scripts: a sequence of `redis.call(...)` statements, which is what a store without Lua can offer.
//!
//! `[return] redis.call('name', ...)`, also `redis.pcall` and `server.call`, with strings, numbers,
//! `KEYS[n]` and `ARGV[n]` as arguments; `return` also takes one of those, and so does
//! `if redis.call(...) ~= value then return value end`. Anything else is an error.

mod parse;
mod sha1;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::args::{Outcome, flag, int, is, shown, wrong_arity};
use super::server::{MemoryServer, find};
use super::session::ConnId;
use nearcache_proto::resp::{DoubleText, Reply};
use parse::{Statement, Term};

pub(super) fn eval(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    run(server, conn, argv, true)
}

pub(super) fn eval_ro(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    run(server, conn, argv, false)
}

pub(super) fn evalsha(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    run_known(server, conn, argv, true)
}

pub(super) fn evalsha_ro(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes]) -> Outcome {
    run_known(server, conn, argv, false)
}

/// `SCRIPT LOAD`, `EXISTS` and `FLUSH`.
pub(super) fn script(server: &mut MemoryServer, _: ConnId, argv: &[Bytes]) -> Outcome {
    match &argv[1..] {
        [word, script] if is(word, "LOAD") => {
            parse::parse(script).map_err(not_compiled)?;
            Ok(Reply::Bulk(server.scripts.keep(script)))
        }
        [word, names @ ..] if is(word, "EXISTS") && !names.is_empty() => {
            let known = names.iter().map(|name| server.scripts.find(name).is_some());
            Ok(Reply::Array(known.map(flag).collect()))
        }
        [word] if is(word, "FLUSH") => {
            server.scripts = Scripts::default();
            Ok(Reply::ok())
        }
        [word, how] if is(word, "FLUSH") && (is(how, "ASYNC") || is(how, "SYNC")) => {
            server.scripts = Scripts::default();
            Ok(Reply::ok())
        }
        [word, ..] => Err(Reply::error(&format!(
            "ERR unknown subcommand or wrong number of arguments for '{}': the embedded store knows SCRIPT LOAD, EXISTS \
             and FLUSH",
            shown(word)
        ))),
        [] => Err(wrong_arity("script")),
    }
}

/// The scripts that can be called by name. The oldest are forgotten, as by servers that keep 500 of those that `EVAL` ran.
#[derive(Default)]
pub(super) struct Scripts {
    known: BTreeMap<Bytes, Bytes>,
    order: VecDeque<Bytes>,
}

impl Scripts {
    const MOST: usize = 500;

    /// Keeps a script under its name, which this gives back.
    fn keep(&mut self, script: &Bytes) -> Bytes {
        let name = Bytes::from(sha1::hex(script));
        if self.known.insert(name.clone(), script.clone()).is_none() {
            self.order.push_back(name.clone());
            if self.order.len() > Self::MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        name
    }

    fn find(&self, name: &[u8]) -> Option<Bytes> {
        self.known.get(&name.to_ascii_lowercase()[..]).cloned()
    }
}

fn run_known(server: &mut MemoryServer, conn: ConnId, argv: &[Bytes], may_write: bool) -> Outcome {
    let Some(script) = server.scripts.find(&argv[1]) else {
        let why = "NOSCRIPT No matching script. Please use EVAL.";
        return Err(Reply::error(why));
    };
    let mut argv = argv.to_vec();
    argv[1] = script;
    run(server, conn, &argv, may_write)
}

fn not_compiled(what: String) -> Reply {
    Reply::error(&format!(
        "ERR Error compiling script: {what} (the embedded store knows only redis.call, if and return: see MemoryL2)"
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
    let statements = parse::parse(&argv[1]).map_err(not_compiled)?;
    server.scripts.keep(&argv[1]);
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
    let permitted = server.permit(conn, command, words);
    match permitted.and_then(|()| server.check(command, words)) {
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
        Reply::Double(number) => Reply::Bulk(DoubleText::default().score(number).into()),
        Reply::Array(items) => Reply::Array(
            items
                .into_iter()
                .flat_map(|item| match item {
                    // Members with their scores lie one behind the other there.
                    Reply::Array(pair) if matches!(pair[..], [_, Reply::Double(_)]) => pair,
                    item => vec![item],
                })
                .map(through_lua)
                .collect(),
        ),
        other => other,
    }
}
