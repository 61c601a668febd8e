//! A product catalogue over HTTP: `NEARCACHE_URL=redis://127.0.0.1:6379 cargo run -p nearcache --example catalogue`,
//! or without a server at all. Then `curl localhost:8080/products/1` and `curl localhost:8080/stats`.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use nearcache::{ErrorKind, NearCache, Settings, Ttl, Typed};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Product {
    id: u64,
    name: String,
    price_cents: u32,
}

/// How long L2 keeps a product. L1 follows its changes at once and its expiry to the millisecond.
const KEPT: Ttl = Ttl::secs(3600);

type Products = Typed<Product, nearcache::Json>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = Settings::from_env()?;
    if settings.url.is_empty() {
        println!("NEARCACHE_URL is not set: an embedded L2 is used");
        settings.url = nearcache::settings::MEMORY_URL.to_owned();
    }
    let cache = NearCache::builder().settings(settings).connect().await?;
    let app = Router::new()
        .route("/products/{id}", get(show).put(change))
        .route("/stats", get(stats))
        .with_state(cache.typed(nearcache::Json));

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn show(State(products): State<Products>, Path(id): Path<u64>) -> Result<Response, Failure> {
    let load = || database(id);
    let product = products.get_or_load(key(id), KEPT, load).await?;
    Ok(Json(SharedProduct(product)).into_response())
}

async fn change(
    State(products): State<Products>,
    Path(id): Path<u64>,
    Json(mut product): Json<Product>,
) -> Result<StatusCode, Failure> {
    product.id = id;
    // A real service writes its database first.
    products.set(key(id), &product, KEPT).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stats(State(products): State<Products>) -> String {
    products.cache().stats().to_string()
}

fn key(id: u64) -> String {
    format!("product:{id}")
}

/// Takes its time, and does not know every product.
async fn database(id: u64) -> Result<Product, NoSuchProduct> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    if id >= 1_000_000 {
        return Err(NoSuchProduct);
    }
    let price_cents = 100 + (id * 7919 % 10_000) as u32;
    let name = format!("product no. {id}");
    Ok(Product {
        id,
        name,
        price_cents,
    })
}

#[derive(Debug)]
struct NoSuchProduct;

impl std::fmt::Display for NoSuchProduct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there is no such product")
    }
}

impl std::error::Error for NoSuchProduct {}

/// The product as all requests share it, written out without a copy.
struct SharedProduct(Arc<Product>);

impl Serialize for SharedProduct {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What a client is told.
struct Failure(nearcache::Error);

impl From<nearcache::Error> for Failure {
    fn from(error: nearcache::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let source = std::error::Error::source(&self.0);
        let status = match self.0.kind() {
            ErrorKind::Loader if source.is_some_and(|s| s.is::<NoSuchProduct>()) => {
                StatusCode::NOT_FOUND
            }
            ErrorKind::Retry | ErrorKind::Unproven | ErrorKind::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.0.to_string()).into_response()
    }
}
