//! The request stream as the simulator wants it: who asked for what, and when; `lines` reads what files say of one.
//! Never opens a file.

mod lines;

use bytes::Bytes;

pub use lines::Lines;

/// A request stream, in the order of its times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// What was asked, in order.
    pub requests: Vec<Request>,
    /// The keys, by number.
    pub keys: Vec<Key>,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Microseconds on a clock of the trace's own; where it goes back, the latest time before counts.
    pub at_us: u64,
    /// Who asked; a pod serves all requests of a client.
    pub client: u32,
    /// Number of the key.
    pub key: u32,
    /// What it does to the key.
    pub kind: Kind,
}

/// What a request does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads it through the pod of the client.
    Read,
    /// Changes it in L2, past the fleet.
    Write,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is called.
    pub name: Bytes,
    /// Length of its value.
    pub value_bytes: u32,
}

impl Trace {
    /// Microseconds from the first request to the last.
    pub fn span_us(&self) -> u64 {
        let first = self.requests.first().map_or(0, |request| request.at_us);
        let last = self.requests.iter().map(|request| request.at_us).max();
        last.unwrap_or(0).saturating_sub(first)
    }

    /// The times since the first request, never going back.
    pub(crate) fn times(&self) -> impl Iterator<Item = u64> {
        let first = self.requests.first().map_or(0, |request| request.at_us);
        self.requests.iter().scan(0, move |latest, request| {
            *latest = request.at_us.saturating_sub(first).max(*latest);
            Some(*latest)
        })
    }
}

/// The pod of a client among `pods`.
#[inline]
pub(crate) fn home(client: u32, pods: usize) -> usize {
    // Knuth's multiplicative hash; the low bits mix least.
    let hash = client.wrapping_mul(2_654_435_761) >> 8;
    hash as usize % pods
}
