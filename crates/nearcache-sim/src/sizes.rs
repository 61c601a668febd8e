//! Sizes of values where a trace does not say them: drawn from a distribution, each key always the same.

use crate::random::Random;

/// A distribution of value sizes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    /// All alike.
    Fixed(u32),
    /// Any size between these, both included, alike often.
    Uniform(u32, u32),
    /// Log-normal: the median, and what one in a hundred exceeds.
    LogNormal {
        /// Half of the sizes are above.
        median: u32,
        /// One in a hundred is above.
        p99: u32,
    },
}

/// The quantile of the standard normal distribution at .99.
const Z99: f64 = 2.326_347_874;

impl Sizes {
    /// The size of the value of key number `key`.
    pub fn of(&self, key: u32, seed: u64) -> u32 {
        let mut random = Random::new(seed ^ (u64::from(key) << 20), 2);
        match *self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform(least, most) => {
                let width = u64::from(most.max(least) - least) + 1;
                least + random.below(width) as u32
            }
            Self::LogNormal { median, p99 } => {
                let (u, v) = (random.unit(), random.unit());
                // Box and Muller; the logarithm of what is never 0.
                let z = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                let ratio = f64::from(p99.max(1)) / f64::from(median.max(1));
                (f64::from(median) * (z / Z99 * ratio.ln()).exp()) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(sizes: Sizes) -> Vec<u32> {
        let mut drawn: Vec<u32> = (0..10_000).map(|key| sizes.of(key, 1)).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn draws_have_the_quantiles_asked_for() {
        let drawn = sorted(Sizes::LogNormal {
            median: 1000,
            p99: 50_000,
        });
        assert!((900..1100).contains(&drawn[5000]), "{}", drawn[5000]);
        assert!((35_000..70_000).contains(&drawn[9900]), "{}", drawn[9900]);
        let drawn = sorted(Sizes::Uniform(10, 19));
        assert_eq!((drawn[0], drawn[9999]), (10, 19));
        assert_eq!(Sizes::Fixed(7).of(3, 1), 7);
    }
}
