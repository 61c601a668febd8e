//! How a reply is kept: one block of bytes, behind the number of the head it belongs to.
//!
//! Knows nothing of keys or freshness. Reads only what [`pack`] wrote.

use bytes::Bytes;
use nearcache_l1::EntryId;

use crate::resp::Reply;

/// In front: the head's number.
const HEAD: usize = 8;

/// Replies nested deeper than this are not kept; none of the served commands gives one.
const DEEPEST: usize = 8;

const NIL: u8 = b'_';
const INT: u8 = b':';
const BULK: u8 = b'$';
const SIMPLE: u8 = b'+';
const ARRAY: u8 = b'*';
const MAP: u8 = b'%';
const SET: u8 = b'~';
const DOUBLE: u8 = b',';
const BOOL: u8 = b'#';

/// The reply as a block without a head; `None` for one that cannot be kept.
pub(crate) fn pack(reply: &Reply) -> Option<Vec<u8>> {
    let mut out = vec![0; HEAD];
    write(reply, DEEPEST, &mut out)?;
    Some(out)
}

/// Files a block under a head.
pub(crate) fn file(block: &mut [u8], head: EntryId) {
    block[..HEAD].copy_from_slice(&head.0.to_le_bytes());
}

/// The head a block was filed under.
pub(crate) fn head_of(block: &[u8]) -> Option<EntryId> {
    let (head, _) = block.split_first_chunk()?;
    Some(EntryId(u64::from_le_bytes(*head)))
}

/// The reply in a block: its strings are views of the block, nothing is copied.
pub(crate) fn unpack(block: &Bytes) -> Option<Reply> {
    let mut rest = block.slice(HEAD.min(block.len())..);
    read(&mut rest)
}

/// The value of a field in the block of an `HGETALL`: `Some(None)` when it has no such field, `None`
/// when it is no map.
///
/// # Cost
/// Linear in the number of fields, two or three nanoseconds each; copies nothing.
pub(crate) fn field(block: &Bytes, field: &[u8]) -> Option<Option<Bytes>> {
    let mut rest = block.get(HEAD..)?;
    let [MAP] = take(&mut rest, 1)? else {
        return None;
    };
    let pairs = length(&mut rest)?;
    for _ in 0..pairs {
        let name = text(&mut rest)?;
        let value = text(&mut rest)?;
        if name == field {
            return Some(Some(block.slice_ref(value)));
        }
    }
    Some(None)
}

/// The number of fields in the block of an `HGETALL`.
pub(crate) fn fields(block: &[u8]) -> Option<usize> {
    let mut rest = block.get(HEAD..)?;
    let [MAP] = take(&mut rest, 1)? else {
        return None;
    };
    length(&mut rest)
}

fn write(reply: &Reply, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let sized = |tag, length: usize, out: &mut Vec<u8>| {
        out.push(tag);
        let length = u32::try_from(length).ok()?;
        out.extend_from_slice(&length.to_le_bytes());
        Some(())
    };
    let list = |tag, items: &[Reply], out: &mut Vec<u8>| {
        sized(tag, items.len(), out)?;
        items.iter().try_for_each(|item| write(item, depth, out))
    };
    match reply {
        Reply::Nil => out.push(NIL),
        Reply::Int(number) => {
            out.push(INT);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Reply::Double(number) => {
            out.push(DOUBLE);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Reply::Bool(flag) => out.extend_from_slice(&[BOOL, u8::from(*flag)]),
        Reply::Bulk(bytes) => {
            sized(BULK, bytes.len(), out)?;
            out.extend_from_slice(bytes);
        }
        Reply::Simple(text) => {
            sized(SIMPLE, text.len(), out)?;
            out.extend_from_slice(text.as_bytes());
        }
        Reply::Array(items) => list(ARRAY, items, out)?,
        Reply::Set(items) => list(SET, items, out)?,
        Reply::Map(pairs) => {
            sized(MAP, pairs.len(), out)?;
            for (field, value) in pairs {
                write(field, depth, out)?;
                write(value, depth, out)?;
            }
        }
        // No served command answers with one, and an error is never kept.
        Reply::Verbatim(..) | Reply::BigNumber(_) | Reply::Error { .. } => return None,
    }
    Some(())
}

fn read(rest: &mut Bytes) -> Option<Reply> {
    let mut view = &rest[..];
    let tag = take(&mut view, 1)?[0];
    let reply = match tag {
        NIL => Reply::Nil,
        INT => Reply::Int(i64::from_le_bytes(number(&mut view)?)),
        DOUBLE => Reply::Double(f64::from_le_bytes(number(&mut view)?)),
        BOOL => Reply::Bool(take(&mut view, 1)? == [1]),
        BULK | SIMPLE => {
            let length = length(&mut view)?;
            let bytes = rest.slice_ref(take(&mut view, length)?);
            match tag {
                BULK => Reply::Bulk(bytes),
                _ => Reply::Simple(String::from_utf8_lossy(&bytes).into_owned()),
            }
        }
        ARRAY | SET | MAP => {
            let count = length(&mut view)?;
            *rest = rest.slice_ref(view);
            // A count is never more than the bytes behind it.
            let mut next = || read(rest);
            return Some(match tag {
                ARRAY => Reply::Array((0..count).map(|_| next()).collect::<Option<_>>()?),
                SET => Reply::Set((0..count).map(|_| next()).collect::<Option<_>>()?),
                _ => Reply::Map(
                    (0..count)
                        .map(|_| Some((next()?, next()?)))
                        .collect::<Option<_>>()?,
                ),
            });
        }
        _ => return None,
    };
    *rest = rest.slice_ref(view);
    Some(reply)
}

/// A bulk string.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let tag = take(rest, 1)?[0];
    let length = length(rest)?;
    (tag == BULK).then_some(())?;
    take(rest, length)
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(*chunk(rest)?) as usize)
}

fn number(rest: &mut &[u8]) -> Option<[u8; 8]> {
    chunk(rest).copied()
}

fn chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(chunk)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(taken)
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Reply {
        Reply::Bulk(Bytes::from_static(text.as_bytes()))
    }

    fn hash() -> Reply {
        Reply::Map(vec![(bulk("a"), bulk("1")), (bulk(""), bulk("\0\r\n"))])
    }

    #[test]
    fn a_reply_reads_back() {
        for reply in [
            Reply::Nil,
            Reply::Int(-7),
            Reply::Double(0.1),
            Reply::Bool(true),
            Reply::Simple("none".into()),
            bulk(""),
            hash(),
            Reply::Set(vec![bulk("x"), bulk("y")]),
            Reply::Array(vec![
                Reply::Nil,
                Reply::Array(vec![bulk("m"), Reply::Double(f64::NEG_INFINITY)]),
                Reply::Array(vec![]),
            ]),
        ] {
            let mut block = pack(&reply).unwrap();
            file(&mut block, EntryId(9));
            assert_eq!(head_of(&block), Some(EntryId(9)));
            assert_eq!(unpack(&Bytes::from(block)), Some(reply));
        }
    }

    #[test]
    fn what_cannot_be_kept_is_not() {
        let mut deep = Reply::Nil;
        for _ in 0..DEEPEST {
            deep = Reply::Array(vec![deep]);
        }
        for reply in [deep, Reply::error("ERR x"), Reply::BigNumber("1".into())] {
            assert_eq!(pack(&reply), None);
        }
    }

    #[test]
    fn fields_of_a_hash() {
        let block = Bytes::from(pack(&hash()).unwrap());
        assert_eq!(fields(&block), Some(2));
        assert_eq!(field(&block, b"a"), Some(Some(Bytes::from_static(b"1"))));
        assert_eq!(
            field(&block, b""),
            Some(Some(Bytes::from_static(b"\0\r\n")))
        );
        assert_eq!(field(&block, b"b"), Some(None));
        let block = Bytes::from(pack(&bulk("no map")).unwrap());
        assert_eq!(field(&block, b"a"), None);
    }

    #[test]
    fn c12_a_cut_block_is_no_reply() {
        let block = Bytes::from(pack(&hash()).unwrap());
        for length in 0..block.len() {
            let cut = block.slice(..length);
            assert_eq!(unpack(&cut), None, "{length}");
            let _ = (field(&cut, b"z"), fields(&cut), head_of(&cut));
        }
    }
}
