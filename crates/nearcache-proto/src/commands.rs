//! What each command of Redis 7 and 8 and of Valkey does, as far as the lane must know: whether it may
//! run there, and what it may write.
//!
//! The one place that knows commands by name. What it does not know takes the careful way.

mod table;

use bytes::Bytes;

pub use table::table;

/// Where a command may run, and what has to happen before its caller resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
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
    /// May block, concerns the connection or the server, or is not known: runs on a side connection of
    /// the caller's own, and is fenced on the lane when it is answered.
    Side,
    /// Begins or ends a transaction, command by command: until its end all of the caller's commands
    /// belong on the side connection.
    Transaction(Step),
    /// Would break a connection that is shared or managed for the caller, for this reason.
    Refused(&'static str),
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
    find(name).unwrap_or(Class::Side)
}

/// What a command with its arguments does: as [`class`], but exact where the arguments decide.
///
/// # Cost
/// A binary search over some 280 names; no allocation.
pub fn classify(argv: &[Bytes]) -> Class {
    let Some((name, arguments)) = argv.split_first() else {
        return Class::Side;
    };
    let has = |word: &str| arguments.iter().any(|a| is(a, word));
    match (class(name), arguments) {
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
        (Class::Side, _) if is(name, "XREAD") && !has("BLOCK") => Class::Read,
        (Class::Side, _) if is(name, "XREADGROUP") && !has("BLOCK") => Class::Fenced,
        (Class::Side, [_, ..]) if is(name, "HELLO") => Class::Refused(table::NEGOTIATES),
        (Class::Side, [subcommand, ..]) => with_argument(subcommand_class(name, subcommand), argv),
        (class, _) => with_argument(class, argv),
    }
}

/// A write whose key is missing is answered by an error; there is no key to tell.
fn with_argument(class: Class, argv: &[Bytes]) -> Class {
    match class {
        Class::Write { key } if key >= argv.len() => Class::Fenced,
        class => class,
    }
}

fn subcommand_class(name: &[u8], subcommand: &[u8]) -> Class {
    let mut joined = [0; LONGEST];
    let length = name.len() + 1 + subcommand.len();
    if length > LONGEST {
        return Class::Side;
    }
    joined[..name.len()].copy_from_slice(name);
    joined[name.len()] = b'|';
    joined[name.len() + 1..length].copy_from_slice(subcommand);
    class(&joined[..length])
}

/// No name in the table is longer.
const LONGEST: usize = 32;

fn find(name: &[u8]) -> Option<Class> {
    let mut lower = [0; LONGEST];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let at = table()
        .binary_search_by(|(known, _)| known.as_bytes().cmp(lower))
        .ok()?;
    Some(table()[at].1)
}

fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Class {
        let argv: Vec<Bytes> = line
            .split_whitespace()
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        classify(&argv)
    }

    const KEY_1: Class = Class::Write { key: 1 };

    #[test]
    fn the_table_is_sorted_and_every_name_fits() {
        assert!(table().is_sorted_by(|(a, _), (b, _)| a < b));
        for (name, class) in table() {
            assert!(name.len() <= LONGEST, "{name}");
            assert_eq!(*name, name.to_ascii_lowercase());
            assert_eq!(super::class(name.to_uppercase().as_bytes()), *class);
        }
    }

    #[test]
    fn arguments_decide_where_they_must() {
        for (line, class) in [
            ("get k", Class::Read),
            ("SET k v", KEY_1),
            ("DEL k", KEY_1),
            ("DEL k l", Class::Fenced),
            ("unlink k", KEY_1),
            ("PFCOUNT k", KEY_1),
            ("SORT k", Class::Read),
            ("SORT k BY w store l", Class::Fenced),
            ("GEORADIUS k 1 1 1 m", Class::Read),
            ("GEORADIUS k 1 1 1 m STOREDIST l", Class::Fenced),
            ("XREAD STREAMS s 0", Class::Read),
            ("XREAD block 0 STREAMS s 0", Class::Side),
            ("XREADGROUP GROUP g c STREAMS s >", Class::Fenced),
            (
                "XREADGROUP GROUP streams c BLOCK 0 STREAMS s >",
                Class::Side,
            ),
            ("XGROUP CREATE s g $", Class::Write { key: 2 }),
            ("XGROUP HELP", Class::Side),
            ("OBJECT ENCODING k", Class::Read),
            ("MEMORY DOCTOR", Class::Side),
            ("CLIENT ID", Class::Side),
            ("HELLO", Class::Side),
            ("EVAL x 0", Class::Fenced),
            ("MULTI", Class::Transaction(Step::Begin)),
        ] {
            assert_eq!(of(line), class, "{line}");
        }
    }

    #[test]
    fn trap_what_would_break_a_shared_connection_is_refused() {
        for line in [
            "CLIENT TRACKING OFF",
            "client caching yes",
            "CLIENT REPLY SKIP",
            "HELLO 2",
            "HELLO 3 AUTH a b",
            "RESET",
            "SYNC",
            "PSYNC ? -1",
            "SUBSCRIBE c",
            "MONITOR",
            "WAIT 1 0",
        ] {
            assert!(matches!(of(line), Class::Refused(_)), "{line}");
        }
    }

    #[test]
    fn c12_odd_commands_take_the_careful_way() {
        for line in [
            "",
            "JSON.SET k $ 1",
            "VADD k",
            "client|tracking|x y",
            "BLPOP k 0",
        ] {
            assert_eq!(of(line), Class::Side, "{line}");
        }
        assert_eq!(of("SET"), Class::Fenced);
        assert_eq!(of("XGROUP CREATE"), Class::Fenced);
        assert_eq!(of(&"x".repeat(1000)), Class::Side);
        let long = format!("OBJECT {}", "x".repeat(1000));
        assert_eq!(of(&long), Class::Side);
    }
}
