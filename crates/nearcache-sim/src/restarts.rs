//! Which pods restart, and when: drawn from the seed before anything is replayed.

use crate::random::Random;
use crate::trace::{Kind, Trace, home};

/// How many requests of a restarted pod are looked at.
pub(crate) const WATCHED: usize = 400;

/// Draws for each restart that is wanted; a trace that is too short for them gets fewer.
const ATTEMPTS: usize = 100;

/// One restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Restart {
    /// The request before which it happens.
    pub(crate) at: usize,
    pub(crate) pod: usize,
}

/// Time between two pods of a rolling restart: each starts after the one before is warm.
const APART_US: u64 = 5_000_000;

/// A rolling restart of the fleet from each of these times on, microseconds after the first request. Pods with fewer than
/// [`WATCHED`] reads left are passed over.
pub(crate) fn at_times(trace: &Trace, pods: usize, times_us: &[u64]) -> Vec<Restart> {
    let reads = reads_of(trace, pods);
    let mut all = Vec::new();
    for (time, pod) in times_us
        .iter()
        .flat_map(|time| (0..pods).map(move |pod| (time, pod)))
    {
        let due = time.saturating_add(APART_US * pod as u64);
        let Some(at) = trace.times().position(|at| at >= due) else {
            continue;
        };
        let before = reads[pod].partition_point(|read| *read < at);
        if reads[pod].len() - before >= WATCHED {
            all.push(Restart { at, pod });
        }
    }
    all.sort_unstable();
    all
}

/// The requests that are reads of each pod.
fn reads_of(trace: &Trace, pods: usize) -> Vec<Vec<usize>> {
    let mut reads = vec![Vec::new(); pods];
    for (at, request) in trace.requests.iter().enumerate() {
        if request.kind == Kind::Read {
            reads[home(request.client, pods)].push(at);
        }
    }
    reads
}

/// Draws `wanted` restarts among the requests from `from` on, each of any pod that still has [`WATCHED`] reads before it.
///
/// Requests are drawn, not moments: a fleet is rolled out when it is in use.
pub(crate) fn draw(
    trace: &Trace,
    pods: usize,
    wanted: usize,
    from: usize,
    seed: u64,
) -> Vec<Restart> {
    let reads = reads_of(trace, pods);
    let mut random = Random::new(seed, 1);
    let mut drawn = Vec::with_capacity(wanted);
    let room = trace.requests.len().saturating_sub(from) as u64;
    for _ in 0..wanted.saturating_mul(ATTEMPTS) {
        if drawn.len() == wanted || room == 0 {
            break;
        }
        let restart = Restart {
            at: from + random.below(room) as usize,
            pod: random.below(pods as u64) as usize,
        };
        let before = reads[restart.pod].partition_point(|read| *read < restart.at);
        if reads[restart.pod].len() - before >= WATCHED {
            drawn.push(restart);
        }
    }
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Request;

    #[test]
    fn restarted_pods_have_requests_left_and_the_seed_decides() {
        let request = |number: u32| Request {
            at_us: u64::from(number),
            client: number % 50,
            key: 0,
            kind: Kind::Read,
        };
        let trace = Trace {
            requests: (0..20_000).map(request).collect(),
            keys: Vec::new(),
        };
        let drawn = draw(&trace, 5, 50, 5_000, 3);
        assert_eq!(drawn.len(), 50);
        for restart in &drawn {
            let rest = &trace.requests[restart.at..];
            let left = rest.iter().filter(|r| home(r.client, 5) == restart.pod);
            assert!(restart.at >= 5_000 && left.count() >= WATCHED);
        }
        assert_eq!(draw(&trace, 5, 50, 5_000, 3), drawn);
        assert_ne!(draw(&trace, 5, 50, 5_000, 4), drawn);
        assert!(draw(&trace, 5, 50, 19_900, 3).is_empty());
        let all = at_times(&trace, 5, &[10_000, 1 << 40]);
        // The trace is over before the second of them.
        let expected = [Restart { at: 10_000, pod: 0 }];
        assert_eq!(all, expected);
    }
}
