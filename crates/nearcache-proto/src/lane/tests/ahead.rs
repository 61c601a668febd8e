//! What nobody waits for: behind everything else, one batch at a time, never waited for while it is queued.

use super::*;
use crate::cache::Source;
use crate::entry_key::EntryKey;
use crate::fill::Purpose;

impl Hand {
    /// Asks for keys ahead of demand, as the background does.
    fn ask_ahead(&mut self, keys: &[&str], purpose: Purpose) {
        let pod = self.cache.pod().clone();
        let now = self.now();
        let lead = |key: &&str| pod.lead_ahead(EntryKey::value(0, key.as_bytes()), purpose, || now);
        let guards = keys.iter().filter_map(lead).collect();
        let deadline = now.saturating_add(Duration::from_secs(1));
        let work = Work::FillAhead(guards);
        self.cache.submit(HERE, deadline, work);
        self.turn();
    }

    fn read(&mut self, key: &str) -> Running<crate::cache::Read> {
        let (cache, key) = (self.cache.clone(), key.to_owned());
        let read = Running::start(async move {
            let read = cache.read(0, key.as_bytes(), ReadPolicy::PassThrough).await;
            read.expect("answered")
        });
        self.turn();
        read
    }

    fn resident(&self, key: &str) -> bool {
        self.cache.get_resident(0, key.as_bytes()).is_some()
    }
}

fn keys(ops: &[Op]) -> Vec<String> {
    let key = |op: &Op| match op {
        Op::Read { key, .. } => String::from_utf8_lossy(key).into_owned(),
        other => format!("{other:?}"),
    };
    ops.iter().map(key).collect()
}

fn values(count: usize) -> BatchReply {
    let one = || {
        Ok(OpReply::Read {
            value: Some(Bytes::from_static(b"v")),
            ttl: None,
            tracked: true,
        })
    };
    (0..count).map(|_| one()).collect()
}

#[test]
fn c11_one_batch_ahead_is_in_flight_at_a_time() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    hand.ask_ahead(&["a", "b"], Purpose::Background);
    hand.ask_ahead(&["c"], Purpose::Background);
    let (first, _, ops) = hand.take();
    assert_eq!(keys(&ops), ["a", "b"]);
    assert!(hand.sent.is_empty(), "the second waits for the first");
    hand.answer(first, values(2));
    let (_, _, ops) = hand.take();
    assert_eq!(keys(&ops), ["c"]);
    assert!(hand.resident("a") && hand.resident("b"));
}

#[test]
fn c11_a_read_does_not_wait_for_a_fetch_that_is_only_queued() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    hand.ask_ahead(&["a"], Purpose::WarmStart);
    hand.ask_ahead(&["b", "c"], Purpose::WarmStart);
    let (ahead, ..) = hand.take();
    let mut read = hand.read("b");
    let (own, _, ops) = hand.take();
    assert_eq!(keys(&ops), ["b"], "its own fetch goes at once");
    hand.answer(own, values(1));
    let read = read.ended().expect("answered before anything ahead of it");
    assert_eq!(read.source, Source::L2);
    hand.answer(ahead, values(1));
    let (_, _, ops) = hand.take();
    assert_eq!(
        keys(&ops),
        ["c"],
        "what was read meanwhile is not fetched again"
    );
}

#[test]
fn c11_what_is_asked_for_again_while_it_is_queued_is_fetched_once() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    hand.ask_ahead(&["x"], Purpose::Background);
    let (first, ..) = hand.take();
    for _ in 0..6 {
        hand.ask_ahead(&["a"], Purpose::Refresh);
    }
    let mut read = hand.read("a");
    let (own, _, ops) = hand.take();
    assert_eq!(keys(&ops), ["a"], "a read waits for none of them");
    hand.answer(own, values(1));
    assert!(read.ended().is_some());
    hand.answer(first, values(1));
    assert!(hand.sent.is_empty(), "it is here");
    // Over a copy that is resident, once.
    for _ in 0..6 {
        hand.ask_ahead(&["a"], Purpose::Refresh);
    }
    let (again, _, ops) = hand.take();
    assert_eq!(keys(&ops), ["a"]);
    hand.answer(again, values(1));
    assert!(hand.sent.is_empty());
}

#[test]
fn c11_a_read_joins_a_fetch_that_is_under_way() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    hand.ask_ahead(&["a"], Purpose::Background);
    let (ahead, ..) = hand.take();
    let mut read = hand.read("a");
    assert!(hand.sent.is_empty(), "nothing is fetched twice");
    hand.answer(ahead, values(1));
    assert!(read.ended().is_some());
}

#[test]
fn c11_reads_and_writes_go_before_what_is_queued_ahead() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    hand.ask_ahead(&["a"], Purpose::Background);
    let (ahead, ..) = hand.take();
    hand.ask_ahead(&["b"], Purpose::Background);
    let now = hand.now();
    // The answer and a read come in the same turn: the read is sent first.
    let cache = hand.cache.clone();
    let _read = Running::start(async move {
        let read = cache.read(0, b"x", ReadPolicy::PassThrough).await;
        read.expect("answered")
    });
    for request in std::mem::take(&mut *hand.cache.io().inbox.lock().expect("one thread")) {
        hand.lane.submit(request, now);
    }
    hand.answer(ahead, values(1));
    assert_eq!(keys(&hand.take().2), ["x"]);
    assert_eq!(keys(&hand.take().2), ["b"]);
}

#[test]
fn c4_what_is_fetched_ahead_is_not_kept_when_its_key_was_invalidated() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    hand.ask_ahead(&["a", "b"], Purpose::WarmStart);
    let (ahead, ..) = hand.take();
    hand.cache.pod().invalidate_local(b"a");
    hand.answer(ahead, values(2));
    assert!(!hand.resident("a") && hand.resident("b"));
}

#[test]
fn c11_a_warm_start_evicts_nothing_and_a_background_fetch_earns_its_place() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    // A megabyte, of which bookkeeping takes a part.
    let names: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    for name in &names {
        let mut read = hand.read(name);
        let (batch, ..) = hand.take();
        hand.value(batch, 50_000);
        assert!(read.ended().is_some());
    }
    let evicted = hand.cache.pod().store_stats().evictions;
    assert!(evicted > 0, "it is full");
    hand.ask_ahead(&["a"], Purpose::WarmStart);
    let (ahead, ..) = hand.take();
    hand.value(ahead, 50_000);
    assert!(!hand.resident("a"));
    assert_eq!(hand.cache.pod().store_stats().evictions, evicted);
    assert_eq!(hand.cache.pod().totals().warm_no_room_total, 1);
    hand.ask_ahead(&["a"], Purpose::Background);
    let (ahead, ..) = hand.take();
    hand.value(ahead, 50_000);
    assert!(hand.resident("a"));
}

#[test]
fn what_waits_ahead_ends_with_its_time_and_with_the_lane() {
    let mut hand = Hand::up(PodConfig::default(), LaneConfig::default());
    hand.ask_ahead(&["a"], Purpose::Background);
    hand.ask_ahead(&["b"], Purpose::Background);
    assert_eq!(hand.cache.pod().store.flights_open(), 2);
    hand.wait(Duration::from_secs(2));
    hand.lane.handle_disconnected(connection(1), hand.now());
    hand.turn();
    assert_eq!(hand.cache.pod().store.flights_open(), 0);
}
