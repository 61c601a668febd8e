//! Makes a schedule that fails as short as it gets within a bounded effort: events are left out, in large pieces
//! first, for as long as it still fails.

use crate::play::{Plan, quietly};

/// Schedules played to make one short.
const EFFORT: usize = 2000;

/// Which events are enough for a failure of the same promise.
pub fn shrink(seed: u64, why: &str) -> Plan {
    let mut plan = Plan::all(seed);
    let mut effort = 0;
    let mut size = plan.events.len() / 2;
    while size > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < plan.events.len() && effort < EFFORT {
            effort += 1;
            let to = (from + size).min(plan.events.len());
            let mut events = plan.events.clone();
            events.drain(from..to);
            let less = Plan { seed, events };
            match quietly(&less) {
                Err(other) if promise(&other) == promise(why) => {
                    plan = less;
                    shorter = true;
                }
                _ => from = to,
            }
        }
        if effort >= EFFORT {
            break;
        }
        if !shorter || size > 1 {
            size /= 2;
        }
    }
    plan
}

/// What a failure begins with: the numbers of the promises.
fn promise(why: &str) -> &str {
    why.split_once(':').map_or(why, |(promise, _)| promise)
}

/// Says what failed, and how to see it.
pub fn report(seed: u64, why: &str) {
    let plan = shrink(seed, why);
    let short = quietly(&plan).expect_err("a shrunk schedule fails");
    println!("seed {seed} failed: {why}");
    println!("{} events are enough: {short}", plan.events.len());
    println!(
        "replay: NEARCACHE_TEST_SEED={seed} NEARCACHE_TEST_EVENTS={} \
         cargo test -p nearcache-proto --test model c2_ -- --nocapture",
        plan.written()
    );
}
