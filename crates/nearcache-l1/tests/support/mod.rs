//! What the tests of the store share.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use nearcache_l1::{
    Entrance, Filled, FlightGuard, Key, Published, Stamp, Store, StoreConfig, Timestamp,
};

/// A store whose flights carry an epoch and whose waiters get a number.
pub(crate) type TestStore = Store<u64, u64>;

pub(crate) fn store(capacity: usize) -> TestStore {
    with(StoreConfig::new(capacity))
}

pub(crate) fn with(config: StoreConfig) -> TestStore {
    Store::new(config).expect("the configuration is valid")
}

pub(crate) fn key(bytes: &[u8]) -> Key<'_> {
    Key::new(0, bytes)
}

pub(crate) fn filled(value: impl Into<Bytes>) -> Filled {
    Filled {
        value: Some(value.into()),
        stamp: Stamp::default(),
        filled_at: Timestamp::ZERO,
        deadline: Timestamp::MAX,
    }
}

/// Leads a flight, whatever is resident.
pub(crate) fn lead(store: &TestStore, key: Key<'_>) -> FlightGuard<u64, u64> {
    match store.enter(key, |_| false, |_| false, || 0) {
        Entrance::Lead(guard) => guard,
        other => panic!("expected to lead, got {other:?}"),
    }
}

/// Stores a value, whatever is resident.
pub(crate) fn put(store: &TestStore, key: Key<'_>, value: impl Into<Bytes>) -> Published {
    store.publish(lead(store, key), filled(value), |_| true, 0)
}

pub(crate) fn value(store: &TestStore, key: Key<'_>) -> Option<Bytes> {
    store
        .get(key)
        .map(|hit| hit.value.expect("a positive entry"))
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
