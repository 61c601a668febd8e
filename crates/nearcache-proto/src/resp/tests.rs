//! What is written for each op, and how each shape of answer is judged.

mod handshake;

use std::time::Duration;

use bytes::Bytes;

use super::{Reply, decode, encode};
use crate::op::{Op, OpError, OpReply};

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn bulk(text: &'static str) -> Reply {
    Reply::Bulk(b(text))
}

fn line(argv: &[Bytes]) -> String {
    let words: Vec<_> = argv.iter().map(|w| String::from_utf8_lossy(w)).collect();
    words.join(" ")
}

fn lines(op: &Op) -> Vec<String> {
    let mut out: Vec<Vec<Bytes>> = Vec::new();
    let span = encode(op, 0, &mut out);
    assert_eq!(span.replies(), out.len());
    out.iter().map(|argv| line(argv)).collect()
}

/// Decodes, checking that exactly the op's replies are consumed.
fn answer(op: &Op, replies: Vec<Reply>) -> Result<OpReply, OpError> {
    let span = encode(op, 0, &mut Vec::<u8>::new());
    assert_eq!(span.replies(), replies.len(), "test gives all replies");
    let mut replies = replies.into_iter().chain([Reply::Int(4711)]);
    let answer = decode(op, &span, &mut replies);
    assert_eq!(replies.next(), Some(Reply::Int(4711)), "consumes its own");
    answer
}

fn read(db: u32, tracked: bool) -> Op {
    Op::Read {
        db,
        key: b("k"),
        tracked,
    }
}

fn is_protocol(answer: Result<OpReply, OpError>) -> bool {
    matches!(answer, Err(OpError::Protocol(_)))
}

fn is_tracking_lost(answer: Result<OpReply, OpError>) -> bool {
    matches!(answer, Err(OpError::TrackingLost(_)))
}

fn value(value: Option<&'static str>, ttl: Option<Duration>) -> Result<OpReply, OpError> {
    Ok(OpReply::Read {
        value: value.map(b),
        ttl,
        tracked: true,
    })
}

#[test]
fn ops_become_contiguous_commands() {
    assert_eq!(
        lines(&read(0, true)),
        ["CLIENT CACHING YES", "GET k", "PTTL k"]
    );
    assert_eq!(
        lines(&read(3, false)),
        ["SELECT 3", "MULTI", "GET k", "PTTL k", "EXEC", "SELECT 0"]
    );
    let set = |ttl, if_absent| Op::Set {
        db: 0,
        key: b("k"),
        value: b("v"),
        ttl,
        if_absent,
    };
    assert_eq!(lines(&set(None, false)), ["SET k v"]);
    assert_eq!(
        lines(&set(Some(Duration::from_millis(1500)), true)),
        ["SET k v PX 1500 NX"]
    );
    assert_eq!(
        lines(&set(Some(Duration::ZERO), false)),
        ["SET k v PX 1"],
        "no server takes PX 0"
    );
    let transaction = Op::Transaction {
        db: 1,
        commands: vec![vec![b("INCR"), b("n")], vec![b("PING")]],
    };
    assert_eq!(
        lines(&transaction),
        ["SELECT 1", "MULTI", "INCR n", "PING", "EXEC", "SELECT 0"]
    );
    assert_eq!(lines(&Op::ProbeDb { db: 2 }), ["SELECT 2", "SELECT 0"]);
    let handshake = Op::Handshake {
        canary: b("c"),
        nonce: 10,
    };
    assert_eq!(
        lines(&handshake),
        [
            "CLIENT TRACKING ON OPTIN",
            "CLIENT NO-EVICT ON",
            "HELLO",
            "HPTTL c FIELDS 1 x",
            "ACL WHOAMI",
            "MULTI",
            "EXEC",
            "CLIENT CACHING YES",
            "GET c",
            "PTTL c",
            "SET c x PX 1",
            "ECHO 000000000000000a"
        ]
    );
}

#[test]
fn the_resting_db_is_not_selected() {
    let mut out: Vec<Vec<Bytes>> = Vec::new();
    encode(&read(5, true), 5, &mut out);
    assert_eq!(out.len(), 3);
    encode(&read(0, true), 5, &mut out);
    assert_eq!(line(&out[3]), "SELECT 0");
    assert_eq!(line(&out[7]), "SELECT 5");
}

#[test]
fn a_read_is_a_value_with_its_life() {
    let op = read(0, true);
    let got = |get, pttl| answer(&op, vec![Reply::ok(), get, Reply::Int(pttl)]);
    assert_eq!(got(bulk("v"), -1), value(Some("v"), None));
    // Less the millisecond by which the server's clock may be behind: the last one is not for serving.
    for (pttl, left) in [(250, 249), (2, 1), (1, 0), (0, 0)] {
        assert_eq!(
            got(bulk("v"), pttl),
            value(Some("v"), Some(Duration::from_millis(left)))
        );
    }
    assert_eq!(got(Reply::Nil, -2), value(None, None));
    assert_eq!(got(bulk("v"), -2), value(Some("v"), Some(Duration::ZERO)));
    assert!(is_protocol(got(bulk("v"), -3)));
}

#[test]
fn a_read_takes_no_reply_that_get_cannot_give() {
    let op = read(0, true);
    let shapes = [
        Reply::ok(),
        Reply::Simple("QUEUED".into()),
        Reply::Int(1),
        Reply::Array(vec![]),
        Reply::Map(vec![]),
    ];
    for shape in shapes {
        let replies = vec![Reply::ok(), shape.clone(), Reply::Int(-1)];
        assert!(is_protocol(answer(&op, replies)), "GET {shape:?}");
    }
    for shape in [bulk("1"), Reply::ok(), Reply::Nil] {
        let replies = vec![Reply::ok(), bulk("v"), shape.clone()];
        assert!(is_protocol(answer(&op, replies)), "PTTL {shape:?}");
    }
    let replies = vec![bulk("OK"), bulk("v"), Reply::Int(-1)];
    assert!(is_protocol(answer(&op, replies)));
    let wrong = Reply::error("WRONGTYPE Operation against a key");
    assert_eq!(
        answer(&op, vec![Reply::ok(), wrong, Reply::Int(-1)]),
        Err(OpError::Server {
            code: "WRONGTYPE".into(),
            message: "Operation against a key".into()
        })
    );
}

#[test]
fn trap_caching_refused_while_get_answers() {
    let op = read(0, true);
    let no = Reply::error("NOPERM no permissions");
    let lost = answer(&op, vec![no.clone(), bulk("v"), Reply::Int(-1)]);
    assert!(matches!(lost, Err(OpError::TrackingLost(why)) if why.contains("NOPERM")));

    let busy = Reply::error("BUSY running a script");
    let all = vec![busy.clone(), busy.clone(), busy];
    assert!(matches!(answer(&op, all), Err(OpError::Server { code, .. }) if code == "BUSY"));

    // With shifted replies, the harder verdict.
    assert!(is_protocol(answer(&op, vec![no, Reply::ok(), bulk("v")])));
}

#[test]
fn a_failed_select_ends_the_connection() {
    let op = read(9, true);
    let no = Reply::error("ERR DB index is out of range");
    for at in [0, 4] {
        let value = [bulk("v"), Reply::Int(-1)];
        let mut replies = vec![Reply::ok(), Reply::ok()];
        replies.extend(value.into_iter().chain([Reply::ok()]));
        replies[at] = no.clone();
        assert!(is_protocol(answer(&op, replies)));
    }
    let probe = Op::ProbeDb { db: 9 };
    let refused = answer(&probe, vec![no.clone(), Reply::ok()]);
    assert!(matches!(refused, Err(OpError::Server { .. })));
    let neither = answer(&probe, vec![no.clone(), no.clone()]);
    assert!(matches!(neither, Err(OpError::Server { .. })));
    assert!(is_protocol(answer(&probe, vec![Reply::ok(), no])));
    assert_eq!(
        answer(&probe, vec![Reply::ok(), Reply::ok()]),
        Ok(OpReply::Selectable)
    );
}

#[test]
fn c5_an_untracked_read_is_one_transaction() {
    let op = read(0, false);
    let queued = || Reply::Simple("QUEUED".to_owned());
    let whole = |exec| answer(&op, vec![Reply::ok(), queued(), queued(), exec]);
    assert_eq!(
        whole(Reply::Array(vec![bulk("v"), Reply::Int(250)])),
        Ok(OpReply::Read {
            value: Some(b("v")),
            ttl: Some(Duration::from_millis(249)),
            tracked: false,
        })
    );
    let wrong = Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value");
    let refused = whole(Reply::Array(vec![wrong, Reply::Int(-1)]));
    assert!(matches!(refused, Err(OpError::Server { code, .. }) if code == "WRONGTYPE"));
    assert!(is_protocol(whole(Reply::Nil)));
    assert!(is_protocol(whole(Reply::Array(vec![bulk("v")]))));

    let no = |name: &str| format!("NOPERM User app has no permissions to run the '{name}' command");
    let aborted =
        |why: &str| Reply::error(&format!("EXECABORT Transaction discarded because of{why}"));
    let refused = |name: &str, queued: Reply| {
        let pttl = match name {
            "pttl" => Reply::error(&no(name)),
            _ => Reply::Simple("QUEUED".to_owned()),
        };
        let exec = match name {
            "exec" => aborted(&format!(": {}", no(name))),
            _ => aborted(" previous errors."),
        };
        answer(&op, vec![Reply::ok(), queued, pttl, exec])
    };
    for name in ["pttl", "exec"] {
        let lost = refused(name, queued());
        assert!(matches!(lost, Err(OpError::TrackingLost(_))), "{lost:?}");
    }
    for words in [&no("get"), "NOPERM No permissions to access a key"] {
        match refused("get", Reply::error(words)) {
            Err(OpError::Server { code, .. }) => assert_eq!(code, "NOPERM"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn writes_and_commands() {
    let set = |if_absent| Op::Set {
        db: 0,
        key: b("k"),
        value: b("v"),
        ttl: None,
        if_absent,
    };
    let stored = |answer| Ok(OpReply::Stored(answer));
    assert_eq!(answer(&set(true), vec![Reply::ok()]), stored(true));
    assert_eq!(answer(&set(true), vec![Reply::Nil]), stored(false));
    assert!(is_protocol(answer(&set(false), vec![Reply::Nil])));
    let delete = Op::Delete { db: 0, key: b("k") };
    let deleted = answer(&delete, vec![Reply::Int(1)]);
    assert_eq!(deleted, Ok(OpReply::Deleted(true)));
    assert!(is_protocol(answer(&delete, vec![Reply::ok()])));
    let command = Op::Command {
        db: 0,
        argv: vec![b("LPUSH"), b("k"), b("v")],
    };
    let list = Reply::Array(vec![Reply::Nil]);
    assert_eq!(
        answer(&command, vec![list.clone()]),
        Ok(OpReply::Value(list))
    );
    let refused = answer(&command, vec![Reply::error("OOM command not allowed")]);
    assert!(matches!(refused, Err(OpError::Server { code, .. }) if code == "OOM"));
}

#[test]
fn a_reply_is_kept_with_the_life_of_its_key() {
    let op = |line: &str, tracked| Op::ReadWith {
        db: 0,
        argv: line
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect(),
        tracked,
    };
    assert_eq!(
        lines(&op("zrank k m", true)),
        ["CLIENT CACHING YES", "zrank k m", "PTTL k"]
    );
    assert_eq!(
        lines(&op("llen k", false)),
        ["MULTI", "llen k", "PTTL k", "EXEC"]
    );
    let got = |line: &str, reply, pttl| {
        answer(&op(line, true), vec![Reply::ok(), reply, Reply::Int(pttl)])
    };
    let read = |reply, ttl, exists| {
        Ok(OpReply::ReadWith {
            reply,
            ttl,
            exists,
            tracked: true,
        })
    };
    let ms = Duration::from_millis;
    assert_eq!(
        got("zrank k m", Reply::Int(0), 5),
        read(Reply::Int(0), Some(ms(4)), true)
    );
    // Gone when its life was asked for: kept only if it is the reply of a key that does not exist.
    assert_eq!(
        got("zrank k m", Reply::Nil, -2),
        read(Reply::Nil, None, false)
    );
    assert_eq!(
        got("zrank k m", Reply::Int(0), -2),
        read(Reply::Int(0), Some(ms(0)), false)
    );
    let status = |word: &str| Reply::Simple(word.into());
    assert_eq!(
        got("type k", status("list"), -1),
        read(status("list"), None, true)
    );
    assert!(is_protocol(got("type k", status("QUEUED"), -1)));
    assert!(is_protocol(got("llen k", status("OK"), -1)));
    assert!(is_protocol(got("llen k", Reply::Int(1), -3)));
    assert!(is_tracking_lost(answer(
        &op("llen k", true),
        vec![Reply::error("ERR no"), Reply::Int(1), Reply::Int(-1)]
    )));
}

#[test]
fn a_transaction_is_its_exec() {
    let op = Op::Transaction {
        db: 0,
        commands: vec![vec![b("INCR"), b("n")]],
    };
    let queued = Reply::Simple("QUEUED".into());
    let run = |begun, queued, exec| answer(&op, vec![begun, queued, exec]);
    let inner = Reply::Array(vec![Reply::error("ERR value is not an integer")]);
    assert_eq!(
        run(Reply::ok(), queued.clone(), inner.clone()),
        Ok(OpReply::Value(inner.clone()))
    );
    assert_eq!(
        run(Reply::ok(), queued.clone(), Reply::Nil),
        Ok(OpReply::Value(Reply::Nil))
    );
    let aborted = run(
        Reply::ok(),
        Reply::error("ERR unknown command"),
        Reply::error("EXECABORT Transaction discarded because of previous errors."),
    );
    assert!(matches!(aborted, Err(OpError::Server { code, message })
        if code == "EXECABORT" && message.ends_with("ERR unknown command")));
    let too_many = Reply::Array(vec![Reply::Nil, Reply::Nil]);
    assert!(is_protocol(run(Reply::ok(), queued.clone(), too_many)));
    assert!(is_protocol(run(Reply::ok(), bulk("v"), inner.clone())));
    assert!(is_protocol(run(Reply::error("NOPERM"), queued, inner)));
}

#[test]
fn fences_and_heartbeats() {
    let fence = Op::Fence { nonce: 10 };
    let echo = bulk("000000000000000a");
    assert_eq!(answer(&fence, vec![echo]), Ok(OpReply::Fenced));
    assert!(is_protocol(answer(&fence, vec![bulk("b")])));
    assert!(is_protocol(answer(&fence, vec![Reply::Nil])));

    let own = Op::FenceOf { connection: 7 };
    let of = |id| answer(&own, vec![Reply::Map(vec![(bulk("id"), Reply::Int(id))])]);
    assert_eq!(of(7), Ok(OpReply::Fenced));
    for shifted in [
        of(8),
        answer(&own, vec![Reply::ok()]),
        answer(&own, vec![Reply::Map(vec![])]),
    ] {
        assert!(is_protocol(shifted));
    }
    let refused = Reply::error("NOPERM User app has no permissions to run the 'echo' command");
    let lost = answer(&fence, vec![refused]);
    assert!(matches!(lost, Err(OpError::TrackingLost(_))), "{lost:?}");

    let role = |reply| answer(&Op::Heartbeat, vec![reply]);
    let map = |role| Reply::Map(vec![(bulk("proto"), Reply::Int(3)), (bulk("role"), role)]);
    let primary = |primary| Ok(OpReply::Role { primary });
    assert_eq!(role(map(bulk("master"))), primary(true));
    assert_eq!(role(map(bulk("replica"))), primary(false));
    let flat = Reply::Array(vec![bulk("role"), bulk("master")]);
    assert_eq!(role(flat), primary(true));
    assert!(is_protocol(role(map(Reply::Nil))));
    assert!(is_protocol(role(Reply::ok())));
}

#[test]
fn missing_replies_are_noticed() {
    let op = read(1, true);
    let span = encode(&op, 0, &mut Vec::<u8>::new());
    for given in 0..span.replies() {
        let mut replies = std::iter::repeat_n(Reply::ok(), given);
        assert!(is_protocol(decode(&op, &span, &mut replies)));
    }
}
