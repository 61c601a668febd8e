//! Entries: keys and values of any shape, weights, the hook, decoded forms, identities, configuration.
#![cfg(not(nearcache_loom))]

mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use nearcache_l1::{
    ConfigError, ENTRY_OVERHEAD, EntryId, Filled, Key, Published, Refusal, RemovalCause, Stamp,
    Store, StoreConfig, Timestamp, Weigher,
};
use support::*;

/// Every entry weighs one: the capacity is a count.
struct Ones;

impl Weigher for Ones {
    fn weigh(&self, _: Key<'_>, _: usize, _: usize) -> usize {
        1
    }
}

fn counted(capacity: usize) -> StoreConfig {
    let mut config = StoreConfig::new(capacity);
    config.weigher = Some(Arc::new(Ones));
    config
}

fn stored(published: Published) -> EntryId {
    match published {
        Published::Stored(id) => id,
        refused => panic!("expected to store, got {refused:?}"),
    }
}

#[test]
fn c12_keys_of_any_bytes_and_values_of_any_length() {
    let store = store(64 << 20);
    let keys: [&[u8]; 6] = [
        b"",
        b"\0",
        b"\r\n$-1\r\n",
        &[0xFF; 22],
        &[0xFF; 23],
        &[7; 100_000],
    ];
    for (n, name) in keys.into_iter().enumerate() {
        stored(put(&store, key(name), vec![n as u8; n * 1000]));
        stored(put(&store, Key::new(u32::MAX, name), Bytes::new()));
    }
    for (n, name) in keys.into_iter().enumerate() {
        assert_eq!(
            value(&store, key(name)),
            Some(vec![n as u8; n * 1000].into())
        );
        assert_eq!(value(&store, Key::new(u32::MAX, name)), Some(Bytes::new()));
        assert!(!store.contains(Key::new(1, name)));
    }
    store.validate();
}

#[test]
fn trap_an_invalidation_reaches_the_key_in_every_db() {
    let store = store(1 << 20);
    for db in 0..16 {
        put(&store, Key::new(db, b"k"), "v");
        put(&store, Key::new(db, b"kk"), "v");
    }
    assert_eq!(store.invalidate(b"k"), 16);
    assert_eq!((store.len(), store.invalidate(b"k")), (16, 0));
    assert!(store.forget(Key::new(3, b"kk")) && !store.forget(Key::new(3, b"kk")));
    assert_eq!(store.invalidate(b"kk"), 15);
    assert_eq!((store.weight(), store.stats().invalidated), (0, 31));
    store.validate();
}

#[test]
fn a_hit_carries_what_was_filled_and_a_cached_absence_is_one() {
    let store = store(1 << 20);
    let absent = Filled {
        value: None,
        stamp: Stamp {
            claim: 1,
            slot: 2,
            history: 3,
            flush: 4,
        },
        filled_at: Timestamp::from_micros(5),
        deadline: Timestamp::from_micros(6),
    };
    let published = store.publish(lead(&store, key(b"k")), absent.clone(), |_| true, 0);
    let hit = store.peek(key(b"k")).expect("resident");
    assert_eq!(
        (hit.value, hit.stamp, hit.id),
        (None, absent.stamp, stored(published))
    );
    assert_eq!(
        (hit.filled_at, hit.deadline),
        (absent.filled_at, absent.deadline)
    );
}

#[test]
fn c9_a_value_above_its_share_passes_through_and_takes_the_old_one_along() {
    let store = store(1 << 20);
    put(&store, key(b"k"), "old");
    let huge = Bytes::from(vec![0; (1 << 20) / 8]);
    assert_eq!(
        put(&store, key(b"k"), huge),
        Published::Refused(Refusal::TooLarge)
    );
    assert_eq!(
        (store.len(), store.weight(), store.stats().refused_too_large),
        (0, 0, 1)
    );
    let fits = vec![0; store.max_entry_weight() - ENTRY_OVERHEAD - 1];
    stored(put(&store, key(b"k"), fits));
    store.validate();
}

#[test]
fn c9_a_weigher_cannot_bring_in_what_weighs_nothing_or_too_much() {
    struct Odd;
    impl Weigher for Odd {
        fn weigh(&self, key: Key<'_>, _: usize, _: usize) -> usize {
            match key.bytes {
                b"all" => usize::MAX,
                _ => 0,
            }
        }
    }
    let mut config = StoreConfig::new(100);
    config.weigher = Some(Arc::new(Odd));
    let store = with(config);
    assert_eq!(
        put(&store, key(b"all"), "v"),
        Published::Refused(Refusal::TooLarge)
    );
    for n in 0..1000u32 {
        stored(put(&store, key(&n.to_le_bytes()), "v"));
        assert!(store.len() <= 100);
    }
    assert_eq!(store.len(), 100);
    store.validate();
}

#[test]
fn the_hook_hears_of_every_removal_and_may_call_the_store() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let handle = Arc::new(Mutex::new(None::<TestStore>));
    let (told, reached) = (Arc::clone(&events), Arc::clone(&handle));
    let mut config = counted(2);
    config.max_entry_weight = Some(2);
    config.on_removal = Some(Arc::new(move |key: Key<'_>, cause| {
        // The lock of the shard is free here.
        let store = reached.lock().unwrap().clone().expect("set before use");
        assert!(!store.contains(key) || cause == RemovalCause::Replaced);
        told.lock().unwrap().push((key.bytes.to_vec(), cause));
    }));
    let store = with(config);
    *handle.lock().unwrap() = Some(store.clone());
    put(&store, key(b"a"), "1");
    put(&store, key(b"a"), "2");
    store.invalidate(b"a");
    put(&store, key(b"b"), "3");
    store.forget(key(b"b"));
    let id = stored(put(&store, key(b"c"), "4"));
    assert!(!store.remove_entry(key(b"c"), EntryId(id.0 + 1), RemovalCause::Expired));
    assert!(store.remove_entry(key(b"c"), id, RemovalCause::Expired));
    for name in [b"d", b"e", b"f"] {
        put(&store, key(name), "5");
    }
    store.clear();
    let causes: Vec<_> = events
        .lock()
        .unwrap()
        .iter()
        .map(|(_, cause)| *cause)
        .collect();
    use RemovalCause::*;
    assert_eq!(
        causes,
        [
            Replaced,
            Invalidated,
            Forgotten,
            Expired,
            Evicted,
            Cleared,
            Cleared
        ]
    );
    assert_eq!((store.weight(), store.len()), (0, 0));
    let stats = store.stats();
    assert_eq!(
        (stats.inserts, stats.expired, stats.evictions, stats.cleared),
        (6 + 1, 1, 1, 2)
    );
    store.validate();
    *handle.lock().unwrap() = None;
}

#[test]
fn a_hook_that_panics_loses_no_room() {
    let mut config = StoreConfig::new(1 << 20);
    config.on_removal = Some(Arc::new(|_: Key<'_>, _| panic!("a bug")));
    let store = with(config);
    put(&store, key(b"k"), "v");
    assert_eq!(store.invalidate(b"k"), 1, "the caller goes on");
    assert_eq!(store.stats().hook_panics, 1);
    assert_eq!((store.len(), store.weight()), (0, 0));
    store.validate();
}

#[test]
fn a_decoded_form_stays_with_the_entry_it_was_decoded_from() {
    let store = store(1 << 20);
    let old = stored(put(&store, key(b"k"), "17"));
    let new = stored(put(&store, key(b"k"), "18"));
    assert_ne!(old, new);
    assert!(!store.attach(key(b"k"), old, Arc::new(17u32), 4));
    assert!(store.attach(key(b"k"), new, Arc::new(18u32), 4));
    let before = store.weight();
    let (hit, form) = store.get_decoded::<u32>(key(b"k")).expect("resident");
    assert_eq!((hit.id, form.as_deref()), (new, Some(&18)));
    assert!(
        store
            .get_decoded::<u64>(key(b"k"))
            .is_some_and(|(_, form)| form.is_none())
    );
    // One of the same type stays, one of another type takes its place.
    assert!(store.attach(key(b"k"), new, Arc::new(99u32), 1000));
    assert_eq!(
        store
            .get_decoded::<u32>(key(b"k"))
            .and_then(|(_, form)| form)
            .as_deref(),
        Some(&18)
    );
    assert!(store.attach(key(b"k"), new, Arc::new(18u64), 1));
    assert_eq!(store.weight(), before - 3);
    // Too heavy together with its value.
    let share = store.max_entry_weight();
    assert!(!store.attach(key(b"k"), new, Arc::new(String::new()), share));
    put(&store, key(b"k"), "19");
    assert!(
        store
            .get_decoded::<u64>(key(b"k"))
            .is_some_and(|(_, form)| form.is_none())
    );
    store.validate();
}

#[test]
fn a_store_that_could_hold_nothing_is_refused() {
    let new = |change: fn(&mut StoreConfig)| {
        let mut config = StoreConfig::new(1 << 20);
        change(&mut config);
        Store::<u64, u64>::new(config).err()
    };
    assert_eq!(
        new(|config| config.capacity = 0),
        Some(ConfigError::ZeroCapacity)
    );
    assert_eq!(
        new(|config| config.max_flights = 0),
        Some(ConfigError::ZeroFlights)
    );
    assert_eq!(
        new(|config| config.max_flights_per_key = 0),
        Some(ConfigError::ZeroFlights)
    );
    assert_eq!(
        new(|config| config.max_entry_weight = Some(0)),
        Some(ConfigError::ZeroEntryWeight)
    );
    assert_eq!(new(|config| config.shards = Some(0)), None);
    assert!(
        ConfigError::ZeroCapacity
            .to_string()
            .contains("at least one entry")
    );
}
