//! What is read, in pieces of every size, and what is refused.

use bytes::{BufMut, Bytes};

use super::{Commands, Decoder, Incoming, WireError};
use crate::resp::Reply;

fn bulk(text: &str) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

fn reply(reply: Reply) -> Incoming {
    Incoming::Reply(reply)
}

/// Everything in `wire`, which comes in pieces of this many bytes; large strings are read past the buffer where they can be.
fn decoded(wire: &[u8], piece: usize) -> Result<Vec<Incoming>, WireError> {
    let mut decoder = Decoder::new();
    let (mut buffer, mut all) = (Vec::new(), Vec::new());
    let mut pieces = wire.chunks(piece);
    loop {
        let (taken, incoming) = decoder.decode(&buffer)?;
        buffer.drain(..taken);
        if let Some(incoming) = incoming {
            all.push(incoming);
            continue;
        }
        let Some(next) = pieces.next() else {
            assert!(decoder.is_between(), "half of something is left");
            assert!(buffer.is_empty());
            return Ok(all);
        };
        let mut next = next;
        if buffer.is_empty()
            && let Some(mut large) = decoder.large()
        {
            let (direct, rest) = next.split_at(next.len().min(large.remaining_mut()));
            large.put_slice(direct);
            next = rest;
        }
        buffer.extend_from_slice(next);
    }
}

/// The same, whatever the pieces.
fn whole(wire: &[u8]) -> Result<Vec<Incoming>, WireError> {
    let all = decoded(wire, wire.len().max(1));
    for piece in [1, 2, 3, 7, 1000] {
        // Where something is wrong it may be something else that is noticed first.
        // As text: a NaN is not equal to itself.
        let text = |all: &Result<Vec<Incoming>, _>| all.as_ref().ok().map(|all| format!("{all:?}"));
        assert_eq!(text(&decoded(wire, piece)), text(&all), "pieces of {piece}");
    }
    all
}

fn one(wire: &str) -> Reply {
    match whole(wire.as_bytes()).unwrap().as_slice() {
        [Incoming::Reply(reply)] => reply.clone(),
        other => panic!("{wire:?}: {other:?}"),
    }
}

#[test]
fn every_type_of_both_protocols() {
    for (wire, expected) in [
        ("+OK\r\n", Reply::ok()),
        ("+\r\n", Reply::Simple(String::new())),
        (":-42\r\n", Reply::Int(-42)),
        ("$5\r\nhello\r\n", bulk("hello")),
        ("$2\r\n\r\n\r\n", bulk("\r\n")),
        ("$0\r\n\r\n", bulk("")),
        ("$-1\r\n", Reply::Nil),
        ("*-1\r\n", Reply::Nil),
        ("_\r\n", Reply::Nil),
        ("#t\r\n", Reply::Bool(true)),
        ("#f\r\n", Reply::Bool(false)),
        (",1.5\r\n", Reply::Double(1.5)),
        (",-inf\r\n", Reply::Double(f64::NEG_INFINITY)),
        (
            "(-123456789012345678901\r\n",
            Reply::BigNumber("-123456789012345678901".into()),
        ),
        (
            "=8\r\ntxt:some\r\n",
            Reply::Verbatim("txt".into(), "some".into()),
        ),
        (
            "-WRONGTYPE not that\r\n",
            Reply::error("WRONGTYPE not that"),
        ),
        ("!8\r\nERR a\nb\r\r\n", Reply::error("ERR a\nb\r")),
        ("*0\r\n", Reply::Array(vec![])),
        (
            "*2\r\n:1\r\n*1\r\n_\r\n",
            Reply::Array(vec![Reply::Int(1), Reply::Array(vec![Reply::Nil])]),
        ),
        ("~1\r\n$1\r\na\r\n", Reply::Set(vec![bulk("a")])),
        ("%0\r\n", Reply::Map(vec![])),
        (
            "%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n:1\r\n:2\r\n",
            Reply::Map(vec![
                (Reply::Simple("a".into()), Reply::Int(1)),
                (
                    Reply::Simple("b".into()),
                    Reply::Map(vec![(Reply::Int(1), Reply::Int(2))]),
                ),
            ]),
        ),
    ] {
        assert_eq!(one(wire), expected, "{wire:?}");
    }
    assert!(matches!(one(",nan\r\n"), Reply::Double(nan) if nan.is_nan()));
}

#[test]
fn attributes_are_left_out_wherever_they_stand() {
    assert_eq!(one("|1\r\n+ttl\r\n:5\r\n$1\r\na\r\n"), bulk("a"));
    assert_eq!(
        one("*2\r\n|1\r\n+ttl\r\n*1\r\n:5\r\n:1\r\n|0\r\n:2\r\n"),
        Reply::Array(vec![Reply::Int(1), Reply::Int(2)])
    );
}

#[test]
fn pushes_keep_their_place_between_replies() {
    let wire =
        b"+a\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n+b\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n";
    let push = |data| Incoming::Push(bulk("invalidate"), vec![data]);
    let expected = vec![
        reply(Reply::Simple("a".into())),
        push(Reply::Array(vec![bulk("k")])),
        reply(Reply::Simple("b".into())),
        push(Reply::Nil),
    ];
    assert_eq!(whole(wire).unwrap(), expected);
}

#[test]
fn a_large_string_is_read_in_place_and_what_follows_is_not_lost() {
    for bytes in [32 << 10, (32 << 10) + 1, 200_000] {
        let value: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
        let mut wire = format!("*2\r\n${bytes}\r\n").into_bytes();
        wire.extend(&value);
        wire.extend(b"\r\n:7\r\n+next\r\n");
        let expected = vec![
            reply(Reply::Array(vec![Reply::Bulk(value.into()), Reply::Int(7)])),
            reply(Reply::Simple("next".into())),
        ];
        assert_eq!(whole(&wire).unwrap(), expected, "{bytes}");
    }
}

#[test]
fn c12_what_is_announced_takes_no_memory_before_it_comes() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(b"$4000000000\r\n"), Ok((13, None)));
    let room = decoder.large().map(|large| large.remaining_mut());
    assert!(room.is_some_and(|room| room <= 16 << 20), "{room:?}");
    // A list of four thousand million elements in a list of as many.
    let mut decoder = Decoder::new();
    assert_eq!(
        decoder.decode(b"*4294967295\r\n*4294967295\r\n:1\r\n"),
        Ok((30, None))
    );
}

#[test]
fn c12_what_is_no_resp_is_refused() {
    for wire in [
        "hello\r\n",
        "\r\n",
        ":\r\n",
        ":1.5\r\n",
        ":x\r\n",
        "#x\r\n",
        ",x\r\n",
        "_x\r\n",
        "(\r\n",
        "(1x\r\n",
        "$-2\r\n",
        "%-1\r\n",
        ">-1\r\n",
        "!-1\r\n",
        "*-2\r\n",
        "$x\r\n",
        "$99999999999\r\n",
        "*99999999999\r\n",
        "$1\r\nab\r\n",
        "+a\n",
        ">0\r\n",
        "=3\r\nabc\r\n",
        "=4\r\nabcd\r\n",
        "*1\r\n>1\r\n+a\r\n",
        "$?\r\n",
        "*?\r\n",
        ";4\r\n",
        ".\r\n",
        "%?\r\n",
    ] {
        assert!(whole(wire.as_bytes()).is_err(), "{wire:?}");
    }
    let endless = vec![b'a'; 100_000];
    assert!(Decoder::new().decode(&endless).is_err());
}

#[test]
fn c12_lists_in_lists_have_a_limit() {
    let nested = |depth: usize| format!("{}:1\r\n", "*1\r\n".repeat(depth));
    assert!(whole(nested(99).as_bytes()).is_ok());
    assert!(whole(nested(100).as_bytes()).is_err());
    assert!(Decoder::new().decode(nested(1_000_000).as_bytes()).is_err());
}

#[test]
fn a_command_is_an_array_of_strings() {
    let mut out = b"before".to_vec();
    out.begin(4);
    out.word("SET");
    out.shared(&Bytes::from_static(b"k"));
    out.text("");
    out.shared(&Bytes::from_static(b"0123456789\r\n"));
    let expected = b"before*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n$12\r\n0123456789\r\n\r\n";
    assert_eq!(out, expected);
}
