//! What L1 answers.

use nearcache_testkit::Client;
use redis::{AsyncCommands, RedisResult, Value};

use crate::{ask, line, start};

/// Every command that L1 may answer, with a key of the right type.
const SERVED: [&str; 36] = [
    "GET s",
    "MGET s n",
    "STRLEN s",
    "GETRANGE s 1 3",
    "EXISTS s",
    "TYPE s",
    "HGET h f",
    "HMGET h f g x",
    "HGETALL h",
    "HLEN h",
    "HEXISTS h f",
    "HKEYS h",
    "HVALS h",
    "SMEMBERS e",
    "SISMEMBER e m",
    "SMISMEMBER e m x",
    "SCARD e",
    "ZRANGE z 0 -1 WITHSCORES",
    "ZRANGEBYSCORE z -inf +inf",
    "ZRANGEBYLEX z - +",
    "ZREVRANGE z 0 -1",
    "ZSCORE z a",
    "ZMSCORE z a x",
    "ZCARD z",
    "ZCOUNT z 0 5",
    "ZRANK z b",
    "ZREVRANK z b",
    "LRANGE l 0 -1",
    "LLEN l",
    "LINDEX l 0",
    "GETBIT s 3",
    "BITCOUNT s",
    "BITPOS s 1",
    "GEOPOS g a",
    "GEODIST g a b",
    "GEOSEARCH g FROMMEMBER a BYRADIUS 300 km ASC",
];

fn fill(writer: &mut Client) {
    for line in [
        "SET s hello",
        "SET n 1",
        "HSET h f 1 g 2",
        "SADD e m o",
        "ZADD z 1.5 a 2 b",
        "RPUSH l x y",
        "GEOADD g 13.361389 38.115556 a 15.087269 37.502669 b",
    ] {
        writer.ok(&line.split(' ').collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn every_served_command_is_a_hit_the_second_time_and_gone_with_a_write() {
    let (server, cache, mut con) = start().await;
    let mut writer = server.client();
    fill(&mut writer);
    for command in SERVED {
        let first = ask(&mut con, command).await;
        let before = cache.stats().totals;
        let second = ask(&mut con, command).await;
        let after = cache.stats().totals;
        assert_eq!(first, second, "{command}");
        assert!(after.hits_total > before.hits_total, "{command} is no hit");
        assert_eq!(after.fills_total, before.fills_total, "{command} asked L2");
    }
    // One write per key takes every reply about it along.
    for key in ["s", "n", "h", "e", "z", "l", "g"] {
        writer.ok(&["DEL", key]);
    }
    cache.fence().await.unwrap();
    let mut direct = con.pass_through();
    for command in SERVED {
        let asked: RedisResult<Value> = line(command).query_async(&mut direct).await;
        for round in ["read anew", "kept"] {
            let read: RedisResult<Value> = line(command).query_async(&mut con).await;
            assert_eq!(read, asked, "{command}, {round}");
        }
    }
}

#[tokio::test]
async fn c3_own_writes_are_read() {
    let (_server, _cache, mut con) = start().await;
    for n in 0..200 {
        let _: () = con.hset("h", "f", n).await.unwrap();
        let read: i64 = con.hget("h", "f").await.unwrap();
        assert_eq!(read, n);
        let again: i64 = con.hget("h", "f").await.unwrap();
        assert_eq!(again, n);
        let all: Vec<(String, i64)> = con.hgetall("h").await.unwrap();
        assert_eq!(all, [("f".to_owned(), n)]);
    }
}
