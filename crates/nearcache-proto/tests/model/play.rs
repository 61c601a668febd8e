//! Plays schedules: one, all of it or some of its events, and many on all processors.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use crate::coverage::Coverage;
use crate::interrupt;
use crate::world::{EVENTS, World};

/// Which events of which schedule.
pub struct Plan {
    pub seed: u64,
    /// In order.
    pub events: Vec<usize>,
}

impl Plan {
    pub fn all(seed: u64) -> Self {
        let events = (0..EVENTS).collect();
        Self { seed, events }
    }

    /// As [`written`](Self::written) has it.
    pub fn of(seed: u64, events: Option<&str>) -> Self {
        let Some(text) = events else {
            return Self::all(seed);
        };
        let number = |text: &str| text.parse().expect("a number of an event");
        let range = |part: &str| match part.split_once('-') {
            Some((from, to)) => number(from)..number(to) + 1,
            None => number(part)..number(part) + 1,
        };
        let parts = text.split(',').filter(|part| !part.is_empty());
        let events = parts.flat_map(range).collect();
        Self { seed, events }
    }

    /// The events as ranges.
    pub fn written(&self) -> String {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for event in &self.events {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == *event => *to = *event,
                _ => ranges.push((*event, *event)),
            }
        }
        let ranges: Vec<_> = ranges
            .iter()
            .map(|(from, to)| match from == to {
                true => from.to_string(),
                false => format!("{from}-{to}"),
            })
            .collect();
        ranges.join(",")
    }
}

/// Plays a schedule to its end; panics when a promise is broken.
pub fn play(plan: &Plan, trace: bool) -> Coverage {
    let world = Rc::new(RefCell::new(World::new(plan.seed, trace)));
    let entered = interrupt::enter(&world);
    turns(&world);
    for event in &plan.events {
        world.borrow_mut().event(*event);
        turns(&world);
    }
    for round in 0.. {
        if !world.borrow_mut().heal(round) {
            break;
        }
        turns(&world);
    }
    drop(entered);
    let world = Rc::into_inner(world).expect("nobody is stopped any more");
    world.into_inner().end()
}

/// Polls all calls whose turn it is.
fn turns(world: &RefCell<World>) {
    loop {
        let Some(mut turn) = world.borrow_mut().next_turn() else {
            return;
        };
        let polled = turn.poll();
        world.borrow_mut().polled(turn, polled);
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Plays a schedule; what broke, with nothing printed.
pub fn quietly(plan: &Plan) -> Result<Coverage, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let played = catch_unwind(AssertUnwindSafe(|| play(plan, false)));
    QUIET.set(false);
    played.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| panic_any("a panic without a text"))
    })
}

/// Runs seeds on as many threads as there are processors; all that they met.
pub fn many(seeds: Range<u64>, run: impl Fn(u64) -> Coverage + Sync) -> Coverage {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new(Coverage::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut met = Coverage::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    met.add(&run(seed));
                }
                all.lock().expect("no schedule failed").add(&met);
            });
        }
    });
    all.into_inner().expect("no schedule failed")
}
