//! Finds a command by its name, in any case of letters. Made when this is compiled; allocates nothing.

use super::table::table;

/// More than three times the rows of the table, so that a look-up compares one name or two.
const SEATS: usize = 1024;

/// No name in the table is longer.
pub(super) const LONGEST: usize = 32;

/// At the seat of its name's hash, or the first free one behind it: a row's place in the table, plus one.
static INDEX: [u16; SEATS] = index();

/// The place in the table of the command called `name`.
///
/// # Cost
/// The hash of a few bytes and a comparison; every command of the drop-in pays for it, hits too.
pub(super) fn find(name: &[u8]) -> Option<usize> {
    if name.len() > LONGEST {
        return None;
    }
    let mut seat = seat(name);
    loop {
        let place = usize::from(INDEX[seat]).checked_sub(1)?;
        if table()[place].name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(place);
        }
        seat = (seat + 1) % SEATS;
    }
}

/// FNV-1a of the name in lower case.
const fn seat(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at].to_ascii_lowercase() as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    // Its lowest bits are its poorest.
    (hash ^ (hash >> 16)) as usize % SEATS
}

const fn index() -> [u16; SEATS] {
    let table = table();
    assert!(table.len() * 3 < SEATS, "more rows than the index is for");
    let mut index = [0; SEATS];
    let mut place = 0;
    while place < table.len() {
        let name = table[place].name.as_bytes();
        assert!(name.len() <= LONGEST, "LONGEST is too short");
        let mut seat = seat(name);
        while index[seat] != 0 {
            seat = (seat + 1) % SEATS;
        }
        index[seat] = place as u16 + 1;
        place += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (place, command) in table().iter().enumerate() {
            assert_eq!(find(command.name.as_bytes()), Some(place));
            assert_eq!(find(command.name.to_uppercase().as_bytes()), Some(place));
        }
        for name in [&b""[..], b"ge", b"gett", &[b'x'; 33], b"\xff"] {
            assert_eq!(find(name), None);
        }
    }
}
