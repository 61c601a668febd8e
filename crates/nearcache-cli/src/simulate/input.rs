//! From a trace file to what is simulated: times, sizes and names of keys. Checks what the simulator relies on.

use bytes::Bytes;
use bytesize::ByteSize;
use nearcache_sim::{Key, Lines, Request, Sizes, Trace};

use super::Args;
use crate::outcome::Failure;

/// The size of values where neither the trace nor the command line says any.
const VALUE_BYTES: u32 = 1000;

/// Where the sizes of values come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guessed {
    /// Keys whose size the trace does not say.
    pub(super) keys: usize,
    /// What was taken for it.
    pub(super) bytes: u32,
    /// Whether that is the median of those it says.
    pub(super) median: bool,
}

/// Makes the request stream of a simulation, and says which sizes of values are guessed.
pub(super) fn prepare(trace: Lines, args: &Args) -> Result<(Trace, Guessed), Failure> {
    if args.rate.is_some_and(|rate| !(1e-3..=1e9).contains(&rate)) {
        return Err("--rate must be from 0.001 to 1000000000 requests per second".to_owned());
    }
    let median = trace.median_size();
    let guessed = Guessed {
        keys: match args.sizes {
            Some(_) => 0,
            None => trace.without_size(),
        },
        bytes: median.unwrap_or(VALUE_BYTES),
        median: median.is_some(),
    };
    let size = |(number, said): (u32, &Option<u32>)| match (args.sizes, said) {
        (Some(sizes), _) => sizes.of(number, args.seed),
        (None, Some(bytes)) => *bytes,
        (None, None) => guessed.bytes,
    };
    let sizes: Vec<u32> = (0..).zip(&trace.sizes).map(size).collect();
    let keys = trace.names.into_iter().zip(sizes);
    let at_us = |number: usize| match args.rate {
        Some(rate) => (number as f64 / rate * 1e6) as u64,
        None => trace.at_ms[number].saturating_mul(1000),
    };
    // Without clients, as in a file of keys, requests are dealt out to the pods.
    let dealt = trace
        .clients
        .iter()
        .all(|client| *client == trace.clients[0]);
    let client = |number: usize| match dealt {
        true => number as u32,
        false => trace.clients[number],
    };
    let requests = trace.requests.iter().enumerate();
    let trace = Trace {
        requests: requests
            .map(|(number, (kind, key))| Request {
                at_us: at_us(number),
                client: client(number),
                key: *key,
                kind: *kind,
            })
            .collect(),
        keys: keys
            .map(|(name, value_bytes)| Key {
                name: Bytes::from(name),
                value_bytes,
            })
            .collect(),
    };
    Ok((trace, guessed))
}

/// `2KB`, `uniform:1KB,50KB`, `lognormal:2KB,50KB`.
pub(super) fn sizes(text: &str) -> Result<Sizes, String> {
    let one = |text: &str| {
        let size: ByteSize = text.trim().parse().ok()?;
        u32::try_from(size.as_u64())
            .ok()
            .filter(|bytes| *bytes <= 512 << 20)
    };
    let two = |text: &str| {
        let (a, b) = text.split_once(',')?;
        Some((one(a)?, one(b)?)).filter(|(a, b)| a <= b)
    };
    let sizes = match text.split_once(':') {
        None => one(text).map(Sizes::Fixed),
        Some(("uniform", range)) => two(range).map(|(least, most)| Sizes::Uniform(least, most)),
        Some(("lognormal", quantiles)) => {
            two(quantiles).map(|(median, p99)| Sizes::LogNormal { median, p99 })
        }
        Some(_) => None,
    };
    sizes.ok_or_else(|| {
        "sizes are 2KB, uniform:1KB,50KB (least, most) or lognormal:2KB,50KB (median, 99th percentile), each at most 512MiB"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_sizes_are_read_or_explained() {
        assert_eq!(sizes("2KB"), Ok(Sizes::Fixed(2000)));
        assert_eq!(sizes("uniform:1KB,50KB"), Ok(Sizes::Uniform(1000, 50_000)));
        let (median, p99) = (1000, 2000);
        assert_eq!(
            sizes("lognormal:1KB,2KB"),
            Ok(Sizes::LogNormal { median, p99 })
        );
        for bad in [
            "",
            "x",
            "1TB",
            "uniform:1KB",
            "uniform:2KB,1KB",
            "zipf:1,2",
            "lognormal:",
        ] {
            assert!(sizes(bad).unwrap_err().contains("lognormal:2KB"), "{bad}");
        }
    }
}
