//! Replies of any shape to anything that is asked of L2, as the driver hands them over.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nearcache_fuzz::Feed;
use nearcache_proto::resp::{decode, encode};
use nearcache_proto::{Op, OpReply};

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let db = u32::from(feed.byte() % 3);
    let op = match feed.byte() % 11 {
        0 => Op::Read {
            db,
            key: feed.word(),
            tracked: feed.byte() & 1 == 1,
        },
        1 => Op::ReadWith {
            db,
            argv: feed.argv(),
            tracked: feed.byte() & 1 == 1,
        },
        2 => Op::Set {
            db,
            key: feed.word(),
            value: feed.word(),
            ttl: Some(Duration::from_micros(feed.number())),
            if_absent: feed.byte() & 1 == 1,
        },
        3 => Op::Delete {
            db,
            key: feed.word(),
        },
        4 => Op::Command {
            db,
            argv: feed.argv(),
        },
        5 => Op::Transaction {
            db,
            commands: (0..feed.byte() % 4).map(|_| feed.argv()).collect(),
        },
        6 => Op::Fence {
            nonce: feed.number(),
        },
        7 => Op::Heartbeat,
        8 => Op::Replace {
            db,
            key: feed.word(),
            old: feed.word(),
            value: feed.word(),
            ttl: Some(Duration::from_micros(feed.number())),
        },
        9 => Op::FenceOf {
            connection: feed.number() as i64,
        },
        _ => Op::Handshake {
            canary: feed.word(),
            nonce: feed.number(),
        },
    };
    let asked = op.clone();
    let span = encode(&op, 0, &mut Vec::<u8>::new());
    let mut replies = Vec::new();
    while !feed.is_empty() && replies.len() < span.replies() + 1 {
        replies.push(feed.reply(4));
    }
    let given = replies.len();
    let mut replies = replies.into_iter();
    let answer = decode(&op, &span, &mut replies);
    // Neither too many nor too few: whoever is next in line gets the replies that are left.
    assert_eq!(given - replies.len(), given.min(span.replies()));
    if given < span.replies() {
        assert!(answer.is_err());
    }
    if let Ok(OpReply::Role { primary: true }) = answer {
        assert!(matches!(asked, Op::Heartbeat));
    }
});
