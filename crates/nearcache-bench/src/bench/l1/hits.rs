//! How long a hit takes: every library once a round, in rotating order, on the same keys in the same order.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearcache_cli::outcome::Failure;
use serde::Serialize;

use super::libraries::{self, Async, Library, Resident};
use crate::zipf::{Rng, Zipf};

/// One case: the same for all libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) keys: u32,
    pub(super) value_bytes: usize,
    pub(super) threads: usize,
    pub(super) distribution: &'static str,
}

/// What one library did in one case: nanoseconds per look-up as a thread sees them, over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) library: &'static str,
    pub(super) keys: u32,
    pub(super) value_bytes: usize,
    pub(super) threads: usize,
    pub(super) distribution: &'static str,
    pub(super) ns_min: f64,
    pub(super) ns_median: f64,
    pub(super) ns_max: f64,
    pub(super) rounds: usize,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Time for each case; rounds are added until it is used up.
    pub(super) per_case: Duration,
    /// Rounds there are at least.
    pub(super) rounds_min: usize,
    /// Look-ups of each library in each round, by each thread.
    pub(super) lookups: usize,
}

/// Names of keys, as all libraries are asked for them.
pub(super) fn names(keys: u32) -> Vec<String> {
    (0..keys).map(name).collect()
}

fn name(key: u32) -> String {
    format!("product:{key:06}")
}

/// The names a thread asks for, in order, written one behind the other: as with a name that a program has just put
/// together, looking it up and not reading it is what misses the processor's caches.
struct Order(String);

/// Length of a name; there are at most a million keys.
const NAME: usize = 14;

impl Order {
    fn new(keys: impl Iterator<Item = u32>) -> Self {
        Self(keys.map(name).collect())
    }

    fn len(&self) -> usize {
        self.0.len() / NAME
    }

    #[inline]
    fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|at| &self.0[at * NAME..][..NAME])
    }
}

/// Values: small ones of their own, large ones shared by many keys, for a hit copies neither.
pub(super) fn value(bytes: usize) -> impl Fn(usize) -> Bytes + Copy {
    move |number| {
        thread_local!(static LARGE: std::cell::RefCell<Vec<Bytes>> = const { std::cell::RefCell::new(Vec::new()) });
        let make = || Bytes::from(vec![number as u8; bytes].into_boxed_slice());
        if bytes <= 4096 {
            return make();
        }
        LARGE.with_borrow_mut(|shared| {
            if shared.first().is_some_and(|first| first.len() != bytes) {
                shared.clear();
            }
            if shared.len() < 16 {
                shared.push(make());
            }
            shared[number % shared.len()].clone()
        })
    }
}

/// Measures all cases with these keys and values: one and two threads, both distributions.
pub(super) fn measure(
    keys: u32,
    value_bytes: usize,
    seed: u64,
    effort: Effort,
    mut tell: impl FnMut(Row),
) -> Result<(), Failure> {
    let (names, value) = (names(keys), value(value_bytes));
    let near = libraries::near_cache(&names, value)?;
    let shared: Vec<Box<dyn Measured>> = vec![
        Box::new(libraries::decoded(&near, &names)),
        Box::new(Resident(near.clone())),
        Box::new(Async(near)),
        Box::new(libraries::quick_cache(&names, value)),
        Box::new(libraries::moka(&names, value)),
        Box::new(libraries::foyer(&names, value)),
    ];
    let floors: [Box<dyn Measured>; 2] = [
        Box::new(libraries::map(&names, value)),
        Box::new(libraries::locked_map(&names, value)),
    ];
    for (distribution, exponent) in [("zipf-0.99", 0.99), ("uniform", 0.0)] {
        let zipf = Zipf::new(keys, exponent);
        for (threads, floor) in [1, 2].into_iter().zip(&floors) {
            let case = Case {
                keys,
                value_bytes,
                threads,
                distribution,
            };
            let orders: Vec<Order> = (0..threads as u64)
                .map(|thread| {
                    let mut rng = Rng::new(seed, thread + 1);
                    Order::new((0..effort.lookups).map(|_| zipf.sample(&mut rng)))
                })
                .collect();
            let all: Vec<&dyn Measured> = shared
                .iter()
                .chain([floor])
                .map(|library| &**library)
                .collect();
            for row in rounds(case, &all, &orders, effort)? {
                tell(row);
            }
        }
    }
    Ok(())
}

fn rounds(
    case: Case,
    libraries: &[&dyn Measured],
    orders: &[Order],
    effort: Effort,
) -> Result<Vec<Row>, Failure> {
    let mut times = vec![Vec::new(); libraries.len()];
    let start = Instant::now();
    let mut round = 0;
    while round < effort.rounds_min || start.elapsed() < effort.per_case {
        // Whoever comes first in a round finds other caches than whoever comes last.
        for turn in 0..libraries.len() {
            let at = (turn + round) % libraries.len();
            times[at].push(libraries[at].time(orders, case.value_bytes)?);
        }
        round += 1;
    }
    let row = |(library, mut times): (&&dyn Measured, Vec<f64>)| {
        times.sort_by(f64::total_cmp);
        Row {
            library: library.name(),
            keys: case.keys,
            value_bytes: case.value_bytes,
            threads: case.threads,
            distribution: case.distribution,
            ns_min: times[0],
            ns_median: times[times.len() / 2],
            ns_max: times[times.len() - 1],
            rounds: times.len(),
        }
    };
    Ok(libraries.iter().zip(times).map(row).collect())
}

/// A library whose loop of look-ups is compiled for it: one dynamic call a measurement, none a look-up.
trait Measured {
    fn name(&self) -> &'static str;

    /// Nanoseconds per look-up, of the slowest thread.
    fn time(&self, orders: &[Order], value_bytes: usize) -> Result<f64, Failure>;
}

impl<L: Library> Measured for L {
    fn name(&self) -> &'static str {
        Library::name(self)
    }

    fn time(&self, orders: &[Order], value_bytes: usize) -> Result<f64, Failure> {
        let barrier = Barrier::new(orders.len());
        let run = |order: &Order| {
            barrier.wait();
            let start = Instant::now();
            let mut found = 0;
            for name in order.names() {
                found += self.lookup(name).unwrap_or(0);
            }
            (start.elapsed(), found)
        };
        let ended: Vec<(Duration, usize)> = thread::scope(|scope| {
            let others: Vec<_> = orders[1..]
                .iter()
                .map(|order| scope.spawn(|| run(order)))
                .collect();
            let mut ended = vec![run(&orders[0])];
            ended.extend(
                others
                    .into_iter()
                    .map(|thread| thread.join().expect("a look-up does not panic")),
            );
            ended
        });
        let lookups = orders[0].len();
        if ended
            .iter()
            .any(|(_, found)| *found != lookups * value_bytes)
        {
            return Err(format!(
                "{} did not find every key; its figures would be wrong",
                Library::name(self)
            ));
        }
        let slowest = ended
            .iter()
            .map(|(time, _)| *time)
            .max()
            .unwrap_or_default();
        Ok(slowest.as_nanos() as f64 / lookups as f64)
    }
}
