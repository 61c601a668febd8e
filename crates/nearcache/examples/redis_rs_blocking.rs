//! The blocking drop-in, without an executor: `cargo run -p nearcache --example redis_rs_blocking -- redis://127.0.0.1:6379`.
//!
//! The address may also be in `NEARCACHE_URL`.
#![allow(clippy::print_stdout)]

use redis::{Commands, RedisResult};

fn main() -> RedisResult<()> {
    // Was: redis::Client::open(url())?.get_connection()?
    let mut con = nearcache::blocking::Connection::open(url())?;

    let stock = [("assam", 3), ("oolong", 0), ("sencha", 8)];
    let () = con.hset_multiple("stock", &stock)?;
    for (tea, _) in stock {
        let left: u32 = con.hget("stock", tea)?;
        println!(
            "{tea}: {left} left, {} again",
            con.hget::<_, _, u32>("stock", tea)?
        );
    }

    // Sells one, unless somebody else changed the stock meanwhile: then it tries again.
    let left: (i64,) = redis::transaction(&mut con, &["stock"], |con, pipe| {
        let left: i64 = con.hget("stock", "sencha")?;
        pipe.hset("stock", "sencha", left - 1).ignore();
        pipe.hget("stock", "sencha").query(con)
    })?;
    println!("sencha sold: {} left", left.0);

    println!("\n{}", con.as_async().cache().stats());
    Ok(())
}

fn url() -> String {
    let argument = std::env::args().nth(1);
    let url = argument.or_else(|| std::env::var("NEARCACHE_URL").ok());
    url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned())
}
