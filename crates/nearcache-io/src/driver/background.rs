//! The thread of a pod's background: one per pod, beside the IO thread, so that counting and
//! merging never hold up an invalidation.
//!
//! Holds no handle that would keep the cache alive; never started before the cache is used.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use nearcache_l1::Timestamp;
use nearcache_proto::warm::{Background, Snapshots, Timer, WarmConfig};
use nearcache_proto::{BoxFuture, Cache, Io, Request};
use tokio::runtime::Builder;

use super::{IoThread, Seat, closed};
use crate::clock;

/// What the background of a pod is to do.
pub(super) struct Plan {
    io: Weak<IoThread>,
    config: WarmConfig,
    snapshots: Option<Arc<dyn Snapshots>>,
}

impl IoThread {
    /// Gives the pod a background, started with the first request. Without effect the second time.
    pub fn set_background(
        self: &Arc<Self>,
        config: WarmConfig,
        snapshots: Option<Arc<dyn Snapshots>>,
    ) {
        // From now on, not from when the thread runs: what is read before that is counted too.
        self.seat.pod.count_reads(config.statistics);
        let io = Arc::downgrade(self);
        let _ = self.plan.set(Plan {
            io,
            config,
            snapshots,
        });
    }
}

impl Plan {
    /// Starts the thread.
    pub(super) fn start(&self, seat: &Arc<Seat>) -> Option<JoinHandle<()>> {
        let pod = seat.pod.clone();
        let seed = seat.next_seed();
        let (io, config, snapshots) =
            (self.io.clone(), self.config.clone(), self.snapshots.clone());
        let thread = std::thread::Builder::new().name("nearcache-warm".to_owned());
        let body = move || {
            let runs = catch_unwind(AssertUnwindSafe(|| {
                run(io, pod.clone(), config, snapshots, seed)
            }));
            if runs.is_err() {
                tracing::error!(
                    "the background panicked, which is a bug: this pod no longer counts or warms"
                );
                pod.ready_without_background("the background panicked");
            }
        };
        match thread.spawn(body) {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::warn!("no thread for the background ({error}): this pod starts cold");
                seat.pod
                    .ready_without_background("there is no thread for the background");
                None
            }
        }
    }
}

fn run(
    io: Weak<IoThread>,
    pod: Arc<nearcache_proto::Pod>,
    config: WarmConfig,
    snapshots: Option<Arc<dyn Snapshots>>,
    seed: u64,
) {
    let runtime = match Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!("the background cannot start ({error}): this pod starts cold");
            return pod.ready_without_background("the background cannot start");
        }
    };
    let cache = Cache::new(pod.clone(), Arc::new(Line(io)));
    runtime.block_on(async {
        let background = Background::new(cache, config, Arc::new(Ticks), snapshots, seed);
        let mut background = pin!(background.run());
        poll_fn(|cx| {
            let done = background.as_mut().poll(cx);
            for warning in pod.take_warnings() {
                tracing::warn!("{warning}");
            }
            done
        })
        .await;
    });
}

/// The way to the IO thread, for as long as somebody has the cache.
struct Line(Weak<IoThread>);

impl Io for Line {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn submit(&self, request: Request) {
        match self.0.upgrade() {
            Some(io) => io.submit(request),
            None => request.reject(&closed()),
        }
    }
}

struct Ticks;

impl Timer for Ticks {
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()> {
        // Far beyond any pause there is; the timer's own range ends somewhere behind.
        let pause = at
            .saturating_since(clock::now())
            .min(Duration::from_secs(86_400));
        Box::pin(async move { tokio::time::sleep(pause).await })
    }
}
