//! Products: the database is the truth, nearcache keeps the hot ones in this process.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nearcache::{Ttl, Typed};

use crate::database::{Database, Product};
use crate::failure::Failure;

/// How long Redis keeps a product. A change drops it everywhere at once.
const KEPT: Ttl = Ttl::secs(3600);

/// How long it keeps that there is none: it is kept as a value, `null`, so that all pods know.
const NONE_KEPT: Ttl = Ttl::secs(10);

/// `None` is a value like any other: there is no such product.
type Cached = Typed<Option<Product>, nearcache::Json>;

#[derive(Clone)]
pub(crate) struct Products {
    pub(crate) cached: Cached,
    pub(crate) database: Database,
}

impl Products {
    async fn find(&self, id: u64) -> Result<Option<Arc<Option<Product>>>, nearcache::Error> {
        let load = || async {
            let row = self.database.find(id).await?;
            let ttl = if row.is_some() { KEPT } else { NONE_KEPT };
            Ok::<_, std::io::Error>(Some((row, ttl)))
        };
        self.cached.get_or_load_optional(key(id), load).await
    }
}

pub(crate) async fn show(
    State(products): State<Products>,
    Path(id): Path<u64>,
) -> Result<Response, Failure> {
    let found = products.find(id).await?;
    let product = found.as_deref().and_then(Option::as_ref);
    Ok(match product {
        Some(product) => Json(product).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

pub(crate) async fn change(
    State(products): State<Products>,
    Path(id): Path<u64>,
    Json(product): Json<Product>,
) -> Result<StatusCode, Failure> {
    // The truth first. Then every pod forgets the old: the next reader loads the new.
    products.database.change(id, product).await?;
    match products.cached.delete(key(id)).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        // It was written; others see that at the latest when the old value has lived its time.
        Err(error) => {
            tracing::warn!("product {id} was changed, but Redis was not told: {error}");
            Ok(StatusCode::ACCEPTED)
        }
    }
}

fn key(id: u64) -> String {
    format!("product:{id}")
}
