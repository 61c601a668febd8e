//! What comes in is a value's key or a read that L1 may serve, and nothing else.

use super::*;
use crate::commands::{Class, table};
use crate::entry_key::{EntryKey, Kind, compose};

fn words(db: u32, argv: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![REPLY];
    put_varint(db, &mut out);
    put_varint(argv.len() as u32, &mut out);
    argv.iter().for_each(|word| put_word(word, &mut out));
    out
}

fn read_all(bytes: &[u8]) -> Result<Option<Name>, Ignored> {
    let mut reader = Reader(bytes);
    let name = read(&mut reader)?;
    assert!(reader.0.is_empty());
    Ok(name)
}

fn reply_slot(db: u32, argv: &[&[u8]]) -> Name {
    let place = commands::place(std::str::from_utf8(argv[0]).unwrap());
    Name::plain(EntryKey::reply(db, &compose(place, &argv[1..]).unwrap()).filed())
}

#[test]
fn a_kept_reply_travels_as_the_words_of_its_command() {
    let argv: [&[u8]; 5] = [b"zrange", b"board\0", b"0", b"-1", b"withscores"];
    let filed = reply_slot(3, &argv);
    let mut out = Vec::new();
    assert!(write(&filed, KeyNames::Plain, &mut out));
    assert_eq!(out, words(3, &argv));
    assert_eq!(read_all(&out), Ok(Some(filed.clone())));
    // In whatever case another version may write it.
    let upper: [&[u8]; 5] = [b"ZRANGE", argv[1], argv[2], argv[3], argv[4]];
    assert_eq!(read_all(&words(3, &upper)), Ok(Some(filed)));
}

#[test]
fn a_manifest_never_makes_a_pod_run_anything_but_a_read_that_l1_serves() {
    let mut served = 0;
    for command in table() {
        for arguments in 0..5 {
            let mut argv = vec![command.name.as_bytes()];
            argv.extend(std::iter::repeat_n(&b"k"[..], arguments));
            let found = read_all(&words(0, &argv)).unwrap();
            let of_values = matches!(command.name, "get" | "mget");
            let may = matches!(commands::classify(&argv), Class::Serve(_)) && !of_values;
            assert_eq!(found.is_some(), may, "{argv:?}");
            served += u32::from(may);
            let Some(Name::Plain { db, bytes }) = found else {
                continue;
            };
            // What the lane would send for the entry.
            let (_, sent) = crate::entry_key::command(&bytes).unwrap();
            let is_reply = EntryKey::of(Key::new(db, b"")).kind == Kind::Reply;
            assert!(is_reply && sent.iter().map(|word| &word[..]).eq(argv));
            assert!(!matches!(command.name, "del" | "set" | "eval" | "flushall"));
        }
    }
    assert!(served > 30, "{served}");
}

#[test]
fn what_is_no_name_of_use_is_skipped() {
    let long = [b'x'; LONGEST + 1];
    for line in [
        "",
        "flushall",
        "set k v",
        "eval return-1 0",
        "some.module k",
        "hgetall",
        "hget k",
        "exists k l",
        "client|tracking off",
        "keys *",
        "get k",
        "mget k l",
        "object|encoding k",
    ] {
        let argv: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(read_all(&words(0, &argv)), Ok(None), "{line}");
    }
    assert_eq!(read_all(&words(0, &[])), Ok(None));
    assert_eq!(read_all(&words(0, &[b"hget", b"k", &long])), Ok(None));
    let value = |db, key: &[u8]| {
        let mut out = vec![VALUE];
        put_varint(db, &mut out);
        put_word(key, &mut out);
        read_all(&out)
    };
    assert_eq!(value(15, b"k"), Ok(Some(Name::plain(Key::new(15, b"k")))));
    assert_eq!(value(0, &long), Ok(None));
    // Dbs with the flags of loaders, heads or replies, and those out of range.
    let (load, reply) = (Kind::Load as u32, Kind::Reply as u32);
    for db in [load, reply, DBS, reply | 1, u32::MAX] {
        assert_eq!(value(db, b"k"), Ok(None), "{db:#x}");
        assert_eq!(read_all(&words(db, &[b"hlen", b"k"])), Ok(None), "{db:#x}");
    }
}

#[test]
fn what_is_no_ones_business_does_not_leave() {
    let key = Key::new(1, b"k");
    for filed in [
        EntryKey::of(key).head().filed(),
        EntryKey::load(1, b"k").filed(),
        EntryKey::reply(0, b"\xff\xff").filed(),
        Key::new(0, &[b'x'; LONGEST + 1]),
    ] {
        for names in [KeyNames::Plain, KeyNames::Hashed] {
            let mut out = Vec::new();
            assert!(!write(&Name::plain(filed), names, &mut out));
            assert!(out.is_empty());
        }
        assert_eq!(hash(filed), None);
    }
}

#[test]
fn hashes_are_the_same_in_every_process_and_version() {
    let reply = reply_slot(0, &[b"hget", b"k", b"f"]);
    let Name::Plain { db, bytes } = &reply else {
        panic!("a name");
    };
    assert_eq!(hash(Key::new(0, b"product:1")), Some(HASH_OF_VALUE));
    assert_eq!(hash(Key::new(*db, bytes)), Some(HASH_OF_REPLY));
    assert_ne!(hash(Key::new(1, b"product:1")), Some(HASH_OF_VALUE));
    let mut out = Vec::new();
    assert!(write(&reply, KeyNames::Hashed, &mut out));
    assert_eq!(read_all(&out), Ok(Some(Name::Hashed(HASH_OF_REPLY))));
}

const HASH_OF_VALUE: u64 = 18_176_369_757_757_089_359;
const HASH_OF_REPLY: u64 = 7_005_045_453_681_205_983;

#[test]
fn hostile_names_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for bytes in [
        &[][..],
        &[9],
        &[VALUE],
        &[VALUE, 0],
        &[VALUE, 0, 5, b'k'],
        &[&[VALUE, 0], &huge[..]].concat(),
        &[&[VALUE], &huge[..4], &[0x1f, 0]].concat(),
        &[VALUE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[&[REPLY, 0], &huge[..]].concat(),
        &[REPLY, 0, 2, 0],
        &[HASHED, 1, 2, 3],
    ] {
        let read = read(&mut Reader(bytes));
        assert!(
            matches!(read, Err(Ignored::Hostile(_))),
            "{bytes:?}: {read:?}"
        );
    }
}
