//! Errors of a long run, counted by kind: as many kinds as a reader would look at, and no more.

use std::collections::BTreeMap;

use nearcache_cli::show::{self, wrapped};

/// Kinds that are told apart.
const KINDS: usize = 48;

/// Columns before a kind.
const INDENT: usize = 11;

/// What the others are counted as.
const OTHERS: &str = "others";

/// Counts an error. Numbers in it, such as ports, make no other kind of it; in a word, as in "L2", they are its name.
pub(super) fn count(kinds: &mut BTreeMap<String, u64>, error: &str, times: u64) {
    let mut kind = String::new();
    for letter in error.chars() {
        match letter {
            '0'..='9' if kind.ends_with(char::is_alphabetic) => kind.push(letter),
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            letter => kind.push(letter),
        }
    }
    if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
        OTHERS.clone_into(&mut kind);
    }
    *kinds.entry(kind).or_default() += times;
}

/// The kinds, as lines for a terminal.
pub(super) fn listed(kinds: &BTreeMap<String, u64>, width: usize) -> String {
    let mut text = String::new();
    if !kinds.is_empty() {
        text += "\nerrors\n";
    }
    for (kind, times) in kinds {
        let kind = wrapped(kind, &" ".repeat(INDENT), width.saturating_sub(INDENT));
        text += &format!("{:>9}  {kind}\n", show::count(*times as f64));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_make_no_kinds_and_kinds_are_bounded() {
        let mut kinds = BTreeMap::new();
        count(&mut kinds, "L2 at port 63791 is away", 1);
        count(&mut kinds, "L2 at port 7 is away", 2);
        assert_eq!(kinds["L2 at port # is away"], 3);
        for letter in ('a'..='z').chain('A'..='Z').chain('\u{e0}'..='\u{ff}') {
            count(&mut kinds, &letter.to_string(), 1);
        }
        assert!(kinds.len() <= KINDS + 1 && kinds[OTHERS] > 0);
    }
}
