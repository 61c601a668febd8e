//! Real threads on one store, in so few steps that a memory checker which makes them fifty times slower still ends
//! (docs/testing.md). Judges what was read, never when; the orders of threads are explored in tests/loom.rs.
#![cfg(not(nearcache_loom))]

mod support;

use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use nearcache_l1::{Entrance, Landed, StoreConfig};
use support::*;

const THREADS: u64 = 4;
/// Miri takes a thousand times as long for each.
const STEPS: u64 = if cfg!(miri) { 60 } else { 300 };

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => thread::park(),
        }
    }
}

/// Each thread calls its clone of `work` with its number, all at once. They are joined one by one: what orders the end of
/// a scope is inside std, where a checker that was not compiled into it does not see it.
fn at_once(work: impl Fn(u64) + Clone + Send + 'static) {
    let barrier = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (barrier, work) = (Arc::clone(&barrier), work.clone());
            thread::spawn(move || {
                barrier.wait();
                work(number);
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a thread ran to its end");
    }
}

/// A value that its name tells, too long to lie inside an entry.
fn made(name: u64) -> Vec<u8> {
    name.to_le_bytes().repeat(20 + name as usize % 7)
}

#[test]
fn c8_threads_that_wait_get_the_leaders_outcome() {
    let store = store(1 << 20);
    for round in 0..30u64 {
        let (shared, name) = (store.clone(), round.to_le_bytes());
        at_once(move |number| {
            loop {
                match shared.enter(key(&name), |_| true, |_| true, || number) {
                    Entrance::Hit(hit) => {
                        assert_eq!(hit.value.as_deref(), Some(&made(round)[..]));
                        return;
                    }
                    // Every third round its leader leaves, and somebody else goes on.
                    Entrance::Lead(guard) if round % 3 == 0 && number == 0 => drop(guard),
                    Entrance::Lead(guard) => {
                        shared.publish(guard, filled(made(round)), |_| true, round);
                        return;
                    }
                    Entrance::Join(flight) => match block_on(flight.wait_landed()) {
                        Landed::Done(outcome) => return assert_eq!(outcome, round),
                        Landed::Abandoned => {}
                    },
                    Entrance::Crowded(_) | Entrance::Full | Entrance::Declined => {
                        thread::yield_now()
                    }
                }
                if round % 3 == 0 && number == 0 {
                    return;
                }
            }
        });
    }
    assert_eq!(store.flights_open(), 0);
    store.validate();
}

#[test]
fn what_a_reader_holds_outlives_its_entry() {
    let mut config = StoreConfig::new(16 << 10);
    config.shards = Some(2);
    let store = with(config);
    let shared = store.clone();
    at_once(move |number| {
        let mut held = Vec::new();
        for step in 0..STEPS {
            let name = (step * 7 + number * 3) % 120;
            let bytes = name.to_le_bytes();
            let key = key(&bytes);
            match shared.get_decoded::<Vec<u8>>(key) {
                Some((hit, form)) => {
                    if form.is_none() {
                        shared.attach(key, hit.id, Arc::new(made(name)), 200);
                    }
                    held.push((name, hit.value, form));
                }
                None => {
                    if let Entrance::Lead(guard) = shared.enter(key, |_| false, |_| true, || 0) {
                        shared.publish(guard, filled(made(name)), |_| true, 0);
                    }
                }
            }
            match step % 16 {
                3 => drop(shared.invalidate(&bytes)),
                9 => drop(shared.forget(key)),
                15 => held.clear(),
                _ => {}
            }
            for (name, value, form) in &held {
                assert_eq!(value.as_deref(), Some(&made(*name)[..]));
                assert!(form.as_ref().is_none_or(|form| **form == made(*name)));
            }
        }
    });
    let stats = store.stats();
    assert!(stats.evictions > 0 && stats.attached > 0, "{stats:?}");
    assert!(store.weight() <= store.capacity());
    store.validate();
}

#[test]
fn the_last_handle_may_go_on_any_thread() {
    for _ in 0..20 {
        let store = store(1 << 16);
        let guards: Vec<_> = (0..THREADS)
            .map(|name| lead(&store, key(&name.to_le_bytes())))
            .collect();
        put(&store, key(b"k"), made(1));
        let ends: Vec<_> = guards
            .into_iter()
            .map(|guard| {
                let store = store.clone();
                thread::spawn(move || {
                    store.publish(guard, filled(made(2)), |_| true, 2);
                    value(&store, key(b"k"))
                })
            })
            .collect();
        drop(store);
        for end in ends {
            let found = end.join().expect("a thread ran to its end");
            assert_eq!(found.as_deref(), Some(&made(1)[..]));
        }
    }
}
