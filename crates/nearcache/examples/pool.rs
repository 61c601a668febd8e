//! The drop-in in a pool: `cargo run -p nearcache --features deadpool --example pool -- redis://127.0.0.1:6379`, or with
//! the address in `NEARCACHE_URL`.
//!
//! Reads and writes need no pool: a handle is a cheap clone, and all of them share one connection. A pool is of use
//! for blocking commands and transactions command by command, which need a connection of their own: it bounds how
//! many there are, and keeps them for the next who asks.
#![allow(clippy::print_stdout)]

use deadpool::managed;
use nearcache::redis::{Connection, Manager};
use redis::{AsyncCommands, RedisResult};

type Pool = managed::Pool<Manager>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut con = Connection::open(url()).await?;
    let pool = Pool::builder(Manager::new(con.clone()))
        .max_size(3)
        .build()?;

    // Eight workers wait for jobs, three at a time.
    let workers: Vec<_> = (1..=8)
        .map(|worker| tokio::spawn(work(worker, pool.clone())))
        .collect();
    // Clones of one handle do without the pool.
    for job in 1..=8 {
        let () = con.rpush("jobs", format!("job {job}")).await?;
    }
    for worker in workers {
        worker.await??;
    }
    println!("side connections: {}", side_connections(&mut con).await?);
    Ok(())
}

async fn work(worker: u32, pool: Pool) -> RedisResult<()> {
    let Ok(mut con) = pool.get().await else {
        println!("worker {worker}: no handle");
        return Ok(());
    };
    // Blocks on the handle's side connection; nobody else waits for it.
    let (_, job): (String, String) = con.blpop("jobs", 5.0).await?;
    println!("worker {worker}: {job}");
    Ok(())
}

/// Connections of the pooled handles that are open, as the server sees them.
async fn side_connections(con: &mut Connection) -> RedisResult<usize> {
    let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(con).await?;
    let blocked_last = |client: &&str| client.contains(" cmd=blpop ");
    Ok(clients.lines().filter(blocked_last).count())
}

fn url() -> String {
    let argument = std::env::args().nth(1);
    let url = argument.or_else(|| std::env::var("NEARCACHE_URL").ok());
    url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned())
}
