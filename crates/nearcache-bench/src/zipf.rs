//! Seeded choice: a small random generator and the distributions of keys.
//! The same seed makes the same sequence on every machine.

/// Splitmix64 (Steele, Lea and Flood, 2014): one word of state, good enough to choose keys with.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Starts the sequence of a seed; `stream` gives independent sequences of one seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        rng.next();
        rng
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number of [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        // 53 bits: every one of them fits the mantissa.
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // Multiply and shift; its bias is below 2^-32.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u32
    }

    /// A waiting time with this mean: gaps so drawn make a Poisson process.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// Chooses among `0..keys`, the lower the likelier: key k with weight 1 / (k + 1)^exponent. Exponent 0 is uniform.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    /// Share of the draws that fall on the keys up to and including this one.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Prepares the table; 8 bytes a key. At least one key.
    pub(crate) fn new(keys: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=keys.max(1))
            .map(|rank| {
                sum += f64::from(rank).powf(-exponent);
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self { cumulative }
    }

    /// Draws a key.
    pub(crate) fn sample(&self, rng: &mut Rng) -> u32 {
        let at = rng.unit();
        let key = self.cumulative.partition_point(|share| *share <= at);
        // Rounding may leave the last share just under 1.
        key.min(self.cumulative.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_streams_differ() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.next(), rng.next(), rng.next()]
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn shares_follow_the_law() {
        let (zipf, mut rng) = (Zipf::new(1000, 0.99), Rng::new(1, 0));
        let mut counts = vec![0u32; 1000];
        for _ in 0..200_000 {
            counts[zipf.sample(&mut rng) as usize] += 1;
        }
        let weight = |rank: f64| rank.powf(-0.99);
        let total: f64 = (1..=1000).map(|rank| weight(f64::from(rank))).sum();
        for rank in [1usize, 2, 10, 100] {
            let expected = 200_000.0 * weight(rank as f64) / total;
            let seen = f64::from(counts[rank - 1]);
            assert!(
                (seen - expected).abs() < 5.0 * expected.sqrt(),
                "rank {rank}: {seen} of {expected}"
            );
        }
    }

    #[test]
    fn exponent_zero_is_uniform_and_every_draw_is_a_key() {
        let (zipf, mut rng) = (Zipf::new(10, 0.0), Rng::new(1, 0));
        let mut counts = [0u32; 10];
        for _ in 0..10_000 {
            counts[zipf.sample(&mut rng) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
        assert_eq!(Zipf::new(1, 0.99).sample(&mut rng), 0);
    }

    #[test]
    fn waiting_times_have_their_mean() {
        let mut rng = Rng::new(3, 0);
        let sum: f64 = (0..100_000).map(|_| rng.exponential(5.0)).sum();
        assert!((sum / 100_000.0 - 5.0).abs() < 0.1);
    }
}
