//! Pools of drop-in connections: what one user leaves behind the next does not meet.

use nearcache::redis::{Connection, Manager};
use nearcache_testkit::Server;
use redis::{RedisResult, Value, cmd};

async fn say(con: &mut Connection, words: &str) -> RedisResult<Value> {
    let mut words = words.split(' ');
    let mut command = cmd(words.next().unwrap_or_default());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(con).await
}

type Deadpool = deadpool::managed::Pool<Manager>;

/// What leaves a state behind, and what it leaves.
const LEFT: [&str; 3] = ["MULTI", "WATCH k", "SELECT 2"];

/// The next user is outside of any transaction and in the pool's db.
async fn is_as_new(con: &mut Connection, after: &str) {
    assert!(!con.in_transaction(), "{after}");
    assert_eq!(
        say(con, "GET k").await.unwrap(),
        Value::BulkString(b"one".to_vec()),
        "{after}"
    );
}

async fn at_db_1(server: &Server) -> Connection {
    let mut con = Connection::open(format!("{}/1", server.url()))
        .await
        .unwrap();
    say(&mut con, "SET k one").await.unwrap();
    con
}

#[tokio::test]
async fn deadpool_hands_out_what_is_as_new() {
    let server = Server::start();
    let con = at_db_1(&server).await;
    let manager = Manager::new(con.clone());
    let pool = Deadpool::builder(manager).max_size(1).build().unwrap();
    for left in LEFT {
        say(&mut pool.get().await.unwrap(), left).await.unwrap();
        is_as_new(&mut pool.get().await.unwrap(), left).await;
    }
    con.cache().shutdown().await;
    assert!(pool.get().await.is_err());
}

#[tokio::test]
async fn bb8_hands_out_what_is_as_new() {
    let server = Server::start();
    let con = at_db_1(&server).await;
    let pool = bb8::Pool::builder()
        .max_size(1)
        .connection_timeout(std::time::Duration::from_millis(500))
        .build(Manager::new(con.clone()))
        .await
        .unwrap();
    for left in LEFT {
        say(&mut pool.get().await.unwrap(), left).await.unwrap();
        is_as_new(&mut pool.get().await.unwrap(), left).await;
    }
    con.cache().shutdown().await;
    assert!(pool.get().await.is_err());
}

#[tokio::test]
async fn a_side_connection_without_a_state_is_kept_for_the_next_user() {
    let server = Server::start();
    let pool = Deadpool::builder(Manager::new(at_db_1(&server).await))
        .max_size(1)
        .build()
        .unwrap();
    let id = "BLPOP none 0.01";
    let mut admin = server.client();
    for _ in 0..3 {
        say(&mut pool.get().await.unwrap(), id).await.unwrap();
    }
    let clients = admin.ok(&["CLIENT", "LIST"]).text();
    assert_eq!(clients.matches("cmd=blpop").count(), 1, "{clients}");
}
