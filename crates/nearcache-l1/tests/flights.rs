//! Single flight: who leads, who joins, who is turned away, and what becomes of everyone when a flight ends.
#![cfg(not(nearcache_loom))]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use bytes::Bytes;
use nearcache_l1::{Entrance, Flight, Key, Landed, Published, Refusal, StoreConfig};
use support::*;

fn join(store: &TestStore, key: Key<'_>) -> Arc<Flight<u64, u64>> {
    match store.enter(key, |_| true, |_| true, || 0) {
        Entrance::Join(flight) => flight,
        other => panic!("expected to join, got {other:?}"),
    }
}

#[test]
fn c8_the_second_caller_joins_and_gets_the_leaders_outcome() {
    let store = store(1 << 20);
    let guard = lead(&store, key(b"k"));
    let flight = join(&store, key(b"k"));
    let mut landing = Box::pin(flight.wait_landed());
    assert!(poll_once(landing.as_mut()).is_pending());
    assert!(matches!(
        store.publish(guard, filled("v"), |_| true, 9),
        Published::Stored(_)
    ));
    assert_eq!(poll_once(landing.as_mut()), Poll::Ready(Landed::Done(9)));
    assert_eq!(flight.landed(), Some(Landed::Done(9)));
    assert_eq!(value(&store, key(b"k")).as_deref(), Some(&b"v"[..]));
    let hit = store.enter(key(b"k"), |_| true, |_| true, || 0);
    assert!(matches!(hit, Entrance::Hit(_)));
    assert_eq!(store.flights_open(), 0);
    store.validate();
}

#[test]
fn c8_keys_and_dbs_fly_apart() {
    let store = store(1 << 20);
    let guards = [
        lead(&store, Key::new(0, b"k")),
        lead(&store, Key::new(1, b"k")),
        lead(&store, Key::new(0, b"l")),
    ];
    assert_eq!(join(&store, Key::new(1, b"k")).key(), Key::new(1, b"k"));
    assert_eq!(store.flights_open(), 3);
    drop(guards);
    assert_eq!(store.flights_open(), 0);
    store.validate();
}

#[test]
fn trap_a_cancelled_leader_hands_over_to_a_waiter() {
    let store = store(1 << 20);
    let guard = lead(&store, key(b"k"));
    let flight = join(&store, key(b"k"));
    drop(guard);
    assert_eq!(
        poll_once(flight.wait_landed()),
        Poll::Ready(Landed::Abandoned)
    );
    let guard = lead(&store, key(b"k"));
    guard.complete(3);
    store.validate();
}

#[test]
fn c4_a_flight_orphaned_by_an_invalidation_publishes_nothing() {
    let store = store(1 << 20);
    let guard = lead(&store, key(b"k"));
    let waiter = join(&store, key(b"k"));
    assert_eq!(store.invalidate(b"k"), 0);
    assert!(guard.flight().is_orphaned());
    // Nobody joins any more: a newcomer leads.
    let successor = match store.enter(key(b"k"), |_| true, |_| true, || 1) {
        Entrance::Lead(guard) => guard,
        other => panic!("expected to lead, got {other:?}"),
    };
    let published = store.publish(guard, filled("old"), |_| true, 4);
    assert_eq!(published, Published::Refused(Refusal::Orphaned));
    assert_eq!(
        poll_once(waiter.wait_landed()),
        Poll::Ready(Landed::Done(4))
    );
    assert!(!store.contains(key(b"k")));
    assert!(matches!(
        store.publish(successor, filled("new"), |_| true, 5),
        Published::Stored(_)
    ));
    assert_eq!(value(&store, key(b"k")).as_deref(), Some(&b"new"[..]));
    store.validate();
}

#[test]
fn c4_the_callers_check_refuses_a_fill_and_keeps_the_resident_entry() {
    let store = store(1 << 20);
    put(&store, key(b"k"), "resident");
    let epoch = AtomicU64::new(0);
    let guard = lead(&store, key(b"k"));
    epoch.fetch_add(1, Ordering::Relaxed);
    let valid = |meta: &u64| *meta == epoch.load(Ordering::Relaxed);
    let published = store.publish(guard, filled("late"), valid, 0);
    assert_eq!(published, Published::Refused(Refusal::Invalid));
    assert_eq!(value(&store, key(b"k")).as_deref(), Some(&b"resident"[..]));
    assert_eq!(store.stats().refused_invalid, 1);
    store.validate();
}

#[test]
fn trap_a_refused_leader_is_not_joined_by_later_readers() {
    let store = store(1 << 20);
    let guard = lead(&store, key(b"k"));
    let flight = Arc::clone(guard.flight());
    let _ = store.publish(guard, filled("v"), |_| false, 1);
    assert!(flight.is_settled());
    drop(lead(&store, key(b"k")));
    store.validate();
}

#[test]
fn c8_an_unjoinable_flight_is_orphaned_and_its_waiters_still_answered() {
    let store = store(1 << 20);
    let first = lead(&store, key(b"k"));
    let waiter = join(&store, key(b"k"));
    let second = lead(&store, key(b"k"));
    assert!(first.flight().is_orphaned() && !second.flight().is_orphaned());
    first.complete(1);
    assert_eq!(
        poll_once(waiter.wait_landed()),
        Poll::Ready(Landed::Done(1))
    );
    second.complete(2);
    assert_eq!(store.stats().orphaned, 1);
}

#[test]
fn c8_flights_of_one_key_are_bounded_and_the_newest_is_waited_for() {
    let mut config = StoreConfig::new(1 << 20);
    config.max_flights_per_key = 2;
    let store = with(config);
    let first = lead(&store, key(b"k"));
    let second = lead(&store, key(b"k"));
    match store.enter(key(b"k"), |_| true, |_| false, || 0) {
        Entrance::Crowded(flight) => assert!(Arc::ptr_eq(&flight, second.flight())),
        other => panic!("expected a crowd, got {other:?}"),
    }
    second.settle(1);
    match store.enter(key(b"k"), |_| true, |_| true, || 0) {
        Entrance::Crowded(flight) => assert!(Arc::ptr_eq(&flight, first.flight())),
        other => panic!("expected a crowd, got {other:?}"),
    }
    first.settle(1);
    // All have settled: there is nothing left to wait for, so nobody is told to.
    assert!(matches!(
        store.enter(key(b"k"), |_| true, |_| true, || 0),
        Entrance::Full
    ));
    drop(first);
    drop(lead(&store, key(b"k")));
    drop(second);
    store.validate();
}

#[test]
fn c10_flights_of_the_store_are_bounded() {
    let mut config = StoreConfig::new(1 << 20);
    config.max_flights = 2;
    let store = with(config);
    let _one = lead(&store, key(b"1"));
    let two = lead(&store, key(b"2"));
    assert!(matches!(
        store.enter(key(b"3"), |_| true, |_| true, || 0),
        Entrance::Full
    ));
    // Joining is not flying.
    join(&store, key(b"2"));
    drop(two);
    drop(lead(&store, key(b"3")));
    assert_eq!(store.stats().full, 1);
}

#[test]
fn settling_answers_now_and_counts_until_dropped() {
    let store = store(1 << 20);
    let guard = lead(&store, key(b"k"));
    let waiter = join(&store, key(b"k"));
    guard.settle(5);
    assert_eq!(
        poll_once(waiter.wait_landed()),
        Poll::Ready(Landed::Done(5))
    );
    assert!(guard.flight().is_settled());
    let second = lead(&store, key(b"k"));
    assert_eq!(store.flights_open(), 2);
    // It may still publish, unless there is a successor; its first outcome stands.
    let published = store.publish(guard, filled("v"), |_| true, 6);
    assert_eq!(published, Published::Refused(Refusal::Orphaned));
    assert_eq!(waiter.landed(), Some(Landed::Done(5)));
    second.settle(7);
    let published = store.publish(second, filled("v"), |_| true, 8);
    assert!(matches!(published, Published::Stored(_)));
    assert_eq!(store.flights_open(), 0);
    store.validate();
}

#[test]
fn a_flight_leaves_the_resident_entry_for_stale_reads() {
    let store = store(1 << 20);
    put(&store, key(b"k"), "old");
    let guard = lead(&store, key(b"k"));
    assert_eq!(value(&store, key(b"k")).as_deref(), Some(&b"old"[..]));
    let _ = store.publish(guard, filled("new"), |_| true, 0);
    assert_eq!(value(&store, key(b"k")).as_deref(), Some(&b"new"[..]));
    assert_eq!((store.len(), store.stats().replaced), (1, 1));
    store.validate();
}

#[test]
fn forget_and_clear_orphan_flights_but_removing_one_entry_does_not() {
    let store = store(1 << 20);
    let Published::Stored(id) = put(&store, key(b"k"), "v") else {
        panic!("stored");
    };
    let guard = lead(&store, key(b"k"));
    let cause = nearcache_l1::RemovalCause::Expired;
    assert!(store.remove_entry(key(b"k"), id, cause));
    assert!(!guard.flight().is_orphaned());
    assert!(!store.forget(key(b"k")));
    assert!(guard.flight().is_orphaned());
    let guard = lead(&store, key(b"k"));
    store.clear();
    assert!(guard.flight().is_orphaned());
    drop(guard);
    store.validate();
}

#[test]
fn c8_a_check_that_panics_abandons_the_flight_and_poisons_nothing() {
    let store = store(1 << 20);
    let guard = lead(&store, key(b"k"));
    let waiter = join(&store, key(b"k"));
    let publishing = store.clone();
    let panicking = move || publishing.publish(guard, filled("v"), |_| panic!("a bug"), 1);
    assert!(std::thread::spawn(panicking).join().is_err());
    assert_eq!(
        poll_once(waiter.wait_landed()),
        Poll::Ready(Landed::Abandoned)
    );
    assert_eq!((store.flights_open(), store.weight()), (0, 0));
    put(&store, key(b"k"), "v");
    store.validate();
}

#[test]
fn a_guard_outlives_every_handle_and_crosses_threads() {
    let store = store(1 << 20);
    let guard = lead(&store, key(b"k"));
    let flight = Arc::clone(guard.flight());
    drop(store);
    let ended = std::thread::spawn(move || drop(guard)).join();
    assert!(ended.is_ok());
    assert_eq!(flight.landed(), Some(Landed::Abandoned));
}

#[test]
fn a_waiter_may_enter_again_as_soon_as_it_is_woken() {
    use std::future::Future;
    use std::task::{Context, Wake, Waker};

    /// Enters inside `wake`, where a lock held too long would deadlock.
    struct Enters(TestStore);
    impl Wake for Enters {
        fn wake(self: Arc<Self>) {
            drop(lead(&self.0, key(b"k")));
            self.0.invalidate(b"k");
        }
    }
    let store = store(1 << 20);
    let waker = Waker::from(Arc::new(Enters(store.clone())));
    for end in 0..3 {
        let guard = lead(&store, key(b"k"));
        let mut landing = Box::pin(guard.flight().wait_landed());
        assert!(
            landing
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        match end {
            0 => drop(guard),
            1 => guard.complete(1),
            _ => drop(store.publish(guard, filled(Bytes::new()), |_| true, 1)),
        }
        assert!(
            landing
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        );
    }
    store.validate();
}
