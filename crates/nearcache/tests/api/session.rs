//! Commands beside the cache: what they write is seen, and they disturb nobody.

use nearcache::{Bytes, ErrorKind, MemoryL2, Reply, Ttl};

use super::{all, bytes, pod, single};

#[tokio::test]
async fn c3_what_a_command_writes_is_seen_by_the_next_read() {
    let cache = single().await;
    let mut session = cache.session();
    for round in 1..50i64 {
        assert_eq!(
            session.command(&["INCR", "n"]).await.unwrap(),
            Reply::Int(round)
        );
        let read = cache.get("n").await.unwrap().unwrap();
        assert_eq!(read, round.to_string());
    }
}

#[tokio::test]
async fn c16_a_transaction_of_one_session_does_not_touch_others() {
    let cache = single().await;
    let (mut one, mut other) = (cache.session(), cache.session());
    one.command(&["MULTI"]).await.unwrap();
    let queued = one.command(&["SET", "k", "v"]).await.unwrap();
    assert_eq!(queued, Reply::Simple("QUEUED".into()));
    assert_eq!(cache.get("k").await.unwrap(), None);
    assert_eq!(
        other.command(&["EXISTS", "k"]).await.unwrap(),
        Reply::Int(0)
    );
    assert_eq!(
        one.command(&["EXEC"]).await.unwrap(),
        Reply::Array(vec![Reply::ok()])
    );
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
}

#[tokio::test]
async fn a_transaction_in_one_call() {
    let cache = single().await;
    cache.set("a", "1", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), bytes("1"));
    let command = |words: &[&'static str]| words.iter().map(|w| Bytes::from(*w)).collect();
    let commands = vec![command(&["INCR", "a"]), command(&["SET", "b", "x"])];
    let reply = cache.session().transaction(commands).await.unwrap();
    assert_eq!(reply, Reply::Array(vec![Reply::Int(2), Reply::ok()]));
    assert_eq!(
        all(cache.get_many(&["a", "b"]).await).unwrap(),
        [bytes("2"), bytes("x")]
    );
}

#[tokio::test]
async fn a_session_has_a_db_of_its_own() {
    let cache = pod(&MemoryL2::new()).await;
    let mut session = cache.with_db(2).session();
    session.command(&["SET", "k", "two"]).await.unwrap();
    session.command(&["SELECT", "5"]).await.unwrap();
    session.command(&["SET", "k", "five"]).await.unwrap();
    assert_eq!(cache.with_db(2).get("k").await.unwrap(), bytes("two"));
    assert_eq!(cache.with_db(5).get("k").await.unwrap(), bytes("five"));
    assert_eq!(cache.get("k").await.unwrap(), None);
    let error = session
        .command(&["CLIENT", "TRACKING", "OFF"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

#[test]
fn a_blocking_session() {
    let cache = nearcache::NearCache::builder()
        .memory()
        .connect_blocking()
        .unwrap();
    let mut session = cache.session();
    assert_eq!(session.command(&["INCR", "n"]).unwrap(), Reply::Int(1));
    let set = ["SET", "k", "v"].map(Bytes::from).to_vec();
    assert_eq!(
        session.transaction(vec![set]).unwrap(),
        Reply::Array(vec![Reply::ok()])
    );
    assert_eq!(cache.get("k").unwrap(), bytes("v"));
}
