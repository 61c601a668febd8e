//! Where keys come from: a Zipf distribution, or the reads and writes of a trace in their order.

use std::cell::Cell;
use std::hash::BuildHasher as _;

use nearcache_cli::outcome::Failure;
use nearcache_sim::{Kind, Lines};

use super::header::HEADER;
use crate::zipf::{Rng, Zipf};

/// The largest value a server takes.
const VALUE_MAX: u32 = 512 << 20;

/// A trace, dealt out to the pods. Keys have numbers by how often they are read, the most read first.
#[derive(Debug, PartialEq)]
pub(crate) struct Traffic {
    /// What each pod reads, in order; at least one key.
    pub(crate) reads: Vec<Vec<u32>>,
    /// What is written, in order.
    pub(crate) writes: Vec<u32>,
    /// Length of the value of each key.
    pub(crate) sizes: Vec<usize>,
    /// Pods have clients of their own; else reads are dealt out in turn.
    pub(crate) by_client: bool,
    /// Keys whose size the trace does not say, and what was taken for it.
    pub(crate) guessed: (usize, usize),
    /// Reads a second of all clients, where the trace has times.
    pub(crate) reads_per_s: Option<f64>,
}

impl Traffic {
    /// Deals out a trace. `value_bytes` is the size of values whose size it does not say; `None`: their median, or
    /// `otherwise` where it says none.
    pub(crate) fn new(
        trace: &Lines,
        pods: usize,
        value_bytes: Option<usize>,
        otherwise: usize,
    ) -> Result<Self, Failure> {
        let mut count = vec![0u64; trace.keys as usize];
        for (kind, key) in &trace.requests {
            count[*key as usize] += u64::from(*kind == Kind::Read);
        }
        let mut order: Vec<u32> = (0..trace.keys).collect();
        order.sort_by_key(|key| (u64::MAX - count[*key as usize], *key));
        let mut rank = vec![0; order.len()];
        for (number, key) in (0..).zip(&order) {
            rank[*key as usize] = number;
        }
        let reads = || {
            let all = trace.requests.iter().zip(&trace.clients);
            all.filter(|((kind, _), _)| *kind == Kind::Read)
                .map(|((_, key), client)| (rank[*key as usize], *client))
        };
        // Hashed, as clients may be numbered in any way: the same fleet and trace, the same pod.
        let home = stable();
        let mut dealt = vec![Vec::new(); pods];
        for (key, client) in reads() {
            dealt[(home.hash_one(client) % pods as u64) as usize].push(key);
        }
        let by_client = dealt.iter().all(|reads| !reads.is_empty());
        if !by_client {
            dealt = vec![Vec::new(); pods];
            for (turn, (key, _)) in reads().enumerate() {
                dealt[turn % pods].push(key);
            }
        }
        if dealt.iter().any(Vec::is_empty) {
            return Err(format!(
                "the trace has fewer reads than there are pods ({pods})"
            ));
        }
        let writes = trace
            .requests
            .iter()
            .filter(|(kind, _)| *kind != Kind::Read);
        let of_bytes = |bytes: u32| (bytes.min(VALUE_MAX) as usize).max(HEADER);
        let median = trace.median_size().map(of_bytes);
        let value_bytes = value_bytes.or(median).unwrap_or(otherwise);
        let size = |key: &u32| trace.sizes[*key as usize].map_or(value_bytes, of_bytes);
        Ok(Self {
            writes: writes.map(|(_, key)| rank[*key as usize]).collect(),
            sizes: order.iter().map(size).collect(),
            reads: dealt,
            by_client,
            guessed: (trace.without_size(), value_bytes),
            reads_per_s: trace.reads_per_s(),
        })
    }

    /// Writes in per cent of the reads.
    pub(crate) fn writes_percent(&self) -> f64 {
        let reads: usize = self.reads.iter().map(Vec::len).sum();
        100.0 * self.writes.len() as f64 / reads as f64
    }

    /// Bytes of all values together.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.sizes.iter().map(|bytes| *bytes as u64).sum()
    }

    /// A read of the trace, any.
    pub(crate) fn any_read(&self, rng: &mut Rng) -> u32 {
        let reads = &self.reads[rng.below(self.reads.len() as u32) as usize];
        reads[rng.below(reads.len() as u32) as usize]
    }
}

fn stable() -> std::hash::BuildHasherDefault<std::hash::DefaultHasher> {
    std::hash::BuildHasherDefault::default()
}

/// Draws one key after the other.
pub(crate) enum Draw {
    Zipf(Zipf),
    /// In order, and again from the beginning.
    Trace {
        keys: Vec<u32>,
        next: Cell<usize>,
    },
}

impl Draw {
    /// From these keys, or by Zipf where there are none.
    pub(crate) fn new(keys: &[u32], number: u32, exponent: f64) -> Self {
        match keys {
            [] => Self::Zipf(Zipf::new(number, exponent)),
            keys => Self::Trace {
                keys: keys.to_vec(),
                next: Cell::new(0),
            },
        }
    }

    /// Begins again, so that each phase asks for the same.
    pub(crate) fn rewind(&self) {
        if let Self::Trace { next, .. } = self {
            next.set(0);
        }
    }

    /// The next key.
    #[inline]
    pub(crate) fn sample(&self, rng: &mut Rng) -> u32 {
        match self {
            Self::Zipf(zipf) => zipf.sample(rng),
            Self::Trace { keys, next } => {
                let at = next.get();
                next.set(if at + 1 == keys.len() { 0 } else { at + 1 });
                keys[at]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(requests: &[(Kind, u32, u32)]) -> Lines {
        Lines {
            requests: requests.iter().map(|&(kind, key, _)| (kind, key)).collect(),
            keys: 3,
            clients: requests.iter().map(|&(_, _, client)| client).collect(),
            sizes: vec![None, Some(5), Some(1000)],
            ..Lines::default()
        }
    }

    #[test]
    fn keys_are_numbered_by_reads_and_keep_their_sizes() {
        let (read, write) = (Kind::Read, Kind::Write);
        let requests = [
            (read, 2, 0),
            (write, 0, 0),
            (read, 1, 0),
            (read, 2, 0),
            (read, 2, 0),
        ];
        let traffic = Traffic::new(&trace(&requests), 2, Some(300), 1).unwrap();
        // One client for two pods: in turn.
        assert!(!traffic.by_client);
        assert_eq!(traffic.reads, [vec![0, 0], vec![1, 0]]);
        assert_eq!(
            (&traffic.writes[..], &traffic.sizes[..]),
            (&[2][..], &[1000, HEADER, 300][..])
        );
        assert_eq!(traffic.data_bytes(), 1300 + HEADER as u64);
        assert_eq!(traffic.guessed, (1, 300));
        assert!((traffic.writes_percent() - 25.0).abs() < 1e-9);
        // The median of 5, which is too short for a header, and 1000.
        let traffic = Traffic::new(&trace(&requests), 2, None, 300).unwrap();
        assert_eq!((traffic.guessed, traffic.sizes[2]), ((1, 1000), 1000));
        assert!(Traffic::new(&trace(&requests), 5, None, 1).is_err());
    }

    #[test]
    fn clients_stay_with_their_pod() {
        let requests: Vec<_> = (0..600)
            .map(|turn| (Kind::Read, turn % 100 % 3, turn % 100))
            .collect();
        let traffic = Traffic::new(&trace(&requests), 4, None, 300).unwrap();
        assert!(traffic.by_client);
        // Each client reads six times.
        assert!(traffic.reads.iter().all(|reads| reads.len() % 6 == 0));
    }

    #[test]
    fn a_short_trace_begins_again() {
        let (draw, mut rng) = (Draw::new(&[4, 2], 9, 1.0), Rng::new(1, 0));
        let drawn: Vec<u32> = (0..5).map(|_| draw.sample(&mut rng)).collect();
        assert_eq!(drawn, [4, 2, 4, 2, 4]);
        draw.rewind();
        assert_eq!(draw.sample(&mut rng), 4);
    }
}
