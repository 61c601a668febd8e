//! The service on the embedded store: no server, no process, everything else as it is.

mod http;

use std::net::SocketAddr;

use nearcache::NearCache;
use shop::Database;

/// The service, listening.
async fn start() -> (SocketAddr, NearCache) {
    let cache = NearCache::builder().memory().build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = shop::router(&cache, Database::default());
    tokio::spawn(axum::serve(listener, app).into_future());
    cache.ready().await;
    (address, cache)
}

async fn ask(
    address: SocketAddr,
    method: &'static str,
    path: &'static str,
    body: &'static str,
) -> (u16, String) {
    let answer = tokio::task::spawn_blocking(move || http::ask(address, method, path, body));
    answer.await.unwrap().expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_loaded_kept_and_changed() {
    let (address, cache) = start().await;
    let tea = (200, r#"{"name":"tea no. 7","cents":5533}"#.to_owned());
    for _ in 0..3 {
        assert_eq!(ask(address, "GET", "/products/7", "").await, tea);
    }
    assert_eq!(cache.stats().totals.loads_total, 1);
    assert!(cache.stats().totals.hits_total >= 1);
    let new = r#"{"name":"better tea","cents":900}"#;
    assert_eq!(ask(address, "PUT", "/products/7", new).await.0, 204);
    assert_eq!(
        ask(address, "GET", "/products/7", "").await,
        (200, new.to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_is_no_error_and_asked_for_once() {
    let (address, cache) = start().await;
    for _ in 0..3 {
        assert_eq!(ask(address, "GET", "/products/5000", "").await.0, 404);
    }
    assert_eq!(cache.stats().totals.loads_total, 1);
    let new = r#"{"name":"new tea","cents":1}"#;
    assert_eq!(ask(address, "PUT", "/products/5000", new).await.0, 204);
    assert_eq!(ask(address, "GET", "/products/5000", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_read_from_this_process_and_follows_its_changes() {
    let (address, cache) = start().await;
    assert_eq!(ask(address, "PUT", "/carts/1/7", "2").await.0, 204);
    let before = cache.stats().totals.hits_total;
    for _ in 0..3 {
        let cart = ask(address, "GET", "/carts/1", "").await;
        assert_eq!(cart, (200, r#"{"7":2}"#.to_owned()));
    }
    assert!(cache.stats().totals.hits_total >= before + 2);
    assert_eq!(ask(address, "PUT", "/carts/1/7", "0").await.0, 204);
    assert_eq!(ask(address, "GET", "/carts/1", "").await.1, "{}");
    assert_eq!(ask(address, "PUT", "/carts/1/7", "many").await.0, 400);
    assert_eq!(ask(address, "GET", "/readyz", "").await.0, 200);
}
