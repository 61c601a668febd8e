//! Deliberate defects, one at a time: a schedule must catch each. What the model cannot reach is caught elsewhere, by
//! the test named here. Only in builds with `--cfg nearcache_break`.

use std::cell::Cell;

use nearcache_proto::sabotage::{Mechanism, switch_off_here};

use crate::play::{Plan, quietly};

/// Schedules in which a defect must show.
const MOST: u64 = 10_000;

thread_local!(static PER_DB: Cell<bool> = const { Cell::new(false) });

/// Whether the driver is to open a connection for each db.
pub fn lane_per_db() -> bool {
    PER_DB.get()
}

/// What is wrong.
#[derive(Clone, Copy)]
enum Defect {
    /// In the protocol.
    Of(Mechanism),
    /// In its driver.
    LanePerDb,
}

/// Every defect with what it is.
const DEFECTS: &[(Defect, &str)] = &[
    (
        Defect::Of(Mechanism::Token),
        "the fill's token is not compared",
    ),
    (Defect::Of(Mechanism::Lease), "hits without a lease"),
    (
        Defect::Of(Mechanism::Fence),
        "a validated read without its fence",
    ),
    (Defect::Of(Mechanism::Null), "the null push is ignored"),
    (
        Defect::Of(Mechanism::SentAt),
        "the lease is counted from receive",
    ),
    (
        Defect::Of(Mechanism::Orphan),
        "orphaned flights are published",
    ),
    (
        Defect::Of(Mechanism::SecondEvict),
        "no second evict at the ack of a write",
    ),
    (
        Defect::Of(Mechanism::Multi),
        "served in MULTI and under WATCH",
    ),
    (
        Defect::Of(Mechanism::FirstKey),
        "MGET filed under its first key",
    ),
    (
        Defect::Of(Mechanism::History),
        "a disconnect does not end the history",
    ),
    (
        Defect::Of(Mechanism::LeaseAfterUnlock),
        "the lease is loaded when the entry can go",
    ),
    (
        Defect::Of(Mechanism::SharedLease),
        "a lease shared across histories",
    ),
    (
        Defect::Of(Mechanism::OldHistory),
        "an old history served as fresh",
    ),
    (
        Defect::Of(Mechanism::Join),
        "a flight joined after a later answer",
    ),
    (
        Defect::Of(Mechanism::SharedFence),
        "a fence shared that was already sent",
    ),
    (Defect::Of(Mechanism::Caching), "CACHING's reply unchecked"),
    (Defect::Of(Mechanism::RawMulti), "raw MULTI on the lane"),
    (Defect::LanePerDb, "a lane per db"),
    (Defect::Of(Mechanism::Role), "renewal without the role"),
    (
        Defect::Of(Mechanism::Rate),
        "no allowance for the clock's rate",
    ),
    (Defect::Of(Mechanism::Expiry), "expiries are not kept"),
    (
        Defect::Of(Mechanism::HiddenWrite),
        "no fence behind an own script",
    ),
    (
        Defect::Of(Mechanism::SideFence),
        "no fence behind a side answer",
    ),
    (Defect::Of(Mechanism::Untracked), "untracked reads are kept"),
    (Defect::Of(Mechanism::Twice), "a write is sent twice"),
    (
        Defect::Of(Mechanism::Overwrite),
        "a loaded value overwrites",
    ),
    (
        Defect::Of(Mechanism::LoadToken),
        "a loaded value without its token",
    ),
    (
        Defect::Of(Mechanism::Compare),
        "several reads are not compared",
    ),
    (Defect::Of(Mechanism::Head), "a reply outlives its head"),
    (
        Defect::Of(Mechanism::Lapsed),
        "a lapsed lease is not renewed",
    ),
    (
        Defect::Of(Mechanism::JoinExpired),
        "an expired flight is joined",
    ),
    (
        Defect::Of(Mechanism::LoadTimeout),
        "a loader runs for as long as it likes",
    ),
    (
        Defect::Of(Mechanism::Abandon),
        "an abandoned load is not given up",
    ),
    (Defect::Of(Mechanism::Places), "more loaders than max_loads"),
    (
        Defect::Of(Mechanism::Recursion),
        "a loader waits for itself",
    ),
    (
        Defect::Of(Mechanism::Blame),
        "a panic elsewhere is the loader's",
    ),
    (
        Defect::Of(Mechanism::OriginLife),
        "a loaded value is lent for longer than L",
    ),
    (
        Defect::Of(Mechanism::OriginToken),
        "a loaded value is lent after a write",
    ),
    (
        Defect::Of(Mechanism::OriginKept),
        "a value loaded without L2 is kept",
    ),
    (
        Defect::Of(Mechanism::ReplaceOften),
        "two releases replace each other",
    ),
    (
        Defect::Of(Mechanism::ReplaceAny),
        "a newer value is replaced",
    ),
];

/// What shows in no order of whole steps, but in one of single loads: each is a wrong order beside the right one, which
/// loom must find (`RUSTFLAGS="--cfg nearcache_loom" cargo test -p nearcache-proto --release --lib schedules`).
const LOADS: &[(&str, &str)] = &[
    (
        "the lease is loaded after the unlock",
        "trap_lease_loaded_after_the_unlock_is_caught",
    ),
    (
        "the flush count is loaded before the lease",
        "trap_flush_loaded_before_the_lease_is_caught",
    ),
    (
        "the clock is read before the lease",
        "trap_clock_read_before_the_lease_is_caught",
    ),
    (
        "a reply's lease is loaded under its own lock",
        "trap_lease_of_a_reply_loaded_under_another_lock_than_its_heads_is_caught",
    ),
];

const SCHEDULES: &str = include_str!("../../src/schedules/tests.rs");

fn commit(defect: Option<Defect>) {
    PER_DB.set(matches!(defect, Some(Defect::LanePerDb)));
    switch_off_here(match defect {
        Some(Defect::Of(mechanism)) => Some(mechanism),
        _ => None,
    });
}

/// How many schedules it takes, and what the last of them says.
fn caught(defect: Defect) -> Option<(u64, String)> {
    commit(Some(defect));
    let caught = (1..=MOST).find_map(|seed| Some((seed, quietly(&Plan::all(seed)).err()?)));
    commit(None);
    caught
}

#[test]
fn every_defect_is_caught_by_a_schedule() {
    for mechanism in Mechanism::ALL {
        let listed = |(defect, _): &(Defect, _)| matches!(defect, Defect::Of(m) if m == mechanism);
        assert!(
            DEFECTS.iter().any(listed),
            "{mechanism:?} is not in the table"
        );
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = std::sync::Mutex::new(vec![None; DEFECTS.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((defect, _)) = DEFECTS.get(place) else {
                        return;
                    };
                    let caught = caught(*defect);
                    found.lock().expect("nobody panics")[place] = caught;
                }
            });
        }
    });
    let found = found.into_inner().expect("nobody panics");
    println!("{:<46} {:>9}  caught by", "defect", "schedules");
    for ((_, what), caught) in DEFECTS.iter().zip(&found) {
        match caught {
            Some((schedules, why)) => {
                let why = why.lines().next().unwrap_or_default();
                println!("{what:<46} {schedules:>9}  {why}");
            }
            None => println!("{what:<46} {:>9}  NOT CAUGHT", format!(">{MOST}")),
        }
    }
    for (what, test) in LOADS {
        assert!(
            SCHEDULES.contains(&format!("fn {test}(")),
            "there is no {test}"
        );
        println!("{what:<46} {:>9}  loom: {test}", "all");
    }
    let missed: Vec<_> = DEFECTS
        .iter()
        .zip(&found)
        .filter(|(_, caught)| caught.is_none())
        .collect();
    let missed: Vec<_> = missed.iter().map(|((_, what), _)| *what).collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
