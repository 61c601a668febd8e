//! Bounds under load: the budget holds at every moment, the policy keeps what is read, memory follows the entries.
#![cfg(not(nearcache_loom))]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use nearcache_l1::{Entrance, Key, Published, Refusal, StoreConfig};
use support::*;

/// A small deterministic generator.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn c9_a_million_inserts_stay_in_bound() {
    let store = store(4 << 20);
    let body = Bytes::from(vec![1; 100]);
    for n in 0..1_000_000u64 {
        put(&store, key(&n.to_le_bytes()), body.clone());
        assert!(store.weight() <= store.capacity());
    }
    let stats = store.stats();
    assert_eq!(stats.inserts, stats.evictions + stats.entries as u64);
    assert!(
        stats.weight > stats.capacity * 9 / 10 - 500,
        "the room is used: {stats:?}"
    );
    store.validate();
}

#[test]
fn c11_what_nobody_asked_for_evicts_nothing() {
    let store = store(1 << 20);
    let body = Bytes::from(vec![1; 1000]);
    let ahead = |n: u64| {
        let name = (1_000_000 + n).to_le_bytes();
        let guard = lead(&store, key(&name));
        store.publish_in_free_room(guard, filled(body.clone()), |_| true, 0)
    };
    assert!(matches!(ahead(0), Published::Stored(_)), "there is room");
    for n in 0..10_000u64 {
        put(&store, key(&n.to_le_bytes()), body.clone());
    }
    let before = store.stats();
    for n in 1..100 {
        assert_eq!(ahead(n), Published::Refused(Refusal::TooLarge));
    }
    assert_eq!(store.stats().evictions, before.evictions);
    assert_eq!(store.stats().entries, before.entries);
    store.validate();
}

#[test]
fn what_was_fetched_ahead_leaves_from_the_worst_on() {
    let store = store(1 << 20);
    let body = Bytes::from(vec![1; 100]);
    let name = |n: u64| (1_000_000 + n).to_le_bytes();
    let fetched = (0..1_000_000)
        .find(|n| {
            let guard = lead(&store, key(&name(*n)));
            let published = store.publish_in_free_room(guard, filled(body.clone()), |_| true, 0);
            published == Published::Refused(Refusal::TooLarge)
        })
        .unwrap();
    // As long as newcomers take less than their own share, and nothing was read.
    for n in 0..fetched / 50 {
        put(&store, key(&n.to_le_bytes()), body.clone());
    }
    let resident: Vec<bool> = (0..fetched)
        .map(|n| store.contains(key(&name(n))))
        .collect();
    let kept = resident.iter().filter(|there| **there).count();
    assert!(
        kept < fetched as usize && resident[..kept].iter().all(|there| *there),
        "{kept} of {fetched}"
    );
    store.validate();
}

#[test]
fn a_scan_does_not_wash_out_what_is_read() {
    let store = store(1 << 20);
    let names: Vec<_> = (0..1000u64).map(|n| n.to_be_bytes()).collect();
    let body = Bytes::from(vec![1; 100]);
    for _ in 0..4 {
        for name in &names {
            if store.get(key(name)).is_none() {
                put(&store, key(name), body.clone());
            }
        }
    }
    for n in 0..100_000u64 {
        put(&store, Key::new(1, &n.to_le_bytes()), body.clone());
        let _ = store.get(key(&names[n as usize % 1000]));
    }
    let kept = names
        .iter()
        .filter(|name| store.contains(key(&name[..])))
        .count();
    assert!(kept > 950, "only {kept} of 1000 survived the scan");
    store.validate();
}

#[test]
fn a_key_that_comes_back_soon_is_kept_longer() {
    let store = store(1 << 20);
    let body = Bytes::from(vec![1; 100]);
    for n in 0..10_000u64 {
        put(&store, key(&n.to_le_bytes()), body.clone());
    }
    // The ghost remembers what was evicted last.
    let lost = (5_000..10_000u64)
        .rev()
        .map(u64::to_le_bytes)
        .find(|name| !store.contains(key(name)));
    let lost = lost.expect("something was evicted");
    put(&store, key(&lost), body.clone());
    assert_eq!(store.stats().ghost_hits, 1);
    for n in 20_000..30_000u64 {
        put(&store, key(&n.to_le_bytes()), body.clone());
    }
    assert!(store.contains(key(&lost)));
    store.validate();
}

#[test]
fn c9_the_budget_holds_while_threads_race() {
    let mut config = StoreConfig::new(256 << 10);
    config.shards = Some(4);
    let store = with(config);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                assert!(store.weight() <= store.capacity());
                store.validate();
                std::thread::yield_now();
            }
        });
        let workers: Vec<_> = (1..5)
            .map(|seed| {
                let store = &store;
                scope.spawn(move || {
                    let mut dice = Dice(seed * 0x9E37_79B9);
                    for _ in 0..30_000 {
                        let name = dice.roll(600).to_le_bytes();
                        let name = key(&name);
                        match dice.roll(20) {
                            0 => drop(store.invalidate(name.bytes)),
                            1 => drop(store.forget(name)),
                            2 => {
                                if let Some(hit) = store.peek(name) {
                                    store.attach(name, hit.id, std::sync::Arc::new(0u8), 300);
                                }
                            }
                            3..10 => drop(store.get(name)),
                            _ => {
                                let size = dice.roll(2000) as usize;
                                if let Entrance::Lead(guard) =
                                    store.enter(name, |_| false, |_| true, || 0)
                                {
                                    let _ =
                                        store.publish(guard, filled(vec![0; size]), |_| true, 0);
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("a worker ran to its end");
        }
        ends.store(true, Ordering::Relaxed);
        watcher.join().expect("every look found the bound kept");
    });
    store.validate();
    let mut sum = 0;
    store.for_each(|_, info| sum += info.weight);
    assert_eq!((store.weight(), store.flights_open()), (sum, 0));
}

#[test]
fn c4_no_fill_outlives_an_invalidation_that_raced_it() {
    let store = store(1 << 20);
    let epoch = AtomicU64::new(0);
    // Writers change the truth, then bump, then invalidate, as a push does; nobody may read older than a bump that
    // was finished before the read began.
    let truth = AtomicU64::new(0);
    let finished = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..20_000 {
                truth.store(n, Ordering::SeqCst);
                epoch.fetch_add(1, Ordering::SeqCst);
                store.invalidate(b"k");
                finished.store(n, Ordering::SeqCst);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while finished.load(Ordering::SeqCst) < 19_999 {
                    let floor = finished.load(Ordering::SeqCst);
                    let token = || epoch.load(Ordering::SeqCst);
                    match store.enter(key(b"k"), |_| true, |_| false, token) {
                        Entrance::Hit(hit) => {
                            let value = hit.value.expect("a positive entry");
                            let seen = u64::from_le_bytes(value[..].try_into().expect("8 bytes"));
                            assert!(seen >= floor, "read {seen} after {floor} was pushed");
                        }
                        Entrance::Lead(guard) => {
                            let read = truth.load(Ordering::SeqCst).to_le_bytes().to_vec();
                            let valid = |taken: &u64| *taken == epoch.load(Ordering::SeqCst);
                            let _ = store.publish(guard, filled(read), valid, 0);
                        }
                        _ => std::thread::yield_now(),
                    }
                }
            });
        }
    });
    store.validate();
}
