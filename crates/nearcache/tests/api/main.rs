//! Every call of the facade on the embedded store. What the promises mean on a server is tested elsewhere.

mod blocking;
mod clock;
mod disabled;
mod life;
mod load;
mod read;
mod session;
mod setup;
mod stores;
mod trace;
mod typed;
mod write;

use nearcache::{Builder, Bytes, Error, MemoryL2, NearCache};

/// A pod of its own on `l2`, connected.
async fn pod(l2: &MemoryL2) -> NearCache {
    builder(l2)
        .connect()
        .await
        .expect("the embedded store is there")
}

/// What [`pod`] starts from.
fn builder(l2: &MemoryL2) -> Builder {
    NearCache::builder().store(l2.clone()).capacity("16MiB")
}

/// One pod on a store of its own.
async fn single() -> NearCache {
    pod(&MemoryL2::new()).await
}

/// The values of all keys, or the first error.
fn all<V>(each: Vec<Result<V, Error>>) -> Result<Vec<V>, Error> {
    each.into_iter().collect()
}

fn bytes(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

/// Waits, giving way to other tasks, until `condition` is true.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let bound = nearcache_testkit::WAIT_MAX;
    if tokio::time::timeout(bound, waiting).await.is_err() {
        panic!("gave up waiting until {what}");
    }
}
