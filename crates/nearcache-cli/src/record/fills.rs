//! Which writes are fills: a client that found nothing puts there what it looked for. `MONITOR` shows no replies, so that a
//! miss is a read of a key that is not known to be there. Remembers a bounded number of keys, by hash.

use std::collections::HashMap;

/// Keys that are followed; at 100 bytes or so each.
const KEYS: usize = 500_000;
/// Clients that missed a key and may be about to fill it.
const MISSED: usize = 16;
/// A client that writes this long after it missed changes the value for another reason.
const WITHIN_US: u64 = 10_000_000;

/// What has been seen of keys.
#[derive(Default)]
pub(super) struct Fills {
    keys: HashMap<u64, Seen>,
    /// Requests of keys that were too many to be followed.
    pub(super) unfollowed: u64,
}

#[derive(Default)]
struct Seen {
    /// Until when it is known to be there.
    there_until_us: u64,
    /// Who read it when it was not, and when.
    missed: Vec<(u32, u64)>,
}

impl Fills {
    /// A client reads a key.
    pub(super) fn read(&mut self, key: u64, client: u32, at_us: u64) {
        let Some(seen) = self.of(key) else {
            return;
        };
        if at_us < seen.there_until_us {
            return;
        }
        let recent = |(who, at): &(u32, u64)| *who != client && at_us < *at + WITHIN_US;
        seen.missed.retain(recent);
        if seen.missed.len() < MISSED {
            seen.missed.push((client, at_us));
        }
    }

    /// A client writes all of a value, which then lives for so long; whether that is a fill.
    pub(super) fn written(
        &mut self,
        key: u64,
        client: u32,
        at_us: u64,
        life_us: Option<u64>,
    ) -> bool {
        let Some(seen) = self.of(key) else {
            return false;
        };
        seen.there_until_us = life_us.map_or(u64::MAX, |life| at_us.saturating_add(life));
        let own = seen.missed.iter().position(|(who, _)| *who == client);
        let missed = own.map(|place| seen.missed.swap_remove(place));
        missed.is_some_and(|(_, at)| at_us < at.saturating_add(WITHIN_US))
    }

    /// A key gets an end.
    pub(super) fn expires(&mut self, key: u64, at_us: u64) {
        if let Some(seen) = self.keys.get_mut(&key) {
            seen.there_until_us = seen.there_until_us.min(at_us);
        }
    }

    /// A key is deleted.
    pub(super) fn deleted(&mut self, key: u64) {
        self.expires(key, 0);
    }

    /// All keys are, or something was not seen: nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.keys.clear();
    }

    fn of(&mut self, key: u64) -> Option<&mut Seen> {
        if self.keys.len() >= KEYS && !self.keys.contains_key(&key) {
            self.unfollowed += 1;
            return None;
        }
        Some(self.keys.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn who_missed_and_writes_soon_fills() {
        let mut fills = Fills::default();
        fills.read(1, 7, S);
        fills.read(1, 8, S);
        assert!(!fills.written(1, 9, S, None), "it had not asked");
        assert!(fills.written(1, 7, 2 * S, None));
        assert!(fills.written(1, 8, 2 * S, None), "it missed as well");
        assert!(!fills.written(1, 8, 2 * S, None), "once");
        fills.read(1, 7, 3 * S);
        assert!(!fills.written(1, 7, 3 * S, None), "it was there: a change");
        fills.read(2, 7, S);
        assert!(!fills.written(2, 7, 12 * S, None), "much later");
    }

    #[test]
    fn what_is_over_or_deleted_is_missed_again() {
        let mut fills = Fills::default();
        fills.written(1, 7, S, Some(5 * S));
        fills.read(1, 7, 5 * S);
        assert!(!fills.written(1, 7, 5 * S, Some(5 * S)));
        fills.read(1, 7, 11 * S);
        assert!(fills.written(1, 7, 11 * S, None));
        fills.deleted(1);
        fills.read(1, 7, 12 * S);
        assert!(fills.written(1, 7, 12 * S, None));
        fills.expires(1, 20 * S);
        fills.read(1, 7, 21 * S);
        assert!(fills.written(1, 7, 21 * S, None));
        fills.forget();
        fills.read(1, 7, 22 * S);
        assert!(fills.written(1, 7, 22 * S, None));
    }

    #[test]
    fn c10_keys_and_clients_are_bounded() {
        let mut fills = Fills::default();
        for key in 0..KEYS as u64 + 10 {
            fills.read(key, 7, S);
        }
        assert_eq!((fills.keys.len(), fills.unfollowed), (KEYS, 10));
        for client in 0..100 {
            fills.read(1, client, S);
        }
        assert_eq!(fills.keys[&1].missed.len(), MISSED);
    }
}
