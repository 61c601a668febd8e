//! What a handshake tells of the server and of its user.

use super::*;

#[test]
fn a_handshake_says_what_is_missing() {
    let op = Op::Handshake {
        canary: b("c"),
        nonce: 1,
    };
    let good = vec![
        Reply::ok(),
        Reply::error("ERR unknown subcommand NO-EVICT"),
        Reply::Map(vec![
            (bulk("server"), bulk("redis")),
            (bulk("version"), bulk("7.0.15")),
            (bulk("role"), bulk("master")),
            (bulk("id"), Reply::Int(7)),
        ]),
        Reply::error("ERR unknown command 'HPTTL'"),
        bulk("app"),
        Reply::ok(),
        Reply::Array(vec![]),
        Reply::ok(),
        Reply::Nil,
        Reply::Int(-2),
        Reply::ok(),
        bulk("0000000000000001"),
    ];
    let outcome = |at: usize, reply: Reply| {
        let mut replies = good.clone();
        replies[at] = reply;
        match answer(&op, replies) {
            Ok(OpReply::Handshake {
                primary, tracking, ..
            }) => (primary, tracking),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome(1, Reply::ok()), (true, Ok(())));
    let out_of_memory = Reply::error("OOM command not allowed");
    let (_, why) = outcome(10, out_of_memory);
    assert!(
        why.expect_err("no proof")
            .contains("SET of the self-test key was refused (OOM")
    );
    let mut replies = good.clone();
    replies[11] = bulk("2");
    assert!(is_protocol(answer(&op, replies)));

    let with = |at: usize, reply: Reply| {
        let mut replies = good.clone();
        replies[at] = reply;
        match answer(&op, replies) {
            Ok(OpReply::Handshake {
                traits, tracking, ..
            }) => (traits, tracking),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(1, Reply::ok()).0.rights.user.as_deref(), Some("app"));
    for (at, rule, proven) in [
        (0, "+client|tracking", false),
        (5, "+multi", true),
        (6, "+exec", true),
        (7, "+client|caching", false),
        (8, "+get", false),
        (9, "+pttl", false),
        (10, "+set", false),
        (11, "+echo", true),
    ] {
        let no = format!(
            "NOPERM User app has no permissions to run the '{}' command",
            &rule[1..]
        );
        let (traits, tracking) = with(at, Reply::error(&no));
        assert_eq!(traits.rights.missing, [rule]);
        assert_eq!(tracking.is_ok(), proven, "{rule}");
        assert_eq!(traits.connection, (rule == "+echo").then_some(7));
    }
    let (traits, tracking) = with(8, Reply::error("NOPERM No permissions to access a key"));
    assert!(traits.rights.no_keys && traits.rights.missing.is_empty());
    assert!(
        tracking
            .expect_err("no proof")
            .contains("GET of the self-test key")
    );
    let traits = |fields: Reply| with(3, fields).0;
    let old = traits(Reply::error("ERR unknown command 'HPTTL'"));
    assert!(!old.field_expiry);
    assert_eq!(old.doubles.score(0.1), "0.10000000000000001");
    // Known, or not for this user to ask: fields may expire.
    for reply in [Reply::Array(vec![Reply::Int(-2)]), Reply::error("NOPERM x")] {
        assert!(traits(reply).field_expiry);
    }
}
