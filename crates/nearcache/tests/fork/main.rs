//! A forked child has a pod of its own, whatever the threads of its parent were doing: it reads, writes and ends.
//!
//! Without the usual harness: its threads would make the fork something else than what is tested. `NEARCACHE_TEST_FORKS`
//! says how many children are made under load.
#![allow(unsafe_code, clippy::print_stdout)]

mod child;
mod descent;
mod handles;
mod steps;
mod storm;

use std::time::Duration;

use nearcache::{Builder, MemoryL2, NearCache};
use nearcache_testkit::Server;

fn main() {
    let forks = match std::env::var("NEARCACHE_TEST_FORKS") {
        Ok(number) => number.parse().expect("NEARCACHE_TEST_FORKS is a number"),
        Err(_) => 300,
    };
    let server = Server::start();
    let redis = || NearCache::builder().redis(server.url());

    let quiet = || redis().max_staleness(Duration::from_millis(300));
    steps::a_child_has_a_pod_of_its_own(quiet(), &server);
    steps::a_child_of_a_cache_that_was_shut_down(quiet());
    steps::a_child_has_an_embedded_store_of_its_own(NearCache::builder().memory());
    steps::a_child_has_an_embedded_store_of_its_own(NearCache::builder().store(MemoryL2::new()));
    handles::a_child_has_connection_states_of_its_own(quiet());
    handles::a_child_drops_nothing_of_its_parents(quiet());
    handles::a_child_drops_no_pod_of_its_parents(quiet());
    descent::a_thread_forks(quiet());
    descent::a_child_forks(quiet());
    descent::a_child_forks_in_its_first_calls(quiet());
    #[cfg(target_os = "linux")]
    descent::a_fork_behind_libc(redis().max_staleness(Duration::from_secs(60)));

    let stormy = |builder: Builder| {
        builder
            .capacity("256KiB")
            .publish_every(Duration::from_millis(100))
            .look_every(Duration::from_millis(100))
    };
    storm::weather("a server", stormy(quiet()), forks);
    let memory = NearCache::builder().memory();
    storm::weather("memory()", stormy(memory), forks / 4);
    let shared = NearCache::builder().store(MemoryL2::new());
    storm::weather("a shared MemoryL2", stormy(shared), forks / 4);
}
