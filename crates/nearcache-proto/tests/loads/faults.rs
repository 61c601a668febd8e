//! What once went wrong: own commands that name several keys, places held by those who wait, beliefs that outlive what they
//! rest upon, a clock that stops, wakers that drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use super::*;

fn command(h: &mut Harness, words: &'static [&'static str]) -> Result<resp::Reply, Error> {
    let mut session = Session::new(h.cache.clone(), 0);
    h.run(async move { session.command(words).await })
}

/// A pushed deletion of an absent key there is not: what names the key must do.
#[test]
fn c3_c4_an_own_command_of_several_keys_ends_the_loads_of_each() {
    for words in [
        &["DEL", "k"][..],
        &["DEL", "j", "k"],
        &["UNLINK", "k", "j"],
        &["EVAL", "return redis.call('DEL', KEYS[1])", "1", "k"],
    ] {
        let mut h = up();
        let cache = h.cache.clone();
        let origin = Origin::default();
        let mut tasks = vec![slow(&cache, &origin, "k")];
        drive(&mut h, &mut tasks, 5);
        origin.value.set(1);
        command(&mut h, words).expect("it is acknowledged");
        tasks.push(slow(&cache, &origin, "k"));
        drive(&mut h, &mut tasks, 5);
        origin.open.set(true);
        drive(&mut h, &mut tasks, 20);
        assert_eq!(tasks[1].value(), bytes("1"), "C3: {words:?}");
        let stored = h.run(cache.read(0, b"k", ReadPolicy::PassThrough));
        assert_eq!(stored.unwrap().value, bytes("1"), "C4: {words:?}");
    }
}

#[test]
fn c3_c4_so_does_a_transaction() {
    let mut h = up();
    let cache = h.cache.clone();
    let origin = Origin::default();
    let mut tasks = vec![slow(&cache, &origin, "k")];
    drive(&mut h, &mut tasks, 5);
    origin.value.set(1);
    let mut session = Session::new(cache.clone(), 0);
    h.run(async move {
        for words in [&["MULTI"][..], &["DEL", "k"], &["EXEC"]] {
            session.command(words).await.unwrap();
        }
    });
    tasks.push(slow(&cache, &origin, "k"));
    drive(&mut h, &mut tasks, 5);
    origin.open.set(true);
    drive(&mut h, &mut tasks, 20);
    assert_eq!(tasks[1].value(), bytes("1"));
}

#[test]
fn c3_without_l2_a_failed_command_of_several_keys_ends_what_was_lent() {
    for words in [&["DEL", "k", "j"][..], &["MSET", "j", "2", "k", "2"]] {
        let mut h = up();
        let cache = h.cache.clone();
        lose_l2(&mut h);
        let origin = Origin::default();
        let mut tasks = vec![at_once(&cache, &origin, "k")];
        drive(&mut h, &mut tasks, 0);
        origin.value.set(1);
        assert!(command(&mut h, words).is_err());
        tasks.push(at_once(&cache, &origin, "k"));
        drive(&mut h, &mut tasks, 0);
        assert_eq!(tasks[1].value(), bytes("1"), "{words:?}");
    }
}

/// The one that is given a place finds its key changed, looks again, and finds another at it who waits for a place.
#[test]
fn c8_nobody_waits_for_a_load_with_the_place_that_it_needs() {
    let mut h = with(PodConfig {
        max_loads: 1,
        ..PodConfig::default()
    });
    let cache = h.cache.clone();
    let origin = Origin::default();
    let mut tasks = vec![slow(&cache, &origin, "first")];
    drive(&mut h, &mut tasks, 3);
    tasks.push(load(&cache, call("k"), || ready(loaded("a"))));
    drive(&mut h, &mut tasks, 3);
    h.foreign("SET k x");
    h.foreign("DEL k");
    drive(&mut h, &mut tasks, 1);
    h.rtt = Duration::from_millis(5);
    origin.open.set(true);
    tasks[0].poll();
    drive(&mut h, &mut tasks[..1], 20);
    assert!(tasks[0].is_done());
    tasks[1].poll();
    h.settle();
    tasks.push(load(&cache, call("k"), || ready(loaded("b"))));
    tasks[2].poll();
    for _ in 0..20 {
        h.settle();
        h.pass(1);
    }
    tasks[2].poll();
    drive(&mut h, &mut tasks, 100);
    assert!(tasks[1].is_done() && tasks[2].is_done());
}

/// Nothing is heard any more, and nobody is told so.
#[test]
fn c2_an_absence_is_believed_no_longer_than_l_without_l2() {
    let mut h = up();
    let cache = h.cache.clone();
    let mut absent = call("k");
    absent.optional = true;
    absent.policy.negative_ttl = Some(Duration::from_secs(60));
    let mut none = [load(&cache, absent, || ready(Ok(None)))];
    drive(&mut h, &mut none, 5);
    assert_eq!(none[0].value(), None);
    let _half_open = h.link.take();
    h.foreign("SET k created");
    let mut late = 0;
    for ms in 0..12_000 {
        if ms % 100 == 0 {
            let mut task = [load(&cache, absent, || ready(loaded("created")))];
            drive(&mut h, &mut task, 0);
            let answer = task[0].answer.take();
            if matches!(answer, Some(Ok(read)) if read.value.is_none()) {
                late = ms;
            }
        }
        h.settle();
        h.pass(1);
    }
    assert!(late <= 1000, "believed for {late} ms");
}

#[test]
fn c2_an_absence_does_not_hide_a_value_that_does_not_decode() {
    let mut h = with(PodConfig {
        bypass: vec![b"k".to_vec()],
        ..PodConfig::default()
    });
    let cache = h.cache.clone();
    let mut absent = call("k");
    absent.optional = true;
    absent.policy.negative_ttl = Some(Duration::from_secs(60));
    let mut none = [load(&cache, absent, || ready(Ok(None)))];
    drive(&mut h, &mut none, 5);
    h.foreign("SET k other");
    drive(&mut h, &mut [], 3000);
    let mut task = [Task::new(async move {
        let usable = |bytes: &Bytes| bytes != "other";
        let loader = || ready(loaded("mine"));
        cache.get_or_load(absent, usable, loader).await
    })];
    drive(&mut h, &mut task, 5);
    assert_eq!(task[0].value(), bytes("mine"));
}

#[test]
fn c5_what_is_lent_lives_no_longer_than_its_loader_lets_it() {
    let mut h = up();
    let cache = h.cache.clone();
    lose_l2(&mut h);
    let asked = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let asked = asked.clone();
        let loader = move || {
            asked.set(asked.get() + 1);
            ready(Ok::<_, Infallible>(Some(Loaded {
                value: Bytes::from_static(b"token"),
                ttl: Some(Duration::from_millis(50)),
            })))
        };
        let mut task = [load(&cache, call("k"), loader)];
        drive(&mut h, &mut task, 0);
        h.pass(60);
    }
    assert_eq!(asked.get(), 2);
}

/// A task that is polled only when it is woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The thread that drives the lane ends by a panic; another takes over, and tells the time.
#[test]
fn c8_a_loader_is_ended_in_time_although_the_lane_was_abandoned() {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker: Waker = woken.clone().into();
    let mut h = up();
    let cache = h.cache.clone();
    let mut leader = load(&cache, call("k"), pending).future.take().unwrap();
    let mut ended = None;
    for ms in 0..13_000 {
        if ended.is_none() && woken.0.swap(false, Ordering::SeqCst) {
            let polled = leader.as_mut().poll(&mut Context::from_waker(&waker));
            ended = polled.is_ready().then_some(ms);
        }
        if ms == 100 {
            let panic = Error::new(ErrorKind::Retry, "a panic");
            h.lane.abandon(&panic, h.io.now());
            h.lane = lane(cache.pod(), 2);
            h.link = None;
            h.later.clear();
        }
        h.settle();
        h.pass(1);
    }
    assert!(matches!(ended, Some(10_000..=10_200)), "{ended:?}");
}

thread_local!(static HELD: Cell<Option<Task>> = const { Cell::new(None) });

/// Drops a task of this thread when it is woken.
struct Drops;

impl Wake for Drops {
    fn wake(self: Arc<Self>) {
        drop(HELD.take());
    }
}

#[test]
fn c10_whoever_is_woken_by_the_end_of_a_load_may_drop_its_leader() {
    let mut h = up();
    let cache = h.cache.clone();
    let mut leader = [load(&cache, call("k"), pending)];
    drive(&mut h, &mut leader, 5);
    let [leader] = leader;
    let mut waiter = load(&cache, call("k"), || ready(loaded("v")));
    for _ in 0..3 {
        waiter.poll();
        h.settle();
    }
    HELD.set(Some(leader));
    let waker: Waker = Arc::new(Drops).into();
    let mut waiting = waiter.future.take().unwrap();
    let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    drive(&mut h, &mut [], 12_000);
    assert!(HELD.take().is_none(), "it was dropped");
    assert_eq!(cache.pod().totals().loads_abandoned_total, 1);
}

/// A loader that loads many at once: one of them runs on its place, the others wait for places.
#[test]
fn c8_loads_inside_a_loader_are_bounded_too() {
    for max_loads in [1, 3] {
        let mut h = with(PodConfig {
            max_loads,
            ..PodConfig::default()
        });
        let cache = h.cache.clone();
        let origin = Origin::default();
        let keys: Vec<&'static str> = (0..100).map(|n| &*format!("n{n}").leak()).collect();
        let (inner, asked) = (cache.clone(), origin.clone());
        let mut tasks = vec![load(&cache, call("batch"), move || async move {
            let one = |key: &&'static str| {
                let (inner, asked, key) = (inner.clone(), asked.clone(), *key);
                Box::pin(async move {
                    let loader = move || asked.later();
                    inner.get_or_load(call(key), |_| true, loader).await
                })
            };
            let mut all: Vec<_> = keys.iter().map(one).collect();
            std::future::poll_fn(|cx| {
                all.retain_mut(|load| load.as_mut().poll(cx).is_pending());
                match all.is_empty() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            loaded("all")
        })];
        drive(&mut h, &mut tasks, 20);
        origin.open.set(true);
        drive(&mut h, &mut tasks, 300);
        assert_eq!(tasks[0].value(), bytes("all"));
        assert_eq!(origin.most.get(), max_loads as u64, "at a time");
    }
}

/// A lane that is up again says nothing of what happened while it was not.
#[test]
fn c2_a_load_that_began_without_l2_is_not_joined_late() {
    let mut h = up();
    let cache = h.cache.clone();
    lose_l2(&mut h);
    let origin = Origin::default();
    let mut tasks = vec![slow(&cache, &origin, "k")];
    drive(&mut h, &mut tasks, 5);
    origin.value.set(1);
    h.down = false;
    drive(&mut h, &mut tasks, 5000);
    assert!(cache.pod().is_tracked());
    tasks.push(slow(&cache, &origin, "k"));
    drive(&mut h, &mut tasks, 5);
    origin.open.set(true);
    drive(&mut h, &mut tasks, 5);
    assert_eq!(tasks[1].value(), bytes("1"));
}

/// Who needs a value, and who would take that there is none, load the same key.
#[test]
fn c8_what_is_of_no_use_to_a_caller_starts_no_second_loader() {
    let mut h = up();
    let cache = h.cache.clone();
    let origin = Origin::default();
    let absent = |origin: &Origin| {
        let origin = origin.clone();
        let mut absent = call("k");
        absent.optional = true;
        load(&cache, absent, move || async move {
            let _ = origin.later().await;
            Ok::<_, Infallible>(None)
        })
    };
    let mut tasks = vec![absent(&origin), slow(&cache, &origin, "k")];
    for _ in 0..3 {
        drive(&mut h, &mut tasks, 3);
        origin.open.set(true);
        tasks[0].poll();
        origin.open.set(false);
        tasks[0] = absent(&origin);
        drive(&mut h, &mut tasks, 3);
    }
    origin.open.set(true);
    drive(&mut h, &mut tasks, 20);
    assert_eq!(tasks[1].value(), bytes("0"));
    assert_eq!(origin.most.get(), 1, "at a time");
}

#[test]
fn c10_a_full_server_costs_one_load_each_l() {
    let mut h = up();
    let cache = h.cache.clone();
    h.server.set_memory_limit(1);
    let origin = Origin::default();
    for _ in 0..100 {
        let mut task = [at_once(&cache, &origin, "k")];
        drive(&mut h, &mut task, 15);
        assert_eq!(task[0].value(), bytes("0"));
    }
    // A second and a half.
    assert!(origin.asked.get() <= 3, "{}", origin.asked.get());
}

#[test]
fn c10_a_limit_of_this_pod_is_not_taken_for_the_end_of_l2() {
    let mut h = with(PodConfig {
        queue_requests: 1,
        ..PodConfig::default()
    });
    let cache = h.cache.clone();
    let keys = ["a", "b", "c", "d"];
    let mut tasks: Vec<_> = keys
        .map(|key| load(&cache, call(key), || ready(loaded("v"))))
        .into();
    drive(&mut h, &mut tasks, 40);
    for task in &tasks {
        assert_eq!(task.value(), bytes("v"));
    }
    let totals = cache.pod().totals();
    assert!(totals.queue_waits_total >= 1);
    assert_eq!(totals.loads_l2_down_total, 0);
}

#[test]
fn c14_several_values_are_not_served_stale_where_nothing_forces_it() {
    let mut h = Harness::new(PodConfig::default());
    h.server.refuse_tracking(true);
    h.settle();
    h.foreign("MSET a 1 b 1");
    let cache = h.cache.clone();
    h.run(cache.read(0, b"a", ReadPolicy::PassThrough)).unwrap();
    h.foreign("MSET a 2 b 2");
    h.run(cache.read(0, b"b", ReadPolicy::PassThrough)).unwrap();
    let max = Duration::from_secs(5);
    let stale = ReadPolicy::ServeStale { max };
    let reply = h.run(cache.reply(0, &["MGET", "a", "b"], stale)).unwrap();
    assert_eq!(reply, None, "it has to be sent");
    assert_eq!(cache.pod().totals().stale_total, 0);
}

#[test]
fn c10_a_caller_that_was_parked_in_line_does_not_load_when_it_comes_back() {
    let mut h = with(PodConfig {
        max_loads: 1,
        ..PodConfig::default()
    });
    let cache = h.cache.clone();
    let origin = Origin::default();
    let mut tasks = vec![
        load(&cache, call("first"), pending),
        slow(&cache, &origin, "k"),
    ];
    drive(&mut h, &mut tasks, 5);
    tasks[1].parked = true;
    drive(&mut h, &mut tasks, 13_000);
    tasks[1].parked = false;
    drive(&mut h, &mut tasks, 5);
    assert_eq!(tasks[1].error().kind(), ErrorKind::Retry);
    assert_eq!(origin.asked.get(), 0);
}

/// However its key changes hands, a call ends.
#[test]
fn c8_a_joiner_waits_no_longer_than_its_own_time() {
    let config = PodConfig {
        load_timeout: Duration::from_secs(4),
        ..PodConfig::default()
    };
    let mut h = with(config);
    let cache = h.cache.clone();
    let mut tasks = vec![load(&cache, call("k"), pending)];
    drive(&mut h, &mut tasks, 3);
    tasks.push(load(&cache, call("k"), pending));
    drive(&mut h, &mut tasks, 3);
    // The leader is cancelled, then parked ones lead in turn, each for as long as it may.
    for _ in 0..3 {
        tasks[0] = load(&cache, call("k"), pending);
        tasks[0].poll();
        drive(&mut h, &mut tasks, 1500);
    }
    drive(&mut h, &mut tasks, 5000);
    assert!(tasks[1].is_done());
}
