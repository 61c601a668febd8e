//! Sessions and drop-in connections that were made before the fork.

use std::sync::atomic::{AtomicBool, Ordering};

use nearcache::{Builder, ErrorKind, Reply, Ttl, WriteOutcome, blocking, redis as drop_in};
use redis::{Commands, RedisResult, cmd};

use crate::child::{Child, End};
use crate::steps::{holds, start};

fn run(con: &mut blocking::Connection, words: &str) -> RedisResult<()> {
    let mut words = words.split(' ');
    let mut command = cmd(words.next().unwrap_or_default());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query(con)
}

pub(crate) fn a_child_has_connection_states_of_its_own(builder: Builder) {
    let cache = start(builder);
    let mut session = cache.session();
    session.command(&["SELECT", "3"]).expect("a db");
    session.command(&["WATCH", "k"]).expect("a transaction");
    let mut con = blocking::Connection::new(&cache);
    let in_db: RedisResult<()> = ["SELECT 2", "SET name con", "GET name"]
        .iter()
        .try_for_each(|words| run(&mut con, words));
    in_db.expect("commands");
    let mut open = con.clone();
    run(&mut open, "MULTI").expect("a transaction");
    run(&mut open, "SET name queued").expect("a queued command");
    let shared = open.clone();
    let child = Child::fork(|| in_child(&mut session, &mut con, &mut open, &shared));
    assert_eq!(child.wait(), End::Step(0));
    assert!(open.as_async().in_transaction());
    run(&mut open, "EXEC").expect("the parent's transaction goes on");
    let name: RedisResult<String> = con.get("name");
    assert_eq!(name.expect("a read"), "queued");
    session
        .command(&["UNWATCH"])
        .expect("its connection is there");
    cache.shutdown();
}

fn in_child(
    session: &mut blocking::Session,
    con: &mut blocking::Connection,
    open: &mut blocking::Connection,
    shared: &blocking::Connection,
) -> i32 {
    let lost = |error: &nearcache::Error| {
        error.kind() == ErrorKind::Retry && error.write_outcome() == Some(WriteOutcome::NotSent)
    };
    if !session.command(&["PING"]).is_err_and(|error| lost(&error)) {
        return 1;
    }
    if session.command(&["SET", "from", "child"]).is_err() {
        return 2;
    }
    // The db is the one that was chosen in the parent.
    if !matches!(con.get::<_, Option<String>>("name"), Ok(Some(name)) if name == "con") {
        return 3;
    }
    if open.as_async().in_transaction() || shared.as_async().in_transaction() {
        return 4;
    }
    let mut late = shared.clone();
    if !matches!(late.get::<_, Option<String>>("name"), Ok(Some(name)) if name == "con") {
        return 5;
    }
    let failed = open.set::<_, _, ()>("name", "not alone");
    if !failed.is_err_and(|error| drop_in::cause(&error).is_some_and(lost)) {
        return 6;
    }
    if run(open, "MULTI").is_err() || run(open, "INCR n").is_err() || run(open, "EXEC").is_err() {
        return 7;
    }
    let from = session.command(&["GET", "from"]);
    match from {
        Ok(Reply::Bulk(value)) if value == "child" => 0,
        _ => 8,
    }
}

pub(crate) fn a_child_drops_nothing_of_its_parents(builder: Builder) {
    let cache = start(builder);
    cache.set("k", "v", Ttl::NONE).expect("a write");
    let mut session = cache.session();
    session.command(&["WATCH", "k"]).expect("a side connection");
    let mut con = blocking::Connection::new(&cache);
    run(&mut con, "MULTI").expect("a side connection");
    let mut all = Some((cache, session, con));
    for calls in [false, true] {
        let child = Child::fork(|| {
            // The last owners there are in the child.
            let (cache, session, con) = all.take().expect("inherited");
            let read = !calls || holds(&cache, "k", "v");
            drop((session, con));
            drop(cache);
            i32::from(!read)
        });
        assert_eq!(child.wait(), End::Step(0));
    }
    let (cache, mut session, mut con) = all.expect("the child's was a copy");
    run(&mut con, "SET k w").expect("a queued command");
    run(&mut con, "EXEC").expect("the side connection is there");
    session.command(&["MULTI"]).expect("so is this");
    let executed = session.command(&["EXEC"]);
    assert_eq!(executed.expect("an answer"), Reply::Nil, "k was watched");
    assert!(holds(&cache, "k", "w"));
    assert_eq!(cache.stats().totals.connects_total, 1);
    cache.shutdown();
}

static LET_GO: AtomicBool = AtomicBool::new(false);

/// Part of a pod: tells when it is dropped.
struct Kept;

impl Drop for Kept {
    fn drop(&mut self) {
        LET_GO.store(true, Ordering::Relaxed);
    }
}

/// Before its first call a pod has no thread, which would keep it, too.
pub(crate) fn a_child_drops_no_pod_of_its_parents(builder: Builder) {
    let kept = Kept;
    let hook = move |_: nearcache::Key<'_>, _| {
        let _ = &kept;
    };
    let mut cache = Some(builder.on_removal(hook).build().expect("a cache"));
    let let_go = || LET_GO.load(Ordering::Relaxed);
    let child = Child::fork(|| {
        drop(cache.take());
        i32::from(let_go())
    });
    assert_eq!(child.wait(), End::Step(0));
    drop(cache);
    assert!(let_go(), "its own process drops it");
}
