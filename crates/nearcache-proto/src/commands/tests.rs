//! What the table says, and where arguments decide.

use bytes::Bytes;

use super::*;

fn of(line: &str) -> Class {
    let argv: Vec<Bytes> = line
        .split_whitespace()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    classify(&argv)
}

const KEY_1: Class = Class::Write { key: 1 };
const OWN_SIDE: Class = Class::Side(Place::Own);
const SHARED_SIDE: Class = Class::Side(Place::Shared);
const KEPT_SIDE: Class = Class::Side(Place::Kept);
const OWN: Class = Class::Serve(Serve {
    source: Source::Own,
    absent: Absent::Empty,
});

#[test]
fn the_table_is_sorted_and_every_name_fits() {
    assert!(table().is_sorted_by(|a, b| a.name < b.name));
    for Command { name, class, .. } in table() {
        assert!(name.len() <= LONGEST, "{name}");
        assert_eq!(*name, name.to_ascii_lowercase());
        assert_eq!(super::class(name.to_uppercase().as_bytes()), *class);
    }
}

#[test]
fn arguments_decide_where_they_must() {
    for (line, class) in [
        ("get", Class::Read),
        ("hgetall", Class::Read),
        ("GETEX k", KEY_1),
        ("EXISTS k l", Class::Read),
        ("ZRANGEBYSCORE k 0 1", OWN),
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
        ("XREAD block 0 STREAMS s 0", OWN_SIDE),
        ("XREADGROUP GROUP g c STREAMS s >", Class::Fenced),
        ("XREADGROUP GROUP streams c BLOCK 0 STREAMS s >", OWN_SIDE),
        ("XGROUP CREATE s g $", Class::Write { key: 2 }),
        ("XGROUP HELP", SHARED_SIDE),
        ("OBJECT ENCODING k", Class::Read),
        ("MEMORY DOCTOR", SHARED_SIDE),
        ("CLIENT ID", OWN_SIDE),
        ("HELLO", OWN_SIDE),
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
    for line in ["", "VADD k", "client|tracking|x y", "BLPOP k 0"] {
        assert_eq!(of(line), OWN_SIDE, "{line}");
    }
    assert_eq!(of("SET"), Class::Fenced);
    assert_eq!(of("XGROUP CREATE"), Class::Fenced);
    assert_eq!(of(&"x".repeat(1000)), OWN_SIDE);
    let long = format!("OBJECT {}", "x".repeat(1000));
    assert_eq!(of(&long), SHARED_SIDE);
    let long = format!("CLIENT {}", "x".repeat(1000));
    assert_eq!(of(&long), KEPT_SIDE);
}

#[test]
fn what_blocks_or_has_a_state_shares_no_connection() {
    for (line, class) in [
        ("INFO server", SHARED_SIDE),
        ("KEYS *", SHARED_SIDE),
        ("SCRIPT LOAD x", SHARED_SIDE),
        ("CONFIG GET x", SHARED_SIDE),
        ("JSON.GET k", SHARED_SIDE),
        ("FT.SEARCH i q", SHARED_SIDE),
        ("CLIENT LIST", SHARED_SIDE),
        ("client kill ID 7", SHARED_SIDE),
        ("CLIENT ID", OWN_SIDE),
        ("CLIENT GETNAME", OWN_SIDE),
        ("SAVE", OWN_SIDE),
        ("SHUTDOWN", OWN_SIDE),
        ("QUIT", OWN_SIDE),
        ("NEWCOMMAND k", OWN_SIDE),
        ("CLIENT SETNAME me", KEPT_SIDE),
        ("CLIENT NO-EVICT ON", KEPT_SIDE),
        ("CLIENT NEWSTATE", KEPT_SIDE),
        ("READONLY", KEPT_SIDE),
    ] {
        assert_eq!(of(line), class, "{line}");
    }
    for name in [
        "blmove",
        "blmpop",
        "blpop",
        "brpop",
        "brpoplpush",
        "bzmpop",
        "bzpopmax",
        "bzpopmin",
        "xread",
        "xreadgroup",
    ] {
        assert_eq!(super::class(name.as_bytes()), OWN_SIDE, "{name}");
    }
}
