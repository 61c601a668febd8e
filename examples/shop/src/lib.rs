//! A shop over HTTP: products from a database through typed values, carts in Redis through the drop-in for redis-rs.
//!
//! `GET` and `PUT /products/{id}`, `GET /carts/{user}`, `PUT /carts/{user}/{product}`, and nearcache's probes: `/livez`, `/readyz`,
//! `/status`.

mod carts;
mod database;
mod failure;
mod products;

use axum::Router;
use axum::routing::{get, put};
use nearcache::{Json, NearCache};

pub use database::{Database, Product};

/// The service, on a cache and an origin.
pub fn router(cache: &NearCache, database: Database) -> Router {
    let products = products::Products {
        cached: cache.typed(Json),
        database,
    };
    // A connection for code written for redis-rs; it shares L1 and the lane with everything else.
    let redis = nearcache::redis::Connection::new(cache);
    Router::new()
        .route("/products/{id}", get(products::show).put(products::change))
        .with_state(products)
        .merge(
            Router::new()
                .route("/carts/{user}", get(carts::show))
                .route("/carts/{user}/{product}", put(carts::put))
                .with_state(redis),
        )
        // Ready once warm, and for good: a pod without Redis still has its database.
        .merge(nearcache::http::router(cache))
}
