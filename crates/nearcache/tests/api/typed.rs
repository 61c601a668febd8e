//! The typed path: decoded once, shared, and never kept when it does not decode.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nearcache::{Bytes, Codec, Error, ErrorKind, MemoryL2, Ttl};

use super::{all, bytes, pod, single};

/// A number in text; counts what it decodes. Negative ones do not encode.
#[derive(Clone, Default)]
struct Text(Arc<AtomicU32>);

impl Text {
    fn decoded(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Codec<i64> for Text {
    fn encode(&self, value: &i64) -> Result<Bytes, Error> {
        if *value < 0 {
            return Err(Error::new(ErrorKind::Codec, "negative"));
        }
        Ok(Bytes::from(value.to_string()))
    }

    fn decode(&self, bytes: &Bytes) -> Result<i64, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let text = std::str::from_utf8(bytes).ok();
        let value = text.and_then(|text| text.parse().ok());
        value.ok_or_else(|| Error::new(ErrorKind::Codec, "not a number"))
    }
}

#[tokio::test]
async fn a_value_is_decoded_once_and_shared() {
    let codec = Text::default();
    let typed = single().await.typed::<i64, _>(codec.clone());
    typed.set("k", &7, Ttl::NONE).await.unwrap();
    let first = typed.get("k").await.unwrap().unwrap();
    let second = typed.get("k").await.unwrap().unwrap();
    let many = all(typed.get_many(&["k", "absent"]).await).unwrap();
    let validated = typed.get_validated("k").await.unwrap().unwrap();
    let other_handle = typed.clone().get_resident("k").unwrap();
    assert_eq!(*first, 7);
    for other in [
        &second,
        many[0].as_ref().unwrap(),
        &validated,
        &other_handle,
    ] {
        assert!(Arc::ptr_eq(&first, other));
    }
    assert!(many[1].is_none());
    assert_eq!(codec.decoded(), 1);
    assert_eq!(typed.cache().stats().store.attached, 1);
}

#[tokio::test]
async fn bytes_and_values_come_from_the_same_entry() {
    let cache = single().await;
    let typed = cache.typed::<i64, _>(Text::default());
    cache.set("k", "7", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("7"));
    assert_eq!(typed.get("k").await.unwrap().as_deref(), Some(&7));
    assert_eq!(cache.stats().totals.fills_total, 1);
}

#[tokio::test]
async fn a_new_value_is_decoded_anew_and_the_old_one_lives_on_where_it_is_held() {
    let l2 = MemoryL2::new();
    let (typed, other) = (
        pod(&l2).await.typed::<i64, _>(Text::default()),
        pod(&l2).await,
    );
    typed.set("k", &1, Ttl::NONE).await.unwrap();
    let old = typed.get("k").await.unwrap().unwrap();
    other.set("k", "2", Ttl::NONE).await.unwrap();
    let new = typed.get_validated("k").await.unwrap().unwrap();
    assert_eq!((*old, *new), (1, 2));
    assert!(typed.delete("k").await.unwrap());
    assert_eq!(typed.get("k").await.unwrap(), None);
    assert!(typed.forget("k"), "its absence was kept");
}

#[tokio::test]
async fn what_does_not_decode_is_an_error_each_time() {
    let codec = Text::default();
    let cache = single().await;
    let typed = cache.typed::<i64, _>(codec.clone());
    cache.set("k", "seven", Ttl::NONE).await.unwrap();
    for _ in 0..2 {
        assert_eq!(typed.get("k").await.unwrap_err().kind(), ErrorKind::Codec);
        assert_eq!(
            all(typed.get_many(&["k"]).await).unwrap_err().kind(),
            ErrorKind::Codec
        );
        assert_eq!(typed.get_resident("k"), None);
    }
    assert_eq!(codec.decoded(), 6);
    assert_eq!(
        cache.get("k").await.unwrap(),
        bytes("seven"),
        "the bytes are good"
    );
    assert_eq!(cache.stats().store.attached, 0);
    assert_eq!(cache.stats().totals.fills_total, 1);
}

#[tokio::test]
async fn what_is_loaded_need_not_be_decoded() {
    let codec = Text::default();
    let typed = single().await.typed::<i64, _>(codec.clone());
    let load = || async { Ok::<_, io::Error>(7) };
    let loaded = typed.get_or_load("k", Ttl::secs(60), load).await.unwrap();
    assert_eq!((*loaded, codec.decoded()), (7, 0));
    let never = || async { Err::<i64, _>(io::Error::other("asked the origin")) };
    let first = typed.get_or_load("k", Ttl::secs(60), never).await.unwrap();
    let second = typed.get_or_load("k", Ttl::secs(60), never).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(codec.decoded(), 1);
}

#[tokio::test]
async fn errors_of_loader_and_codec_are_told_apart() {
    let typed = single().await.typed::<i64, _>(Text::default());
    let fails = || async { Err::<i64, _>(io::Error::other("no such row")) };
    let error = typed.get_or_load("k", Ttl::NONE, fails).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader);
    assert!(std::error::Error::source(&error).unwrap().is::<io::Error>());
    let negative = || async { Ok::<_, io::Error>(-1) };
    let error = typed
        .get_or_load("k", Ttl::NONE, negative)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Codec, "negative")
    );
    let error = typed.set("k", &-1, Ttl::NONE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(typed.get("k").await.unwrap(), None, "nothing was written");
}

#[tokio::test]
async fn c9_decoded_values_count_against_the_capacity() {
    struct Heavy;
    impl Codec<Vec<u8>> for Heavy {
        fn encode(&self, value: &Vec<u8>) -> Result<Bytes, Error> {
            Ok(Bytes::copy_from_slice(value))
        }
        fn decode(&self, bytes: &Bytes) -> Result<Vec<u8>, Error> {
            Ok(bytes.repeat(1000))
        }
        fn decoded_bytes(&self, value: &Vec<u8>, _: usize) -> usize {
            value.len()
        }
    }
    let cache = super::builder(&MemoryL2::new())
        .capacity("1MiB")
        .connect()
        .await
        .unwrap();
    let typed = cache.typed::<Vec<u8>, _>(Heavy);
    for key in 0..100u32 {
        let key = key.to_string();
        cache.set(&key, vec![1; 50], Ttl::NONE).await.unwrap();
        assert_eq!(typed.get(&key).await.unwrap().unwrap().len(), 50_000);
        let store = cache.stats().store;
        assert!(store.weight <= 1 << 20, "{store:?}");
    }
    assert!(cache.stats().store.evictions > 0);
    cache
        .set("too heavy", vec![1; 5000], Ttl::NONE)
        .await
        .unwrap();
    assert_eq!(
        typed.get("too heavy").await.unwrap().unwrap().len(),
        5_000_000
    );
    assert!(cache.get_resident("too heavy").is_some(), "the bytes stay");
}

#[tokio::test]
async fn c12_a_value_that_does_not_decode_fails_for_its_own_key() {
    let cache = single().await;
    let typed = cache.typed::<i64, _>(Text::default());
    typed.set("good", &1, Ttl::NONE).await.unwrap();
    cache.set("bad", "no number", Ttl::NONE).await.unwrap();
    cache
        .session()
        .command(&["LPUSH", "list", "x"])
        .await
        .unwrap();
    let many = typed.get_many(&["good", "bad", "absent", "list"]).await;
    assert_eq!(many[0].as_ref().unwrap().as_deref(), Some(&1));
    assert_eq!(many[1].as_ref().unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(many[2].as_ref().unwrap(), &None);
    assert_eq!(many[3].as_ref().unwrap_err().kind(), ErrorKind::Usage);
}

/// Once a minute a key and pod; in between what the loader returns is shared for a while.
#[tokio::test]
async fn a_loader_replaces_what_does_not_decode() {
    let l2 = MemoryL2::new();
    let cache = pod(&l2).await;
    let typed = cache.typed::<i64, _>(Text::default());
    let asked = AtomicU32::new(0);
    let load = || async {
        asked.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(7)
    };
    cache
        .set("k", "of another release", Ttl::NONE)
        .await
        .unwrap();
    let seven = typed.get_or_load("k", Ttl::secs(60), load).await.unwrap();
    assert_eq!(*seven, 7);
    assert_eq!(cache.get("k").await.unwrap(), bytes("7"));
    assert_eq!(cache.stats().totals.values_replaced_total, 1);
    // The other release puts its own there again.
    cache
        .set("k", "of another release", Ttl::NONE)
        .await
        .unwrap();
    for _ in 0..20 {
        let seven = typed.get_or_load("k", Ttl::secs(60), load).await.unwrap();
        assert_eq!(*seven, 7);
    }
    assert_eq!(cache.get("k").await.unwrap(), bytes("of another release"));
    let totals = cache.stats().totals;
    assert_eq!(
        (totals.values_replaced_total, asked.load(Ordering::Relaxed)),
        (1, 2)
    );
    let found = typed.get_or_load_optional("absent", || async { Ok::<_, io::Error>(None) });
    assert_eq!(found.await.unwrap(), None);
    let twelve = || async { Ok::<_, io::Error>(Some((12, Ttl::secs(9)))) };
    let read = typed
        .get_or_load_with("new", cache.load_policy(), twelve)
        .await
        .unwrap();
    assert_eq!(read.value.as_deref(), Some(&12));
}
