//! What loaders return: none, a life of its own, or a value where there is one of another release.

use super::*;

fn optional(key: &'static str, negative_ttl: Option<Duration>) -> Call<'static> {
    let mut call = call(key);
    call.optional = true;
    call.policy.negative_ttl = negative_ttl;
    call
}

#[test]
fn an_absence_is_believed_for_as_long_as_was_asked_and_no_longer() {
    let mut h = up();
    let cache = h.cache.clone();
    let asked = Rc::new(Cell::new(0));
    let none = |call| {
        let asked = asked.clone();
        load(&cache, call, move || {
            asked.set(asked.get() + 1);
            ready(Ok(None))
        })
    };
    for _ in 0..3 {
        let mut task = [none(optional("k", None))];
        drive(&mut h, &mut task, 3);
        assert_eq!(task[0].value(), None);
    }
    assert_eq!(asked.get(), 3, "by default it is asked again");
    let ttl = Some(Duration::from_secs(5));
    for _ in 0..3 {
        let mut task = [none(optional("k", ttl))];
        drive(&mut h, &mut task, 3);
        assert_eq!(task[0].value(), None);
    }
    assert_eq!(asked.get(), 4);
    // Who cannot do without asks for himself.
    let mut task = [load(&cache, call("m"), || ready(loaded("v")))];
    let mut absent = [none(optional("m", ttl))];
    drive(&mut h, &mut absent, 3);
    drive(&mut h, &mut task, 3);
    assert_eq!(task[0].value(), bytes("v"));
    // Whoever creates it ends the belief.
    h.foreign("SET k created");
    h.settle();
    let mut task = [none(optional("k", ttl))];
    drive(&mut h, &mut task, 3);
    assert_eq!(task[0].value(), bytes("created"));
    h.foreign("DEL k");
    h.settle();
    let mut task = [none(optional("k", ttl))];
    drive(&mut h, &mut task, 3);
    assert_eq!(
        asked.get(),
        6,
        "what was known before it was created is over"
    );
    h.pass(5000);
    let mut task = [none(optional("k", ttl))];
    drive(&mut h, &mut task, 3);
    assert_eq!(asked.get(), 7);
}

#[test]
fn a_loader_chooses_how_long_its_value_lives() {
    let mut h = up();
    let cache = h.cache.clone();
    let short = || {
        ready(Ok(Some(Loaded {
            value: Bytes::from_static(b"v"),
            ttl: Some(Duration::from_secs(3)),
        })))
    };
    let mut task = [load(&cache, optional("k", None), short)];
    drive(&mut h, &mut task, 5);
    let reader = h.cache.clone();
    let read = h.run(reader.read(0, b"k", ReadPolicy::PassThrough));
    assert_eq!(read.unwrap().value, bytes("v"));
    h.pass(3100);
    let read = h.run(reader.read(0, b"k", ReadPolicy::PassThrough));
    assert_eq!(read.unwrap().value, None);
}

/// A release whose values the other's code cannot read.
fn release(cache: &Cache<TestIo>, mine: &'static str, asked: &Rc<Cell<u64>>) -> Task {
    let (cache, asked) = (cache.clone(), asked.clone());
    Task::new(async move {
        let usable = |bytes: &Bytes| bytes.starts_with(mine.as_bytes());
        let loader = move || {
            asked.set(asked.get() + 1);
            ready(loaded(mine))
        };
        cache.get_or_load(call("k"), usable, loader).await
    })
}

#[test]
fn two_releases_that_cannot_read_each_other_do_not_fight_over_a_key() {
    let mut h = up();
    let mut other = Harness::new(PodConfig::default());
    let asked = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
    h.foreign("SET k v1");
    for _ in 0..10_000 / 5 {
        let mut one = [release(&h.cache.clone(), "v1", &asked[0])];
        drive(&mut h, &mut one, 2);
        assert_eq!(one[0].value(), bytes("v1"));
        other.share(&mut h, |other| {
            let mut two = [release(&other.cache.clone(), "v2", &asked[1])];
            drive(other, &mut two, 2);
            assert_eq!(two[0].value(), bytes("v2"));
        });
        h.pass(1);
    }
    let totals = [h.cache.pod().totals(), other.cache.pod().totals()];
    let replaced = totals.map(|totals| totals.values_replaced_total);
    assert!(replaced.iter().all(|times| *times <= 1), "{replaced:?}");
    assert!(replaced.iter().sum::<u64>() >= 1, "{replaced:?}");
    for asked in &asked {
        // Once each L: ten seconds.
        assert!(asked.get() <= 12, "{}", asked.get());
    }
}

#[test]
fn c4_a_value_that_does_not_decode_is_replaced_only_while_it_is_that_one() {
    let mut h = up();
    h.foreign("SET k old");
    let cache = h.cache.clone();
    let origin = Origin::default();
    let slow = origin.clone();
    let reader = cache.clone();
    let mut tasks = [Task::new(async move {
        let usable = |bytes: &Bytes| bytes != "old";
        let loader = move || slow.later();
        reader.get_or_load(call("k"), usable, loader).await
    })];
    drive(&mut h, &mut tasks, 5);
    // Its push is on its way when the loaded value is sent.
    let writer = h.writer;
    let words = ["SET", "k", "new"].map(|word| Bytes::from_static(word.as_bytes()));
    h.server.execute(writer, &words, h.io.now());
    origin.open.set(true);
    tasks[0].poll();
    drive(&mut h, &mut tasks, 5);
    assert!(tasks[0].is_done());
    let read = h.run(cache.read(0, b"k", ReadPolicy::PassThrough));
    assert_eq!(read.unwrap().value, bytes("new"));
    assert_eq!(cache.pod().totals().values_replaced_total, 0);
}
