//! Carts: hashes in Redis, by code as it is written for redis-rs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use nearcache::redis::Connection;
use nearcache::redis_rs::AsyncCommands;

use crate::failure::Failure;

/// Answered from this process while nobody changes the cart.
pub(crate) async fn show(
    State(mut redis): State<Connection>,
    Path(user): Path<u64>,
) -> Result<Json<BTreeMap<u64, u32>>, Failure> {
    Ok(Json(redis.hgetall(cart(user)).await?))
}

/// Sets how many of a product there are.
pub(crate) async fn put(
    State(mut redis): State<Connection>,
    Path((user, product)): Path<(u64, u64)>,
    count: String,
) -> Result<StatusCode, Failure> {
    let Ok(count) = count.trim().parse::<u32>() else {
        return Ok(StatusCode::BAD_REQUEST);
    };
    let () = match count {
        0 => redis.hdel(cart(user), product).await?,
        count => redis.hset(cart(user), product, count).await?,
    };
    Ok(StatusCode::NO_CONTENT)
}

fn cart(user: u64) -> String {
    format!("cart:{user}")
}
