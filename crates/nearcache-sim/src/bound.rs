//! What no cache can do better than, on this trace: a read of a key that nobody has read before is a miss.

use crate::report::Bound;
use crate::trace::{Kind, Trace, home};

pub(crate) const HALF_A_DAY_US: u64 = 12 * 3600 * 1_000_000;

/// The bounds for the reads from request number `from` on.
pub(crate) fn bound(trace: &Trace, pods: usize, from: usize) -> Bound {
    let mut last_read: Vec<Option<u64>> = vec![None; trace.keys.len()];
    let words = trace.keys.len().div_ceil(64);
    let mut seen = vec![vec![0u64; words]; pods];
    let (mut reads, mut ever, mut lately, mut own) = (0u64, 0u64, 0u64, 0u64);
    for (number, (request, at)) in trace.requests.iter().zip(trace.times()).enumerate() {
        if request.kind != Kind::Read {
            continue;
        }
        let key = request.key as usize;
        let before = last_read[key].replace(at);
        let word = &mut seen[home(request.client, pods)][key / 64];
        let bit = 1 << (key % 64);
        if number >= from {
            reads += 1;
            ever += u64::from(before.is_some());
            lately += u64::from(before.is_some_and(|then| at - then <= HALF_A_DAY_US));
            own += u64::from(*word & bit != 0);
        }
        *word |= bit;
    }
    let share = |part: u64| part as f64 / reads.max(1) as f64;
    Bound {
        ever: share(ever),
        last_12h: share(lately),
        own: share(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Request;

    #[test]
    fn what_was_read_by_anyone_by_oneself_or_lately() {
        let read = |at_us, client, key| Request {
            at_us,
            client,
            key,
            kind: Kind::Read,
        };
        let key = crate::trace::Key {
            name: bytes::Bytes::new(),
            value_bytes: 0,
        };
        let far = (0..99u32).find(|c| home(*c, 2) != home(0, 2)).unwrap();
        let day = 2 * HALF_A_DAY_US;
        let trace = Trace {
            requests: vec![
                read(0, 0, 0),
                read(1, far, 0),
                read(2, 0, 0),
                read(day, 0, 0),
            ],
            keys: vec![key; 2],
        };
        let bound = bound(&trace, 2, 0);
        assert_eq!((bound.ever, bound.last_12h, bound.own), (0.75, 0.5, 0.5));
    }
}
