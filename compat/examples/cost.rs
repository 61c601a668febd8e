//! What a resident value of 100 B costs in each way, one after the other in many rounds: `NEARCACHE_TEST_SERVER=<program>
//! cargo run --release --example cost`. Prints the median of a read, and its share of that of redis-rs over loopback.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use real::AsyncCommands;

const ROUNDS: usize = 200;
const READS: u32 = 100;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    // On a worker, as the handlers of a service are.
    tokio::spawn(compare()).await?
}

async fn compare() -> Result<(), Failed> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let _server = Server(
        Command::new(std::env::var("NEARCACHE_TEST_SERVER")?)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .stdout(Stdio::null())
            .spawn()?,
    );
    let url = format!("redis://127.0.0.1:{port}");
    let mut drop_in = nearcache::redis::Connection::open(url.as_str()).await?;
    let mut piped = drop_in.multiplexed().await?;
    let client = real::Client::open(url)?;
    let mut plain = client.get_multiplexed_async_connection().await?;
    let () = drop_in.set("k", vec![7; 100]).await?;

    let mut took = [(); 3].map(|()| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        took[0].push(round(&mut plain).await?);
        took[1].push(round(&mut piped).await?);
        took[2].push(round(&mut drop_in).await?);
    }
    let medians = took.map(|mut took| {
        took.sort();
        took[ROUNDS / 2]
    });
    for (way, median) in ["redis-rs over loopback", "multiplexed()", "drop-in"]
        .iter()
        .zip(medians)
    {
        let share = median.as_secs_f64() / medians[0].as_secs_f64();
        println!(
            "{way:24} {:9.2} us  {share:6.3}",
            median.as_secs_f64() * 1e6
        );
    }
    Ok(())
}

/// The time of one read.
async fn round(
    con: &mut (impl real::aio::ConnectionLike + Send + Sync),
) -> real::RedisResult<Duration> {
    let began = Instant::now();
    for _ in 0..READS {
        let _: Vec<u8> = con.get("k").await?;
    }
    Ok(began.elapsed() / READS)
}
