//! A trace of what a pod reads.

use nearcache::{ErrorKind, MemoryL2, TraceNames, Ttl};
use redis::AsyncCommands;

use super::{builder, pod};

#[tokio::test]
async fn what_is_read_is_told_line_by_line() {
    let fast = builder(&MemoryL2::new()).publish_every("200ms");
    let cache = fast.connect().await.unwrap();
    cache.ready().await;
    let trace = cache.export_trace(TraceNames::Plain, 1 << 20).unwrap();
    let second = cache.export_trace(TraceNames::Plain, 1 << 20).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Usage, "{second}");

    cache
        .set("user,1", "twelve bytes", Ttl::NONE)
        .await
        .unwrap();
    for _ in 0..10 {
        cache.get("user,1").await.unwrap();
    }
    let mut con = nearcache::redis::Connection::new(&cache);
    con.zadd::<_, _, _, u32>("z", "m", 1).await.unwrap();
    for _ in 0..5 {
        con.zrange::<_, Vec<String>>("z", 0, -1).await.unwrap();
    }
    super::eventually("all reads were counted", || trace.lines_total() >= 15).await;
    let text = String::from_utf8(trace.take()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("ts_ms,client,op,key,size"));
    let (mut values, mut replies) = (0, 0);
    for line in lines {
        let fields: Vec<_> = line.split(',').collect();
        let [at, client, "get", key, size] = fields[..] else {
            panic!("{line}");
        };
        assert!(at.parse::<u64>().unwrap() > 1_600_000_000_000, "{line}");
        client.parse::<u32>().unwrap();
        match key {
            "user%2c1" => values += u32::from(size == "12"),
            key if key.starts_with("z#") => replies += 1,
            _ => panic!("{line}"),
        }
    }
    assert_eq!((values, trace.reads_total()), (10, 15), "{text}");
    assert_eq!(replies, 5, "{text}");
    assert_eq!((trace.take(), trace.left_out_total()), (Vec::new(), 0));

    drop(trace);
    let salt = || TraceNames::Hashed("salt".to_owned());
    let hashed = cache.export_trace(salt(), 1 << 20).unwrap();
    cache.get("user,1").await.unwrap();
    super::eventually("it was counted", || hashed.lines_total() == 1).await;
    let text = String::from_utf8(hashed.take()).unwrap();
    assert!(!text.contains("user"), "C13: {text}");
}

#[tokio::test]
async fn a_pod_that_counts_nothing_says_so() {
    let l2 = MemoryL2::new();
    for off in [builder(&l2).statistics(false), builder(&l2).enabled(false)] {
        let cache = off.connect().await.unwrap();
        let error = cache.export_trace(TraceNames::Plain, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("statistics"), "{error}");
    }
    let cache = pod(&l2).await;
    assert!(cache.export_trace(TraceNames::Plain, 0).is_ok());
}
