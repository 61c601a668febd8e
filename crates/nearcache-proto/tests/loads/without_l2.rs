//! L2 is away, and the origin is not: loaders run, and what they return is lent for a while and kept nowhere.

use super::*;

#[test]
fn c10_a_loader_runs_while_l2_is_away_and_its_value_is_lent_for_l() {
    let mut h = up();
    let cache = h.cache.clone();
    lose_l2(&mut h);
    let origin = Origin::default();
    for ms in 0..3000 {
        let mut task = [at_once(&cache, &origin, "k")];
        drive(&mut h, &mut task, 0);
        assert_eq!(task[0].value(), bytes("0"), "after {ms} ms");
        let read = task[0].answer.as_ref().unwrap().as_ref().unwrap();
        assert_eq!(read.source, Source::Origin);
        h.pass(1);
    }
    // L is a second, less one per cent.
    assert_eq!(origin.asked.get(), 4);
    assert_eq!(cache.pod().totals().loads_l2_down_total, 4);
    assert_eq!(cache.get_resident(0, b"k").map(|hit| hit.value), None);
    assert!(!cache.pod().holds(nearcache_l1::Key::new(0, b"k")));
    drive(&mut h, &mut [], 1000);
    assert_eq!(
        cache.pod().store_stats().entries,
        0,
        "nothing is left of it"
    );
    h.down = false;
    drive(&mut h, &mut [], 3000);
    let cache = h.cache.clone();
    let read = h.run(cache.read(0, b"k", ReadPolicy::PassThrough)).unwrap();
    assert_eq!(read.value, None, "L2 was never told");
}

/// What L2 takes to be given up is no time of the loaders', whichever of the two limits is longer.
#[test]
fn c10_a_server_that_hangs_does_not_use_up_the_time_for_loaders() {
    for load_timeout in [Duration::from_millis(100), Duration::from_secs(10)] {
        let mut h = with(PodConfig {
            load_timeout,
            ..PodConfig::default()
        });
        let cache = h.cache.clone();
        let origin = Origin::default();
        let ask = || slow(&cache, &origin, "k");
        // The first writes what it loaded when L2 stops, and others wait for it; then for what L2 has.
        let mut tasks = vec![ask()];
        drive(&mut h, &mut tasks, 5);
        h.rtt = Duration::from_secs(3600);
        origin.open.set(true);
        tasks.extend([ask(), ask()]);
        drive(&mut h, &mut tasks, 1000);
        tasks.extend([ask(), ask()]);
        drive(&mut h, &mut tasks, 6000);
        for task in &tasks {
            assert_eq!(task.value(), bytes("0"), "{load_timeout:?}");
        }
        assert_eq!(cache.pod().totals().load_waits_expired_total, 0);
    }
}

#[test]
fn c10_a_call_may_fail_with_l2_instead() {
    let mut h = up();
    let cache = h.cache.clone();
    lose_l2(&mut h);
    let mut strict = call("k");
    strict.policy.on_l2_down = OnL2Down::Error;
    let mut task = [load(&cache, strict, || async {
        unreachable!("it must not run")
    })];
    drive(&mut h, &mut task, 0);
    assert_eq!(task[0].error().kind(), ErrorKind::Retry);
}

#[test]
fn c10_a_lane_that_is_refused_is_a_lane_that_is_down() {
    let mut h = Harness::new(PodConfig::default());
    h.down = true;
    h.refusal = Some(ErrorKind::Configuration);
    h.settle();
    let cache = h.cache.clone();
    let mut task = [load(&cache, call("k"), || ready(loaded("v")))];
    drive(&mut h, &mut task, 0);
    assert_eq!(task[0].value(), bytes("v"));
}

#[test]
fn c10_a_stale_copy_goes_before_the_loader() {
    let mut h = up();
    let cache = h.cache.clone();
    h.foreign("SET k old");
    let cache2 = cache.clone();
    h.run(cache2.read(0, b"k", ReadPolicy::PassThrough))
        .unwrap();
    lose_l2(&mut h);
    let mut lenient = call("k");
    let max = Duration::from_secs(5);
    lenient.policy.on_unproven = ReadPolicy::ServeStale { max };
    let mut task = [load(&cache, lenient, || ready(loaded("new")))];
    drive(&mut h, &mut task, 0);
    assert_eq!(task[0].value(), bytes("old"));
    h.pass(6000);
    let mut task = [load(&cache, lenient, || ready(loaded("new")))];
    drive(&mut h, &mut task, 0);
    assert_eq!(task[0].value(), bytes("new"), "older than the maximum");
}

/// "Failed or not": L2 is away, so the write fails, but what it was about has changed.
#[test]
fn c3_a_failed_write_ends_what_the_origin_said_before() {
    let mut h = up();
    let cache = h.cache.clone();
    lose_l2(&mut h);
    let origin = Origin::default();
    let mut tasks = vec![slow(&cache, &origin, "k")];
    drive(&mut h, &mut tasks, 5);
    // The origin is written while a loader has read it, then L2 is told, in vain.
    origin.value.set(1);
    let writer = h.cache.clone();
    assert!(h.run(writer.delete(0, b"k")).is_err());
    tasks.push(slow(&cache, &origin, "k"));
    drive(&mut h, &mut tasks, 5);
    origin.open.set(true);
    drive(&mut h, &mut tasks, 5);
    assert_eq!(tasks[0].value(), bytes("0"), "it came before the write");
    assert_eq!(tasks[1].value(), bytes("1"), "C3: it came after");
    // And for what lies there already.
    origin.value.set(2);
    let writer = h.cache.clone();
    let set = writer.set(0, b"k", Bytes::from_static(b"2"), None);
    assert!(h.run(set).is_err());
    tasks.push(at_once(&cache, &origin, "k"));
    drive(&mut h, &mut tasks, 0);
    assert_eq!(tasks[2].value(), bytes("2"));
    origin.value.set(3);
    cache.forget(0, b"k");
    tasks.push(at_once(&cache, &origin, "k"));
    drive(&mut h, &mut tasks, 0);
    assert_eq!(tasks[3].value(), bytes("3"));
}

#[test]
fn c2_a_caller_gets_nothing_of_the_origin_older_than_l() {
    let mut h = up();
    let cache = h.cache.clone();
    lose_l2(&mut h);
    let origin = Origin::default();
    let mut tasks = vec![slow(&cache, &origin, "k")];
    drive(&mut h, &mut tasks, 900);
    tasks.push(slow(&cache, &origin, "k"));
    drive(&mut h, &mut tasks, 200);
    origin.value.set(1);
    tasks.push(slow(&cache, &origin, "k"));
    drive(&mut h, &mut tasks, 5);
    assert_eq!(
        origin.at_work.get(),
        1,
        "C8: the late one waits for its turn"
    );
    origin.open.set(true);
    drive(&mut h, &mut tasks, 5);
    assert_eq!(tasks[1].value(), bytes("0"));
    assert_eq!(tasks[2].value(), bytes("1"));
    assert_eq!(origin.asked.get(), 2);
}
