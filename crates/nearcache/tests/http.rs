//! The probes, asked as a kubelet would.
#![cfg(feature = "http")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use nearcache::{NearCache, Ttl, http};

/// One request; the status and the body.
fn ask(at: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let code = text.split(' ').nth(1).unwrap().parse().unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
    (code, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_told_what_is() {
    let cache = NearCache::builder().memory().build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let app = axum::Router::new().merge(http::router(&cache));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let ask = |path: &'static str| tokio::task::spawn_blocking(move || ask(at, path));

    assert_eq!(ask("/livez").await.unwrap().0, 200);
    let (code, body) = ask("/readyz").await.unwrap();
    assert_eq!(
        (code, body.as_str()),
        (503, "starting: not connected yet\n")
    );

    cache.ready().await;
    cache
        .set("secret-key", "secret-value", Ttl::NONE)
        .await
        .unwrap();
    cache.get("secret-key").await.unwrap();
    cache.get("secret-key").await.unwrap();
    let (code, body) = ask("/readyz").await.unwrap();
    assert_eq!(code, 200);
    assert!(body.starts_with("ready: "), "{body}");
    let (code, body) = ask("/status").await.unwrap();
    assert_eq!(code, 200);
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["ready"], true);
    assert_eq!(status["totals"]["hits_total"], 1);
    assert_eq!(status["warm_start"]["keys"], 0);
    let lane = &status["lanes"][0];
    assert_eq!(lane["state"], "up", "{lane}");
    assert_eq!(lane["reason"], serde_json::Value::Null);
    assert_eq!(
        (&lane["l2"], &lane["was_up"]),
        (&"memory:".into(), &true.into())
    );
    assert_eq!(status["totals"]["connects_total"], 1);
    assert!(lane["lease_age_ms"].is_u64(), "{lane}");
    assert!(!body.contains("secret"), "C13: {body}");
    cache.shutdown().await;
    let (_, body) = ask("/status").await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["lanes"][0]["state"], "closed", "{body}");
    assert_eq!(status["lanes"][0]["lease_age_ms"], serde_json::Value::Null);
    serving.abort();
}
