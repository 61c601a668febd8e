//! RESP3 replies in the shapes of RESP2, for callers whose connection would have spoken that.
//!
//! A reply that already has them comes through unchanged.

use bytes::Bytes;

use super::{DoubleText, Reply};
use crate::commands::Resp2;

/// The reply as a RESP2 connection would have got it.
///
/// # Cost
/// Lists are moved; only doubles and status-like texts are printed anew.
pub(crate) fn to_resp2(reply: Reply, shape: Resp2, doubles: DoubleText) -> Reply {
    let each = |reply| to_resp2(reply, nested(shape), doubles);
    let list = |items: Vec<Reply>| Reply::Array(items.into_iter().map(each).collect());
    match reply {
        Reply::Array(items) if shape == Resp2::Flattened => {
            let mut flat = Vec::with_capacity(items.len() * 2);
            for item in items {
                match item {
                    Reply::Array(pair) => flat.extend(pair.into_iter().map(each)),
                    other => flat.push(each(other)),
                }
            }
            Reply::Array(flat)
        }
        Reply::Map(pairs) if shape == Resp2::Streams => {
            let pair = |(name, entries)| Reply::Array(vec![each(name), each(entries)]);
            Reply::Array(pairs.into_iter().map(pair).collect())
        }
        Reply::Map(pairs) => list(pairs.into_iter().flat_map(|(f, v)| [f, v]).collect()),
        Reply::Array(items) | Reply::Set(items) => list(items),
        Reply::Double(value) if shape == Resp2::Coordinates => text(doubles.coordinate(value)),
        Reply::Double(value) => text(doubles.score(value)),
        Reply::Bool(flag) => Reply::Int(i64::from(flag)),
        Reply::Verbatim(_, content) => text(content),
        Reply::BigNumber(digits) => text(digits),
        same @ (Reply::Nil
        | Reply::Int(_)
        | Reply::Bulk(_)
        | Reply::Simple(_)
        | Reply::Error { .. }) => same,
    }
}

/// What holds inside a reply: only the outermost list or map is shaped.
fn nested(shape: Resp2) -> Resp2 {
    match shape {
        Resp2::Coordinates => Resp2::Coordinates,
        Resp2::Plain | Resp2::Flattened | Resp2::Streams => Resp2::Plain,
    }
}

fn text(text: String) -> Reply {
    Reply::Bulk(Bytes::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Reply {
        Reply::Bulk(Bytes::from_static(text.as_bytes()))
    }

    fn list<const N: usize>(items: [Reply; N]) -> Reply {
        Reply::Array(items.into())
    }

    fn flat(reply: Reply, shape: Resp2) -> Reply {
        let once = to_resp2(reply, shape, DoubleText::default());
        let twice = to_resp2(once.clone(), shape, DoubleText::default());
        assert_eq!(once, twice, "what is in shape stays");
        once
    }

    #[test]
    fn maps_sets_and_scalars() {
        let map = Reply::Map(vec![(
            bulk("f"),
            Reply::Set(vec![Reply::Bool(true), Reply::Nil]),
        )]);
        let expected = list([bulk("f"), list([Reply::Int(1), Reply::Nil])]);
        assert_eq!(flat(map, Resp2::Plain), expected);
        let text = Reply::Verbatim("txt".into(), "some".into());
        assert_eq!(flat(text, Resp2::Plain), bulk("some"));
        assert_eq!(flat(Reply::Double(1.5), Resp2::Plain), bulk("1.5"));
        let big = Reply::BigNumber("123".into());
        assert_eq!(flat(big, Resp2::Plain), bulk("123"));
    }

    #[test]
    fn pairs_and_streams() {
        let pairs = list([
            list([bulk("a"), Reply::Double(1.5)]),
            list([bulk("b"), Reply::Double(f64::INFINITY)]),
        ]);
        let expected = list([bulk("a"), bulk("1.5"), bulk("b"), bulk("inf")]);
        assert_eq!(flat(pairs.clone(), Resp2::Flattened), expected);
        let nested = list([
            list([bulk("a"), bulk("1.5")]),
            list([bulk("b"), bulk("inf")]),
        ]);
        assert_eq!(flat(pairs, Resp2::Plain), nested);
        let streams = Reply::Map(vec![(bulk("s"), list([list([bulk("1-0"), Reply::Nil])]))]);
        let expected = list([list([bulk("s"), list([list([bulk("1-0"), Reply::Nil])])])]);
        assert_eq!(flat(streams, Resp2::Streams), expected);
    }
}
