//! Bytes from a server: the same in pieces as whole, and the same as redis-rs reads where both read something.
#![no_main]

use bytes::{BufMut, Bytes};
use libfuzzer_sys::fuzz_target;
use nearcache_proto::resp::Reply;
use nearcache_proto::resp::wire::{Decoder, Incoming};
use redis::{ToRedisArgs, Value};

fuzz_target!(|data: &[u8]| {
    let Some((piece, wire)) = data.split_first() else {
        return;
    };
    let whole = decoded(wire, usize::MAX);
    let pieces = decoded(wire, usize::from(*piece).max(1));
    // As text: a NaN is not equal to itself.
    assert_eq!(format!("{:?}", whole.0), format!("{:?}", pieces.0));
    assert_eq!(whole.1, pieces.1, "only one is an error");
    // Formats of verbatim strings may be of any length there.
    if wire.contains(&b'=') {
        return;
    }
    if let (Some(ours), Ok(theirs)) = (whole.0.first(), redis::parse_redis_value(wire)) {
        let theirs = match theirs {
            Value::Push { kind, data } => format!("{kind} {:?}", replies(data)),
            value => format!("{:?}", reply(value)),
        };
        let ours = match ours {
            Incoming::Reply(reply) => format!("{reply:?}"),
            Incoming::Push(kind, data) => match kind {
                Reply::Bulk(kind) => format!("{} {data:?}", String::from_utf8_lossy(kind)),
                Reply::Simple(kind) => format!("{kind} {data:?}"),
                // It has no kind for it.
                _ => return,
            },
        };
        assert_eq!(ours, theirs);
    }
});

/// All there is until an error or the end; and whether it was an error.
fn decoded(wire: &[u8], piece: usize) -> (Vec<Incoming>, bool) {
    let mut decoder = Decoder::new();
    let (mut buffer, mut all) = (Vec::new(), Vec::new());
    let mut pieces = wire.chunks(piece.min(wire.len().max(1)));
    loop {
        let Ok((taken, incoming)) = decoder.decode(&buffer) else {
            return (all, true);
        };
        buffer.drain(..taken);
        if let Some(incoming) = incoming {
            all.push(incoming);
            continue;
        }
        let Some(mut next) = pieces.next() else {
            return (all, false);
        };
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

fn replies(values: Vec<Value>) -> Vec<Reply> {
    values.into_iter().map(reply).collect()
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(Bytes::from(bytes)),
        Value::Array(items) => Reply::Array(replies(items)),
        Value::SimpleString(text) => Reply::Simple(text),
        Value::Okay => Reply::ok(),
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            Reply::Map(pairs.map(|(f, v)| (reply(f), reply(v))).collect())
        }
        Value::Attribute { data, .. } => reply(*data),
        Value::Set(items) => Reply::Set(replies(items)),
        Value::Double(number) => Reply::Double(number),
        Value::Boolean(flag) => Reply::Bool(flag),
        Value::VerbatimString { format, text } => Reply::Verbatim(format.to_string(), text),
        Value::BigNumber(number) => {
            let digits = number.to_redis_args().concat();
            Reply::BigNumber(String::from_utf8_lossy(&digits).into_owned())
        }
        Value::ServerError(error) => Reply::Error {
            code: error.code().to_owned(),
            message: error.details().unwrap_or_default().to_owned(),
        },
        Value::Push { .. } => Reply::Simple("a push in a reply".to_owned()),
        _ => Reply::Nil,
    }
}
