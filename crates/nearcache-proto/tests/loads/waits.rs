//! Loaders that hang, need each other, are parked or too many: every call ends, and a bounded number runs.

use super::*;

#[test]
fn c8_a_loader_that_hangs_fails_its_callers_in_time() {
    let mut h = up();
    let cache = h.cache.clone();
    let mut tasks = vec![load(&cache, call("k"), pending)];
    drive(&mut h, &mut tasks, 3000);
    tasks.push(load(&cache, call("k"), || async {
        unreachable!("it joins")
    }));
    drive(&mut h, &mut tasks, 6990);
    assert!(!tasks[0].is_done() && !tasks[1].is_done());
    drive(&mut h, &mut tasks, 20);
    for task in &tasks {
        assert_eq!(task.error().kind(), ErrorKind::Loader);
        assert!(task.error().to_string().contains("load_timeout"));
    }
    assert_eq!(cache.pod().totals().load_timeouts_total, 1);
    let mut next = [load(&cache, call("k"), || ready(loaded("v")))];
    drive(&mut h, &mut next, 5);
    assert_eq!(next[0].value(), bytes("v"));
}

#[test]
fn c8_a_leader_that_is_no_longer_polled_is_taken_over_and_gives_its_place_back() {
    let config = PodConfig {
        max_loads: 1,
        ..PodConfig::default()
    };
    let mut h = with(config);
    let cache = h.cache.clone();
    let mut tasks = vec![load(&cache, call("k"), || ready(loaded("of the leader")))];
    // Its loader is about to start when another arm of its task takes over.
    drive(&mut h, &mut tasks[..1], 0);
    tasks[0] = load(&cache, call("l"), pending);
    drive(&mut h, &mut tasks, 2);
    tasks[0].parked = true;
    for key in ["l", "m"] {
        tasks.push(load(&cache, call(key), || ready(loaded("of a waiter"))));
    }
    drive(&mut h, &mut tasks, 12_500);
    assert_eq!(tasks[1].value(), bytes("of a waiter"), "taken over");
    assert_eq!(tasks[2].value(), bytes("of a waiter"), "there is a place");
    assert_eq!(cache.pod().totals().loads_abandoned_total, 1);
    // It comes back to find that its time is over.
    tasks[0].parked = false;
    drive(&mut h, &mut tasks, 1);
    assert_eq!(tasks[0].error().kind(), ErrorKind::Loader);
}

/// One that was parked in line for a place must not be given it.
#[test]
fn c8_a_caller_that_is_parked_in_line_holds_up_nobody() {
    let config = PodConfig {
        max_loads: 1,
        ..PodConfig::default()
    };
    let mut h = with(config);
    let cache = h.cache.clone();
    let origin = Origin::default();
    let mut tasks = vec![
        slow(&cache, &origin, "k"),
        load(&cache, call("l"), || ready(loaded("parked"))),
    ];
    drive(&mut h, &mut tasks, 5);
    tasks[1].parked = true;
    origin.open.set(true);
    drive(&mut h, &mut tasks, 5);
    assert_eq!(tasks[0].value(), bytes("0"));
    let mut last = vec![load(&cache, call("m"), || ready(loaded("v")))];
    for _ in 0..4 {
        drive(&mut h, &mut last, 11_000);
        if last[0].answer.as_ref().is_some_and(Result::is_ok) {
            break;
        }
        last = vec![load(&cache, call("m"), || ready(loaded("v")))];
    }
    assert_eq!(last[0].value(), bytes("v"));
}

#[test]
fn c8_a_loader_that_asks_for_its_own_key_is_told_so() {
    let mut h = up();
    let cache = h.cache.clone();
    let inner = cache.clone();
    let told = Rc::new(Cell::new(false));
    let seen = told.clone();
    let mut tasks = [load(&cache, call("k"), move || async move {
        let again = inner.get_or_load(call("k"), |_| true, || ready(loaded("inner")));
        let error = again.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("asks for the key that it loads"));
        seen.set(true);
        loaded("outer")
    })];
    drive(&mut h, &mut tasks, 10);
    assert!(told.get());
    assert_eq!(tasks[0].value(), bytes("outer"));
}

#[test]
fn c8_loaders_that_need_each_other_in_one_task_are_told_so() {
    let mut h = up();
    let cache = h.cache.clone();
    let (one, two) = (cache.clone(), cache.clone());
    let mut tasks = [load(&cache, call("a"), move || async move {
        let b = move || async move {
            let a = two.get_or_load(call("a"), |_| true, || ready(loaded("a again")));
            assert_eq!(a.await.unwrap_err().kind(), ErrorKind::Usage);
            loaded("b")
        };
        let b = one.get_or_load(call("b"), |_| true, b).await.unwrap();
        assert_eq!(b.value, bytes("b"));
        loaded("a")
    })];
    drive(&mut h, &mut tasks, 10);
    assert_eq!(tasks[0].value(), bytes("a"));
}

#[test]
fn c8_loaders_that_wait_for_each_other_in_two_tasks_end_in_time() {
    let mut h = up();
    let cache = h.cache.clone();
    let needs = |key: &'static str| {
        let cache = cache.clone();
        move || async move {
            let other = cache.get_or_load(call(key), |_| true, || ready(loaded("other")));
            match other.await {
                Ok(read) => {
                    Ok::<_, Infallible>(read.value.map(|value| Loaded { value, ttl: None }))
                }
                Err(_) => loaded("without the other"),
            }
        }
    };
    let mut tasks = [
        load(&cache, call("a"), needs("b")),
        load(&cache, call("b"), needs("a")),
    ];
    drive(&mut h, &mut tasks, 12_000);
    assert!(tasks.iter().all(Task::is_done));
}

/// Whatever else a caller's task does may panic; that is not its loader's fault.
#[test]
fn c8_a_panic_elsewhere_is_not_blamed_on_the_loader() {
    let mut h = up();
    let cache = h.cache.clone();
    let leader = cache.clone();
    let mut polls = 0;
    let mut inner = Box::pin(async move {
        let call = leader.get_or_load(call("k"), |_| true, pending::<Result<_, Infallible>>);
        call.await
    });
    let mut task = Task::new(std::future::poll_fn(move |cx| {
        polls += 1;
        let polled = inner.as_mut().poll(cx);
        if polls > 20 {
            resume_unwind(Box::new("elsewhere"));
        }
        polled
    }));
    let mut waiter = [load(&cache, call("k"), || ready(loaded("its own")))];
    for _ in 0..5 {
        task.poll();
        h.settle();
    }
    drive(&mut h, &mut waiter, 2);
    assert!(!waiter[0].is_done());
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let mut task = task;
        (0..30).for_each(|_| task.poll());
    }));
    assert!(panicked.is_err());
    drive(&mut h, &mut waiter, 2);
    assert_eq!(waiter[0].value(), bytes("its own"));
    assert_eq!(cache.pod().totals().load_errors_total, 0);
}

#[test]
fn c8_no_more_than_max_loads_run_and_the_others_follow_in_line() {
    let config = PodConfig {
        max_loads: 3,
        ..PodConfig::default()
    };
    let mut h = with(config);
    let cache = h.cache.clone();
    let origin = Origin::default();
    let keys: Vec<&'static str> = (0..200).map(|n| &*format!("k{n}").leak()).collect();
    let mut tasks: Vec<_> = keys.iter().map(|key| slow(&cache, &origin, key)).collect();
    drive(&mut h, &mut tasks, 20);
    assert_eq!((origin.asked.get(), origin.at_work.get()), (3, 3));
    assert_eq!(cache.pod().totals().loads_queued_total, 197);
    origin.open.set(true);
    drive(&mut h, &mut tasks, 200);
    assert!(tasks.iter().all(|task| task.value() == bytes("0")));
    assert_eq!(origin.asked.get(), 200);
    assert_eq!(origin.most.get(), 3);
}

#[test]
fn c10_who_waits_for_a_place_too_long_is_told_the_setting() {
    let config = PodConfig {
        max_loads: 1,
        load_timeout: Duration::from_secs(2),
        ..PodConfig::default()
    };
    let mut h = with(config);
    let cache = h.cache.clone();
    let mut tasks = vec![load(&cache, call("k"), pending)];
    drive(&mut h, &mut tasks, 5);
    // From here on one after the other hangs, each for two seconds.
    for key in ["l", "m", "n"] {
        tasks.push(load(&cache, call(key), pending));
    }
    drive(&mut h, &mut tasks, 2300);
    let error = tasks[3].error();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("max_loads"), "{error}");
    assert!(cache.pod().totals().load_waits_expired_total >= 1);
}

/// Else loaders that need each other's kind could hold all places and wait for one.
#[test]
fn c8_a_load_inside_a_loader_needs_no_place_of_its_own() {
    let config = PodConfig {
        max_loads: 1,
        ..PodConfig::default()
    };
    let mut h = with(config);
    let cache = h.cache.clone();
    let inner = cache.clone();
    let mut tasks = [load(&cache, call("order"), move || async move {
        let item = inner.get_or_load(call("item"), |_| true, || ready(loaded("item")));
        let item = item.await.unwrap().value.unwrap();
        Ok::<_, Infallible>(Some(Loaded {
            value: item,
            ttl: None,
        }))
    })];
    drive(&mut h, &mut tasks, 20);
    assert_eq!(tasks[0].value(), bytes("item"));
}

#[test]
fn c10_a_shutdown_ends_every_wait() {
    let config = PodConfig {
        max_loads: 1,
        ..PodConfig::default()
    };
    let mut h = with(config);
    let cache = h.cache.clone();
    let mut tasks = [
        load(&cache, call("k"), pending),
        load(&cache, call("k"), pending),
        load(&cache, call("l"), pending),
    ];
    drive(&mut h, &mut tasks, 5);
    h.lane.shutdown(h.io.now());
    drive(&mut h, &mut tasks, 1);
    for task in &tasks {
        assert_eq!(task.error().kind(), ErrorKind::Closed);
    }
}
