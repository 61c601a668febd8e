//! Stands for a database: it takes a few milliseconds, and is there when Redis is not.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a query takes.
const QUERY: Duration = Duration::from_millis(5);

/// A product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// What it is called.
    pub name: String,
    /// What it costs.
    pub cents: u32,
}

/// All products: a thousand to begin with.
#[derive(Clone)]
pub struct Database(Arc<Mutex<HashMap<u64, Product>>>);

impl Default for Database {
    fn default() -> Self {
        let product = |id: u64| Product {
            name: format!("tea no. {id}"),
            cents: 100 + (id * 7919 % 10_000) as u32,
        };
        let products = (0..1000).map(|id| (id, product(id))).collect();
        Self(Arc::new(Mutex::new(products)))
    }
}

impl Database {
    /// The product of this number, if there is one.
    pub async fn find(&self, id: u64) -> io::Result<Option<Product>> {
        tokio::time::sleep(QUERY).await;
        let products = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(products.get(&id).cloned())
    }

    /// Makes this the product of that number.
    pub async fn change(&self, id: u64, product: Product) -> io::Result<()> {
        tokio::time::sleep(QUERY).await;
        let mut products = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        products.insert(id, product);
        Ok(())
    }
}
