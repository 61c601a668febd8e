//! Who forks, and how: another thread than the first, a child, a child in its first calls, a bare system call.

use nearcache::{Builder, ErrorKind, Ttl, blocking};
use nearcache_testkit::wait_until;

use crate::child::{Child, End};
use crate::steps::{holds, start};

/// Reads, writes and has a lane of its own.
fn lives(cache: &blocking::NearCache) -> bool {
    let own = std::process::id().to_string();
    let lives = holds(cache, "k", "v")
        && cache.set(&own, own.clone(), Ttl::secs(60)).is_ok()
        && holds(cache, &own, &own);
    let stats = cache.stats();
    lives && stats.pid == std::process::id() && stats.totals.connects_total == 1
}

fn filled(builder: Builder) -> blocking::NearCache {
    let cache = start(builder);
    cache.set("k", "v", Ttl::NONE).expect("a write");
    assert!(lives(&cache));
    cache
}

pub(crate) fn a_thread_forks(builder: Builder) {
    let cache = filled(builder);
    let fork = || Child::fork(|| i32::from(!lives(&cache))).wait();
    let end = std::thread::scope(|scope| scope.spawn(fork).join());
    assert_eq!(end.expect("the thread ends"), End::Step(0));
    assert!(lives(&cache));
    cache.shutdown();
}

pub(crate) fn a_child_forks(builder: Builder) {
    let cache = filled(builder);
    // A child that used the cache before it forks, and one that did not; the grandchild forks, too.
    for used in [true, false] {
        let child = Child::fork(|| {
            if used && !lives(&cache) {
                return 1;
            }
            let grandchild = Child::fork(|| {
                let last = Child::fork(|| i32::from(!lives(&cache)));
                match last.wait() {
                    End::Step(0) if lives(&cache) => 0,
                    _ => 2,
                }
            });
            match grandchild.wait() {
                End::Step(0) if lives(&cache) => 0,
                End::Step(step) => step,
                _ => 3,
            }
        });
        assert_eq!(child.wait(), End::Step(0), "used: {used}");
    }
    assert!(lives(&cache));
    cache.shutdown();
}

/// The grandchild inherits a pod that the child's threads are about to make.
pub(crate) fn a_child_forks_in_its_first_calls(builder: Builder) {
    let cache = filled(builder);
    for spins in 0..20 {
        let child = Child::fork(|| {
            let end = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| lives(&cache))).collect();
                (0..spins * 20_000).for_each(|_| std::hint::spin_loop());
                let end = Child::fork(|| i32::from(!lives(&cache))).wait();
                let all = threads
                    .into_iter()
                    .all(|thread| matches!(thread.join(), Ok(true)));
                all.then_some(end)
            });
            i32::from(end != Some(End::Step(0)))
        });
        assert_eq!(child.wait(), End::Step(0), "after {spins}");
    }
    assert!(lives(&cache));
    cache.shutdown();
}

#[cfg(target_os = "linux")]
pub(crate) fn a_fork_behind_libc(builder: Builder) {
    let cache = filled(builder);
    let mut session = cache.session();
    session.command(&["WATCH", "k"]).expect("a side connection");
    let mut all = Some((cache.clone(), session));
    let asks = Child::clone_behind_libc(|| {
        // What its parent had, within the bound.
        if cache.get_resident("k").is_none_or(|value| value != "v") {
            return 1;
        }
        match cache.get("no such key") {
            Err(error) if error.kind() == ErrorKind::Retry => {}
            _ => return 2,
        }
        i32::from(!wait_until(|| lives(&cache))) * 3
    });
    assert_eq!(asks.wait(), End::Step(0));
    let ends = Child::clone_behind_libc(|| {
        cache.shutdown();
        match cache.get("k") {
            Err(error) if error.kind() == ErrorKind::Closed => 0,
            _ => 1,
        }
    });
    assert_eq!(ends.wait(), End::Step(0));
    let drops = Child::clone_behind_libc(|| {
        drop(all.take());
        0
    });
    assert_eq!(drops.wait(), End::Step(0));
    let (_, mut session) = all.expect("the child's was a copy");
    session
        .command(&["UNWATCH"])
        .expect("its connection is there");
    assert!(lives(&cache));
    cache.shutdown();
}
