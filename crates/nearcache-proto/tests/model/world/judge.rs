//! Whether a result is allowed: what a caller may count on, and what the promises make of its answer.

use super::*;

/// Everything that a read must reflect which begins at one moment in one pod.
#[derive(Clone, Copy)]
pub struct View {
    pub pod: usize,
    pub step: u64,
    pub at: Timestamp,
    /// The same on its own clock.
    clock: Timestamp,
    /// Every fresh read that begins from now on must reflect this step.
    floor: u64,
    /// The same for one key in any db, after a push of it.
    key_floors: [u64; KEYS],
    /// The same for what this pod itself wrote, invalidations or not.
    own: [[u64; KEYS]; DBS],
}

/// The floors of a pod.
#[derive(Default)]
pub(super) struct Floors {
    pub(super) all: u64,
    pub(super) keys: [u64; KEYS],
    own: [[u64; KEYS]; DBS],
}

impl World {
    pub(super) fn view(&self, pod: usize) -> View {
        let floors = &self.pods[pod].floors;
        View {
            pod,
            step: self.step,
            at: self.now(),
            clock: self.pods[pod].clock(self.now()),
            floor: floors.all,
            key_floors: floors.keys,
            own: floors.own,
        }
    }

    pub(super) fn resident(&self, pod: usize, name: Name) -> Option<Hit> {
        self.pods[pod].cache.get_resident(name.0, &calls::key(name))
    }

    fn kept(&self, pod: usize, name: Name) -> Option<Reply> {
        let command = calls::whole(&calls::key(name));
        self.pods[pod].cache.resident_reply(name.0, &command)
    }

    /// What any thread of the pod would be served now, whatever else goes on.
    pub(super) fn peek(&mut self, pod: usize) {
        if self.pods[pod].stopped {
            return;
        }
        let view = self.view(pod);
        for db in 0..DBS {
            for key in 0..KEYS {
                let name = (db as u32, key);
                if let Some(hit) = self.resident(pod, name) {
                    self.coverage.peeks += 1;
                    let seen = calls::decode(hit.value.as_ref());
                    self.fresh(&view, name, seen, Source::L1);
                } else if let Some(reply) = self.kept(pod, name) {
                    self.coverage.kept_replies += 1;
                    self.fresh(&view, name, calls::decode_reply(&reply), Source::L1);
                }
            }
        }
    }

    /// Whether `result` may be the end of `call`.
    pub(super) fn judge(&mut self, call: &Call, result: Result<Outcome, Error>) {
        let view = &call.view;
        self.say(|| {
            format!(
                "pod {} call {} began {}: {result:?}",
                view.pod, call.number, view.step
            )
        });
        match result {
            Ok(Outcome::Read(name, seen, Freshness::Fresh, source)) => {
                let mut view = *view;
                match source {
                    Source::L1 => {
                        self.coverage.hits += 1;
                        self.hit_after(view.pod);
                        if !call.polled {
                            // It must be true when the clock was read, not only when the call began.
                            view.at = view.at.max(call.read_at);
                        }
                    }
                    Source::L2 => self.coverage.l2_reads += 1,
                    Source::Origin => panic!("a read has no loader"),
                }
                self.fresh(&view, name, seen, source);
            }
            Ok(Outcome::Read(name, seen, Freshness::Stale(by), _)) => {
                self.stale(view, (name, seen), by);
            }
            Ok(Outcome::Many(seen)) => {
                self.coverage.many += 1;
                for (name, seen) in seen {
                    self.fresh(view, name, seen, Source::L2);
                    if call.resident[name.1] && !call.asked_again {
                        // A hit beside replies: as new as every push that came before the last of them.
                        let floor = self.pods[view.pod].floors.keys[name.1];
                        self.oracle.not_older_than(name, seen, floor, "C14");
                    }
                }
            }
            Ok(Outcome::Together(seen)) => {
                self.coverage.together += 1;
                for (name, seen) in &seen {
                    self.fresh(view, *name, *seen, Source::L2);
                }
                if !self.pods[view.pod].ever_degraded() && self.splits.never() {
                    self.oracle.were_true_together(&seen);
                }
            }
            Ok(Outcome::Validated(name, seen)) => {
                self.coverage.validated += 1;
                self.fresh(view, name, seen, Source::L2);
                let step = self.splits.one_primary(view.step);
                self.oracle.not_older_than(name, seen, step, "C7");
            }
            Ok(Outcome::Loaded(name, value, freshness, source)) => {
                self.coverage.loads += 1;
                self.loaded(call, (name, value, freshness, source));
            }
            Ok(Outcome::NoneLoaded) => {
                self.coverage.absences_loaded += 1;
                let load = call.load.expect("it has a loader");
                assert!(load.optional, "only a value was an answer");
            }
            Ok(Outcome::Done) => self.written(call),
            Ok(Outcome::FetchedAhead) => self.coverage.fetched_ahead += 1,
            Ok(Outcome::Around { before, after }) => {
                if let Some(seen) = before {
                    self.fresh(view, call.name, seen, Source::L2);
                }
                if let Some(step) = call.writes.and_then(|value| self.oracle.executed_at(value)) {
                    self.oracle.not_older_than(call.name, after, step, "C3");
                }
                self.written(call);
            }
            Ok(Outcome::Watched(seen, written)) => {
                self.fresh(view, call.name, seen, Source::L2);
                let step = self.splits.one_primary(view.step);
                self.oracle.not_older_than(call.name, seen, step, "C7, C16");
                if let (true, Some(value)) = (written, call.writes) {
                    self.coverage.optimistic += 1;
                    self.oracle.came_after(call.name, value, seen);
                    self.written(call);
                }
            }
            Err(error) => self.failed(call, &error),
        }
    }

    /// A write or a fence was acknowledged. It was executed at its last step at the latest; everything this pod
    /// reads from now on must reflect at least the step that its answer proves.
    fn written(&mut self, call: &Call) {
        self.coverage.own_writes += u64::from(call.is_write());
        let executed = call.writes.and_then(|value| self.oracle.executed_at(value));
        self.raise(call.view.pod, executed.unwrap_or(call.view.step));
        if let Some(step) = executed {
            let (db, key) = call.name;
            let own = &mut self.pods[call.view.pod].floors.own[db as usize][key];
            *own = step.max(*own);
        }
        if call.operation == Operation::Script {
            self.strike(call.view.pod, Fault::Script);
        }
    }

    fn loaded(&mut self, call: &Call, loaded: (Name, u64, Freshness, Source)) {
        let (name, value, freshness, source) = loaded;
        let view = &call.view;
        let load = call.load.expect("it has a loader");
        assert!(
            !load.picky || !calls::is_of_another_release(value),
            "{value} is of no use to its caller"
        );
        if let Freshness::Stale(by) = freshness {
            return self.stale(view, (name, Some(value)), by);
        }
        let loading = self.pods[view.pod].io.loading.lock().expect("one thread");
        let began = loading.get(&value).copied();
        drop(loading);
        // A value that lost its race, or was loaded without L2, was never written: it is the loader's own.
        if self.oracle.was_executed(value) {
            let source = match source {
                Source::L1 => Source::L1,
                _ => Source::L2,
            };
            return self.fresh(view, name, Some(value), source);
        }
        let began = began.expect("only loaders load");
        assert!(
            began.news >= call.news.0,
            "C4: {value} was loaded before {name:?} was changed"
        );
        assert!(
            began.writes >= call.news.1,
            "C3: {value} was loaded before this pod wrote {name:?}"
        );
        if call.lent {
            let age = view.clock.saturating_since(began.at);
            assert!(
                age < MAX_STALENESS,
                "C2: {value} was lent {age:?} after its load began"
            );
        }
    }

    fn stale(&mut self, view: &View, (name, seen): (Name, Seen), by: Duration) {
        self.coverage.stale_reads += 1;
        assert!(
            by <= Duration::from_secs(2),
            "C2: stale beyond its hard maximum"
        );
        self.oracle.not_expired(name, seen, view.at);
        // A microsecond for the roundings of two clocks.
        let by = by + Duration::from_micros(1);
        let bound = self.splits.one_primary_at(back(view.at, by));
        self.oracle.not_over_before(name, seen, bound, "C2 (stale)");
    }

    fn failed(&mut self, call: &Call, error: &Error) {
        assert!(
            !call.must || matches!(call.load, Some(load) if load.ending != calls::Ending::Value),
            "C8: nothing is wrong any more, but {:?} failed: {error}",
            call.operation
        );
        match error.kind() {
            // In line for a place for too long, say.
            ErrorKind::Retry if self.mood.calm && call.operation != Operation::Load => {
                panic!(
                    "C8, C10: nothing was wrong, but a {:?} failed: {error}",
                    call.operation
                )
            }
            ErrorKind::Retry | ErrorKind::Unproven => {}
            ErrorKind::Loader => {
                self.coverage.loader_failures += 1;
                let key = call.name.1;
                let failures = self.pods[call.view.pod].io.failures[key].load(Ordering::Relaxed);
                let slow = error.to_string().contains("load_timeout");
                assert!(
                    failures > 0 || slow,
                    "C8: no loader of {:?} failed: {error}",
                    call.name
                );
                self.strike(call.view.pod, Fault::LoaderFails);
            }
            // The side connection was lost inside a transaction, or a demoted server refused.
            ErrorKind::Usage if call.is_write() => {}
            kind => panic!("{kind:?} is no error for {:?}: {error}", call.operation),
        }
        let reads = !call.is_write() && call.operation != Operation::Load;
        self.coverage.reads_failed += u64::from(reads);
        match (error.write_outcome(), call.writes) {
            (Some(WriteOutcome::NotSent), Some(value)) => {
                self.coverage.not_sent += 1;
                // A transaction may fail as a whole after its SET was sent.
                self.writes_failed.push(value);
            }
            (Some(WriteOutcome::Unknown), Some(_)) => {
                self.coverage.unknown_outcomes += 1;
                self.dropped(call, call.name);
            }
            _ => {}
        }
    }

    /// A write whose time ran out has dropped the copy there was.
    fn dropped(&self, call: &Call, name: Name) {
        let pod = call.view.pod;
        let losses = self.pods[pod].pod.totals().disconnects_total;
        if call.losses == Some(losses)
            && let Some(hit) = self.resident(pod, name)
        {
            assert!(
                hit.filled_at >= call.view.clock.saturating_add(TIMEOUT),
                "C3: {name:?} was written with an unknown outcome, but the copy of {:?} is still served",
                hit.filled_at
            );
        }
    }

    pub(super) fn fresh(&mut self, view: &View, name: Name, seen: Seen, source: Source) {
        let bound = back(view.at, MAX_STALENESS);
        let bound = match source {
            Source::L1 if !self.pods[view.pod].ever_degraded() => bound,
            // A server that was demoted unnoticed may answer, but not let the answer live; without
            // invalidations nobody tells of what was read from it.
            _ => self.splits.one_primary_at(bound),
        };
        self.oracle.not_over_before(name, seen, bound, "C2");
        self.oracle.not_expired(name, seen, view.at);
        let own = view.own[name.0 as usize][name.1];
        self.oracle.not_older_than(name, seen, own, "C3");
        if !self.pods[view.pod].ever_degraded() {
            let floor = view.floor.max(view.key_floors[name.1]);
            self.oracle
                .not_older_than(name, seen, floor, "C3, C4, C6, C14");
            let began = self.oracle.began(name, seen);
            self.raise(view.pod, began);
        }
    }

    pub(super) fn raise(&mut self, pod: usize, floor: u64) {
        let floor = self.splits.one_primary(floor);
        let all = &mut self.pods[pod].floors.all;
        *all = floor.max(*all);
    }
}

fn back(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_sub(by.as_micros() as u64))
}
