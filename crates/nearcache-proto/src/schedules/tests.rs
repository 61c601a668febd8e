//! Every interleaving of the hit path with the lane's thread, explored with loom: the
//! schedules in which a wrong order of loads serves values of any age. The wrong orders are here
//! too, and must fail: a check that cannot fail proves nothing.
//!
//! Time is an atomic that the lane's thread moves; a hit at `WRITTEN + L` or later that still
//! returns what was overwritten at `WRITTEN` breaks C2.

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use nearcache_l1::{Entrance, Filled, StoreConfig, Timestamp};

use crate::commands;
use crate::entry_key::{EntryKey, compose};
use crate::fill::{Fetched, Guard, Purpose, entry_of};
use crate::held;
use crate::pod::{Found, Pod};
use crate::primary::Verdict;
use crate::resp::Reply;
use crate::{ConnectionId, Invalidations, PodConfig, PrimaryId};

/// Microseconds of the reader's world.
const WRITTEN: u64 = 10_000_000;
const WOKEN: u64 = 30_000_000;
const L: u64 = 1_000_000;

const KEY: &[u8] = b"k";

fn connection(number: u64) -> ConnectionId {
    ConnectionId {
        primary: PrimaryId::FIRST,
        number,
    }
}

struct World {
    pod: Pod,
    clock: AtomicU64,
}

impl World {
    /// A pod that holds the key, with a lease of time 0.
    fn new() -> Arc<Self> {
        let config = PodConfig {
            max_staleness: Duration::from_micros(L),
            ..PodConfig::default()
        };
        let store = StoreConfig {
            shards: Some(1),
            ..StoreConfig::new(1 << 20)
        };
        let pod = Pod::new(store, config).expect("a good configuration");
        pod.route.unkeyed().connection_opened(connection(1));
        pod.route.unkeyed().coherence.renew(1, Timestamp::ZERO);
        let world = Self {
            pod,
            clock: AtomicU64::new(0),
        };
        world.fill();
        Arc::new(world)
    }

    /// The same with a kept reply about the key.
    fn with_reply() -> Arc<Self> {
        let world = Self::new();
        let guard = world.lead(EntryKey::reply(0, &reply_name()));
        world.publish_reply(guard);
        world
    }

    fn lead(&self, filed: EntryKey<'_>) -> Guard {
        let meta = || self.pod.fill_meta(filed, true, Purpose::Demand);
        match self
            .pod
            .store
            .enter(filed.filed(), |_| false, |_| false, meta)
        {
            Entrance::Lead(guard) => guard,
            _ => panic!("one leader"),
        }
    }

    /// What the lane does with a reply that is to be kept.
    fn publish_reply(&self, guard: Guard) {
        let token = guard.meta().token;
        let mut block = held::pack(&Reply::Int(1)).expect("a small reply");
        let Some(head) = self.pod.make_head(entry_of(&guard), token) else {
            return;
        };
        held::file(&mut block, head);
        let filled = Filled {
            value: Some(block.into()),
            stamp: token.stamp,
            filled_at: Timestamp::ZERO,
            deadline: Timestamp::MAX,
        };
        let unchanged = |_: &crate::fill::FillMeta| self.pod.unchanged(KEY, &token);
        self.pod.store.publish(guard, filled, unchanged, nothing());
    }

    fn fill(&self) {
        let guard = self.lead(EntryKey::value(0, KEY));
        let filled = Filled {
            value: Some(bytes::Bytes::from_static(b"old")),
            stamp: guard.meta().token.stamp,
            filled_at: Timestamp::ZERO,
            deadline: Timestamp::MAX,
        };
        self.pod.store.publish(guard, filled, |_| true, nothing());
    }

    /// A heartbeat that was sent when the lane's thread had woken is answered.
    fn renew(&self, history: u32) {
        let primary = self.pod.route.unkeyed();
        let sent_at = Timestamp::from_micros(WOKEN);
        primary.coherence.renew(history, sent_at);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, micros: u64) {
        self.clock.store(micros, Ordering::SeqCst);
    }

    /// The real hit path.
    fn read(&self) {
        Self::judge_found(self.pod.resident(EntryKey::value(0, KEY), || self.now()));
    }

    /// The real look-up of a kept reply.
    fn read_reply(&self) {
        let name = reply_name();
        Self::judge_found(self.pod.look(EntryKey::reply(0, &name), || self.now()));
    }

    fn judge_found(found: Option<Found>) {
        if let Some(Found {
            verdict: Verdict::Fresh,
            now,
            ..
        }) = found
        {
            Self::judge(now);
        }
    }

    /// The same with the lease loaded under the lock of the reply and not of its head.
    fn read_reply_by_its_own_lock(&self) {
        let name = reply_name();
        let lease = |_| self.pod.route.unkeyed().coherence.lease();
        let filed = EntryKey::reply(0, &name);
        let (head, _) = self.pod.head(filed);
        let Some((hit, lease)) = self.pod.store.get_with(filed.filed(), lease) else {
            return;
        };
        if self.pod.is_filed(&hit, head) {
            Self::judge_found(Some(self.pod.found(hit, lease, || self.now())));
        }
    }

    /// The hit path with the lease loaded when the entry can be removed again.
    fn read_lease_after_unlock(&self) {
        let Some(hit) = self.pod.store.get(EntryKey::value(0, KEY).filed()) else {
            return;
        };
        let lease = self.pod.route.unkeyed().coherence.lease();
        Self::judge_found(Some(self.pod.found(hit, lease, || self.now())));
    }

    /// The hit path with the flush count loaded before the lease.
    fn read_flush_first(&self) {
        let flush = self.pod.route.unkeyed().coherence.flush();
        let lease = |_| self.pod.route.unkeyed().coherence.lease();
        let Some((hit, lease)) = self
            .pod
            .store
            .get_with(EntryKey::value(0, KEY).filed(), lease)
        else {
            return;
        };
        let now = self.now();
        let age = lease.age(now).as_micros() < u128::from(L);
        if hit.stamp.flush == flush && lease.history() == hit.stamp.history && age {
            Self::judge(now);
        }
    }

    /// The hit path with the clock read before the lease.
    fn read_clock_first(&self) {
        let early = self.now();
        let found = self.pod.resident(EntryKey::value(0, KEY), || early);
        if let Some(Found {
            verdict: Verdict::Fresh,
            ..
        }) = found
        {
            Self::judge(self.now());
        }
    }

    /// The old value was served fresh by a call whose clock says `now`.
    fn judge(now: Timestamp) {
        assert!(
            now.as_micros() < WRITTEN + L,
            "C2: served {} us after it was overwritten",
            now.as_micros() - WRITTEN
        );
    }
}

fn reply_name() -> Vec<u8> {
    compose(commands::place("llen"), &[KEY]).expect("a short name")
}

/// An outcome nobody waits for.
fn nothing() -> crate::fill::FillOutcome {
    Ok(Fetched {
        value: None,
        deadline: Timestamp::MAX,
        sent_at: Timestamp::ZERO,
        tracked: true,
    })
}

fn explore(schedule: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(schedule);
}

/// The process is stopped for long; the lane's thread wakes first, does what `lane` does, and gets a lease of `history`;
/// the reader goes on with what it had loaded.
fn woken(
    world: impl Fn() -> Arc<World> + Sync + Send + 'static,
    read: impl Fn(&World) + Sync + Send + Copy + 'static,
    lane: impl Fn(&Pod) + Sync + Send + Copy + 'static,
    history: u32,
) {
    explore(move || {
        let world = world();
        let lane = thread::spawn({
            let world = world.clone();
            move || {
                world.sleep_until(WOKEN);
                lane(&world.pod);
                world.renew(history);
            }
        });
        read(&world);
        lane.join().expect("the lane's thread ends");
    });
}

/// Schedule 1: the key was changed.
fn stopped(read: impl Fn(&World) + Sync + Send + Copy + 'static) {
    stopped_in(World::new, read);
}

fn stopped_in(
    world: impl Fn() -> Arc<World> + Sync + Send + 'static,
    read: impl Fn(&World) + Sync + Send + Copy + 'static,
) {
    let push = |pod: &Pod| pod.invalidate(connection(1), KEY);
    woken(world, read, push, 1);
}

/// Schedule 2: the connection is lost, the write is missed, a new connection gets a lease.
fn reconnected(read: impl Fn(&World) + Sync + Send + Copy + 'static) {
    let reconnect = |pod: &Pod| {
        pod.disconnected(connection(1));
        pod.route.unkeyed().connection_opened(connection(2));
    };
    woken(World::new, read, reconnect, 2);
}

/// Schedule 4: as 1, but the whole store was flushed.
fn flushed(read: impl Fn(&World) + Sync + Send + Copy + 'static) {
    let flush = |pod: &Pod| pod.invalidate_all(connection(1));
    woken(World::new, read, flush, 1);
}

#[test]
fn c2_schedule_1_stopped_between_loads() {
    stopped(World::read);
}

#[test]
fn c2_schedule_2_reconnected_between_loads() {
    reconnected(World::read);
}

/// Schedule 3: the old connection is still alive at an isolated primary and answers a heartbeat after
/// the pod has switched.
#[test]
fn c2_schedule_3_an_old_connection_answers_late() {
    explore(|| {
        let world = World::new();
        world.pod.disconnected(connection(1));
        world.sleep_until(WOKEN);
        let late = thread::spawn({
            let world = world.clone();
            move || world.renew(1)
        });
        let new = thread::spawn({
            let world = world.clone();
            move || world.renew(2)
        });
        world.read();
        late.join().expect("it ends");
        new.join().expect("it ends");
        world.read();
    });
}

/// A fill whose reply came before the push, against the push.
#[test]
fn c4_a_push_and_a_publish_in_any_order() {
    explore(|| {
        let world = World::new();
        let guard = world.lead(EntryKey::value(0, KEY));
        let push = thread::spawn({
            let world = world.clone();
            move || world.pod.invalidate(connection(1), KEY)
        });
        let token = guard.meta().token;
        let filled = Filled {
            value: Some(bytes::Bytes::from_static(b"old")),
            stamp: token.stamp,
            filled_at: Timestamp::ZERO,
            deadline: Timestamp::MAX,
        };
        let unchanged = |_: &crate::fill::FillMeta| world.pod.unchanged(KEY, &token);
        world.pod.store.publish(guard, filled, unchanged, nothing());
        push.join().expect("it ends");
        assert!(
            world
                .pod
                .store
                .peek(EntryKey::value(0, KEY).filed())
                .is_none(),
            "C4: a stale fill survived the push"
        );
    });
}

/// The same for a reply that is to be kept, with and without others about the key before it.
#[test]
fn c4_a_push_and_a_kept_reply_in_any_order() {
    for world in [World::new, World::with_reply] {
        explore(move || {
            let world = world();
            let name = reply_name();
            let filed = EntryKey::reply(0, &name);
            let guard = world.lead(filed);
            let push = thread::spawn({
                let world = world.clone();
                move || world.pod.invalidate(connection(1), KEY)
            });
            world.publish_reply(guard);
            push.join().expect("it ends");
            let found = world.pod.look(filed, || world.now());
            let dead = found.is_none_or(|found| matches!(found.verdict, Verdict::Dead));
            assert!(dead, "C4: a stale reply survived the push");
        });
    }
}

#[test]
fn c2_schedule_1_stopped_between_loads_of_a_kept_reply() {
    stopped_in(World::with_reply, World::read_reply);
}

#[test]
fn c2_schedule_4_flushed_between_loads() {
    flushed(World::read);
}

#[test]
#[should_panic(expected = "C2")]
fn trap_lease_of_a_reply_loaded_under_another_lock_than_its_heads_is_caught() {
    stopped_in(World::with_reply, World::read_reply_by_its_own_lock);
}

#[test]
#[should_panic(expected = "C2")]
fn trap_lease_loaded_after_the_unlock_is_caught() {
    stopped(World::read_lease_after_unlock);
}

#[test]
#[should_panic(expected = "C2")]
fn trap_flush_loaded_before_the_lease_is_caught() {
    flushed(World::read_flush_first);
}

#[test]
#[should_panic(expected = "C2")]
fn trap_clock_read_before_the_lease_is_caught() {
    stopped(World::read_clock_first);
}
