//! Every schedule, up to a bound on preemptions, of the races a flight can be in. Run it with
//! `RUSTFLAGS="--cfg nearcache_loom" cargo test -p nearcache-l1 --release --test loom`.
#![cfg(nearcache_loom)]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use nearcache_l1::{Entrance, Key, Landed, Promise, Published, Store, StoreConfig, Weigher};
use support::*;

/// Explores with a bound on preemptions: two find nearly everything, three what is left.
fn explore(preemptions: usize, scene: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(scene);
}

struct Alarm(Notify);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Runs a future to its end; the model reports a deadlock if nobody wakes it.
fn block_on<F: Future>(future: F) -> F::Output {
    let alarm = Arc::new(Alarm(Notify::new()));
    let waker = Waker::from(Arc::clone(&alarm));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => alarm.0.wait(),
        }
    }
}

fn one_shard() -> TestStore {
    let mut config = StoreConfig::new(1 << 20);
    config.shards = Some(1);
    with(config)
}

const K: Key<'static> = Key::new(0, b"k");

/// Reads through the store like a caller: hit, or wait, or fetch. Returns the value read.
fn read(store: &TestStore, leads: &AtomicUsize, fetched: u64) -> u64 {
    loop {
        match store.enter(K, |_| true, |_| true, || 0) {
            Entrance::Hit(hit) => return u64::from(hit.value.expect("a positive entry")[0]),
            Entrance::Join(flight) => match block_on(flight.wait_landed()) {
                Landed::Done(value) => return value,
                Landed::Abandoned => {}
            },
            Entrance::Lead(guard) => {
                leads.fetch_add(1, Ordering::Relaxed);
                let _ = store.publish(guard, filled(vec![fetched as u8]), |_| true, fetched);
                return fetched;
            }
            Entrance::Crowded(_) | Entrance::Full | Entrance::Declined => {
                panic!("nobody is turned away here")
            }
        }
    }
}

#[test]
fn c8_of_three_readers_one_fetches() {
    explore(3, || {
        let store = one_shard();
        let leads = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (store, leads) = (store.clone(), Arc::clone(&leads));
                thread::spawn(move || read(&store, &leads, 7))
            })
            .collect();
        assert_eq!(read(&store, &leads, 7), 7);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 7);
        }
        assert_eq!(leads.load(Ordering::Relaxed), 1);
        store.validate();
    });
}

#[test]
fn trap_a_waiter_of_a_cancelled_leader_takes_over() {
    explore(3, || {
        let store = one_shard();
        let leads = Arc::new(AtomicUsize::new(0));
        let guard = lead(&store, K);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (store, leads) = (store.clone(), Arc::clone(&leads));
                thread::spawn(move || read(&store, &leads, 5))
            })
            .collect();
        drop(guard);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 5);
        }
        assert_eq!(
            leads.load(Ordering::Relaxed),
            1,
            "one takes over, the other joins or hits"
        );
        assert_eq!(store.flights_open(), 0);
        store.validate();
    });
}

#[test]
fn c4_nothing_read_before_an_invalidation_is_readable_after_it() {
    explore(3, || {
        let store = one_shard();
        let epoch = Arc::new(AtomicUsize::new(0));
        let filler = {
            let (store, epoch) = (store.clone(), Arc::clone(&epoch));
            thread::spawn(move || {
                let token = || epoch.load(Ordering::Acquire) as u64;
                let Entrance::Lead(guard) = store.enter(K, |_| false, |_| false, token) else {
                    panic!("the only filler leads");
                };
                // What L2 holds now: the epoch is bumped after the write.
                let value = *guard.meta() as u8;
                let valid = |taken: &u64| *taken == epoch.load(Ordering::Acquire) as u64;
                let _ = store.publish(guard, filled(vec![value]), valid, 0);
            })
        };
        let pusher = {
            let (store, epoch) = (store.clone(), Arc::clone(&epoch));
            thread::spawn(move || {
                epoch.fetch_add(1, Ordering::AcqRel);
                store.invalidate(b"k");
                let fresh = |store: &TestStore| value(store, K).is_none_or(|value| value[0] == 1);
                assert!(fresh(&store), "read an invalidated value");
            })
        };
        filler.join().unwrap();
        pusher.join().unwrap();
        let seen = value(&store, K);
        assert!(
            seen.is_none_or(|value| value[0] == 1),
            "an invalidated value stayed"
        );
        store.validate();
    });
}

#[test]
fn c4_without_a_check_orphaning_alone_keeps_old_fills_out() {
    explore(3, || {
        let store = one_shard();
        let guard = lead(&store, K);
        let pusher = {
            let store = store.clone();
            thread::spawn(move || {
                store.invalidate(b"k");
                assert!(!store.contains(K));
            })
        };
        let waiter = {
            let store = store.clone();
            thread::spawn(move || match store.enter(K, |_| true, |_| true, || 1) {
                // Whoever joined the orphan gets its outcome; whoever came after it leads.
                Entrance::Join(flight) => {
                    assert_eq!(block_on(flight.wait_landed()), Landed::Done(4))
                }
                Entrance::Lead(guard) => guard.complete(1),
                Entrance::Hit(_) => {}
                turned_away => panic!("{turned_away:?}"),
            })
        };
        let _ = store.publish(guard, filled("old"), |_| true, 4);
        pusher.join().unwrap();
        waiter.join().unwrap();
        assert!(!store.contains(K));
        store.validate();
    });
}

#[test]
fn c8_settling_answers_every_waiter_and_lets_none_in_after() {
    explore(3, || {
        let store = one_shard();
        let guard = lead(&store, K);
        let waiter = {
            let store = store.clone();
            thread::spawn(move || match store.enter(K, |_| true, |_| true, || 1) {
                // The settled flight has meta 0; the other one is given up below.
                Entrance::Join(flight) => {
                    let landed = block_on(flight.wait_landed());
                    let expected = [Landed::Done(3), Landed::Abandoned];
                    assert_eq!(landed, expected[*flight.meta() as usize]);
                }
                Entrance::Lead(guard) => drop(guard),
                other => panic!("{other:?}"),
            })
        };
        guard.settle(3);
        let next = store.enter(K, |_| true, |_| true, || 1);
        assert!(!matches!(&next, Entrance::Join(flight) if Arc::ptr_eq(flight, guard.flight())));
        drop(next);
        drop(guard);
        waiter.join().unwrap();
        store.validate();
    });
}

#[test]
fn a_crowded_caller_finds_room_once_the_flight_it_waited_for_has_landed() {
    explore(2, || {
        let mut config = StoreConfig::new(1 << 20);
        config.shards = Some(1);
        config.max_flights_per_key = 1;
        let store = with(config);
        let guard = lead(&store, K);
        let crowd = {
            let store = store.clone();
            thread::spawn(move || {
                let mut waits = 0;
                loop {
                    match store.enter(K, |_| false, |_| false, || 1) {
                        Entrance::Crowded(flight) => drop(block_on(flight.wait_landed())),
                        Entrance::Lead(guard) => return guard.complete(1),
                        other => panic!("{other:?}"),
                    }
                    waits += 1;
                    assert!(waits <= 1, "woken before there was room");
                }
            })
        };
        store.invalidate(b"k");
        guard.complete(2);
        crowd.join().unwrap();
    });
}

#[test]
fn a_promise_wakes_whoever_waits_and_forgets_whoever_left() {
    explore(3, || {
        let promise = Promise::new();
        let waiter = {
            let promise = promise.clone();
            thread::spawn(move || block_on(promise.future()))
        };
        let leaver = {
            let promise = promise.clone();
            thread::spawn(move || {
                let _ = poll_once(promise.future());
            })
        };
        assert!(promise.complete(1));
        assert!(!promise.complete(2));
        assert_eq!(waiter.join().unwrap(), 1);
        leaver.join().unwrap();
    });
}

#[test]
fn a_decoded_form_never_lands_on_a_newer_entry() {
    explore(3, || {
        let store = one_shard();
        let Published::Stored(old) = put(&store, K, "old") else {
            panic!("stored");
        };
        let decoder = {
            let store = store.clone();
            thread::spawn(move || store.attach(K, old, Arc::new(0u8), 10))
        };
        let filler = {
            let store = store.clone();
            thread::spawn(move || put(&store, K, "new"))
        };
        decoder.join().unwrap();
        filler.join().unwrap();
        let (hit, form) = store.get_decoded::<u8>(K).expect("resident");
        assert!(hit.id != old && form.is_none());
        let mut sum = 0;
        store.for_each(|_, info| sum += info.weight);
        assert_eq!(store.weight(), sum);
        store.validate();
    });
}

struct Ones;

impl Weigher for Ones {
    fn weigh(&self, _: Key<'_>, _: usize, _: usize) -> usize {
        1
    }
}

#[test]
fn c9_the_budget_holds_while_two_shards_fight_for_the_last_room() {
    explore(2, || {
        let mut config = StoreConfig::new(1);
        config.shards = Some(2);
        config.weigher = Some(Arc::new(Ones));
        let store: TestStore = Store::new(config).unwrap();
        let fillers: Vec<_> = [b"a", b"b"]
            .map(|name| {
                let store = store.clone();
                thread::spawn(move || {
                    let _ = put(&store, key(name), "v");
                    assert!(store.weight() <= 1);
                    assert!(store.len() <= 1 || store.weight() <= 1);
                })
            })
            .into();
        store.invalidate(b"a");
        for filler in fillers {
            filler.join().unwrap();
        }
        assert_eq!(store.weight(), store.len());
        store.validate();
    });
}
