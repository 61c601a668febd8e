//! What the policy remembers of keys that left: fingerprints only, a bounded number of them, no keys and no values.

/// Cells of a bucket: one cache line's quarter, in order of arrival.
const WAYS: usize = 4;

/// A bounded set of fingerprints that forgets its oldest, bucket by bucket.
///
/// Each bucket is a queue of its own, which approximates one FIFO at four bytes per fingerprint.
pub(crate) struct Ghost {
    buckets: Vec<[u32; WAYS]>,
}

impl Ghost {
    pub(crate) fn new() -> Self {
        Self {
            buckets: Vec::new(),
        }
    }

    /// Fingerprints it can hold.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// Remembers a fingerprint, in a set that may hold `bound` of them.
    pub(crate) fn insert(&mut self, fingerprint: u32, bound: usize) {
        self.fit(bound);
        if let Some(bucket) = self.bucket(fingerprint) {
            // The newest comes first; an older twin, or else the oldest, makes room.
            let at = bucket.iter().position(|&cell| cell == fingerprint);
            bucket[..=at.unwrap_or(WAYS - 1)].rotate_right(1);
            bucket[0] = fingerprint;
        }
    }

    /// Forgets a fingerprint; returns whether it was remembered. Zero is never remembered.
    pub(crate) fn take(&mut self, fingerprint: u32) -> bool {
        let Some(bucket) = self.bucket(fingerprint) else {
            return false;
        };
        match bucket
            .iter()
            .position(|&cell| cell == fingerprint && cell != 0)
        {
            Some(at) => {
                bucket[at..].rotate_left(1);
                bucket[WAYS - 1] = 0;
                true
            }
            None => false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.buckets = Vec::new();
    }

    /// Follows the bound, in steps of a quarter so that the work is paid by the inserts between.
    fn fit(&mut self, bound: usize) {
        let target = bound / WAYS;
        let now = self.buckets.len();
        let grows = target > now + now / 4;
        let shrinks = target < now / 2;
        if !grows && !shrinks {
            return;
        }
        let old = std::mem::replace(&mut self.buckets, vec![[0; WAYS]; target]);
        for cells in old.iter() {
            for &cell in cells.iter().rev().filter(|&&cell| cell != 0) {
                if let Some(bucket) = self.bucket(cell) {
                    bucket.rotate_right(1);
                    bucket[0] = cell;
                }
            }
        }
    }

    fn bucket(&mut self, fingerprint: u32) -> Option<&mut [u32; WAYS]> {
        let at = (u64::from(fingerprint) * self.buckets.len() as u64) >> 32;
        self.buckets.get_mut(at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads a small number over all 32 bits.
    fn spread(n: u32) -> u32 {
        n.wrapping_mul(0x9E37_79B1) | 1
    }

    #[test]
    fn remembers_once_and_forgets_when_taken() {
        let mut ghost = Ghost::new();
        assert!(!ghost.take(7));
        ghost.insert(7, 100);
        ghost.insert(7, 100);
        assert!(ghost.take(7));
        assert!(!ghost.take(7));
        assert!(!ghost.take(0));
    }

    #[test]
    fn never_holds_more_than_its_bound() {
        let mut ghost = Ghost::new();
        for n in 0..10_000 {
            ghost.insert(spread(n), 400);
            assert!(ghost.room() <= 400);
        }
        let recent = (9_700..10_000).filter(|&n| ghost.take(spread(n))).count();
        assert!(recent > 200, "only {recent} of the last 300 are remembered");
        let old = (0..9_000).filter(|&n| ghost.take(spread(n))).count();
        assert!(old < 40, "{old} old ones are still remembered");
    }

    #[test]
    fn growing_and_shrinking_keep_what_fits() {
        let mut ghost = Ghost::new();
        for n in 0..200 {
            ghost.insert(spread(n), 1000);
        }
        ghost.insert(spread(200), 4000);
        let kept = (0..=200).filter(|&n| ghost.take(spread(n))).count();
        assert!(kept > 180, "only {kept} of 201 survived");
        ghost.insert(spread(1), 8);
        assert!(ghost.room() <= 8 && ghost.take(spread(1)));
    }
}
