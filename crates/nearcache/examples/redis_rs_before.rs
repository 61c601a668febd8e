//! A product catalogue on redis-rs: `cargo run -p nearcache --example redis_rs_before -- redis://127.0.0.1:6379`.
//!
//! The address may also be in `NEARCACHE_URL`. The example `redis_rs_after` is this program with one line changed.
#![allow(clippy::print_stdout)]

use futures_util::StreamExt;
use redis::{AsyncCommands, RedisResult, Script, aio::ConnectionLike};

const TEAS: [(u32, &str, u32); 3] = [(1, "assam", 450), (2, "oolong", 790), (3, "sencha", 620)];

const BY_PRICE: &str = "catalogue:by-price";

/// Changes a price in the product and in the order by price, and announces it.
const REPRICE: &str = r"
    redis.call('HSET', KEYS[1], 'cents', ARGV[2])
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
    redis.call('PUBLISH', 'prices', ARGV[1] .. ' costs ' .. ARGV[2])
    return redis.call('ZRANK', KEYS[2], ARGV[1])";

#[tokio::main]
async fn main() -> RedisResult<()> {
    let url = url();
    let client = redis::Client::open(url.as_str())?;
    let mut con = client.get_multiplexed_async_connection().await?;

    // Messages come by themselves, not as replies: they are a matter of redis-rs alone.
    let mut messages = client.get_async_pubsub().await?;
    messages.subscribe("prices").await?;

    stock(&mut con).await?;
    println!(
        "title:    {}",
        con.get::<_, String>("catalogue:title").await?
    );
    for _ in 0..2 {
        show(&mut con).await?;
    }

    let reprice = Script::new(REPRICE);
    let mut oolong = reprice.prepare_invoke();
    oolong.key(product(2)).key(BY_PRICE).arg(2).arg(390);
    let rank: usize = oolong.invoke_async(&mut con).await?;
    println!("oolong is now number {rank} by price");
    let message = messages.on_message().next().await;
    let told = message.map(|message| message.get_payload::<String>());
    println!("told:     {:?}", told.transpose()?);
    show(&mut con).await
}

/// Writes the catalogue, each product whole.
async fn stock(con: &mut impl ConnectionLike) -> RedisResult<()> {
    let mut write = redis::pipe();
    write.atomic().set("catalogue:title", "loose teas").ignore();
    for (id, name, cents) in TEAS {
        let fields = [("name", name.to_owned()), ("cents", cents.to_string())];
        write.hset_multiple(product(id), &fields).ignore();
        write.zadd(BY_PRICE, id, cents).ignore();
    }
    write.exec_async(con).await
}

/// Reads what a page of the shop needs.
async fn show(con: &mut impl AsyncCommands) -> RedisResult<()> {
    let ids: Vec<u32> = con.zrange(BY_PRICE, 0, -1).await?;
    let mut page = redis::pipe();
    for id in &ids {
        page.hmget(product(*id), &["name", "cents"]);
    }
    let products: Vec<(String, u32)> = page.query_async(con).await?;
    let cheap: usize = con.zcount(BY_PRICE, 0, 500).await?;
    println!("by price: {products:?}, of which {cheap} up to 500 cents");
    Ok(())
}

fn product(id: u32) -> String {
    format!("product:{id}")
}

fn url() -> String {
    let argument = std::env::args().nth(1);
    let url = argument.or_else(|| std::env::var("NEARCACHE_URL").ok());
    url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned())
}
