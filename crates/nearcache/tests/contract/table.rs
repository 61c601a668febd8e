//! The table of commands against the server's own: what may use the lane, and which key a write names.

use nearcache_proto::commands::{Class, Command, table};
use nearcache_testkit::{Server, Value};

use super::Stage;

/// Would hold up a lane, change its state or concern the server.
const NOT_ON_THE_LANE: [&str; 3] = ["blocking", "pubsub", "admin"];

/// Flagged `pubsub` because they serve it; they leave their connection as it was.
const PUBLISHERS: [&str; 2] = ["publish", "spublish"];

/// Commands that L1 may answer.
const SERVED: usize = 36;

#[derive(Debug)]
struct Info {
    arity: i64,
    flags: Vec<String>,
    first_key: i64,
    last_key: i64,
    /// Whether the same command on the same data can have several replies.
    is_random: bool,
}

fn info(reply: &Value) -> Option<Info> {
    let Value::Array(fields) = reply else {
        return None;
    };
    let Value::Array(flags) = &fields[2] else {
        return None;
    };
    Some(Info {
        arity: fields[1].int(),
        flags: flags.iter().map(Value::text).collect(),
        first_key: fields[3].int(),
        last_key: fields[4].int(),
        is_random: tips(&fields[7]).any(|tip| tip == "nondeterministic_output"),
    })
}

fn tips(field: &Value) -> impl Iterator<Item = String> {
    let Value::Array(tips) = field else {
        panic!("the tips have another shape");
    };
    tips.iter().map(Value::text)
}

/// Words of the least number, each different.
fn sample(name: &str, arity: i64) -> Vec<String> {
    let mut argv: Vec<String> = name.split('|').map(str::to_owned).collect();
    let words = usize::try_from(arity.unsigned_abs()).unwrap();
    argv.extend((argv.len()..words).map(|n| format!("word{n}")));
    argv
}

#[test]
fn table_matches_the_server() {
    Stage::watch(|| {
        let server = Server::start();
        let mut client = server.client();
        let (mut known, mut served, mut wrong) = (0, 0, Vec::new());
        for Command { name, class, .. } in table() {
            let Value::Array(replies) = client.ok(&["COMMAND", "INFO", name]) else {
                panic!("COMMAND INFO answered something else");
            };
            let Some(info) = replies.first().and_then(info) else {
                continue;
            };
            known += 1;
            let has = |flag: &str| info.flags.iter().any(|f| f == flag);
            let on_lane = matches!(
                class,
                Class::Read | Class::Serve(_) | Class::Write { .. } | Class::Fenced
            );
            for flag in NOT_ON_THE_LANE {
                if on_lane && has(flag) && !PUBLISHERS.contains(name) {
                    wrong.push(format!("{name} is {class:?} but {flag}"));
                }
            }
            match class {
                Class::Read if has("write") || (info.first_key != 0 && !has("readonly")) => {
                    wrong.push(format!("{name} is a read but flagged {:?}", info.flags));
                }
                Class::Serve(_) => {
                    // Its reply is made from its keys and arguments, and from nothing else.
                    let keyed = info.first_key == 1
                        && (info.last_key == 1 || *name == "mget" || *name == "exists");
                    if !has("readonly") || has("write") || !keyed || info.is_random {
                        wrong.push(format!("{name} is served but is {info:?}"));
                    }
                    served += 1;
                }
                Class::Write { key } => {
                    if !has("write") {
                        wrong.push(format!("{name} is a write but flagged {:?}", info.flags));
                    }
                    let argv = sample(name, info.arity);
                    let mut ask = vec!["COMMAND".to_owned(), "GETKEYS".to_owned()];
                    ask.extend(argv.iter().cloned());
                    let keys = client.cmd(&ask);
                    let expected = Value::Array(vec![Value::Bulk(argv[*key].clone().into_bytes())]);
                    if keys != expected {
                        wrong.push(format!("{name}: key {key} expected, GETKEYS says {keys:?}"));
                    }
                }
                _ => {}
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(known > 200, "only {known} commands were compared");
        assert_eq!(served, SERVED, "commands that L1 may answer");
    });
}

#[test]
fn every_write_the_server_knows_is_no_read() {
    Stage::watch(|| {
        let server = Server::start();
        let Value::Array(all) = server.client().ok(&["COMMAND"]) else {
            panic!("COMMAND answered something else");
        };
        let mut compared = 0;
        for entry in &all {
            let (Value::Array(fields), Some(info)) = (entry, info(entry)) else {
                panic!("an entry of COMMAND has another shape");
            };
            let name = fields[0].text();
            if info.flags.iter().any(|flag| flag == "write") {
                compared += 1;
                let class = nearcache_proto::commands::class(name.as_bytes());
                assert!(!matches!(class, Class::Read | Class::Serve(_)), "{name}");
            }
        }
        assert!(compared > 80, "only {compared} writes");
    });
}
