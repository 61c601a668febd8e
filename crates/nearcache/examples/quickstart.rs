//! Two pods in one process, on an embedded L2: `cargo run -p nearcache --example quickstart`.
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use nearcache::{Error, Json, MemoryL2, NearCache, Ttl};

#[derive(serde::Serialize, serde::Deserialize)]
struct Product {
    name: String,
    price_cents: u32,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // A server is `.redis("redis://127.0.0.1:6379")` instead of `.store(..)`.
    let l2 = MemoryL2::new();
    let cache = NearCache::builder()
        .store(l2.clone())
        .capacity("16MiB")
        .connect()
        .await?;
    let other_pod = NearCache::builder()
        .store(l2)
        .capacity("16MiB")
        .connect()
        .await?;

    cache
        .set(
            "product:1",
            r#"{"name":"tea","price_cents":450}"#,
            Ttl::secs(60),
        )
        .await?;
    println!(
        "resident after the write: {:?}",
        cache.get_resident("product:1").is_some()
    );
    println!("read through:  {:?}", cache.get("product:1").await?);
    println!("resident now:  {:?}", cache.get_resident("product:1"));

    let products = cache.typed::<Product, _>(Json);
    let tea = products.get("product:1").await?.expect("was written above");
    let again = products.get("product:1").await?.expect("is resident");
    println!(
        "decoded once:  {} at {} cents, shared: {}",
        tea.name,
        tea.price_cents,
        Arc::ptr_eq(&tea, &again)
    );

    other_pod
        .set(
            "product:1",
            r#"{"name":"tea","price_cents":390}"#,
            Ttl::secs(60),
        )
        .await?;
    let cheaper = products
        .get_validated("product:1")
        .await?
        .expect("was written above");
    println!(
        "another pod wrote: {} cents now, {} in the copy held",
        cheaper.price_cents, tea.price_cents
    );

    let loaded = cache.get_or_load("product:2", Ttl::secs(60), || async {
        println!("(asking the database)");
        Ok::<_, std::io::Error>(r#"{"name":"rusk","price_cents":120}"#.into())
    });
    println!("loaded:        {:?}", loaded.await?);

    println!("\n{}", cache.stats());
    cache.shutdown().await;
    Ok(())
}
