//! A service on the drop-in for redis-rs: `cargo run -p nearcache --example axum_service -- redis://127.0.0.1:6379`.
//!
//! Then `curl -X PUT -H 'content-type: application/json' -d '{"name":"tea","cents":450}' localhost:8080/products/1`,
//! `curl localhost:8080/products/1`, `curl localhost:8080/cheapest` and `curl localhost:8080/ready`.
//! The address may also be in `NEARCACHE_URL`, where to listen in `LISTEN`.
#![allow(clippy::print_stdout)]

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use nearcache::LaneState;
use nearcache::redis::{Connection, cause};
use redis::{AsyncCommands, RedisError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Product {
    name: String,
    cents: u32,
}

const BY_PRICE: &str = "catalogue:by-price";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One for the whole service: each request gets a clone, which costs an allocation and opens nothing.
    let con = Connection::open(url()).await?;
    let cache = con.cache().clone();
    let app = Router::new()
        .route("/products/{id}", get(show).put(change))
        .route("/cheapest", get(cheapest))
        .route("/ready", get(ready))
        .with_state(con);

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    cache.shutdown().await;
    Ok(())
}

async fn show(
    State(mut con): State<Connection>,
    Path(id): Path<u64>,
) -> Result<Json<Product>, Failure> {
    let fields = ["name", "cents"];
    let (name, cents): (Option<String>, Option<u32>) = con.hmget(key(id), &fields).await?;
    let product = name.zip(cents).map(|(name, cents)| Product { name, cents });
    product.map(Json).ok_or(Failure::NoSuchProduct)
}

async fn change(
    State(mut con): State<Connection>,
    Path(id): Path<u64>,
    Json(product): Json<Product>,
) -> Result<StatusCode, Failure> {
    let fields = [("name", product.name), ("cents", product.cents.to_string())];
    let mut write = redis::pipe();
    write.atomic().hset_multiple(key(id), &fields).ignore();
    write.zadd(BY_PRICE, id, product.cents).ignore();
    let () = write.exec_async(&mut con).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn cheapest(State(mut con): State<Connection>) -> Result<Json<Vec<(u64, u32)>>, Failure> {
    let cheapest = con.zrange_withscores(BY_PRICE, 0, 9).await?;
    Ok(Json(cheapest))
}

/// Whether L2 is there, and how L1 does. Asks nobody: the lane knows.
async fn ready(State(con): State<Connection>) -> (StatusCode, String) {
    let stats = con.cache().stats();
    let status = match stats.lane {
        LaneState::Up | LaneState::Degraded(_) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{stats}\n"))
}

fn key(id: u64) -> String {
    format!("product:{id}")
}

fn url() -> String {
    let argument = std::env::args().nth(1);
    let url = argument.or_else(|| std::env::var("NEARCACHE_URL").ok());
    url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned())
}

/// What a client is told.
enum Failure {
    NoSuchProduct,
    Redis(RedisError),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = match self {
            Self::NoSuchProduct => return StatusCode::NOT_FOUND.into_response(),
            Self::Redis(error) => error,
        };
        // nearcache's own errors say what to do; those of the server are redis-rs's.
        match cause(&error) {
            Some(cause) => (StatusCode::SERVICE_UNAVAILABLE, cause.to_string()),
            None => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
        .into_response()
    }
}
