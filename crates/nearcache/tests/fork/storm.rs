//! Children that are forked while every thread of the parent is inside the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearcache::{Builder, Json, Ttl, blocking};
use nearcache_testkit::wait_until;
use redis::Commands;

use crate::child::{Child, End};
use crate::steps::{holds, start};

/// As many children live at once.
const AT_ONCE: usize = 4;
const HOT: &str = r#""as it was""#;

/// Every kind of handle, for a child to inherit.
struct Handles {
    cache: blocking::NearCache,
    typed: blocking::Typed<String, Json>,
    session: blocking::Session,
    con: blocking::Connection,
}

impl Handles {
    fn of(cache: &blocking::NearCache) -> Self {
        Self {
            cache: cache.clone(),
            typed: cache.typed(Json),
            session: cache.session(),
            con: blocking::Connection::new(cache),
        }
    }
}

/// `forks` children of a cache on `l2`, each of which must read and write and end.
pub(crate) fn weather(l2: &str, builder: Builder, forks: usize) {
    let cache = start(builder);
    cache.set("hot", HOT, Ttl::NONE).expect("a write");
    let over = Arc::new(AtomicBool::new(false));
    let threads = stir(&cache, &over);
    let mut handles = Some(Handles::of(&cache));
    let (mut living, mut ends) = (Vec::new(), Vec::new());
    for nth in 0..forks {
        living.push(Child::fork(|| visit(handles.take(), nth)));
        while living.len() >= AT_ONCE {
            wait_until(|| {
                living.retain_mut(|child: &mut Child| {
                    let end = child.poll();
                    ends.extend(end);
                    end.is_none()
                });
                living.len() < AT_ONCE
            });
        }
    }
    ends.extend(living.into_iter().map(Child::wait));
    over.store(true, Ordering::Relaxed);
    let calls: u64 = threads
        .into_iter()
        .map(|t| t.join().expect("a thread"))
        .sum();
    let hung = ends.iter().filter(|end| **end == End::Hung).count();
    let failed: Vec<_> = ends.iter().filter(|end| **end != End::Step(0)).collect();
    println!("{l2}: {forks} forks under {calls} calls, {hung} hang");
    assert!(failed.is_empty(), "{l2}, of {forks} children: {failed:?}");
    cache.shutdown();
}

/// Threads that hit, miss, evict, write, load and look, until it is over; each returns how many calls it made.
fn stir(cache: &blocking::NearCache, over: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<u64>> {
    let work: [fn(&mut Handles, u64); 5] = [
        |of, n| drop(of.cache.get(format!("k{}", n * 7919 % 2000))),
        |of, n| drop(of.cache.get(format!("k{}", n % 40))),
        |of, n| {
            let key = format!("k{}", n * 104_729 % 2000);
            let value = || Ok::<_, std::io::Error>(vec![b'x'; 500].into());
            let _ = match n % 3 {
                0 => of.cache.set(key, vec![b'y'; 500], Ttl::NONE),
                1 => of.cache.delete(key).map(drop),
                _ => of.cache.get_or_load(key, Ttl::NONE, value).map(drop),
            };
        },
        |of, n| {
            let key = format!("h{}", n % 50);
            match n % 10 {
                0 => drop(of.con.hset::<_, _, _, u8>(key, "f", n)),
                1 => drop(of.session.command(&["INCR", "n"])),
                _ => drop(of.con.hget::<_, _, Option<String>>(key, "f")),
            }
        },
        |of, n| {
            let _ = of.typed.get("hot");
            if n % 16 == 0 {
                drop((of.cache.stats(), of.cache.readiness()));
            }
        },
    ];
    let start = |work: fn(&mut Handles, u64)| {
        let (mut handles, over) = (Handles::of(cache), over.clone());
        std::thread::spawn(move || {
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                work(&mut handles, n);
                n += 1;
            }
            n
        })
    };
    work.into_iter().map(start).collect()
}

/// What each child does; which step failed, 0 for none.
fn visit(handles: Option<Handles>, nth: usize) -> i32 {
    let Some(mut of) = handles else { return 1 };
    // May be resident or not; what counts is that it comes back.
    drop(of.cache.get_resident("hot"));
    // An embedded store is empty at first.
    if of.cache.stats().lanes[0].l2 == "memory:" && of.cache.set("hot", HOT, Ttl::NONE).is_err() {
        return 10;
    }
    let hits = || holds(&of.cache, "hot", HOT) && of.cache.get_resident("hot").is_some();
    if !wait_until(hits) {
        return 2;
    }
    if !matches!(of.cache.get(format!("nobody's {nth}")), Ok(None)) {
        return 3;
    }
    let (own, value) = (format!("child {nth}"), nth.to_string());
    if of.cache.set(&own, value.clone(), Ttl::secs(60)).is_err() {
        return 4;
    }
    if !holds(&of.cache, &own, &value) {
        return 5;
    }
    if !matches!(of.con.get::<_, Option<String>>(&own), Ok(Some(read)) if read == value) {
        return 6;
    }
    if !matches!(of.typed.get("hot"), Ok(Some(read)) if *read == "as it was") {
        return 7;
    }
    if of.session.command(&["INCR", "children"]).is_err() {
        return 8;
    }
    if of.cache.stats().pid != std::process::id() {
        return 9;
    }
    drop(of.cache.readiness());
    drop(of);
    0
}
