//! What each command of Redis 7 and 8 and of Valkey does, as far as the cache must know: where it may
//! run, what it may write, what L1 may answer, and what its reply looks like in RESP2.
//!
//! The one place that knows commands by name. What it does not know takes the careful way.

mod index;
mod table;

use crate::resp::Reply;

use index::{LONGEST, find};
pub use table::table;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name in lower case; a subcommand behind its container's and a bar.
    pub name: &'static str,
    /// What it may do at most.
    pub class: Class,
    /// How its RESP3 reply becomes the one a RESP2 connection would have got.
    pub resp2: Resp2,
}

/// Where a command may run, and what has to happen before its caller resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Reads its first argument, a key, and nothing else; the reply depends on the key's value and the
    /// arguments alone, so that L1 may keep and serve it. Else it is as [`Read`](Self::Read).
    Serve(Serve),
    /// Writes no key: runs on the lane.
    Read,
    /// Writes the key at this place of the arguments, at most, in the database it runs in: runs on the lane.
    Write {
        /// Index of the key, the command's name being at 0.
        key: usize,
    },
    /// Does something that must not be repeated, and may write keys that are not named one by one:
    /// runs on the lane, followed by a fence.
    Fenced,
    /// May block, concerns the connection or the server, or is not known: runs on a side connection, and
    /// is fenced on the lane when it is answered.
    Side(Place),
    /// Begins or ends a transaction, command by command: until its end all of the caller's commands
    /// belong on the side connection.
    Transaction(Step),
    /// Would break a connection that is shared or managed for the caller, for this reason.
    Refused(&'static str),
}

/// Which side connection a command may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Any: it does not block, and neither uses nor changes what the server remembers of a connection. It has a
    /// deadline.
    Shared,
    /// One of the caller's own, as it may block, or says something about its connection. It leaves nothing behind
    /// there, so that another connection will do for the next.
    Own,
    /// One of the caller's own, of which the server remembers something from then on: until its end all that the
    /// caller does beside the lane belongs there, and it cannot be replaced.
    Kept,
}

/// How L1 answers a command that it may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serve {
    /// What a reply can be made from.
    pub source: Source,
    /// What the reply is when there is no such key.
    pub absent: Absent,
}

/// What the reply to a served command can be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kept reply to the same command with the same arguments.
    Own,
    /// The value of the key, as every `GET` leaves it in L1.
    Get,
    /// The values of several keys.
    MGet,
    /// A held value, or its own kept reply.
    StrLen,
    /// A held value, or its own kept reply.
    GetRange,
    /// A held value, or its own kept reply; of one key only.
    Exists,
    /// A held value, or its own kept reply.
    Type,
    /// Its own kept reply, which answers the other hash commands.
    HGetAll,
    /// A held `HGETALL`, or its own kept reply.
    HGet,
    /// A held `HGETALL`, or its own kept reply.
    HMGet,
    /// A held `HGETALL`, or its own kept reply.
    HLen,
    /// A held `HGETALL`, or its own kept reply.
    HExists,
    /// A held `HGETALL`, or its own kept reply.
    HKeys,
    /// A held `HGETALL`, or its own kept reply.
    HVals,
}

impl Source {
    /// Whether a reply can be made from a held `GET`.
    pub fn is_of_value(self) -> bool {
        matches!(
            self,
            Self::StrLen | Self::GetRange | Self::Exists | Self::Type
        )
    }

    /// Whether a command with this many arguments has a reply that L1 can make.
    fn takes(self, arguments: usize) -> bool {
        match self {
            Self::Get | Self::StrLen | Self::Exists | Self::Type => arguments == 1,
            Self::HGetAll | Self::HLen | Self::HKeys | Self::HVals => arguments == 1,
            Self::HGet | Self::HExists => arguments == 2,
            Self::GetRange => arguments == 3,
            Self::HMGet => arguments >= 2,
            Self::MGet | Self::Own => arguments >= 1,
        }
    }

    /// Whether it reads a hash, whose fields may have expiries of their own.
    pub fn is_of_hash(self) -> bool {
        matches!(
            self,
            Self::HGetAll
                | Self::HGet
                | Self::HMGet
                | Self::HLen
                | Self::HExists
                | Self::HKeys
                | Self::HVals
        )
    }
}

/// The reply of a command whose key does not exist. A reply that came with the news that the key does
/// not exist is kept only if it is this one: the key may have expired in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Nil.
    Nil,
    /// 0.
    Zero,
    /// The status `none`.
    Word,
    /// An empty string.
    Text,
    /// An empty list, set or map.
    Empty,
    /// A list of nils.
    Nils,
    /// A list of zeros.
    Zeros,
    /// It depends on the arguments: never kept.
    Never,
}

impl Absent {
    /// Whether this is that reply.
    pub(crate) fn is(self, reply: &Reply) -> bool {
        let all = |items: &[Reply], one: &Reply| items.iter().all(|item| item == one);
        match (self, reply) {
            (Self::Nil, Reply::Nil) | (Self::Zero, Reply::Int(0)) => true,
            (Self::Word, Reply::Simple(word)) => word == "none",
            (Self::Text, Reply::Bulk(text)) => text.is_empty(),
            (Self::Empty, Reply::Array(items) | Reply::Set(items)) => items.is_empty(),
            (Self::Empty, Reply::Map(pairs)) => pairs.is_empty(),
            (Self::Nils, Reply::Array(items)) => all(items, &Reply::Nil),
            (Self::Zeros, Reply::Array(items)) => all(items, &Reply::Int(0)),
            _ => false,
        }
    }
}

/// How a RESP3 reply becomes the one of RESP2. In every case maps become flat lists, sets lists,
/// booleans integers, and all other scalars strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resp2 {
    /// As said.
    Plain,
    /// A list of pairs becomes flat.
    Flattened,
    /// A map becomes a list of pairs.
    Streams,
    /// Doubles are printed as coordinates.
    Coordinates,
}

/// A command about transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `MULTI`.
    Begin,
    /// `WATCH`.
    Watch,
    /// `EXEC` or `DISCARD`: ends `MULTI` and `WATCH`.
    End,
    /// `UNWATCH`: ends `WATCH`; between `MULTI` and `EXEC` it is queued like any other command.
    Unwatch,
}

/// What the command called `name` may do at most, in any case of letters. Subcommands are written
/// `client|tracking`. [`Class::Side`] for what is not known.
pub fn class(name: &[u8]) -> Class {
    find(name).map_or_else(|| table::unknown(name), |at| table()[at].class)
}

/// What a command with its arguments does: as [`class`], but exact where the arguments decide.
///
/// # Cost
/// A look-up by a hash of the name; no allocation.
pub fn classify<A: AsRef<[u8]>>(argv: &[A]) -> Class {
    match argv.split_first() {
        Some((name, _)) => exactly(find(name.as_ref()), argv),
        None => Class::Side(Place::Own),
    }
}

/// The keys that a command is known to write, by their names among its arguments: those of a script as it declares them.
/// Others may be written as well.
pub(crate) fn written<A: AsRef<[u8]>>(argv: &[A]) -> Vec<&A> {
    let Some((name, arguments)) = argv.split_first() else {
        return Vec::new();
    };
    let is = |names: &[&str]| {
        let name = name.as_ref();
        names
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    };
    if let Class::Write { key } = classify(argv) {
        return argv.get(key).into_iter().collect();
    }
    if is(&["del", "unlink"]) {
        return arguments.iter().collect();
    }
    if is(&["mset", "msetnx"]) {
        return arguments.iter().step_by(2).collect();
    }
    if is(&[
        "rename",
        "renamenx",
        "copy",
        "smove",
        "lmove",
        "rpoplpush",
        "blmove",
        "brpoplpush",
    ]) {
        return arguments.iter().take(2).collect();
    }
    if is(&["eval", "evalsha", "fcall"]) {
        let count = arguments.get(1).map_or(&b""[..], AsRef::as_ref);
        let count = std::str::from_utf8(count)
            .ok()
            .and_then(|text| text.parse().ok());
        return arguments.iter().skip(2).take(count.unwrap_or(0)).collect();
    }
    Vec::new()
}

/// How the RESP3 reply to a command becomes that of RESP2.
pub fn resp2(name: &[u8]) -> Resp2 {
    find(name).map_or(Resp2::Plain, |at| table()[at].resp2)
}

/// A command that L1 may serve, by its place in the table, which is its number in what L1 keeps.
pub(crate) fn served<A: AsRef<[u8]>>(argv: &[A]) -> Option<(u16, Serve)> {
    let at = find(argv.first()?.as_ref())?;
    match exactly(Some(at), argv) {
        // The table is far shorter than that.
        Class::Serve(serve) => Some((at as u16, serve)),
        _ => None,
    }
}

/// The place in the table of the command called `name`, as [`served`] gives it.
pub(crate) fn place(name: &str) -> u16 {
    find(name.as_bytes()).map_or(u16::MAX, |at| at as u16)
}

/// The command at a place in the table.
pub(crate) fn at(place: u16) -> Option<&'static Command> {
    table().get(usize::from(place))
}

fn exactly<A: AsRef<[u8]>>(at: Option<usize>, argv: &[A]) -> Class {
    let (name, arguments) = (argv[0].as_ref(), &argv[1..]);
    let class = at.map_or_else(|| table::unknown(name), |at| table()[at].class);
    let has = |word: &str| arguments.iter().any(|a| is(a.as_ref(), word));
    match (class, arguments) {
        // Answered by an error, or as EXISTS of several keys not one key's reply.
        (Class::Serve(serve), _) if !serve.source.takes(arguments.len()) => Class::Read,
        (Class::Fenced, [_]) if is(name, "DEL") || is(name, "UNLINK") || is(name, "PFCOUNT") => {
            Class::Write { key: 1 }
        }
        // STORE may also be a pattern here: then the fence is for nothing.
        (Class::Fenced, _) if is(name, "SORT") && !has("STORE") => Class::Read,
        (Class::Fenced, _)
            if (is(name, "GEORADIUS") || is(name, "GEORADIUSBYMEMBER"))
                && !has("STORE")
                && !has("STOREDIST") =>
        {
            Class::Read
        }
        // BLOCK may also be the name of a key: then it takes the careful way.
        (Class::Side(_), _) if is(name, "XREAD") && !has("BLOCK") => Class::Read,
        (Class::Side(_), _) if is(name, "XREADGROUP") && !has("BLOCK") => Class::Fenced,
        (Class::Side(_), [_, ..]) if is(name, "HELLO") => Class::Refused(table::NEGOTIATES),
        (Class::Side(_), [subcommand, ..]) => {
            let listed = subcommand_class(name, subcommand.as_ref());
            with_argument(listed.unwrap_or(class), argv.len())
        }
        (class, _) => with_argument(class, argv.len()),
    }
}

/// A write whose key is missing is answered by an error; there is no key to tell.
fn with_argument(class: Class, words: usize) -> Class {
    match class {
        Class::Write { key } if key >= words => Class::Fenced,
        class => class,
    }
}

/// The class of a subcommand that is listed.
fn subcommand_class(name: &[u8], subcommand: &[u8]) -> Option<Class> {
    let mut joined = [0; LONGEST];
    let length = name.len() + 1 + subcommand.len();
    if length > LONGEST {
        return None;
    }
    joined[..name.len()].copy_from_slice(name);
    joined[name.len()] = b'|';
    joined[name.len() + 1..length].copy_from_slice(subcommand);
    find(&joined[..length]).map(|at| table()[at].class)
}

fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
