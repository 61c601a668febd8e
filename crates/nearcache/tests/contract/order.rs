//! C14 and C2 under load: reads never go back, and never lag by more than the bound, whatever the network does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearcache::blocking::NearCache;
use nearcache::{Bytes, ErrorKind, Freshness, ReadPolicy};

use super::stage::connect;
use super::{Net, Stage, all, eventually, joined, on_both, spawn, val};

on_both!(
    trap_many_keys_mixed_from_l1_and_l2,
    trap_many_keys_with_a_joined_fetch,
    c2_c14_reads_keep_their_order_and_their_bound,
);

/// `max_staleness` of [`Stage::hasty`].
const L: Duration = Duration::from_millis(300);

fn trap_many_keys_mixed_from_l1_and_l2(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..10 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        stage.set(&a, "1");
        assert_eq!(pod.get(&a).unwrap(), val("1"));
        let before = stage.calls("get");
        stage.net(Net::StallReplies);
        // Its push is held back: `a` is still a hit, `b` is read from after the writes.
        stage.set(&a, "2");
        stage.set(&b, "2");
        let reader = {
            let (pod, keys) = (pod.clone(), [a.clone(), b.clone()]);
            spawn(move || all(pod.get_many(&keys)).unwrap())
        };
        eventually("the missing key was read", || {
            stage.calls("get") == before + 1
        });
        stage.net(Net::Pass);
        assert_eq!(joined(reader), [val("2"), val("2")]);
    }
}

fn trap_many_keys_with_a_joined_fetch(stage: &Stage) {
    let pod = stage.pod();
    for round in 0..10 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        stage.set(&a, "1");
        stage.set(&b, "1");
        let (before, joins) = (stage.calls("get"), pod.stats().totals.joined_total);
        stage.net(Net::StallReplies);
        let early = {
            let (pod, a) = (pod.clone(), a.clone());
            spawn(move || pod.get(&a).unwrap())
        };
        eventually("`a` was read early", || stage.calls("get") == before + 1);
        stage.set(&a, "2");
        stage.set(&b, "2");
        let late = {
            let (pod, keys) = (pod.clone(), [a.clone(), b.clone()]);
            spawn(move || all(pod.get_many(&keys)).unwrap())
        };
        eventually("`b` was read late, `a` joined", || {
            stage.calls("get") >= before + 2 && pod.stats().totals.joined_total > joins
        });
        stage.net(Net::Pass);
        assert_eq!(joined(late), [val("2"), val("2")]);
        joined(early);
    }
}

/// What was written, and when the write had been executed for certain.
#[derive(Default)]
struct Written(Mutex<Vec<Instant>>);

impl Written {
    /// The number of writes that a read which starts at `now` must reflect.
    fn due(&self, now: Instant) -> usize {
        let times = self.0.lock().unwrap();
        times.partition_point(|executed| *executed + L < now)
    }
}

fn number(value: Option<&Bytes>) -> usize {
    let text = value.expect("it was written before");
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

/// What the readers share.
#[derive(Default)]
struct Shared {
    newest: Mutex<usize>,
    errors: AtomicU64,
    over: AtomicBool,
}

/// Reads until it is over; no read may go back behind one that had ended before it began.
fn read(pod: &NearCache, written: &Written, shared: &Shared, way: usize) {
    let Shared {
        newest,
        errors,
        over,
    } = shared;
    while !over.load(Ordering::Relaxed) {
        let seen = *newest.lock().unwrap();
        let due = written.due(Instant::now());
        let read = match way {
            0 => pod.get_with("k", ReadPolicy::Error).map(|read| {
                assert_eq!(read.freshness, Freshness::Fresh);
                read.value
            }),
            1 => pod.get("k"),
            2 => all(pod.get_many(&["other", "k"])).map(|mut values| values.remove(1)),
            _ => pod.get_validated("k"),
        };
        match read {
            Ok(value) => {
                let got = number(value.as_ref());
                assert!(got >= seen, "C14: {got} after {seen}, way {way}");
                assert!(got >= due, "C2: {got}, but {due} was due, way {way}");
                let mut newest = newest.lock().unwrap();
                *newest = got.max(*newest);
            }
            Err(error) => {
                let expected = [ErrorKind::Retry, ErrorKind::Unproven];
                assert!(expected.contains(&error.kind()), "{error}");
                errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn c2_c14_reads_keep_their_order_and_their_bound(stage: &Stage) {
    let pod = connect(stage.hasty());
    let (written, shared) = (Written::default(), Shared::default());
    stage.set("k", "0");
    std::thread::scope(|scope| {
        for way in 0..4 {
            let (pod, written, shared) = (&pod, &written, &shared);
            scope.spawn(move || read(pod, written, shared, way));
        }
        scope.spawn(|| {
            let mut number = 0;
            while !shared.over.load(Ordering::Relaxed) {
                number += 1;
                stage.set("k", &number.to_string());
                written.0.lock().unwrap().push(Instant::now());
                std::thread::yield_now();
            }
        });
        // However it ends, the others must end too.
        let faults = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..5 {
                fault(stage, &pod, &shared, round);
            }
        }));
        shared.over.store(true, Ordering::Relaxed);
        if let Err(panic) = faults {
            std::panic::resume_unwind(panic);
        }
    });
    let last = written.0.lock().unwrap().len();
    assert_eq!(number(pod.get_validated("k").unwrap().as_ref()), last);
}

/// One thing that happens to the network, and its end.
fn fault(stage: &Stage, pod: &NearCache, shared: &Shared, round: usize) {
    let errors = shared.errors.load(Ordering::Relaxed);
    let connects = pod.stats().totals.connects_total;
    if round == 4 {
        // Slow, but all in its place: reads are served meanwhile.
        stage.net(Net::Drip(Duration::ZERO));
        let fills = pod.stats().totals.fills_total;
        eventually("values come in pieces", || {
            pod.stats().totals.fills_total > fills + 20
        });
        stage.net(Net::Pass);
    } else if round.is_multiple_of(2) {
        let nets = [Net::Stall, Net::StallReplies];
        stage.net(nets[round / 2 % 2]);
        eventually("reads are refused", || {
            shared.errors.load(Ordering::Relaxed) > errors + 20
        });
        stage.net(Net::Pass);
    } else {
        stage.l2().cut();
        eventually("the lane is back", || {
            pod.stats().totals.connects_total > connects
        });
    }
    let hits = pod.stats().totals.hits_total;
    eventually("reads are served", || {
        pod.stats().totals.hits_total > hits + 200
    });
}
