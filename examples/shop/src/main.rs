//! The shop as a process: settings from the environment, probes, and an orderly end.
//!
//! `NEARCACHE_URL=redis://127.0.0.1:6379 cargo run -p shop`, or `NEARCACHE_URL=memory:` for no server at all. `LISTEN` says where
//! (127.0.0.1:8080), `DRAIN_SECONDS` for how long it goes on serving after SIGTERM (3).

use std::error::Error;
use std::time::Duration;

use nearcache::NearCache;
use shop::Database;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// How long requests that are under way at the end may take.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).init();
    // Every setting of nearcache, by its variable: NEARCACHE_URL, NEARCACHE_CAPACITY, ...
    let cache = NearCache::builder().env().build()?;
    // From now on it connects and warms; the probe tells how far it is. A Redis that is not there yet is no reason to fail.
    tokio::spawn({
        let cache = cache.clone();
        async move {
            cache.ready().await;
            tracing::info!("ready: {:?}", cache.warm_report());
        }
    });

    let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let (end, ended) = tokio::sync::oneshot::channel();
    let app = shop::router(&cache, Database::default());
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = ended.await;
    });
    let mut server = tokio::spawn(server.into_future());

    tokio::select! {
        stopped = &mut server => stopped??,
        () = asked_to_end() => {}
    }
    // Load balancers take a moment to hear that this pod is leaving: until then it serves as before.
    tracing::info!("leaving");
    sleep(drain()).await;
    let _ = end.send(());
    // A client that never hangs up must not keep us from what comes next.
    if timeout(GRACE, server).await.is_err() {
        tracing::warn!("requests were still under way after {GRACE:?}");
    }
    // Tells the fleet what this pod has read, for the pods that start after it.
    cache.shutdown().await;
    tracing::info!("ended\n{}", cache.stats());
    Ok(())
}

/// SIGTERM is how Kubernetes ends a pod. With a handler of our own it also reaches process number 1 of a container, which
/// ignores every signal that it does not handle.
async fn asked_to_end() {
    let handlers = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = handlers else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn drain() -> Duration {
    let seconds = std::env::var("DRAIN_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(3))
}
