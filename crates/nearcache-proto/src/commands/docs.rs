//! The table of commands as a page of the documents, and the test that the committed page is that.

use std::fmt::Write;

use super::*;

/// What stands before the lists.
const HEAD: &str = "\
# Commands

This page is made from the table in `crates/nearcache-proto/src/commands/table.rs`; `UPDATE_DOCS=1 cargo test -p nearcache-proto --lib commands` writes it anew.

What the drop-in for redis-rs ([migrating.md](migrating.md)) does with each command. A `Session` does the same, except that L1 answers none of its commands.
Subcommands that are not listed go with their container. Of commands that are not listed, those with a dot in their name are a module's, and share a side
connection; others are a newer server's, and go to one of the handle's own.

The table says what a command may do at most. Where its arguments decide, they do:

- one that L1 may answer goes to the server when the number of its arguments is not the one served (`EXISTS` of several keys, a `GET` without one);
- `DEL`, `UNLINK` and `PFCOUNT` of one key are writes of that key;
- `SORT`, `GEORADIUS` and `GEORADIUSBYMEMBER` without `STORE` (and `STOREDIST`) are reads;
- `XREAD` without `BLOCK` is a read, `XREADGROUP` without `BLOCK` is fenced;
- `HELLO` with arguments is refused, as it would change the protocol or the user of a connection that is managed for you; without, it goes to a side connection;
- `SELECT` of a number is not sent to a side connection: it sets the db of the handle, once a trial of that number on the lane has succeeded;
- a write whose key is missing is fenced, and answered by the server's error;
- `UNWATCH` with nothing watched and no `MULTI` is answered in place.

Between `MULTI` or `WATCH` and their end every command that is not refused goes to the handle's own side connection, whatever is said here.
";

/// A class as the page shows it: its heading and how it is treated.
fn heading(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Serve(_) => (
            "Answered from L1",
            "From the copy in this process when that is provably fresh; else read on the lane, tracked, and kept.",
        ),
        Class::Read => (
            "Reads on the lane",
            "Sent to the server each time: the reply depends on more than one key's value, on chance or on time, or is \
             rarely asked for twice. Nothing is kept, nothing has to be waited for.",
        ),
        Class::Write { .. } => (
            "Writes of one key",
            "Sent on the lane. The copies of the key in this process, kept replies about it among them, go before it is \
             sent and again when it is answered, before the caller resumes. Sent once, never again.",
        ),
        Class::Fenced => (
            "Fenced",
            "May write keys that are not named one by one, or must not be repeated. Sent on the lane with an `ECHO` \
             behind it in the same batch: when that is back, so is every announcement of what was written.",
        ),
        Class::Side(Place::Shared) => (
            "Shared side connections",
            "Concern the server and not a connection, and do not block. Sent on one of a few connections that all handles \
             share, by a handle whose own side connection holds a state (below) on that; the caller resumes after an `ECHO` \
             on the lane. They have the deadline of other calls (`operation_timeout`).",
        ),
        Class::Side(Place::Own) => (
            "A side connection of the handle's own",
            "May block or take long, or concern their connection. Sent on a connection of this handle's own, which is \
             opened at the first such command and stays, and is opened again when it was lost; the caller resumes after an \
             `ECHO` on the lane. There is no deadline: a blocking command waits as long as it was told to. When its future \
             is dropped, the connection ends at once.",
        ),
        Class::Side(Place::Kept) => (
            "State on a side connection",
            "Change what the server remembers of a connection. Sent on the handle's own side connection; from then on it \
             carries all that the handle does beside the lane. When it is lost, the state is, and the next command on it \
             fails once to say so.",
        ),
        Class::Transaction(_) => (
            "Transactions",
            "Begin and end a transaction that is sent command by command, on the handle's own side connection. An \
             atomic pipeline of redis-rs needs none of this: it goes over the lane in one batch, and is fenced.",
        ),
        Class::Refused(_) => (
            "Refused",
            "Not sent, for the reason given: they would break a connection that is shared, or managed for the caller.",
        ),
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Own => "a kept reply to the same command with the same arguments",
        Source::Get => "the value that a `GET` or `MGET` left",
        Source::MGet => {
            "the values of all its keys, as of one moment; at most 4,096 keys, of more it is a read on the lane"
        }
        Source::StrLen | Source::GetRange | Source::Exists | Source::Type => {
            "the value that a `GET` or `MGET` left, or a kept reply as above"
        }
        Source::HGetAll => "a kept reply, which answers the other commands about hashes as well",
        Source::HGet
        | Source::HMGet
        | Source::HLen
        | Source::HExists
        | Source::HKeys
        | Source::HVals => "a kept `HGETALL`, or a kept reply as above",
    }
}

/// The page.
fn markdown() -> String {
    let mut groups: Vec<(Class, Vec<&Command>)> = Vec::new();
    for example in [
        Class::Serve(Serve {
            source: Source::Own,
            absent: Absent::Nil,
        }),
        Class::Read,
        Class::Write { key: 1 },
        Class::Fenced,
        Class::Side(Place::Shared),
        Class::Side(Place::Own),
        Class::Side(Place::Kept),
        Class::Transaction(Step::Begin),
        Class::Refused(""),
    ] {
        let of_it = |command: &&Command| heading(command.class) == heading(example);
        groups.push((example, table().iter().filter(of_it).collect()));
    }
    let mut page = HEAD.to_owned();
    for (class, commands) in groups {
        let (title, treatment) = heading(class);
        let _ = write!(page, "\n## {title}\n\n{treatment}\n\n");
        match class {
            Class::Serve(_) => by(
                &mut page,
                "answered from",
                &commands,
                |command| match command.class {
                    Class::Serve(serve) => source(serve.source),
                    _ => "",
                },
            ),
            Class::Refused(_) => by(&mut page, "why", &commands, |command| match command.class {
                Class::Refused(why) => why,
                _ => "",
            }),
            _ => {
                let _ = writeln!(page, "{}", names(&commands));
            }
        }
    }
    page
}

/// A table with one row for all commands about which `tell` says the same.
fn by(
    page: &mut String,
    title: &str,
    commands: &[&Command],
    tell: impl Fn(&Command) -> &'static str,
) {
    let mut rows: Vec<(&str, Vec<&Command>)> = Vec::new();
    for command in commands {
        let text = tell(command);
        match rows.iter_mut().find(|(known, _)| *known == text) {
            Some((_, row)) => row.push(command),
            None => rows.push((text, vec![command])),
        }
    }
    let _ = writeln!(page, "| commands | {title} |\n|---|---|");
    for (text, commands) in rows {
        let _ = writeln!(page, "| {} | {text} |", names(&commands));
    }
}

fn names(commands: &[&Command]) -> String {
    let name = |command: &&Command| format!("`{}`", command.name.to_uppercase().replace('|', " "));
    commands.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_command_is_on_the_page_once() {
    let page = markdown();
    let lists = page.split_once("\n## ").map_or("", |(_, lists)| lists);
    // Outside the lists the treatments name commands, too.
    let lists: String = lists
        .lines()
        .filter(|line| line.starts_with(['|', '`']))
        .map(|line| line.rsplit_once(" | ").map_or(line, |(names, _)| names))
        .collect();
    for command in table() {
        let name = names(&[command]);
        assert_eq!(lists.matches(&name).count(), 1, "{name}");
    }
}

#[test]
// Whether to write the page is a wish of who runs the test, not a setting of the library.
#[allow(clippy::disallowed_methods)]
fn docs_equal_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == markdown(),
        "docs/commands.md is not what the table says: run `UPDATE_DOCS=1 cargo test -p nearcache-proto --lib commands`"
    );
}
