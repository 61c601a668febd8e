//! The warm start: what the fleet reads most, in order, until it is here, there is no room, or time is up.
//!
//! Tracking is on before the first fetch. Whatever happens, the pod is ready at the deadline.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::exchange::SNAPSHOT_BYTES;
use super::fetch::{batch, size};
use super::pace::WINDOW;
use super::{Background, Phase, WarmEnd, WarmReport};
use crate::cache::Io;
use crate::error::{Error, ErrorKind};
use crate::fill::Purpose;
use crate::primary::LaneState;
use crate::working_set::{Item, Manifest, Snapshot};

/// Batches that are asked leave for at once.
const BATCHES: usize = 4;

/// What is to be fetched.
struct Aim {
    items: Vec<Item>,
    /// Of all reads that the ranking knows of.
    mass: f64,
    from_snapshot: bool,
}

impl<I: Io> Background<I> {
    /// Starts warm and reports. Called again when L2 was out of reach the first time.
    pub(super) async fn start(&mut self) {
        let began = self.cache.io.now();
        let by = began.saturating_add(self.config.deadline);
        let mut report = WarmReport {
            keys: 0,
            keys_planned: 0,
            bytes: 0,
            share_of_reads: 0.0,
            duration: Duration::ZERO,
            end: WarmEnd::Unreachable,
            from_snapshot: false,
        };
        report.end = match self.lane_up(by).await {
            false if self.cache.pod.warmth.is_closing() => WarmEnd::Closed,
            false => WarmEnd::Unreachable,
            true if !(self.config.start && self.config.statistics) => WarmEnd::Off,
            true if !self.cache.pod.is_tracked() => WarmEnd::Untracked,
            true => match self.aim().await {
                Ok(Some(aim)) => {
                    self.remember_found();
                    self.warm(aim, by, &mut report).await
                }
                Ok(None) => WarmEnd::NothingKnown,
                Err(_) => WarmEnd::Unreachable,
            },
        };
        self.started = report.end != WarmEnd::Unreachable;
        report.duration = self.cache.io.now().saturating_since(began);
        let warmth = &self.cache.pod.warmth;
        let (end, keys) = (report.end, report.keys);
        let reason = match (end, self.cache.pod.state()) {
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

    /// Waits for the lane, across attempts that failed; false when it is not up by then, or cannot come up as
    /// things are.
    async fn lane_up(&self, by: Timestamp) -> bool {
        let warmth = &self.cache.pod.warmth;
        let mut ready = pin!(self.cache.ready(self.config.deadline));
        let mut sleep = self.timer.sleep_until(by);
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

    /// What the fleet is known to read, best first: from the manifest, or what this pod's last life left behind.
    async fn aim(&mut self) -> Result<Option<Aim>, Error> {
        match self.look().await {
            // What it refuses now it will refuse again; what it did not answer is asked again.
            Err(error) if error.kind() == ErrorKind::Retry => return Err(error),
            Err(_) | Ok(()) => {}
        }
        if let Some(manifest) = &self.manifest {
            let aim = Aim {
                mass: manifest.mass,
                items: self.named(manifest),
                from_snapshot: false,
            };
            if !aim.items.is_empty() {
                return Ok(Some(aim));
            }
        }
        Ok(self.left_behind().map(|snapshot| Aim {
            mass: snapshot.mass,
            items: snapshot.items,
            from_snapshot: true,
        }))
    }

    /// The manifest's items by name; where it has only hashes, those that the snapshot knows the names of.
    fn named(&self, manifest: &Manifest) -> Vec<Item> {
        let plain = manifest.items.iter().filter(|item| item.key().is_some());
        let mut items: Vec<Item> = plain.cloned().collect();
        if items.len() < manifest.items.len()
            && let Some(known) = self.left_behind()
        {
            let entries: Vec<_> = known.items.iter().filter_map(Item::key).collect();
            items.extend(manifest.matching(&entries).items);
        }
        items
    }

    fn left_behind(&self) -> Option<Snapshot> {
        let bytes = self.snapshots.as_ref()?.load(SNAPSHOT_BYTES)?;
        match Snapshot::decode(&bytes) {
            Ok(snapshot) => Some(snapshot),
            Err(ignored) => {
                self.ignore("the local snapshot", &ignored);
                None
            }
        }
    }

    async fn warm(&mut self, aim: Aim, by: Timestamp, report: &mut WarmReport) -> WarmEnd {
        let pod = self.cache.pod.clone();
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
            let (batches, cost) = self.leave(rest);
            match self.may_fetch(cost, by).await {
                Ok(true) => {}
                Ok(false) if pod.warmth.is_closing() => break WarmEnd::Closed,
                Ok(false) => break WarmEnd::Deadline,
                // Asked again, it would say the same.
                Err(error) if error.kind() != ErrorKind::Retry => break WarmEnd::Refused,
                Err(_) => break self.ended_by(by),
            }
            for count in batches {
                if pod.warmth.is_closing() {
                    break 'all WarmEnd::Closed;
                }
                if self.cache.io.now() >= by {
                    break 'all WarmEnd::Deadline;
                }
                let (now, later) = rest.split_at(count);
                rest = later;
                let refused = pod.counters.warm_no_room_total.get();
                let taken = match self.fetch(now, Purpose::WarmStart, by).await {
                    Ok(taken) => taken,
                    // Of this batch: a key of another type, say.
                    Err(error) if error.kind() != ErrorKind::Retry => continue,
                    Err(_) => break 'all self.ended_by(by),
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

    /// A fetch failed: because its time was up, or because L2 is out of reach.
    fn ended_by(&self, by: Timestamp) -> WarmEnd {
        match self.cache.io.now() >= by {
            true => WarmEnd::Deadline,
            false => WarmEnd::Unreachable,
        }
    }

    /// The next batches that are asked leave for at once: how many items each, and what they take of the fleet's time.
    pub(super) fn leave(&self, mut rest: &[Item]) -> (Vec<usize>, Duration) {
        let mut batches = Vec::new();
        let mut cost = Duration::ZERO;
        while batches.len() < BATCHES && !rest.is_empty() && cost < WINDOW / 4 {
            let count = batch(rest, self.pace.most_keys());
            let (now, later) = rest.split_at(count);
            cost += self.pace.cost(now.len(), now.iter().map(size).sum());
            batches.push(count);
            rest = later;
        }
        (batches, cost)
    }
}
