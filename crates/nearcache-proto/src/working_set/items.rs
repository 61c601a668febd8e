//! Lists of items in what is published: written by rank until there is no room, read with care.

use super::frame::{Reader, put_score, put_varint};
use super::ignored::Ignored;
use super::item::Item;
use super::names::{self, KeyNames};

/// The fewest bytes an item takes: score, size, name.
const SHORTEST: usize = 4 + 1 + names::SHORTEST;

/// Writes items in their order until the next one would take more than `room` bytes. Items whose names
/// cannot leave the process are left out.
pub(super) fn write<'a>(
    items: impl IntoIterator<Item = &'a Item>,
    names: KeyNames,
    room: usize,
) -> (u32, Vec<u8>) {
    let (mut count, mut out) = (0, Vec::new());
    for item in items {
        let before = out.len();
        put_score(item.score, &mut out);
        put_varint(item.bytes, &mut out);
        if !names::write(&item.name, names, &mut out) {
            out.truncate(before);
            continue;
        }
        if out.len() > room {
            out.truncate(before);
            break;
        }
        count += 1;
    }
    (count, out)
}

/// Reads `count` items, which are all there is; in the order of their names, with the number of those that
/// were skipped: named in a way that is of no use here, or named before.
///
/// # Cost
/// Memory of about a dozen times the bytes read, at most.
pub(super) fn read(mut from: Reader<'_>, count: u32) -> Result<(Vec<Item>, u32), Ignored> {
    let count = count as usize;
    if count > from.0.len() / SHORTEST {
        return Err(Ignored::Hostile("more items than bytes for them"));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let score = from.score()?;
        let bytes = from.varint()?;
        if let Some(name) = names::read(&mut from)? {
            items.push(Item { name, score, bytes });
        }
    }
    if !from.0.is_empty() {
        return Err(Ignored::Hostile("bytes behind the last item"));
    }
    // Stable, and not by hash: names chosen to collide cost nothing.
    items.sort_by(|a, b| a.name.cmp(&b.name));
    items.dedup_by(|later, first| later.name == first.name);
    let skipped = count - items.len();
    // No more than `count`, which is a `u32`.
    Ok((items, skipped as u32))
}
