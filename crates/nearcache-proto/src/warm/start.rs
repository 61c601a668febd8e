//! The warm start: what the fleet reads most, in order, until it is here, there is no room, or time is up.
//!
//! Tracking is on before the first fetch. Whatever happens, the pod is ready at the deadline.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::ground::Ground;
use super::known::Known;
use super::prefetch::{Prefetcher, batch, size};
use super::publish::Publisher;
use super::rate::{Rate, WINDOW};
use super::turn::Turns;
use super::{Phase, Snapshots, WarmEnd, WarmReport};
use crate::cache::Io;
use crate::error::{Error, ErrorKind};
use crate::fill::Purpose;
use crate::primary::LaneState;
use crate::working_set::{Item, Manifest, Snapshot};

/// Bytes that a snapshot may have.
const SNAPSHOT_BYTES: usize = 1 << 20;

/// Batches that one turn is asked for.
const BATCHES: usize = 4;

/// What is to be fetched.
struct Aim {
    items: Vec<Item>,
    /// Of all reads that the ranking knows of.
    mass: f64,
    from_snapshot: bool,
}

/// The start of a pod, which may have to be made up for, and what its life leaves behind for the next one's.
pub(super) struct WarmStart {
    snapshots: Option<Arc<dyn Snapshots>>,
    turns: Turns,
    over: bool,
}

impl WarmStart {
    pub(super) fn new(snapshots: Option<Arc<dyn Snapshots>>, turns: Turns) -> Self {
        Self {
            snapshots,
            turns,
            over: false,
        }
    }

    /// Whether it need not be made up for.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether anything is left behind.
    pub(super) fn keeps(&self) -> bool {
        self.snapshots.is_some()
    }

    /// Starts warm and reports. Called again when L2 was out of reach the first time.
    pub(super) async fn run<I: Io>(
        &mut self,
        ground: &Ground<I>,
        known: &mut Known,
        (publisher, prefetcher): (&mut Publisher, &mut Prefetcher),
    ) {
        let began = ground.now();
        let by = began.saturating_add(ground.config.deadline);
        let mut report = WarmReport {
            keys: 0,
            keys_planned: 0,
            bytes: 0,
            share_of_reads: 0.0,
            duration: Duration::ZERO,
            end: WarmEnd::Unreachable,
            from_snapshot: false,
        };
        report.end = match lane_up(ground, by).await {
            false if ground.is_closing() => WarmEnd::Closed,
            false => WarmEnd::Unreachable,
            true if !(ground.config.start && ground.config.statistics) => WarmEnd::Off,
            true if !ground.cache.pod.is_tracked() => WarmEnd::Untracked,
            true => match self.aim(ground, known, publisher).await {
                Ok(Some(aim)) => {
                    if !self.over {
                        publisher.remember_found(known);
                    }
                    let parts = (&mut self.turns, prefetcher);
                    warm(ground, known, parts, (aim, by), &mut report).await
                }
                Ok(None) => WarmEnd::NothingKnown,
                Err(_) => WarmEnd::Unreachable,
            },
        };
        self.over = report.end != WarmEnd::Unreachable;
        report.duration = ground.now().saturating_since(began);
        let warmth = &ground.cache.pod.warmth;
        let (end, keys) = (report.end, report.keys);
        let reason = match (end, ground.cache.pod.state()) {
            (WarmEnd::Unreachable, LaneState::Down(why)) => why,
            _ => end.as_str().to_owned(),
        };
        // Before anybody is told that it is there.
        warmth.set_report(report);
        warmth.set(|readiness| {
            readiness.ready = true;
            readiness.phase = match end {
                WarmEnd::Unreachable => Phase::Degraded,
                _ => Phase::Ready,
            };
            readiness.reason = reason;
            readiness.keys = keys;
        });
    }

    /// What the fleet is known to read, best first: from the manifest, or what this pod's last life left behind.
    async fn aim<I: Io>(
        &self,
        ground: &Ground<I>,
        known: &mut Known,
        publisher: &mut Publisher,
    ) -> Result<Option<Aim>, Error> {
        match publisher.look(ground, known).await {
            // What it refuses now it will refuse again; what it did not answer is asked again.
            Err(error) if error.kind() == ErrorKind::Retry => return Err(error),
            Err(_) | Ok(()) => {}
        }
        if let Some(manifest) = &known.manifest {
            let aim = Aim {
                mass: manifest.mass,
                items: self.named(ground, manifest),
                from_snapshot: false,
            };
            if !aim.items.is_empty() {
                return Ok(Some(aim));
            }
        }
        Ok(self.left_behind(ground).map(|snapshot| Aim {
            mass: snapshot.mass,
            items: snapshot.items,
            from_snapshot: true,
        }))
    }

    /// The manifest's items by name; where it has only hashes, those that the snapshot knows the names of.
    fn named<I: Io>(&self, ground: &Ground<I>, manifest: &Manifest) -> Vec<Item> {
        let plain = manifest.items.iter().filter(|item| item.key().is_some());
        let mut items: Vec<Item> = plain.cloned().collect();
        if items.len() < manifest.items.len()
            && let Some(known) = self.left_behind(ground)
        {
            let entries: Vec<_> = known.items.iter().filter_map(Item::key).collect();
            items.extend(manifest.matching(&entries).items);
        }
        items
    }

    fn left_behind<I: Io>(&self, ground: &Ground<I>) -> Option<Snapshot> {
        let bytes = self.snapshots.as_ref()?.load(SNAPSHOT_BYTES)?;
        match Snapshot::decode(&bytes) {
            Ok(snapshot) => Some(snapshot),
            Err(ignored) => {
                ground.ignore("the local snapshot", &ignored);
                None
            }
        }
    }

    /// Leaves the names of what this pod reads behind.
    pub(super) fn save<I: Io>(&self, ground: &Ground<I>, known: &Known) {
        let Some(snapshots) = &self.snapshots else {
            return;
        };
        let now = ground.now();
        let snapshot = Snapshot::new(&known.counts, now, ground.config.most_slots);
        snapshots.save(&snapshot.encode(SNAPSHOT_BYTES));
    }
}

/// Waits for the lane, across attempts that failed; false when it is not up by then, or cannot come up as
/// things are.
async fn lane_up<I: Io>(ground: &Ground<I>, by: Timestamp) -> bool {
    let warmth = &ground.cache.pod.warmth;
    let mut ready = pin!(ground.cache.ready(ground.config.deadline));
    let mut sleep = ground.timer.sleep_until(by);
    poll_fn(|cx| {
        warmth.bell.listen(cx);
        if warmth.is_closing() {
            return Poll::Ready(false);
        }
        match ready.as_mut().poll(cx) {
            Poll::Ready(up) => Poll::Ready(up.is_ok()),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| false),
        }
    })
    .await
}

async fn warm<I: Io>(
    ground: &Ground<I>,
    known: &Known,
    (turns, prefetcher): (&mut Turns, &mut Prefetcher),
    (aim, by): (Aim, Timestamp),
    report: &mut WarmReport,
) -> WarmEnd {
    let pod = ground.cache.pod.clone();
    let mut room = pod.store.capacity().saturating_sub(pod.store.weight());
    let mut items = aim.items;
    let weigh = |item: &Item| {
        let filed = item.key();
        filed.map_or(usize::MAX, |filed| {
            pod.store.weigh(filed, item.bytes as usize)
        })
    };
    // The manifest ranks by bytes; this L1 may weigh otherwise.
    let worth = |item: &Item| item.score / weigh(item) as f64;
    items.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    items.retain(|item| {
        let weight = weigh(item);
        let fits = weight <= pod.store.max_entry_weight() && weight <= room;
        room -= if fits { weight } else { 0 };
        fits
    });
    report.keys_planned = items.len();
    report.from_snapshot = aim.from_snapshot;
    pod.warmth.set(|readiness| {
        readiness.phase = Phase::Warming;
        readiness.reason = "fetching what the fleet reads".to_owned();
        readiness.keys_planned = items.len();
    });
    let mut rest = items.as_slice();
    let mut score = 0.0;
    let end = 'all: loop {
        if rest.is_empty() {
            break WarmEnd::Complete;
        }
        let (batches, cost) = one_turn(&known.rate, rest);
        match turns.may_fetch(ground, &known.rate, cost, by).await {
            Ok(true) => {}
            Ok(false) if ground.is_closing() => break WarmEnd::Closed,
            Ok(false) => break WarmEnd::Deadline,
            // Asked again, it would say the same.
            Err(error) if error.kind() != ErrorKind::Retry => break WarmEnd::Refused,
            Err(_) => break ended_by(ground, by),
        }
        for count in batches {
            if ground.is_closing() {
                break 'all WarmEnd::Closed;
            }
            if ground.now() >= by {
                break 'all WarmEnd::Deadline;
            }
            let (now, later) = rest.split_at(count);
            rest = later;
            let refused = pod.counters.warm_no_room_total.get();
            let taken = match prefetcher.fetch(ground, now, Purpose::WarmStart, by).await {
                Ok(taken) => taken,
                // Of this batch: a key of another type, say.
                Err(error) if error.kind() != ErrorKind::Retry => continue,
                Err(_) => break 'all ended_by(ground, by),
            };
            report.keys += taken.keys;
            report.bytes += taken.bytes;
            score += taken.score;
            pod.warmth.set(|readiness| readiness.keys = report.keys);
            if pod.counters.warm_no_room_total.get() > refused {
                break 'all WarmEnd::Full;
            }
        }
    };
    report.share_of_reads = if aim.mass > 0.0 {
        (score / aim.mass).min(1.0)
    } else {
        0.0
    };
    end
}

/// The next batches that go in one turn: how many items each, and what they take of the fleet's time.
fn one_turn(rate: &Rate, mut rest: &[Item]) -> (Vec<usize>, Duration) {
    let mut batches = Vec::new();
    let mut cost = Duration::ZERO;
    while batches.len() < BATCHES && !rest.is_empty() && cost < WINDOW / 4 {
        let count = batch(rest.iter(), rate.most_keys());
        let (now, later) = rest.split_at(count);
        cost += rate.cost(now.len(), now.iter().map(size).sum());
        batches.push(count);
        rest = later;
    }
    (batches, cost)
}

/// A fetch failed: because its time was up, or because L2 is out of reach.
fn ended_by<I: Io>(ground: &Ground<I>, by: Timestamp) -> WarmEnd {
    match ground.now() >= by {
        true => WarmEnd::Deadline,
        false => WarmEnd::Unreachable,
    }
}
