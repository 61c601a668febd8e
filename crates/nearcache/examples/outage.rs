//! A service that keeps answering while Redis is stopped and started again:
//! `cargo run -p nearcache --example outage -- redis://127.0.0.1:6379 60`, and stop the server meanwhile.
//!
//! Four workers ask for 200 products as fast as they get them. The origin takes 5 ms and is always there. Each second one line says
//! who answered, and how.
#![allow(clippy::print_stdout)]

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nearcache::{Error, Freshness, Json, LaneState, NearCache, Source, Ttl};
use tokio::time::{Instant, sleep};

const PRODUCTS: u64 = 200;

/// What was answered within the last second.
#[derive(Default)]
struct Answers {
    fresh: AtomicU64,
    stale: AtomicU64,
    from_l2: AtomicU64,
    from_origin: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
}

/// The database.
async fn load(id: u64) -> Result<Option<(String, Ttl)>, Infallible> {
    sleep(Duration::from_millis(5)).await;
    Ok(Some((format!("product {id}"), Ttl::secs(30))))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let seconds = arguments.next().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(60));
    let cache = NearCache::builder()
        .redis(url)
        .capacity("64MiB")
        // What is here goes before the database, for up to five minutes.
        .on_unproven("serve_stale(5m)")
        // The default: what is not here comes from the database.
        .on_l2_down("load")
        .load_timeout("1s")
        .build()?;
    let answers: &'static Answers = Box::leak(Box::default());
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4 {
        workers.spawn(work(cache.clone(), answers, worker));
    }
    println!("   second  lane          fresh   stale      L2  origin  failed   slowest");
    for second in 1.. {
        sleep(Duration::from_secs(1)).await;
        let lane = match cache.stats().lanes[0].state {
            LaneState::Up => "up",
            LaneState::Degraded(_) => "degraded",
            _ => "DOWN",
        };
        let taken = |counter: &AtomicU64| counter.swap(0, Relaxed);
        println!(
            "{second:>9}  {lane:<8} {:>10} {:>7} {:>7} {:>7} {:>7} {:>6} ms",
            taken(&answers.fresh),
            taken(&answers.stale),
            taken(&answers.from_l2),
            taken(&answers.from_origin),
            taken(&answers.failed),
            taken(&answers.slowest_us) / 1000,
        );
        if Instant::now() >= end {
            break;
        }
    }
    workers.shutdown().await;
    cache.shutdown().await;
    Ok(())
}

async fn work(cache: NearCache, answers: &'static Answers, mut random: u64) {
    let products = cache.typed::<String, _>(Json);
    let policy = cache.load_policy();
    loop {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
        let id = (random >> 33) % PRODUCTS;
        let began = Instant::now();
        let key = format!("product:{id}");
        let read = products.get_or_load_with(&key, policy, || load(id)).await;
        let took = began.elapsed().as_micros() as u64;
        answers.slowest_us.fetch_max(took, Relaxed);
        let counter = match read {
            Err(error) => {
                println!("failed: {error}");
                &answers.failed
            }
            Ok(read) => {
                assert_eq!(read.value.as_deref(), Some(&format!("product {id}")));
                match (read.freshness, read.source) {
                    (Freshness::Stale(_), _) => &answers.stale,
                    (_, Source::L2) => &answers.from_l2,
                    (_, Source::Origin) => &answers.from_origin,
                    _ => &answers.fresh,
                }
            }
        };
        counter.fetch_add(1, Relaxed);
        sleep(Duration::from_micros(500)).await;
    }
}
