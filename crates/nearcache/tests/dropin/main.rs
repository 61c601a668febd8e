//! The drop-in for redis-rs: what it serves, what it leaves alone, and how it fails. That its replies are those of
//! redis-rs is the business of the differential test.

mod beside;
mod blocking;
mod cancelled;
mod coherence;
mod errors;
mod examples;
mod multiplexed;
mod outage;
mod serve;
mod state;
mod switches;

use nearcache::redis::Connection;
use nearcache::{Builder, NearCache};
use nearcache_testkit::Server;
use redis::{Cmd, Value};

/// A server, a cache on it and a drop-in connection.
pub(crate) async fn start() -> (Server, NearCache, Connection) {
    let server = Server::start();
    let (cache, con) = on(&server, |builder| builder).await;
    (server, cache, con)
}

/// A cache with settings of its own, and a drop-in connection.
pub(crate) async fn on(
    server: &Server,
    settings: impl FnOnce(Builder) -> Builder,
) -> (NearCache, Connection) {
    at(server.url(), settings).await
}

/// The same for an address.
pub(crate) async fn at(
    url: String,
    settings: impl FnOnce(Builder) -> Builder,
) -> (NearCache, Connection) {
    // These count what goes to the server: nothing is to go there by itself.
    let builder = NearCache::builder().redis(url).refetch(false);
    let cache = settings(builder).connect().await.unwrap();
    let con = Connection::new(&cache);
    (cache, con)
}

/// A command written in a line.
pub(crate) fn line(text: &str) -> Cmd {
    let mut words = text.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    command
}

/// The value of a command, which must not fail.
pub(crate) async fn ask(con: &mut Connection, text: &str) -> Value {
    let reply = line(text).query_async(con).await;
    reply.unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn text(value: &str) -> Value {
    Value::BulkString(value.as_bytes().to_vec())
}
