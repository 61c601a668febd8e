//! The scheduler's random numbers: SplitMix64, from the seed alone. Every event of a schedule draws from numbers
//! of its own, so that the others stay what they are when it is left out.

pub struct Random(u64);

impl Random {
    /// The numbers of one event of the schedule `seed`.
    pub fn new(seed: u64, event: u64) -> Self {
        let mut mixed = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        let seed = mixed.next();
        Self(seed ^ event.wrapping_mul(0xd129_0d3b_3c2b_6d4f))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub fn per_mille(&mut self, chance: u64) -> bool {
        self.next() % 1000 < chance
    }
}
