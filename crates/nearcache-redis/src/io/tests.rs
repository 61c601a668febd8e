//! What a forked child may touch: a process cannot be forked in a test, so its id is made up.

use super::*;
use crate::MemoryL2;
use nearcache_l1::StoreConfig;
use nearcache_proto::{Cache, PodConfig};
use std::time::Duration;

/// A driver as a child inherits it, and the end of its parent's queue.
fn inherited() -> (Cache<IoThread>, mpsc::UnboundedReceiver<Request>) {
    let pod = Arc::new(Pod::new(StoreConfig::new(1 << 20), PodConfig::default()).unwrap());
    let (queue, parent) = mpsc::unbounded_channel();
    let mut io = IoThread::new(
        pod.clone(),
        Arc::new(MemoryL2::new()),
        LaneConfig::default(),
        16,
        1,
    );
    let first = Arc::get_mut(&mut io).unwrap();
    first.first.pid = std::process::id().wrapping_add(1);
    *first.first.runner.get_mut().unwrap() = Runner::Running(Running {
        queue,
        queued: Arc::new(AtomicUsize::new(0)),
        thread: std::thread::spawn(|| {}),
    });
    (Cache::new(pod, io), parent)
}

#[test]
fn a_child_starts_a_thread_of_its_own() {
    let (cache, mut parent) = inherited();
    // Somebody in the parent held the lock at the moment of the fork.
    let guard = cache.io().first.runner.lock().unwrap();
    let ready = std::sync::mpsc::channel();
    let waiting = {
        let cache = cache.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            ready
                .0
                .send(runtime.block_on(cache.ready(Duration::ZERO)))
                .unwrap();
        })
    };
    let result = ready.1.recv_timeout(std::time::Duration::from_secs(30));
    assert!(result.unwrap().is_ok());
    waiting.join().unwrap();
    cache.io().shutdown();
    drop(guard);
    assert!(parent.try_recv().is_err());
}

#[test]
fn a_child_lets_go_of_nothing_that_is_its_parents() {
    let (cache, mut parent) = inherited();
    drop(cache);
    assert_eq!(
        parent.try_recv().err(),
        Some(mpsc::error::TryRecvError::Empty)
    );
}
