//! Calls begin: which, of what, and what the oracle notes about it.

use super::*;
use nearcache_proto::warm::Purpose;

use nearcache_proto::{LoadPolicy, OnL2Down};

use crate::calls::{CallFuture, Ending, Load};

impl World {
    pub(super) fn begin_call(&mut self, pod: usize) {
        if self.pods[pod].stopped {
            return;
        }
        let name = self.name();
        let kind = match self.random.below(130) {
            80..108 if self.mood.quiet && self.random.per_mille(700) => 0,
            kind => kind,
        };
        // Loads come in pairs: it is about what one does when the other is cancelled.
        let twins = if (72..80).contains(&kind) { 2 } else { 1 };
        for _ in 0..twins {
            if self.calls.len() < MAX_CALLS {
                self.begin(pod, name, kind);
            }
        }
    }

    fn begin(&mut self, pod: usize, name: Name, which: usize) {
        // By its number, so that the schedules of before stay what they were.
        let while_away = match self.next_call % 3 {
            0 => WhileAway::Wait,
            _ => WhileAway::Fail,
        };
        let cache = self.pods[pod].cache.clone().with_while_away(while_away);
        let (operation, writes, load, future) = self.call(cache, name, which);
        self.enlist(pod, (operation, name), (writes, load), future);
    }

    pub(super) fn enlist(
        &mut self,
        pod: usize,
        (operation, name): (Operation, Name),
        (writes, load): (Option<u64>, Option<Load>),
        future: CallFuture,
    ) {
        let losses = match (operation, self.pods[pod].ended) {
            (Operation::Set, None) => Some(self.pods[pod].pod.totals().disconnects_total),
            _ => None,
        };
        self.next_call += 1;
        self.say(|| {
            let number = self.next_call;
            format!(
                "pod {pod} call {number}: {} {name:?} {writes:?} {load:?}",
                operation.name()
            )
        });
        let resident = (0..KEYS).map(|key| self.resident(pod, (name.0, key)).is_some());
        let resident = resident.collect();
        let call = Call {
            number: self.next_call,
            operation,
            name,
            future,
            view: self.view(pod),
            writes,
            losses,
            resident,
            read_at: Timestamp::ZERO,
            polled: false,
            asked_again: false,
            news: (
                self.pods[pod].io.news[name.1].load(Ordering::Relaxed),
                self.pods[pod].io.writes[name.1].load(Ordering::Relaxed),
            ),
            parked: false,
            lent: false,
            must: false,
            load,
            strikes: self.strikes_at_begin(pod),
        };
        self.calls.push(call);
        self.turns.push_back(self.next_call);
    }

    fn call(
        &mut self,
        cache: Cache<SimIo>,
        name: Name,
        which: usize,
    ) -> (Operation, Option<u64>, Option<Load>, CallFuture) {
        let mut writes = None;
        let mut load = None;
        let mut value = |world: &mut Self| {
            let value = world.value();
            writes = Some(value);
            value
        };
        use Operation::*;
        let (operation, future) = match which {
            0..30 => (Get, calls::read(cache, name, ReadPolicy::PassThrough)),
            30..45 => (Reply, calls::reply(cache, name, ReadPolicy::PassThrough)),
            45..50 => (GetOrError, calls::read(cache, name, ReadPolicy::Error)),
            50..58 => {
                let max = Duration::from_secs(2);
                (
                    GetStale,
                    calls::read(cache, name, ReadPolicy::ServeStale { max }),
                )
            }
            58..66 => {
                let db = name.0;
                let count = 1 + self.random.below(KEYS);
                let names = (0..count).map(|key| (db, key)).collect();
                match self.random.below(3) {
                    0 => (Many, calls::many(cache, names)),
                    1 => (Pipeline, calls::pipeline(cache, names)),
                    _ => (MGet, calls::mget(cache, names)),
                }
            }
            66..72 => {
                // Right before, a write does the most harm.
                if self.random.per_mille(300) {
                    self.foreign_write(name);
                }
                (Validated, calls::validated(cache, name))
            }
            72..80 => {
                let made = self.load(name);
                load = Some(made);
                (Load, made.future(cache))
            }
            80..90 => {
                let (value, ttl) = (value(self), self.ttl());
                (Set, calls::set(cache, name, value, ttl))
            }
            90..93 => (Delete, calls::delete(cache, name)),
            93..98 => {
                let value = value(self);
                match self.random.per_mille(500) {
                    true => (Script, calls::hidden_write(cache, name, value, true)),
                    false => (Multi, calls::hidden_write(cache, name, value, false)),
                }
            }
            98..101 => (Exec, calls::exec(cache, name, value(self))),
            101..105 => (Watch, calls::watched(cache, name, value(self))),
            105..108 => (Mixed, calls::mixed(cache, name, value(self))),
            108..114 => {
                let from = self.random.below(DBS) as u32;
                (Switched, calls::switched(cache, from, name))
            }
            114..120 => (Fence, calls::fence(cache)),
            _ => {
                let purposes = [Purpose::WarmStart, Purpose::Background, Purpose::Refresh];
                let purpose = purposes[self.random.below(3)];
                let as_reply = self.random.per_mille(300);
                (Ahead, calls::ahead(cache, name, as_reply, purpose, TIMEOUT))
            }
        };
        (operation, writes, load, future)
    }

    /// A call with a loader, of any kind.
    fn load(&mut self, name: Name) -> Load {
        let ending = match self.random.below(100) {
            0..56 => Ending::Value,
            56..66 => Ending::Absence,
            66..76 => Ending::Error,
            76..82 => Ending::Panic,
            82..88 if self.mood.allows(Fault::LoaderHangs) => Ending::Hang,
            88..94 if self.mood.allows(Fault::LoaderRecurses) => Ending::Recursion,
            94.. if !self.mood.calm => Ending::PanicElsewhere,
            _ => Ending::Value,
        };
        let max = Duration::from_secs(2);
        let policy = LoadPolicy::default()
            .on_unproven(match self.random.per_mille(250) {
                true => ReadPolicy::ServeStale { max },
                false => ReadPolicy::PassThrough,
            })
            .on_l2_down(match self.random.per_mille(800) {
                true => OnL2Down::Load,
                false => OnL2Down::Error,
            })
            .negative_ttl(self.random.per_mille(500).then_some(MAX_STALENESS * 2));
        self.load_with(name, ending, policy)
    }

    pub(super) fn load_with(&mut self, name: Name, ending: Ending, policy: LoadPolicy) -> Load {
        let optional = ending == Ending::Absence || self.random.per_mille(300);
        let picky = self.random.per_mille(300);
        let pauses = self.random.below(6);
        let mut value = self.value();
        while calls::is_of_another_release(value) {
            value = self.value();
        }
        self.oracle.is_loaded(value, picky);
        Load {
            name,
            value,
            pauses,
            ending,
            policy,
            optional,
            picky,
        }
    }
}
