//! A user's own store behind the public trait: one that reports changes, one that cannot, and one that
//! answers nonsense or nothing. Time is only waited for, never measured, but for the bound of C2 itself.

#[path = "support/map_store.rs"]
mod map_store;
mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use map_store::{MapStore, Twist};
use nearcache_io::{IoThread, now};
use nearcache_l1::StoreConfig;
use nearcache_proto::{
    Cache, Error, ErrorKind, Freshness, L2, LaneConfig, LaneState, LoadPolicy, Loaded, OnL2Down,
    OpError, OpReply, Pod, PodConfig, ReadPolicy, Session, Source, Tracking, WriteOutcome,
};
use nearcache_testkit::{eventually, wait_until};
use support::wait;

const HOUR: Duration = Duration::from_secs(3600);

/// A pod on `store` with short patience; `staleness` is L, for both kinds of store.
fn pod(store: &MapStore, staleness: Duration) -> Cache<IoThread> {
    pod_with(store, staleness, |_| {})
}

fn pod_with(
    store: &MapStore,
    staleness: Duration,
    set: impl FnOnce(&mut PodConfig),
) -> Cache<IoThread> {
    let mut config = PodConfig {
        max_staleness: staleness,
        untracked_life: staleness,
        operation_timeout: Duration::from_secs(30),
        ..PodConfig::default()
    };
    set(&mut config);
    let lane = LaneConfig {
        tracking: store.tracking(),
        connect_timeout: Duration::from_millis(50),
        dead_after: config.operation_timeout * 2,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(10),
        ..LaneConfig::default()
    };
    let pod = Arc::new(Pod::new(StoreConfig::new(16 << 20), config).unwrap());
    let io = IoThread::new(pod.clone(), Arc::new(store.clone()), lane, 7);
    Cache::new(pod, io)
}

fn try_get(cache: &Cache<IoThread>, db: u32) -> Result<(Option<Bytes>, Source), Error> {
    wait(cache.read(db, b"k", ReadPolicy::PassThrough)).map(|read| (read.value, read.source))
}

fn get(cache: &Cache<IoThread>) -> (Option<Bytes>, Source) {
    try_get(cache, 0).unwrap()
}

fn set(cache: &Cache<IoThread>, value: &'static str) -> Result<(), Error> {
    wait(cache.set(0, b"k", Bytes::from(value), None))
}

fn from_l1(value: &'static str) -> (Option<Bytes>, Source) {
    (Some(Bytes::from(value)), Source::L1)
}

fn from_l2(value: &'static str) -> (Option<Bytes>, Source) {
    (Some(Bytes::from(value)), Source::L2)
}

#[test]
fn a_store_that_cannot_report_is_cached_all_the_same() {
    let store = MapStore::new(Tracking::None);
    store.put(0, "k", "v");
    let cache = pod(&store, HOUR);
    assert_eq!(get(&cache), from_l2("v"));
    assert_eq!(get(&cache), from_l1("v"));
    assert_eq!(store.reads(), 1);
    assert!(!cache.pod().is_tracked());
    // As it is meant to be, not as something that went wrong.
    assert_eq!(cache.pod().state(), LaneState::Up);
    assert_eq!(cache.pod().totals().degraded_total, 0);
}

#[test]
fn c2_without_reports_nothing_is_older_than_max_staleness() {
    let staleness = Duration::from_millis(20);
    let store = MapStore::new(Tracking::None);
    let cache = pod(&store, staleness);
    // What was written when, in microseconds; the value is the place in this list.
    let mut written = Vec::new();
    let done = wait_until(|| {
        store.put(0, "k", &written.len().to_string());
        written.push(now().as_micros());
        for _ in 0..50 {
            let asked = now().as_micros();
            let (value, _) = get(&cache);
            let seen: usize = std::str::from_utf8(&value.unwrap())
                .unwrap()
                .parse()
                .unwrap();
            let must = written
                .iter()
                .rposition(|at| at + (staleness.as_micros() as u64) < asked);
            assert!(must.is_none_or(|must| seen >= must), "{seen} < {must:?}");
        }
        let totals = cache.pod().totals();
        totals.fills_total >= 10 && totals.hits_total >= 1
    });
    assert!(done, "{:?}", cache.pod().totals());
}

#[test]
fn c3_without_reports_own_writes_are_seen_at_once() {
    let store = MapStore::new(Tracking::None);
    let cache = pod(&store, HOUR);
    for value in ["one", "two"] {
        set(&cache, value).unwrap();
        assert_eq!(get(&cache), from_l2(value));
        assert_eq!(get(&cache), from_l1(value));
    }
    assert!(wait(cache.delete(0, b"k")).unwrap());
    assert_eq!(get(&cache), (None, Source::L2));
    // Somebody else's write cannot be known: this is what a long life is paid with.
    store.put(0, "k", "foreign");
    assert_eq!(get(&cache), (None, Source::L1));
    assert_eq!(
        wait(cache.get_validated(0, b"k")).unwrap(),
        Some(Bytes::from("foreign"))
    );
}

#[test]
fn c2_without_reports_and_without_answers_nothing_is_called_fresh() {
    let store = MapStore::new(Tracking::None);
    store.put(0, "k", "old");
    let cache = pod_with(&store, Duration::from_millis(20), |config| {
        config.operation_timeout = Duration::from_millis(20);
    });
    eventually("it is resident", || get(&cache).1 == Source::L1);
    store.twist(Some(|_, _| None), true);
    store.put(0, "k", "new");
    eventually("reads fail", || try_get(&cache, 0).is_err());
    for _ in 0..20 {
        assert!(wait(cache.read(0, b"k", ReadPolicy::Error)).is_err());
        let stale = ReadPolicy::ServeStale { max: HOUR };
        if let Ok(read) = wait(cache.read(0, b"k", stale)) {
            assert!(matches!(read.freshness, Freshness::Stale(_)), "{read:?}");
        }
    }
    store.twist(None, false);
    eventually("the new value is read", || {
        try_get(&cache, 0).is_ok_and(|read| read.0 == Some(Bytes::from("new")))
    });
}

#[test]
fn c2_a_store_that_cannot_report_is_not_believed_that_it_will() {
    let store = MapStore::new(Tracking::None);
    let cache = pod(&store, Duration::from_millis(20));
    store.twist(
        Some(|_, mut replies| {
            for reply in &mut replies {
                if let Ok(OpReply::Read { tracked, .. }) = reply {
                    *tracked = true;
                }
            }
            Some(Ok(replies))
        }),
        true,
    );
    store.put(0, "k", "old");
    assert_eq!(get(&cache).0, Some(Bytes::from("old")));
    store.put(0, "k", "new");
    eventually("the old value is dropped", || {
        get(&cache).0 == Some(Bytes::from("new"))
    });
}

#[test]
fn c2_what_a_store_reports_reaches_l1_before_the_writer_goes_on() {
    let store = MapStore::new(Tracking::Pushes);
    let (one, two) = (pod(&store, HOUR), pod(&store, HOUR));
    for value in ["1", "2", "3"] {
        store.put(0, "k", value);
        for cache in [&one, &two] {
            assert_eq!(get(cache), from_l2(value));
            assert_eq!(get(cache), from_l1(value));
        }
    }
    set(&one, "by one").unwrap();
    assert_eq!(get(&two), from_l2("by one"));
    assert!(wait(two.delete(0, b"k")).unwrap());
    assert_eq!(get(&one), (None, Source::L2));
    assert_eq!(get(&one), (None, Source::L1));
    assert!(one.pod().is_tracked());
    assert!(one.pod().totals().invalidations_total >= 3);
}

#[test]
fn c2_a_report_counts_for_the_key_in_every_db() {
    let store = MapStore::new(Tracking::Pushes);
    let cache = pod(&store, HOUR);
    store.put(3, "k", "in 3");
    assert_eq!(get(&cache), (None, Source::L2));
    assert_eq!(try_get(&cache, 3).unwrap(), from_l2("in 3"));
    store.put(3, "k", "new in 3");
    assert_eq!(get(&cache), (None, Source::L2));
    assert_eq!(try_get(&cache, 3).unwrap(), from_l2("new in 3"));
}

#[test]
fn c6_flushes_and_ends_are_heard() {
    let store = MapStore::new(Tracking::Pushes);
    let cache = pod(&store, HOUR);
    set(&cache, "v").unwrap();
    assert_eq!((get(&cache), get(&cache)), (from_l2("v"), from_l1("v")));
    store.flush();
    assert_eq!(get(&cache), (None, Source::L2));

    set(&cache, "w").unwrap();
    assert_eq!((get(&cache), get(&cache)), (from_l2("w"), from_l1("w")));
    store.end_connections();
    assert!(cache.get_resident(0, b"k").is_none());
    eventually("it is up again", || {
        cache.pod().totals().connects_total == 2
    });
    assert_eq!((get(&cache), get(&cache)), (from_l2("w"), from_l1("w")));
}

#[test]
fn c4_a_reply_that_comes_after_its_report_is_not_kept() {
    let store = MapStore::new(Tracking::Pushes);
    let cache = pod(&store, HOUR);
    wait(cache.ready(Duration::ZERO)).unwrap();
    store.put(0, "k", "old");
    store.hold_replies(true);
    std::thread::scope(|scope| {
        let early = scope.spawn(|| get(&cache));
        eventually("the store has executed the read", || store.reads() == 1);
        store.put(0, "k", "new");
        store.hold_replies(false);
        assert_eq!(early.join().unwrap(), from_l2("old"), "it began before");
    });
    assert_eq!(get(&cache), from_l2("new"));
    assert_eq!(get(&cache), from_l1("new"));
}

#[test]
fn c12_what_a_store_does_not_know_is_said() {
    let cache = pod(&MapStore::new(Tracking::Pushes), HOUR);
    let mut session = Session::new(cache.clone(), 0);
    for command in [["GET", "k"], ["INCR", "k"]] {
        let error = wait(session.command(&command)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(
            error.to_string().contains("not supported by this store"),
            "{error}"
        );
    }
    assert_eq!(cache.pod().totals().disconnects_total, 0);
}

/// Everything a store can do wrong with one batch.
const TWISTS: [(&str, Twist); 8] = [
    ("the next kind", |_, replies| {
        Some(Ok(replies.into_iter().map(another_kind).collect()))
    }),
    ("one kind for all", |_, replies| {
        let kind = |reply| match reply {
            Ok(OpReply::Selectable) => Ok(OpReply::Fenced),
            _ => Ok(OpReply::Selectable),
        };
        Some(Ok(replies.into_iter().map(kind).collect()))
    }),
    ("nothing in it", |_, _| Some(Ok(Vec::new()))),
    ("one too few", |_, mut replies| {
        replies.pop();
        Some(Ok(replies))
    }),
    ("one too many", |_, mut replies| {
        replies.extend(replies.last().cloned());
        Some(Ok(replies))
    }),
    ("no answer", |_, _| None),
    ("the end of the connection", |_, _| {
        Some(Err(Error::new(ErrorKind::Retry, "the map was closed")))
    }),
    ("a panic", |_, _| panic!("as the test wants it")),
];

fn another_kind(reply: Result<OpReply, OpError>) -> Result<OpReply, OpError> {
    let value = Some(Bytes::from("not yours"));
    Ok(match reply? {
        OpReply::Read { .. } | OpReply::ReadWith { .. } => OpReply::Stored(true),
        OpReply::Stored(_) => OpReply::Deleted(true),
        OpReply::Deleted(_) | OpReply::Value(_) => OpReply::Read {
            value,
            ttl: None,
            tracked: true,
        },
        OpReply::Fenced => OpReply::Role { primary: true },
        OpReply::Role { .. } => OpReply::Fenced,
        OpReply::Selectable | OpReply::Handshake { .. } => OpReply::Stored(true),
    })
}

/// Every call, each in an own life of the lane.
type Call = fn(&Cache<IoThread>) -> Result<(), Error>;
const CALLS: [(&str, Call); 8] = [
    ("read", |cache| try_get(cache, 0).map(drop)),
    ("read in a db", |cache| try_get(cache, 3).map(drop)),
    ("get_many", |cache| {
        let each = wait(cache.get_many(0, &[b"k", b"l"], ReadPolicy::PassThrough));
        each.into_iter().try_for_each(|read| read.map(drop))
    }),
    ("get_validated", |cache| {
        wait(cache.get_validated(0, b"k")).map(drop)
    }),
    ("get_or_load", |cache| {
        let loaded = Loaded {
            value: Bytes::from("loaded"),
            ttl: None,
        };
        let load = || async { Ok::<_, std::io::Error>(Some(loaded)) };
        // With a loader that may run, a store that is of no use would go unnoticed.
        let policy = LoadPolicy::default().on_l2_down(OnL2Down::Error);
        let call = nearcache_proto::Call {
            db: 0,
            key: b"k",
            policy,
            optional: false,
        };
        wait(cache.get_or_load(call, |_| true, load)).map(drop)
    }),
    ("set", |cache| set(cache, "hidden value")),
    ("delete", |cache| wait(cache.delete(0, b"k")).map(drop)),
    ("fence", |cache| wait(cache.fence())),
];

#[test]
fn c12_nonsense_from_a_store_ends_the_call_and_the_connection_and_no_more() {
    for tracking in [Tracking::Pushes, Tracking::None] {
        let store = MapStore::new(tracking);
        let cache = pod_with(&store, HOUR, |config| {
            config.operation_timeout = Duration::from_millis(25);
        });
        for (fault, twist) in TWISTS {
            for (name, call) in CALLS {
                let what = format!("{name}, {fault}, {tracking:?}");
                eventually("the lane is up", || {
                    wait(cache.ready(Duration::ZERO)).is_ok()
                });
                for (db, key) in [(0, b"k"), (0, b"l"), (3, b"k")] {
                    cache.forget(db, key);
                }
                let before = cache.pod().totals().disconnects_total;
                store.twist(Some(twist), false);
                let error = call(&cache).expect_err(&what);
                let text = format!("{what}: {error}");
                assert_eq!(error.kind(), ErrorKind::Retry, "{text}");
                assert!(!text.contains("hidden value"), "{text}");
                assert!(!text.contains("changes faster"), "{text}");
                if matches!(name, "set" | "delete") {
                    let outcome = error.write_outcome();
                    assert_eq!(outcome, Some(WriteOutcome::Unknown), "{text}");
                }
                eventually("the connection is given up", || {
                    cache.pod().totals().disconnects_total > before
                });
                store.twist(None, false);
                heals(&cache);
            }
        }
    }
}

#[test]
fn c12_nonsense_in_place_of_a_handshake_is_an_attempt_that_failed() {
    for tracking in [Tracking::Pushes, Tracking::None] {
        for (fault, twist) in TWISTS {
            let store = MapStore::new(tracking);
            store.twist(Some(twist), true);
            let cache = pod_with(&store, HOUR, |config| {
                config.operation_timeout = Duration::from_millis(25);
            });
            for (name, call) in [("ready", (|c| wait(c.ready(Duration::ZERO))) as Call)]
                .into_iter()
                .chain(CALLS)
            {
                let error = call(&cache).expect_err(fault);
                assert_eq!(error.kind(), ErrorKind::Retry, "{fault}, {name}: {error}");
            }
            assert_eq!(store.reads(), 0, "{fault}: nothing but handshakes was sent");
            store.twist(None, false);
            heals(&cache);
        }
    }
}

#[test]
fn c12_an_answer_that_may_belong_to_another_leaves_a_write_unknown() {
    let store = MapStore::new(Tracking::Pushes);
    let cache = pod(&store, HOUR);
    wait(cache.ready(Duration::ZERO)).unwrap();
    store.twist(
        Some(|ops, _| {
            let shifted = |_| Err(OpError::Protocol("a wrong nonce".to_owned()));
            Some(Ok(ops.iter().map(shifted).collect()))
        }),
        false,
    );
    let error = set(&cache, "v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(
        error.write_outcome(),
        Some(WriteOutcome::Unknown),
        "{error}"
    );
    store.twist(None, false);
    heals(&cache);
}

#[test]
fn c10_a_silent_side_connection_is_given_up_and_the_lane_is_not() {
    let store = MapStore::new(Tracking::Pushes);
    let cache = pod_with(&store, HOUR, |config| {
        config.operation_timeout = Duration::from_millis(25);
        config.max_inline = 3;
    });
    store.put(0, "k", "large");
    assert_eq!(get(&cache), from_l2("large"));
    store.silence_side(true);
    let error = try_get(&cache, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    store.silence_side(false);
    eventually("another side connection is opened", || {
        try_get(&cache, 0).is_ok_and(|read| read == from_l2("large"))
    });
    assert_eq!(cache.pod().totals().disconnects_total, 0);
}

/// As if nothing had been.
fn heals(cache: &Cache<IoThread>) {
    eventually("writes succeed again", || set(cache, "well").is_ok());
    eventually("reads succeed again", || try_get(cache, 0).is_ok());
    assert_eq!(get(cache), from_l1("well"));
    let both = wait(cache.get_many(0, &[b"k", b"l"], ReadPolicy::PassThrough));
    let both: Vec<_> = both.into_iter().map(|read| read.unwrap().value).collect();
    assert_eq!(both, [Some(Bytes::from("well")), None]);
    cache.pod().validate();
}
