//! Probes over HTTP: is it alive, should it be sent requests, how is it. Feature `http`.
//!
//! Never shows a key or a value.

use std::io;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use nearcache_proto::LaneState;

use crate::NearCache;
use crate::stats::LaneStats;

/// Where [`serve`] listens unless told otherwise: on this machine only.
pub const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9187);

/// The probes, to be mounted into the service's own router.
///
/// - `GET /livez`: 200 as long as this is answered at all.
/// - `GET /readyz`: 200 when the pod should be sent requests, else 503; the reason in the body. Use it as
///   `readinessProbe`; a `startupProbe` would have the pod killed for being cold.
/// - `GET /status`: readiness, warm start, lanes and counters as JSON. `lanes` has an object for each primary: `state` (`up`,
///   `degraded`, `down`, `closed`), `reason` (text or null), `was_up` (whether it ever was), `l2`, `lease_age_ms` (null:
///   nothing is served as fresh).
///
/// ```
/// # use nearcache::NearCache;
/// # fn mount(cache: &NearCache, app: axum::Router) -> axum::Router {
/// app.merge(nearcache::http::router(cache))
/// # }
/// ```
pub fn router<S: Clone + Send + Sync + 'static>(cache: &NearCache) -> Router<S> {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(cache.clone())
}

/// Serves the probes alone, on a runtime of the caller's, until the process ends. Pass `None` for
/// [`DEFAULT_ADDRESS`]; a kubelet needs one it can reach, such as `0.0.0.0:9187`.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(cache: &NearCache, address: Option<SocketAddr>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address.unwrap_or(DEFAULT_ADDRESS)).await?;
    axum::serve(listener, router::<()>(cache)).await
}

async fn readyz(State(cache): State<NearCache>) -> (StatusCode, String) {
    let readiness = cache.readiness();
    let code = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let progress = match readiness.keys_planned {
        0 => String::new(),
        planned => format!(" ({} of {planned} keys)", readiness.keys),
    };
    let phase = readiness.phase.as_str();
    (code, format!("{phase}: {}{progress}\n", readiness.reason))
}

async fn status(State(cache): State<NearCache>) -> Json<Value> {
    let readiness = cache.readiness();
    let stats = cache.stats();
    let warm = cache.warm_report().map(|report| {
        json!({
            "keys": report.keys,
            "keys_planned": report.keys_planned,
            "bytes": report.bytes,
            "share_of_reads": report.share_of_reads,
            "duration_seconds": report.duration.as_secs_f64(),
            "end": report.end.as_str(),
            "from_snapshot": report.from_snapshot,
        })
    });
    let totals: Map<String, Value> = stats
        .totals
        .named()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    Json(json!({
        "ready": readiness.ready,
        "phase": readiness.phase.as_str(),
        "reason": readiness.reason,
        "keys_warmed": readiness.keys,
        "keys_planned": readiness.keys_planned,
        "warm_start": warm,
        "enabled": stats.enabled,
        "lanes": stats.lanes.iter().map(lane).collect::<Vec<_>>(),
        "hit_rate": stats.hit_rate(),
        "entries": stats.store.entries,
        "weight_bytes": stats.store.weight,
        "capacity_bytes": stats.store.capacity,
        "totals": totals,
    }))
}

fn lane(lane: &LaneStats) -> Value {
    let (state, reason) = match &lane.state {
        LaneState::Up => ("up", None),
        LaneState::Degraded(why) => ("degraded", Some(why)),
        LaneState::Down(why) => ("down", Some(why)),
        LaneState::Closed => ("closed", None),
        _ => ("unknown", None),
    };
    json!({
        "state": state,
        "reason": reason,
        "was_up": lane.was_up,
        "l2": lane.l2,
        "lease_age_ms": lane.lease_age.map(|age| age.as_millis() as u64),
    })
}
