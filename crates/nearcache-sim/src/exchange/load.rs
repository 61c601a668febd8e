//! A trace as a load without an end: its steady state, then all of it again and again, each time dealt to other pods.

use crate::trace::{Request, Trace, home};

/// The requests of a fleet, in the order of their times.
pub(super) struct Load<'a> {
    trace: &'a Trace,
    pods: usize,
    times: Vec<u64>,
    next: usize,
    lap: u32,
    /// When this lap began, less the time of its first request.
    begun_us: i128,
    /// From one lap to the next: the trace, and as long again as between two of its requests.
    lap_us: i128,
}

impl<'a> Load<'a> {
    pub(super) fn new(trace: &'a Trace, pods: usize) -> Self {
        let times: Vec<u64> = trace.times().collect();
        let span = trace.span_us();
        let next = times.partition_point(|at| *at < span / 8);
        let gap = (span / times.len().max(1) as u64).max(1);
        Self {
            trace,
            pods,
            begun_us: -i128::from(times.get(next).copied().unwrap_or(0)),
            lap_us: i128::from(span + gap),
            times,
            next,
            lap: 0,
        }
    }

    /// The next request, when it comes, in microseconds, and to which pod; none from a trace without any.
    pub(super) fn next(&mut self) -> Option<(u64, usize, Request)> {
        if self.next == self.times.len() {
            self.next = 0;
            self.lap = self.lap.wrapping_add(1);
            self.begun_us += self.lap_us;
        }
        let request = *self.trace.requests.get(self.next)?;
        let at = self.begun_us + i128::from(*self.times.get(self.next)?);
        self.next += 1;
        // Else each pod would read the same again.
        let client = request
            .client
            .wrapping_add(self.lap.wrapping_mul(0x9e37_79b1));
        let pod = home(client, self.pods);
        Some((u64::try_from(at).unwrap_or(0), pod, request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    #[test]
    fn it_goes_on_where_the_trace_ends() {
        let request = |number: u64| Request {
            at_us: 5_000 + number * 1000,
            client: number as u32,
            key: number as u32,
            kind: Kind::Read,
        };
        let trace = Trace {
            requests: (0..17).map(request).collect(),
            keys: Vec::new(),
        };
        let mut load = Load::new(&trace, 3);
        let next: Vec<_> = std::iter::from_fn(|| load.next()).take(40).collect();
        let times: Vec<u64> = next.iter().map(|next| next.0).collect();
        assert_eq!(times[..3], [0, 1000, 2000]);
        assert!(times.is_sorted() && times[39] > 38_000, "{times:?}");
        let keys = next.iter().map(|next| next.2.key);
        assert!(keys.eq((2..17).chain(0..17).chain(0..8)));
        let same = |lap: usize| (0..10).all(|n| next[n].1 == next[n + lap].1);
        assert!(!same(17), "each lap is dealt to other pods");
        assert!(Load::new(&Trace::default(), 3).next().is_none());
    }
}
