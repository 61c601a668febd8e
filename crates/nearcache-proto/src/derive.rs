//! Replies made from a copy of the whole: of a string, or of all fields of a hash.
//!
//! `None` wherever the server might answer with an error: then it is asked.

use std::collections::HashMap;

use bytes::Bytes;

use crate::commands::Source;
use crate::held;
use crate::resp::Reply;

/// With more fields than this, one pass over the hash is cheaper than one for each.
const FIELDS: usize = 4;

/// The reply of a command about a string whose value is known; `None` for an absent key.
pub(crate) fn of_value<A: AsRef<[u8]>>(
    source: Source,
    value: Option<Bytes>,
    arguments: &[A],
) -> Option<Reply> {
    let exists = value.is_some();
    Some(match source {
        Source::Get => value.map_or(Reply::Nil, Reply::Bulk),
        Source::StrLen => Reply::Int(value.map_or(0, |value| value.len() as i64)),
        Source::Exists => Reply::Int(i64::from(exists)),
        Source::Type => Reply::Simple(if exists { "string" } else { "none" }.to_owned()),
        Source::GetRange => {
            let (start, end) = (integer(arguments.get(1)?)?, integer(arguments.get(2)?)?);
            Reply::Bulk(range(value.unwrap_or_default(), start, end))
        }
        _ => return None,
    })
}

/// The reply of a command about a hash, from the block of its `HGETALL`.
pub(crate) fn of_hash<A: AsRef<[u8]>>(
    source: Source,
    block: &Bytes,
    arguments: &[A],
) -> Option<Reply> {
    let wanted = || arguments.get(1).map(AsRef::as_ref);
    Some(match source {
        Source::HGet => held::field(block, wanted()?)?.map_or(Reply::Nil, Reply::Bulk),
        Source::HExists => Reply::Int(i64::from(held::field(block, wanted()?)?.is_some())),
        Source::HLen => Reply::Int(held::fields(block)? as i64),
        Source::HMGet => Reply::Array(fields(block, arguments.get(1..)?)?),
        Source::HKeys => Reply::Array(pairs(block)?.into_iter().map(|(field, _)| field).collect()),
        Source::HVals => Reply::Array(pairs(block)?.into_iter().map(|(_, value)| value).collect()),
        _ => return None,
    })
}

fn fields<A: AsRef<[u8]>>(block: &Bytes, wanted: &[A]) -> Option<Vec<Reply>> {
    if wanted.len() <= FIELDS {
        let one = |name: &A| held::field(block, name.as_ref());
        return wanted
            .iter()
            .map(|name| Some(one(name)?.map_or(Reply::Nil, Reply::Bulk)))
            .collect();
    }
    let all = pairs(block)?;
    let known: HashMap<&[u8], &Reply> = all
        .iter()
        .filter_map(|(name, value)| Some((name.text()?, value)))
        .collect();
    let one = |name: &A| {
        known
            .get(name.as_ref())
            .map_or(Reply::Nil, |v| (*v).clone())
    };
    Some(wanted.iter().map(one).collect())
}

fn pairs(block: &Bytes) -> Option<Vec<(Reply, Reply)>> {
    match held::unpack(block)? {
        Reply::Map(pairs) => Some(pairs),
        _ => None,
    }
}

/// As `GETRANGE` cuts: both ends count, negative ones from the end.
fn range(value: Bytes, start: i64, end: i64) -> Bytes {
    let length = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return Bytes::new();
    }
    let from_end = |at: i64| {
        if at < 0 {
            length.saturating_add(at)
        } else {
            at
        }
    };
    let start = from_end(start).max(0);
    let end = from_end(end).max(0).min(length - 1);
    if start > end {
        return Bytes::new();
    }
    // Both are between 0 and the length now.
    value.slice(start as usize..=end as usize)
}

/// A number as a server takes it: nothing but its shortest form.
fn integer(text: &impl AsRef<[u8]>) -> Option<i64> {
    let text = std::str::from_utf8(text.as_ref()).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use super::*;

    fn cut(start: &str, end: &str) -> Option<Reply> {
        let value = Some(Bytes::from_static(b"hello"));
        of_value(Source::GetRange, value, &["k", start, end])
    }

    #[test]
    fn ranges_are_cut_as_the_server_does() {
        for (start, end, part) in [
            ("0", "-1", "hello"),
            ("1", "3", "ell"),
            ("-3", "-2", "ll"),
            ("-100", "100", "hello"),
            ("3", "1", ""),
            ("-1", "-3", ""),
            ("5", "9", ""),
            ("0", "-100", "h"),
            ("-9223372036854775808", "9223372036854775807", "hello"),
        ] {
            let part = Reply::Bulk(Bytes::from_static(part.as_bytes()));
            assert_eq!(cut(start, end), Some(part), "{start} {end}");
        }
        for bad in ["+1", "01", "x", "", "1 ", "9223372036854775808"] {
            assert_eq!(cut(bad, "1"), None, "{bad}");
        }
    }

    #[test]
    fn an_absent_key() {
        let of = |source| of_value(source, None, &["k", "0", "-1"]);
        assert_eq!(of(Source::StrLen), Some(Reply::Int(0)));
        assert_eq!(of(Source::Exists), Some(Reply::Int(0)));
        assert_eq!(of(Source::Type), Some(Reply::Simple("none".into())));
        assert_eq!(of(Source::GetRange), Some(Reply::Bulk(Bytes::new())));
    }

    #[test]
    fn fields_of_a_hash_however_many_are_wanted() {
        let bulk = |text: &str| Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()));
        let pairs = ["a", "b", "c"].map(|name| (bulk(name), bulk(&name.repeat(2))));
        let block = Bytes::from(held::pack(&Reply::Map(pairs.to_vec())).unwrap());
        for wanted in 1..10 {
            let names = ["k", "a", "z", "c", "b", "a", "", "c", "y", "b"];
            let reply = of_hash(Source::HMGet, &block, &names[..=wanted]);
            let expected = names[1..=wanted].iter().map(|name| match *name {
                "a" | "b" | "c" => bulk(&name.repeat(2)),
                _ => Reply::Nil,
            });
            assert_eq!(reply, Some(Reply::Array(expected.collect())), "{wanted}");
        }
        let keys = of_hash(Source::HKeys, &block, &["k"]).unwrap();
        assert_eq!(keys, Reply::Array(vec![bulk("a"), bulk("b"), bulk("c")]));
        assert_eq!(of_hash(Source::HLen, &block, &["k"]), Some(Reply::Int(3)));
    }
}
